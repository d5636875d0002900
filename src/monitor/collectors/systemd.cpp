// systemd: the state of every loaded unit, and of the manager, over D-Bus.
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
};

constexpr std::array kMetrics = {
    MetricDescriptor{"node_systemd_unit_state", MetricType::kGauge, "Systemd unit"},
    MetricDescriptor{"node_systemd_units", MetricType::kGauge, "Summary of systemd unit states"},
    MetricDescriptor{"node_systemd_system_running", MetricType::kGauge,
                     "Whether the system is operational (see 'systemctl is-system-running')"},
    MetricDescriptor{"node_systemd_version", MetricType::kGauge, "Detected systemd version"},
};

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
        filter_(std::move(filter)),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    auto units = source_.units();
    if (!units) return propagate(std::move(units));
    add_units(sink, *units);
    return add_manager(sink);
  }

 private:
  void add_units(Sink& sink, const std::vector<drivers::UnitSummary>& units) const {
    std::array<std::size_t, kStates.size()> totals{};
    for (const drivers::UnitSummary& unit : units) {
      for (std::size_t i = 0; i < kStates.size(); ++i)
        totals[i] += unit.active_state == kStates[i] ? 1 : 0;
      if (unit.load_state != "loaded" || !filter_.accepts(unit.name)) continue;
      for (const std::string_view state : kStates) {
        sink.add(families_[0], {{"name", unit.name}, {"state", state}, {"type", unit.type}},
                 unit.active_state == state ? 1 : 0);
      }
    }
    for (std::size_t i = 0; i < kStates.size(); ++i) {
      sink.add(families_[1], {{"state", kStates[i]}}, static_cast<double>(totals[i]));
    }
  }

  Status add_manager(Sink& sink) const {
    auto state = source_.state();
    if (!state) return propagate(std::move(state));
    sink.add(families_[2], *state == "running" ? 1 : 0);
    auto version = source_.version();
    if (!version) return propagate(std::move(version));
    // "252.39-1~deb12u1" counts as 252.39, as in node_exporter.
    const std::size_t first = std::min(version->find_first_of("0123456789"), version->size());
    double number = 0;
    const auto parsed =
        std::from_chars(version->data() + first, version->data() + version->size(), number);
    if (parsed.ec != std::errc{})
      return fail(Errc::kCorrupt, "systemd's version \"{}\": no number", *version);
    sink.add(families_[3], {{"version", *version}}, number);
    return {};
  }

  const UnitSource source_;
  const NameFilter filter_;
  const std::array<FamilyId, kMetrics.size()> families_;
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
                                .state = [systemd] { return systemd->system_state(); }});
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
