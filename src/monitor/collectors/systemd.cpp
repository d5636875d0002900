// systemd: the state of every loaded unit, and of the manager, over D-Bus; connections of sockets,
// triggers of timers, and if so told restarts, tasks and start times, all of them in one batch of
// requests.
#include "monitor/collectors/systemd.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/name_filter.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kOptions = {
    OptionDescriptor{"unit_include", OptionType::kRegex, "'.+'",
                     "Units that are taken; matched as a whole."},
    OptionDescriptor{"unit_exclude", OptionType::kRegex,
                     "'.+\\.(automount|device|mount|scope|slice)'",
                     "Units that are left out; matched as a whole."},
    OptionDescriptor{"enable_task_metrics", OptionType::kBool, "false",
                     "Also the tasks of every service and their limit, two requests a service."},
    OptionDescriptor{"enable_restarts_metrics", OptionType::kBool, "false",
                     "Also how often systemd restarted each service, a request a service."},
    OptionDescriptor{"enable_start_time_metrics", OptionType::kBool, "false",
                     "Also when each active unit was started, a request a unit."},
};

enum Metric : std::size_t {
  kUnitState,
  kUnits,
  kRunning,
  kVersion,
  kVirtualization,
  kStartTime,
  kTasks,
  kTasksMax,
  kRestarts,
  kLastTrigger,
  kAccepted,
  kConnections,
  kRefused,
};

constexpr std::array kMetrics = {
    MetricDescriptor{"node_systemd_unit_state", MetricType::kGauge, "Systemd unit"},
    MetricDescriptor{"node_systemd_units", MetricType::kGauge, "Summary of systemd unit states"},
    MetricDescriptor{"node_systemd_system_running", MetricType::kGauge,
                     "Whether the system is operational (see 'systemctl is-system-running')"},
    MetricDescriptor{"node_systemd_version", MetricType::kGauge, "Detected systemd version"},
    MetricDescriptor{"node_systemd_virtualization_info", MetricType::kGauge,
                     "Detected virtualization technology"},
    MetricDescriptor{"node_systemd_unit_start_time_seconds", MetricType::kGauge,
                     "Start time of the unit since unix epoch in seconds."},
    MetricDescriptor{"node_systemd_unit_tasks_current", MetricType::kGauge,
                     "Current number of tasks per Systemd unit"},
    MetricDescriptor{"node_systemd_unit_tasks_max", MetricType::kGauge,
                     "Maximum number of tasks per Systemd unit"},
    MetricDescriptor{"node_systemd_service_restart_total", MetricType::kCounter,
                     "Service unit count of Restart triggers"},
    MetricDescriptor{"node_systemd_timer_last_trigger_seconds", MetricType::kGauge,
                     "Seconds since epoch of last trigger."},
    MetricDescriptor{"node_systemd_socket_accepted_connections_total", MetricType::kCounter,
                     "Total number of accepted socket connections"},
    MetricDescriptor{"node_systemd_socket_current_connections", MetricType::kGauge,
                     "Current number of socket connections"},
    // A gauge there, too.
    MetricDescriptor{"node_systemd_socket_refused_connections_total", MetricType::kGauge,
                     "Total number of refused socket connections"},
};

constexpr double kMicros = 1e6;  // of a second
// Requests a run. What is over is left out and said.
constexpr std::size_t kMaxProperties = 4096;
constexpr std::uint64_t kNoLimit = ~0ULL;  // systemd's word for: not known, or none

// Other active states (reloading, maintenance, refreshing) are none of these, as in node_exporter.
constexpr std::array<std::string_view, 5> kStates = {"active", "activating", "deactivating",
                                                     "inactive", "failed"};

/// sd_booted(3), below the root.
bool is_booted_with_systemd(const host::Roots& roots) {
  struct stat status{};
  return ::lstat(roots.root("/run/systemd/system").c_str(), &status) == 0 &&
         S_ISDIR(status.st_mode);
}

