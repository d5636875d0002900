// hwmon: temperatures, fans, voltages, currents, powers and their limits, from /sys/class/hwmon
// (Documentation/hwmon/sysfs-interface.rst).
//
// Numbers of hwmon directories depend on the order in which modules were loaded; a chip is
// therefore called by the device it sits on, platform_coretemp_0, and only without one by its name.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <map>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/name_filter.hpp"
#include "monitor/small_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kOptions = {
    OptionDescriptor{"chip_include", OptionType::kRegex, "''",
                     "Chips that are taken; all when empty. Not together with chip_exclude."},
    OptionDescriptor{"chip_exclude", OptionType::kRegex, "''", "Chips that are left out."},
    OptionDescriptor{"sensor_include", OptionType::kRegex, "''",
                     "Sensors that are taken, as CHIP;SENSOR; all when empty. Not together with "
                     "sensor_exclude."},
    OptionDescriptor{"sensor_exclude", OptionType::kRegex, "''",
                     "Sensors that are left out, as CHIP;SENSOR."},
};

constexpr std::array kMetrics = {
    MetricDescriptor{"node_hwmon_chip_names", MetricType::kGauge,
                     "Annotation metric for human-readable chip names."},
    MetricDescriptor{"node_hwmon_sensor_label", MetricType::kGauge,
                     "Label for given chip and sensor."},
    MetricDescriptor{"node_hwmon_*", MetricType::kGauge, "Hardware monitor value *."},
    MetricDescriptor{"node_hwmon_energy_joule_total", MetricType::kCounter,
                     "Hardware monitor for joules used so far."},
};

constexpr std::array<std::string_view, 14> kTypes = {
    "vrm",  "beep_enable", "update_interval", "in",     "cpu",      "fan",       "pwm",
    "temp", "curr",        "power",           "energy", "humidity", "intrusion", "freq"};

/// "temp1_max_hyst": a temp, number 1, element max_hyst.
struct SensorFile {
  std::string_view type;
  std::string_view number;
  std::string_view element;
};

std::optional<SensorFile> parse_name(std::string_view name) {
  const std::size_t digit = name.find_first_of("0123456789");
  SensorFile file{.type = name.substr(0, digit), .number = {}, .element = {}};
  if (digit != std::string_view::npos) {
    std::size_t end = name.find_first_not_of("0123456789", digit);
    if (end == std::string_view::npos) end = name.size();
    file.number = name.substr(digit, end - digit);
    if (end < name.size()) {
      if (name[end] != '_' || end + 1 == name.size()) return std::nullopt;
      file.element = name.substr(end + 1);
    }
  }
  if (std::ranges::find(kTypes, file.type) == kTypes.end()) return std::nullopt;
  return file;
}

/// Lower case; what is no letter, digit, colon or underscore is an underscore, none at the ends.
std::string clean(std::string_view text) {
  std::string result;
  for (char c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    const bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == ':' || c == '_';
    result += plain ? c : '_';
  }
  const std::size_t first = result.find_first_not_of('_');
  if (first == std::string::npos) return {};
  return result.substr(first, result.find_last_not_of('_') - first + 1);
}

/// What an element is called and in which unit.
struct Reading {
  std::string suffix;  // behind node_hwmon_TYPE
  double divisor = 1;
  MetricType type = MetricType::kGauge;
};

