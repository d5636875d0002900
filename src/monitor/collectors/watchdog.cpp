// watchdog: hardware watchdogs, their time limits and who feeds them, from /sys/class/watchdog.
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/small_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_watchdog_bootstatus", MetricType::kGauge,
                     "Value of /sys/class/watchdog/<watchdog>/bootstatus."},
    MetricDescriptor{"node_watchdog_fw_version", MetricType::kGauge,
                     "Value of /sys/class/watchdog/<watchdog>/fw_version."},
    MetricDescriptor{"node_watchdog_nowayout", MetricType::kGauge,
                     "Value of /sys/class/watchdog/<watchdog>/nowayout."},
    MetricDescriptor{"node_watchdog_timeleft_seconds", MetricType::kGauge,
                     "Value of /sys/class/watchdog/<watchdog>/timeleft."},
    MetricDescriptor{"node_watchdog_timeout_seconds", MetricType::kGauge,
                     "Value of /sys/class/watchdog/<watchdog>/timeout."},
    MetricDescriptor{"node_watchdog_pretimeout_seconds", MetricType::kGauge,
                     "Value of /sys/class/watchdog/<watchdog>/pretimeout."},
    MetricDescriptor{"node_watchdog_access_cs0", MetricType::kGauge,
                     "Value of /sys/class/watchdog/<watchdog>/access_cs0."},
    MetricDescriptor{"node_watchdog_info", MetricType::kGauge,
                     "Info of /sys/class/watchdog/<watchdog>."},
};
constexpr std::array kFiles = {
    NumberFile{"bootstatus", 0}, NumberFile{"fw_version", 1}, NumberFile{"nowayout", 2},
    NumberFile{"timeleft", 3},   NumberFile{"timeout", 4},    NumberFile{"pretimeout", 5},
    NumberFile{"access_cs0", 6},
};
constexpr std::array kTexts = {"options", "identity", "state", "status", "pretimeout_governor"};

class WatchdogCollector final : public Collector {
 public:
  explicit WatchdogCollector(const CollectorContext& context)
      : path_(context.roots.sys("class/watchdog")),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    const auto root = SmallDir::open(path_);
    if (!root || !names_.read(*root)) return fail(Errc::kNotFound, "{}: not there", path_);
    if (names_.names().empty()) return fail(Errc::kNotFound, "{}: no watchdog", path_);
    for (const char* name : names_.names()) {
      const auto watchdog = root->child(name);
      if (!watchdog) continue;
      std::array<LabelView, kTexts.size() + 1> labels;
      labels[0] = {"name", name};
      files_.add_numbers(sink, *watchdog, kFiles, families_, std::span(labels).first(1));
      for (std::size_t i = 0; i < kTexts.size(); ++i) {
        texts_[i] = files_.text(*watchdog, kTexts[i]).value_or(std::string_view());
        labels[i + 1] = {kTexts[i], texts_[i]};
      }
      sink.add(families_.back(), labels, 1);
    }
    return complaints_.take();
  }

 private:
  const std::string path_;
  const std::array<FamilyId, kMetrics.size()> families_;
  NameList names_;
  std::array<std::string, kTexts.size()> texts_;
  Complaints complaints_;
  SmallFiles files_{complaints_};
};

}  // namespace

const CollectorDescriptor kWatchdogCollector = {
    .name = "watchdog",
    .help = "Hardware watchdogs, their time limits and who feeds them.",
    .default_interval = Millis(5'000),
    .metrics = kMetrics,
    .make = make_plain<WatchdogCollector>,
};

}  // namespace nexus::monitor
