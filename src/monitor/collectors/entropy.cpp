// entropy: bits in the kernel's pool of randomness, from /proc/sys/kernel/random.
#include <array>

#include "monitor/families.hpp"
#include "monitor/small_files.hpp"
#include "nexus/host/kept_files.hpp"
#include "nexus/monitor/collector.hpp"

namespace nexus::monitor {

extern const CollectorDescriptor kEntropyCollector;  // of table.cpp

namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_entropy_available_bits", MetricType::kGauge,
                     "Bits of available entropy."},
    MetricDescriptor{"node_entropy_pool_size_bits", MetricType::kGauge, "Bits of entropy pool."},
};

class EntropyCollector final : public Collector {
 public:
  explicit EntropyCollector(const CollectorContext& context)
      : paths_{context.roots.proc("sys/kernel/random/entropy_avail"),
               context.roots.proc("sys/kernel/random/poolsize")},
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    bool is_there = false;
    for (std::size_t i = 0; i < paths_.size(); ++i) {
      const auto text = files_.read(paths_[i], host::Record::kWholeFile);
      if (!text) continue;
      is_there = true;
      const std::string_view word = base::trim(*text);
      if (const auto value = parse_number(word)) {
        sink.add(families_[i], *value);
      } else {
        complaints_.add(paths_[i], 1, "a number", word);
      }
    }
    if (!is_there) return fail(Errc::kNotFound, "{}: not there", paths_[0]);
    return complaints_.take();
  }

 private:
  const std::array<std::string, kMetrics.size()> paths_;
  const std::array<FamilyId, kMetrics.size()> families_;
  host::KeptFiles files_;
  Complaints complaints_;
};

}  // namespace

const CollectorDescriptor kEntropyCollector = {
    .name = "entropy",
    .help = "Bits in the kernel's pool of randomness.",
    .metrics = kMetrics,
    .make = make_plain<EntropyCollector>,
};

}  // namespace nexus::monitor