Reading reading_of(std::string_view type, std::string_view element, bool has_plain) {
  constexpr double kMilli = 1000;
  constexpr double kMicro = 1e6;
  std::string name;
  if (element == "input") {
    // The value itself, unless the driver has it under the sensor's bare name too.
    if (has_plain) name = "_input";
  } else if (!element.empty()) {
    name = "_" + clean(element);
  }
  if (element == "fault" || element == "alarm") return {name};
  if (element == "beep") return {name + "_enabled"};
  if (type == "in" || type == "cpu") return {name + "_volts", kMilli};
  if (type == "temp" && element != "type") return {name + "_celsius", kMilli};
  if (type == "curr") return {name + "_amps", kMilli};
  if (type == "energy") return {name + "_joule_total", kMicro, MetricType::kCounter};
  if (type == "power") {
    if (element == "accuracy") return {name, kMicro};
    if (element.starts_with("average_interval")) return {name + "_seconds", kMilli};
    return {name + "_watt", kMicro};
  }
  if (type == "humidity") return {name, kMicro};
  if (type == "freq" && element == "input") return {name + "_freq_mhz", kMicro};
  if (type == "fan" &&
      (element == "input" || element == "min" || element == "max" || element == "target"))
    return {name + "_rpm"};
  return {name};
}

class HwmonCollector final : public Collector {
 public:
  HwmonCollector(const CollectorContext& context, NameFilter chips, NameFilter sensors)
      : path_(context.roots.sys("class/hwmon")),
        registry_(context.registry),
        chips_(std::move(chips)),
        sensors_(std::move(sensors)),
        names_family_(registry_.family(kMetrics[0].name, kMetrics[0].type, kMetrics[0].help)),
        label_family_(registry_.family(kMetrics[1].name, kMetrics[1].type, kMetrics[1].help)) {}

  Status collect(Sink& sink) override {
    const auto root = SmallDir::open(path_);
    if (!root || !names_.read(*root)) return fail(Errc::kNotFound, "{}: not there", path_);
    if (names_.names().empty()) return fail(Errc::kNotFound, "{}: no chip", path_);
    for (const char* name : names_.names()) {
      if (const auto chip = root->child(name)) add_chip(sink, *chip, name);
    }
    return complaints_.take();
  }

 private:
  struct Known {
    FamilyId family;
    double divisor;
  };

  void add_chip(Sink& sink, const SmallDir& chip, std::string_view directory) {
    const auto device = chip.child("device");
    const auto name = files_.text(chip, "name");
    const std::string readable = clean(name.value_or(std::string_view()));
    chip_ = device ? device_name(*device) : std::string();
    if (chip_.empty()) chip_ = readable;
    if (chip_.empty()) chip_ = clean(directory);
    if (!chips_.accepts(chip_)) return;
    if (!readable.empty()) sink.add(names_family_, {{"chip", chip_}, {"chip_name", readable}}, 1);
    if (!own_.read(chip)) return;
    for (const char* file : own_.names()) add(sink, chip, own_, file);
    // Old drivers have their files at the device.
    if (!device || !devices_.read(*device)) return;
    for (const char* file : devices_.names()) {
      if (!has(own_, file)) add(sink, *device, devices_, file);
    }
  }

  /// The last two parts of the device's path, "platform/coretemp.0" as platform_coretemp_0.
  std::string device_name(const SmallDir& device) {
    char link[64];
    *fmt::format_to_n(link, sizeof(link) - 1, "/proc/self/fd/{}", device.fd()).out = '\0';
    std::array<char, 4096> target;
    const ssize_t size = ::readlink(link, target.data(), target.size());
    if (size <= 0) return {};
    const std::string_view path(target.data(), static_cast<std::size_t>(size));
    const std::size_t slash = path.rfind('/');
    if (slash == std::string_view::npos || slash == 0) return {};
    const std::size_t before = path.rfind('/', slash - 1);
    const std::string name = clean(path.substr(slash + 1));
    const std::string type = clean(path.substr(before + 1, slash - before - 1));
    return type.empty() || name.empty() ? name : type + "_" + name;
  }

  static bool has(const NameList& list, std::string_view name) {
    return std::ranges::binary_search(list.names(), name, {},
                                      [](const char* one) { return std::string_view(one); });
  }

