// schedstat: time that tasks ran and waited on every CPU, from /proc/schedstat
// (Documentation/scheduler/sched-stats.rst).
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/parse.hpp"
#include "nexus/host/kept_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_schedstat_running_seconds_total", MetricType::kCounter,
                     "Number of seconds CPU spent running a process."},
    MetricDescriptor{"node_schedstat_waiting_seconds_total", MetricType::kCounter,
                     "Number of seconds spent by processing waiting for this CPU."},
    MetricDescriptor{"node_schedstat_timeslices_total", MetricType::kCounter,
                     "Number of timeslices executed by CPU."},
};
constexpr std::size_t kSkipped = 6;  // numbers of a CPU's line before those above
constexpr double kNanos = 1e9;

class SchedstatCollector final : public Collector {
 public:
  explicit SchedstatCollector(const CollectorContext& context)
      : path_(context.roots.proc("schedstat")),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    auto text = buffer_.read(path_);
    if (!text) return propagate(std::move(text));
    bool any = false;
    Lines lines(*text);
    for (std::string_view line; lines.next(line);) {
      if (!line.starts_with("cpu")) continue;
      any = true;
      add(sink, lines.number(), line.substr(3));
    }
    if (!any) complaints_.add(path_, "expected a line for every CPU");
    return complaints_.take();
  }

 private:
  void add(Sink& sink, std::size_t number, std::string_view rest) {
    const std::string_view cpu = next_word(rest);
    if (!base::parse_uint(cpu)) return complaints_.add(path_, number, "a CPU's number", cpu);
    for (std::size_t i = 0; i < kSkipped; ++i) (void)next_word(rest);
    for (std::size_t i = 0; i < kMetrics.size(); ++i) {
      const std::string_view word = next_word(rest);
      const auto value = base::parse_uint(word);
      if (!value) {
        complaints_.add(path_, number, "nine numbers", word);
      } else {
        sink.add(families_[i], {{"cpu", cpu}}, static_cast<double>(*value) / (i < 2 ? kNanos : 1));
      }
    }
  }

  const std::string path_;
  const std::array<FamilyId, kMetrics.size()> families_;
  host::KeptFiles buffer_;
  Complaints complaints_;
};

}  // namespace

const CollectorDescriptor kSchedstatCollector = {
    .name = "schedstat",
    .help = "Time that tasks ran and waited on every CPU.",
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<SchedstatCollector>(context);
    },
};

}  // namespace nexus::monitor
