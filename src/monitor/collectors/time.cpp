// time: the wall clock, the zone's offset and the kernel's clock sources.
#include <array>
#include <charconv>
#include <ctime>
#include <string>
#include <vector>

#include "monitor/collectors.hpp"
#include "nexus/base/text.hpp"
#include "nexus/host/file.hpp"
#include "nexus/host/kept_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_time_seconds", MetricType::kGauge,
                     "System time in seconds since epoch (1970)."},
    MetricDescriptor{"node_time_zone_offset_seconds", MetricType::kGauge,
                     "System time zone offset in seconds."},
    MetricDescriptor{"node_time_clocksource_available_info", MetricType::kGauge,
                     "Available clocksources read from '/sys/devices/system/clocksource'."},
    MetricDescriptor{"node_time_clocksource_current_info", MetricType::kGauge,
                     "Current clocksource read from '/sys/devices/system/clocksource'."},
};

constexpr std::string_view kDevicePrefix = "clocksource";

class TimeCollector final : public Collector {
 public:
  explicit TimeCollector(const CollectorContext& context)
      : clock_(context.clock), directory_(context.roots.sys("devices/system/clocksource")) {
    for (std::size_t i = 0; i < kMetrics.size(); ++i) {
      families_[i] = context.registry.family(kMetrics[i].name, kMetrics[i].type, kMetrics[i].help);
    }
    find_devices();
  }

  Status collect(Sink& sink) override {
    const std::int64_t now = base::to_unix_millis(clock_.wall());
    sink.add(families_[0], static_cast<double>(now) / 1000);
    add_zone(sink, now / 1000);
    for (const Device& device : devices_) {
      if (Status added = add_device(sink, device); !added) return added;
    }
    return {};
  }

 private:
  struct Device {
    std::string number;
    std::string available;
    std::string current;
  };

  /// Devices are fixed at boot: they are looked for once.
  void find_devices() {
    const auto names = host::list_directory(directory_);
    if (!names) return;  // a container or an old kernel: the time itself is still there
    for (const std::string& name : *names) {
      if (!name.starts_with(kDevicePrefix)) continue;
      const std::string base = directory_ + "/" + name;
      devices_.push_back({name.substr(kDevicePrefix.size()), base + "/available_clocksource",
                          base + "/current_clocksource"});
    }
  }

  void add_zone(Sink& sink, std::time_t seconds) const {
    std::tm local{};
    if (::localtime_r(&seconds, &local) == nullptr) return;
    sink.add(families_[1], {{"time_zone", local.tm_zone}}, static_cast<double>(local.tm_gmtoff));
  }

  Status add_device(Sink& sink, const Device& device) {
    auto text = buffer_.read(device.available, host::Record::kWholeFile);
    if (!text) return propagate(std::move(text));
    std::string_view rest = *text;
    for (auto name = base::take_word(rest); !name.empty(); name = base::take_word(rest)) {
      sink.add(families_[2], {{"device", device.number}, {"clocksource", name}}, 1);
    }
    text = buffer_.read(device.current, host::Record::kWholeFile);
    if (!text) return propagate(std::move(text));
    sink.add(families_[3], {{"device", device.number}, {"clocksource", base::trim(*text)}}, 1);
    return {};
  }

  Clock& clock_;
  const std::string directory_;
  std::array<FamilyId, kMetrics.size()> families_{};
  std::vector<Device> devices_;
  host::KeptFiles buffer_;
};

}  // namespace

const CollectorDescriptor kTimeCollector = {
    .name = "time",
    .help = "System time, time zone and clock sources.",
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<TimeCollector>(context);
    },
};

}  // namespace nexus::monitor
