// loadavg: the three load averages of /proc/loadavg.
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/parse.hpp"
#include "nexus/host/kept_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_load1", MetricType::kGauge, "1m load average."},
    MetricDescriptor{"node_load5", MetricType::kGauge, "5m load average."},
    MetricDescriptor{"node_load15", MetricType::kGauge, "15m load average."},
};

class LoadavgCollector final : public Collector {
 public:
  explicit LoadavgCollector(const CollectorContext& context)
      : path_(context.roots.proc("loadavg")), families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    auto text = buffer_.read(path_, host::Record::kWholeFile);
    if (!text) return propagate(std::move(text));
    std::string_view rest = base::take_until(*text, '\n');
    for (const FamilyId family : families_) {
      const std::string_view word = next_word(rest);
      const auto load = base::parse_double(word);
      if (load && *load >= 0 && *load < kMaxLoad) {
        sink.add(family, *load);
      } else {
        complaints_.add(path_, 1, "a load average", word);
      }
    }
    return complaints_.take();
  }

 private:
  static constexpr double kMaxLoad = 1e12;  // also refuses infinity

  const std::string path_;
  const std::array<FamilyId, kMetrics.size()> families_;
  host::KeptFiles buffer_;
  Complaints complaints_;
};

}  // namespace

const CollectorDescriptor kLoadavgCollector = {
    .name = "loadavg",
    .help = "Load averages over 1, 5 and 15 minutes.",
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<LoadavgCollector>(context);
    },
};

}  // namespace nexus::monitor
