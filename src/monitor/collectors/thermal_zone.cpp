// thermal_zone: temperatures of thermal zones and states of what cools them, from
// /sys/class/thermal.
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/small_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_thermal_zone_temp", MetricType::kGauge, "Zone temperature in Celsius."},
    MetricDescriptor{"node_cooling_device_cur_state", MetricType::kGauge,
                     "Current throttle state of the cooling device."},
    MetricDescriptor{"node_cooling_device_max_state", MetricType::kGauge,
                     "Maximum throttle state of the cooling device."},
};
constexpr std::array kCooling = {NumberFile{"cur_state", 1}, NumberFile{"max_state", 2}};

std::string_view number_after(std::string_view name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return {};
  const std::string_view number = name.substr(prefix.size());
  return base::parse_uint(number) ? number : std::string_view();
}

class ThermalZoneCollector final : public Collector {
 public:
  explicit ThermalZoneCollector(const CollectorContext& context)
      : path_(context.roots.sys("class/thermal")),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    const auto root = SmallDir::open(path_);
    if (!root || !names_.read(*root)) return fail(Errc::kNotFound, "{}: not there", path_);
    bool any = false;
    for (const char* name : names_.names()) {
      const std::string_view zone = number_after(name, "thermal_zone");
      const std::string_view device = number_after(name, "cooling_device");
      if (zone.empty() && device.empty()) continue;
      const auto directory = root->child(name);
      const auto type = directory ? files_.text(*directory, "type") : std::nullopt;
      if (!type) continue;
      any = true;
      type_ = *type;
      if (!zone.empty()) {
        // A disabled zone does not answer.
        if (const auto temperature = files_.number(*directory, "temp"))
          sink.add(families_[0], {{"zone", zone}, {"type", type_}}, *temperature / 1000);
      } else {
        const std::array<LabelView, 2> labels = {{{"name", device}, {"type", type_}}};
        files_.add_numbers(sink, *directory, kCooling, families_, labels);
      }
    }
    if (!any) return fail(Errc::kNotFound, "{}: no zone and nothing that cools", path_);
    return complaints_.take();
  }

 private:
  const std::string path_;
  const std::array<FamilyId, kMetrics.size()> families_;
  NameList names_;
  std::string type_;
  Complaints complaints_;
  SmallFiles files_{complaints_};
};

}  // namespace

const CollectorDescriptor kThermalZoneCollector = {
    .name = "thermal_zone",
    .help = "Temperatures of thermal zones and states of what cools them.",
    .default_interval = Millis(5'000),
    .metrics = kMetrics,
    .make = make_plain<ThermalZoneCollector>,
};

}  // namespace nexus::monitor
