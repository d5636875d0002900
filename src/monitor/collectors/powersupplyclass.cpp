// powersupplyclass: batteries, chargers and power supplies, from /sys/class/power_supply
// (Documentation/ABI/testing/sysfs-class-power: micro-units, temperatures in tenths of a degree).
#include <algorithm>
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/name_filter.hpp"
#include "monitor/small_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kOptions = {
    OptionDescriptor{"ignored_supplies", OptionType::kRegex, "'^$'",
                     "Power supplies that are left out."},
};

struct Property {
  const char* file;
  MetricDescriptor metric;
  double divisor = 1;
};
#define NEXUS_SUPPLY(file, name, divisor)                                           \
  Property {                                                                        \
    file,                                                                           \
        MetricDescriptor{"node_power_supply_" name, MetricType::kGauge,             \
                         name " value of /sys/class/power_supply/<power_supply>."}, \
        divisor                                                                     \
  }
constexpr double kMicro = 1e6;
constexpr double kTenth = 10;
constexpr std::array kProperties = {
    NEXUS_SUPPLY("authentic", "authentic", 1),
    NEXUS_SUPPLY("calibrate", "calibrate", 1),
    NEXUS_SUPPLY("capacity", "capacity", 1),
    NEXUS_SUPPLY("capacity_alert_max", "capacity_alert_max", 1),
    NEXUS_SUPPLY("capacity_alert_min", "capacity_alert_min", 1),
    NEXUS_SUPPLY("cycle_count", "cyclecount", 1),
    NEXUS_SUPPLY("online", "online", 1),
    NEXUS_SUPPLY("present", "present", 1),
    NEXUS_SUPPLY("time_to_empty_now", "time_to_empty_seconds", 1),
    NEXUS_SUPPLY("time_to_full_now", "time_to_full_seconds", 1),
    NEXUS_SUPPLY("current_boot", "current_boot", kMicro),
    NEXUS_SUPPLY("current_max", "current_max", kMicro),
    NEXUS_SUPPLY("current_now", "current_ampere", kMicro),
    NEXUS_SUPPLY("energy_empty", "energy_empty", kMicro),
    NEXUS_SUPPLY("energy_empty_design", "energy_empty_design", kMicro),
    NEXUS_SUPPLY("energy_full", "energy_full", kMicro),
    NEXUS_SUPPLY("energy_full_design", "energy_full_design", kMicro),
    NEXUS_SUPPLY("energy_now", "energy_watthour", kMicro),
    NEXUS_SUPPLY("voltage_boot", "voltage_boot", kMicro),
    NEXUS_SUPPLY("voltage_max", "voltage_max", kMicro),
    NEXUS_SUPPLY("voltage_max_design", "voltage_max_design", kMicro),
    NEXUS_SUPPLY("voltage_min", "voltage_min", kMicro),
    NEXUS_SUPPLY("voltage_min_design", "voltage_min_design", kMicro),
    NEXUS_SUPPLY("voltage_now", "voltage_volt", kMicro),
    NEXUS_SUPPLY("voltage_ocv", "voltage_ocv", kMicro),
    NEXUS_SUPPLY("charge_control_limit", "charge_control_limit", kMicro),
    NEXUS_SUPPLY("charge_control_limit_max", "charge_control_limit_max", kMicro),
    NEXUS_SUPPLY("charge_counter", "charge_counter", kMicro),
    NEXUS_SUPPLY("charge_empty", "charge_empty", kMicro),
    NEXUS_SUPPLY("charge_empty_design", "charge_empty_design", kMicro),
    NEXUS_SUPPLY("charge_full", "charge_full", kMicro),
    NEXUS_SUPPLY("charge_full_design", "charge_full_design", kMicro),
    NEXUS_SUPPLY("charge_now", "charge_ampere", kMicro),
    NEXUS_SUPPLY("charge_term_current", "charge_term_current", kMicro),
    NEXUS_SUPPLY("constant_charge_current", "constant_charge_current", kMicro),
    NEXUS_SUPPLY("constant_charge_current_max", "constant_charge_current_max", kMicro),
    NEXUS_SUPPLY("constant_charge_voltage", "constant_charge_voltage", kMicro),
    NEXUS_SUPPLY("constant_charge_voltage_max", "constant_charge_voltage_max", kMicro),
    NEXUS_SUPPLY("precharge_current", "precharge_current", kMicro),
    NEXUS_SUPPLY("input_current_limit", "input_current_limit", kMicro),
    NEXUS_SUPPLY("power_now", "power_watt", kMicro),
    NEXUS_SUPPLY("temp", "temp_celsius", kTenth),
    NEXUS_SUPPLY("temp_alert_max", "temp_alert_max_celsius", kTenth),
    NEXUS_SUPPLY("temp_alert_min", "temp_alert_min_celsius", kTenth),
    NEXUS_SUPPLY("temp_ambient", "temp_ambient_celsius", kTenth),
    // The kernel's attributes are called temp_ambient_alert_*.
    NEXUS_SUPPLY("temp_ambient_max", "temp_ambient_max_celsius", kTenth),
    NEXUS_SUPPLY("temp_ambient_min", "temp_ambient_min_celsius", kTenth),
    NEXUS_SUPPLY("temp_max", "temp_max_celsius", kTenth),
    NEXUS_SUPPLY("temp_min", "temp_min_celsius", kTenth),
};
#undef NEXUS_SUPPLY

