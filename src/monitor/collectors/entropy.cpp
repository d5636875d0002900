// entropy: bits in the kernel's pool of randomness, from /proc/sys/kernel/random.
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/small_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_entropy_available_bits", MetricType::kGauge,
                     "Bits of available entropy."},
    MetricDescriptor{"node_entropy_pool_size_bits", MetricType::kGauge, "Bits of entropy pool."},
};
constexpr std::array kFiles = {NumberFile{"entropy_avail", 0}, NumberFile{"poolsize", 1}};

class EntropyCollector final : public Collector {
 public:
  explicit EntropyCollector(const CollectorContext& context)
      : path_(context.roots.proc("sys/kernel/random")),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    const auto directory = SmallDir::open(path_);
    if (!directory) return fail(Errc::kNotFound, "{}: no such directory", path_);
    files_.add_numbers(sink, *directory, kFiles, families_, {});
    return complaints_.take();
  }

 private:
  const std::string path_;
  const std::array<FamilyId, kMetrics.size()> families_;
  Complaints complaints_;
  SmallFiles files_{complaints_};
};

}  // namespace

const CollectorDescriptor kEntropyCollector = {
    .name = "entropy",
    .help = "Bits in the kernel's pool of randomness.",
    .metrics = kMetrics,
    .make = make_plain<EntropyCollector>,
};

}  // namespace nexus::monitor