class SystemdCollector final : public Collector {
 public:
  SystemdCollector(const CollectorContext& context, UnitSource source, NameFilter filter)
      : source_(std::move(source)),
        wants_tasks_(option_bool(context, kSystemdCollector, "enable_task_metrics")),
        wants_restarts_(option_bool(context, kSystemdCollector, "enable_restarts_metrics")),
        wants_start_times_(option_bool(context, kSystemdCollector, "enable_start_time_metrics")),
        filter_(std::move(filter)),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    auto units = source_.units();
    if (!units) return propagate(std::move(units));
    add_units(sink, *units);
    const Status details = add_details(sink);
    if (Status manager = add_manager(sink); !manager) return manager;
    return details;
  }

 private:
  void add_units(Sink& sink, const std::vector<drivers::UnitSummary>& units) {
    wanted_.clear();
    metrics_.clear();
    left_out_ = 0;
    std::array<std::size_t, kStates.size()> totals{};
    for (const drivers::UnitSummary& unit : units) {
      for (std::size_t i = 0; i < kStates.size(); ++i)
        totals[i] += unit.active_state == kStates[i] ? 1 : 0;
      if (unit.load_state != "loaded" || !filter_.accepts(unit.name)) continue;
      for (const std::string_view state : kStates) {
        sink.add(families_[kUnitState],
                 {{"name", unit.name}, {"state", state}, {"type", unit.type}},
                 unit.active_state == state ? 1 : 0);
      }
      want_details(sink, unit);
    }
    for (std::size_t i = 0; i < kStates.size(); ++i) {
      sink.add(families_[kUnits], {{"state", kStates[i]}}, static_cast<double>(totals[i]));
    }
  }

  void want_details(Sink& sink, const drivers::UnitSummary& unit) {
    if (unit.name.ends_with(".service")) {
      if (wants_restarts_) want(unit, "Service", "NRestarts", kRestarts);
      if (wants_tasks_) {
        want(unit, "Service", "TasksCurrent", kTasks);
        want(unit, "Service", "TasksMax", kTasksMax);
      }
    } else if (unit.name.ends_with(".timer")) {
      want(unit, "Timer", "LastTriggerUSec", kLastTrigger);
    } else if (unit.name.ends_with(".socket")) {
      want(unit, "Socket", "NAccepted", kAccepted);
      want(unit, "Socket", "NConnections", kConnections);
      want(unit, "Socket", "NRefused", kRefused);  // since systemd 239
    }
    if (!wants_start_times_) return;
    if (unit.active_state == "active") {
      want(unit, "Unit", "ActiveEnterTimestamp", kStartTime);
    } else {
      sink.add(families_[kStartTime], {{"name", unit.name}}, 0);
    }
  }

  void want(const drivers::UnitSummary& unit, const char* interface, const char* name,
            Metric metric) {
    if (wanted_.size() >= kMaxProperties) {
      ++left_out_;
      return;
    }
    wanted_.push_back({unit.name, interface, name});
    metrics_.push_back(metric);
  }

  Status add_details(Sink& sink) const {
    if (wanted_.empty()) return {};
    const auto numbers = source_.numbers(wanted_);
    if (!numbers) return std::unexpected(numbers.error());
    for (std::size_t i = 0; i < wanted_.size() && i < numbers->size(); ++i) {
      const auto& number = (*numbers)[i];
      const Metric metric = metrics_[i];
      const bool counts_tasks = metric == kTasks || metric == kTasksMax;
      if (!number || (counts_tasks && *number == kNoLimit)) continue;
      const bool is_time = metric == kStartTime || metric == kLastTrigger;
      sink.add(families_[metric], {{"name", wanted_[i].unit}},
               static_cast<double>(*number) / (is_time ? kMicros : 1));
    }
    if (left_out_ > 0)
      return fail(Errc::kExhausted, "{} properties of units are left out, {} are asked for",
                  left_out_, kMaxProperties);
    return {};
  }

  Status add_manager(Sink& sink) const {
    auto virtualization = source_.virtualization();
    if (!virtualization) return propagate(std::move(virtualization));
    sink.add(families_[kVirtualization],
             {{"virtualization_type", virtualization->empty() ? "none" : *virtualization}}, 1);
    auto state = source_.state();
    if (!state) return propagate(std::move(state));
    sink.add(families_[kRunning], *state == "running" ? 1 : 0);
    auto version = source_.version();
    if (!version) return propagate(std::move(version));
    // "252.39-1~deb12u1" counts as 252.39, as in node_exporter.
    const std::size_t first = std::min(version->find_first_of("0123456789"), version->size());
    double number = 0;
    const auto parsed =
        std::from_chars(version->data() + first, version->data() + version->size(), number);
    if (parsed.ec != std::errc{})
      return fail(Errc::kCorrupt, "systemd's version \"{}\": no number", *version);
    sink.add(families_[kVersion], {{"version", *version}}, number);
    return {};
  }

  const UnitSource source_;
  const bool wants_tasks_;
  const bool wants_restarts_;
  const bool wants_start_times_;
  const NameFilter filter_;
  const std::array<FamilyId, kMetrics.size()> families_;
  std::vector<drivers::UnitProperty> wanted_;  // of this run
  std::vector<Metric> metrics_;                // what each of them is
  std::size_t left_out_ = 0;
};

/// Where there is no systemd: says so whenever it is asked, for one may be booted with another
/// root.
class NoSystemd final : public Collector {
 public:
  Status collect(Sink& /*sink*/) override {
    return fail(Errc::kNotFound, "this host is not run by systemd");
  }
};

std::string whole(const std::string& pattern) {
  return pattern.empty() ? pattern : "^(?:" + pattern + ")$";
}

Result<std::unique_ptr<Collector>> make(const CollectorContext& context) {
  drivers::Systemd* systemd = context.systemd;
  if (systemd == nullptr || !is_booted_with_systemd(context.roots))
    return std::make_unique<NoSystemd>();
  return make_systemd(context, {.units = [systemd] { return systemd->list_units(); },
                                .version = [systemd] { return systemd->version(); },
                                .state = [systemd] { return systemd->system_state(); },
                                .virtualization = [systemd] { return systemd->virtualization(); },
                                .numbers =
                                    [systemd](std::span<const drivers::UnitProperty> properties) {
                                      return systemd->unit_numbers(properties);
                                    }});
}

}  // namespace

Result<std::unique_ptr<Collector>> make_systemd(const CollectorContext& context,
                                                UnitSource source) {
  auto filter = NameFilter::make(whole(option_string(context, kSystemdCollector, "unit_include")),
                                 whole(option_string(context, kSystemdCollector, "unit_exclude")));
  if (!filter) return propagate(std::move(filter));
  return std::make_unique<SystemdCollector>(context, std::move(source), std::move(*filter));
}

const CollectorDescriptor kSystemdCollector = {
    .name = "systemd",
    .help = "State of every loaded unit and of systemd itself.",
    .default_interval =
        Millis(15'000),  // the list is long, and changes of watched units come as signals
    .options = kOptions,
    .metrics = kMetrics,
    .make = make,
};

}  // namespace nexus::monitor