constexpr auto kMetrics = [] {
  std::array<MetricDescriptor, kProperties.size() + 1> all{};
  for (std::size_t i = 0; i < kProperties.size(); ++i) all[i] = kProperties[i].metric;
  all.back() = {"node_power_supply_info", MetricType::kGauge,
                "Info of /sys/class/power_supply/<power_supply>."};
  return all;
}();

constexpr std::array kTexts = {"capacity_level", "charge_type",   "health", "manufacturer",
                               "model_name",     "serial_number", "status", "technology",
                               "type",           "usb_type",      "scope"};

class PowersupplyclassCollector final : public Collector {
 public:
  PowersupplyclassCollector(const CollectorContext& context, NameFilter ignored)
      : path_(context.roots.sys("class/power_supply")),
        ignored_(std::move(ignored)),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    const auto root = SmallDir::open(path_);
    if (!root || !names_.read(*root)) return fail(Errc::kNotFound, "{}: not there", path_);
    if (names_.names().empty()) return fail(Errc::kNotFound, "{}: no power supply", path_);
    for (const char* name : names_.names()) {
      if (!ignored_.accepts(name)) continue;
      if (const auto supply = root->child(name)) add(sink, *supply, name);
    }
    return complaints_.take();
  }

 private:
  void add(Sink& sink, const SmallDir& supply, std::string_view name) {
    if (!entries_.read(supply)) return;
    // A supply has a quarter of all properties at most: only those that are listed are opened. Both
    // lists could be sorted; this one is short.
    const auto has = [&](std::string_view file) {
      return std::ranges::any_of(entries_.names(), [&](const char* one) { return file == one; });
    };
    for (std::size_t i = 0; i < kProperties.size(); ++i) {
      if (!has(kProperties[i].file)) continue;
      if (const auto value = files_.number(supply, kProperties[i].file)) {
        sink.add(families_[i], {{"power_supply", name}}, *value / kProperties[i].divisor);
      }
    }
    std::array<LabelView, kTexts.size() + 1> labels;
    labels[0] = {"power_supply", name};
    for (std::size_t i = 0; i < kTexts.size(); ++i) {
      texts_[i] = has(kTexts[i]) ? files_.text(supply, kTexts[i]).value_or(std::string_view())
                                 : std::string_view();
      labels[i + 1] = {kTexts[i], texts_[i]};
    }
    sink.add(families_.back(), labels, 1);
  }

  const std::string path_;
  const NameFilter ignored_;
  const std::array<FamilyId, kMetrics.size()> families_;
  NameList names_;
  NameList entries_;
  std::array<std::string, kTexts.size()> texts_;
  Complaints complaints_;
  SmallFiles files_{complaints_};
};

Result<std::unique_ptr<Collector>> make(const CollectorContext& context) {
  auto ignored =
      NameFilter::make({}, option_string(context, kPowersupplyclassCollector, "ignored_supplies"));
  if (!ignored) return propagate(std::move(ignored), "ignored_supplies");
  return std::make_unique<PowersupplyclassCollector>(context, std::move(*ignored));
}

}  // namespace

const CollectorDescriptor kPowersupplyclassCollector = {
    .name = "powersupplyclass",
    .help = "Batteries, chargers and power supplies.",
    .default_interval = Millis(10'000),  // firmware answers, slowly
    .options = kOptions,
    .metrics = kMetrics,
    .make = make,
};

}  // namespace nexus::monitor
