// stat: interrupts, context switches, forks, boot time and the run queue, from /proc/stat.
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/parse.hpp"
#include "nexus/host/kept_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kOptions = {
    OptionDescriptor{"softirq", OptionType::kBool, "false",
                     "Also node_softirqs_total, the calls of every soft interrupt vector."},
};

constexpr std::array kMetrics = {
    MetricDescriptor{"node_intr_total", MetricType::kCounter,
                     "Total number of interrupts serviced."},
    MetricDescriptor{"node_context_switches_total", MetricType::kCounter,
                     "Total number of context switches."},
    MetricDescriptor{"node_forks_total", MetricType::kCounter, "Total number of forks."},
    MetricDescriptor{"node_boot_time_seconds", MetricType::kGauge, "Node boot time, in unixtime."},
    MetricDescriptor{"node_procs_running", MetricType::kGauge,
                     "Number of processes in runnable state."},
    MetricDescriptor{"node_procs_blocked", MetricType::kGauge,
                     "Number of processes blocked waiting for I/O to complete."},
    MetricDescriptor{"node_softirqs_total", MetricType::kCounter, "Number of softirq calls."},
};

// The lines that the metrics above come from, in their order.
constexpr std::array<std::string_view, kMetrics.size()> kLines = {
    "intr", "ctxt", "processes", "btime", "procs_running", "procs_blocked", "softirq"};
constexpr std::size_t kSoftirq = kLines.size() - 1;

// The columns of the line softirq behind their sum (include/linux/interrupt.h).
constexpr std::array<std::string_view, 10> kVectors = {
    "hi",           "timer",   "net_tx", "net_rx",  "block",
    "block_iopoll", "tasklet", "sched",  "hrtimer", "rcu"};

class StatCollector final : public Collector {
 public:
  explicit StatCollector(const CollectorContext& context)
      : path_(context.roots.proc("stat")),
        wants_softirq_(option_bool(context, kStatCollector, "softirq")),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    auto text = buffer_.read(path_, host::Record::kWholeFile);
    if (!text) return propagate(std::move(text));
    std::array<bool, kLines.size()> seen{};
    Lines lines(*text);
    for (std::string_view line; lines.next(line);) {
      if (line.starts_with("cpu")) continue;
      add(sink, lines.number(), line, seen);
    }
    for (std::size_t i = 0; i < kSoftirq; ++i) {
      if (!seen[i]) complaints_.add(path_, fmt::format("expected a line \"{}\"", kLines[i]));
    }
    return complaints_.take();
  }

 private:
  void add(Sink& sink, std::size_t number, std::string_view line,
           std::array<bool, kLines.size()>& seen) {
    std::string_view rest = line;
    const std::string_view key = next_word(rest);
    for (std::size_t i = 0; i < kLines.size(); ++i) {
      if (key != kLines[i]) continue;
      if (std::exchange(seen[i], true)) {
        complaints_.add(path_, number, "each line once", key);
      } else if (i == kSoftirq) {
        if (wants_softirq_) add_softirqs(sink, number, rest);
      } else {
        add_number(sink, number, families_[i], {}, next_word(rest));
      }
      return;
    }
  }

  void add_softirqs(Sink& sink, std::size_t number, std::string_view rest) {
    (void)next_word(rest);  // the sum
    for (const std::string_view vector : kVectors) {
      add_number(sink, number, families_[kSoftirq], vector, next_word(rest));
    }
  }

  void add_number(Sink& sink, std::size_t number, FamilyId family, std::string_view vector,
                  std::string_view word) {
    const auto value = base::parse_uint(word);
    if (!value) {
      complaints_.add(path_, number, "a number", word);
    } else if (vector.empty()) {
      sink.add(family, static_cast<double>(*value));
    } else {
      sink.add(family, {{"vector", vector}}, static_cast<double>(*value));
    }
  }

  const std::string path_;
  const bool wants_softirq_;
  const std::array<FamilyId, kMetrics.size()> families_;
  host::KeptFiles buffer_;
  Complaints complaints_;
};

}  // namespace

const CollectorDescriptor kStatCollector = {
    .name = "stat",
    .help = "Interrupts, context switches, forks, boot time and the run queue.",
    .options = kOptions,
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<StatCollector>(context);
    },
};

}  // namespace nexus::monitor