  void add(Sink& sink, const SmallDir& directory, const NameList& all, const char* name) {
    const auto file = parse_name(name);
    if (!file) return;
    sensor_.assign(file->type).append(file->number.empty() ? "0" : file->number);
    key_.assign(chip_).append(1, ';').append(sensor_);
    if (!sensors_.accepts(key_)) return;
    const auto text = files_.text(directory, name);
    if (!text || text->empty()) return;
    if (file->element == "label") {
      sink.add(label_family_, {{"chip", chip_}, {"sensor", sensor_}, {"label", *text}}, 1);
      return;
    }
    const auto value = parse_number(*text);
    if (!value) {
      // Only what the documentation calls a number must be one.
      if (file->element == "input" || file->element == "max" || file->element == "crit")
        complaints_.add(directory.path() + "/" + name, 1, "a number", *text);
      return;
    }
    const bool has_plain = file->element == "input" && has(all, sensor_);
    const Known& known = known_of(*file, has_plain);
    sink.add(known.family, {{"chip", chip_}, {"sensor", sensor_}}, *value / known.divisor);
  }

  const Known& known_of(const SensorFile& file, bool has_plain) {
    key_.assign(file.type).append(has_plain ? "+" : "/").append(file.element);
    const auto found = known_.find(std::string_view(key_));
    if (found != known_.end()) return found->second;
    Reading reading;
    std::string name;
    if (file.type == "beep_enable") {
      name = "node_hwmon_beep_enabled";
    } else if (file.type == "vrm") {
      name = "node_hwmon_voltage_regulator_version";
    } else if (file.type == "update_interval") {
      name = "node_hwmon_update_interval_seconds";
      reading.divisor = 1000;
    } else {
      reading = reading_of(file.type, file.element, has_plain);
      name = fmt::format("node_hwmon_{}{}", file.type, reading.suffix);
    }
    // Elements beyond the documented ones come from drivers, not from strangers; but they are many.
    constexpr std::size_t kMaxElements = 1024;
    if (known_.size() >= kMaxElements) known_.clear();
    for (char& c : name) {
      if (c == ':') c = '_';
    }
    const Known known{registry_.family(name, reading.type,
                                       fmt::format("Hardware monitor {} element {}.", file.type,
                                                   base::sanitize_utf8(file.element))),
                      reading.divisor};
    return known_.emplace(key_, known).first->second;
  }

  const std::string path_;
  knowledge::SeriesRegistry& registry_;
  const NameFilter chips_;
  const NameFilter sensors_;
  const FamilyId names_family_;
  const FamilyId label_family_;
  NameList names_;
  NameList own_;
  NameList devices_;
  std::map<std::string, Known, std::less<>> known_;
  std::string chip_;
  std::string sensor_;
  std::string key_;
  Complaints complaints_;
  SmallFiles files_{complaints_};
};

Result<NameFilter> filter_of(const CollectorContext& context, std::string_view what) {
  const std::string include =
      option_string(context, kHwmonCollector, fmt::format("{}_include", what));
  const std::string exclude =
      option_string(context, kHwmonCollector, fmt::format("{}_exclude", what));
  if (!include.empty() && !exclude.empty())
    return fail(Errc::kInvalidArgument, "{0}_include and {0}_exclude: expected only one of the two",
                what);
  return NameFilter::make(include, exclude);
}

Result<std::unique_ptr<Collector>> make(const CollectorContext& context) {
  auto chips = filter_of(context, "chip");
  if (!chips) return propagate(std::move(chips));
  auto sensors = filter_of(context, "sensor");
  if (!sensors) return propagate(std::move(sensors));
  return std::make_unique<HwmonCollector>(context, std::move(*chips), std::move(*sensors));
}

}  // namespace

const CollectorDescriptor kHwmonCollector = {
    .name = "hwmon",
    .help = "Temperatures, fans, voltages, powers and their limits.",
    // Chips behind slow buses are asked value by value.
    .default_interval = Millis(10'000),
    .options = kOptions,
    .metrics = kMetrics,
    .make = make,
};

}  // namespace nexus::monitor
