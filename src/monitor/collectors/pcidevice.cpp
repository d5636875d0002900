// pcidevice: PCI devices, their links, power states and virtual functions, from
// /sys/bus/pci/devices.
//
// As node_exporter: what a device does not have is -1 for its link, 0 otherwise; names of vendors
// and devices are looked up in a pci.ids file where `names` says so, once a device.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>

#include "monitor/families.hpp"
#include "monitor/parse.hpp"
#include "monitor/pci_names.hpp"
#include "nexus/host/file.hpp"
#include "nexus/monitor/collector.hpp"

namespace nexus::monitor {

extern const CollectorDescriptor kPcideviceCollector;  // of table.cpp

namespace {

enum Metric : std::size_t {
  kMaxSpeed,
  kMaxWidth,
  kSpeed,
  kWidth,
  kCold,
  kAutoprobe,
  kFunctions,
  kTotalFunctions,
  kMsix,
  kPowerState,
  kNumaNode,
  kInfo,
};
constexpr std::array kMetrics = {
    MetricDescriptor{"node_pcidevice_max_link_transfers_per_second", MetricType::kGauge,
                     "Value of maximum link's transfers per second (T/s)"},
    MetricDescriptor{"node_pcidevice_max_link_width", MetricType::kGauge,
                     "Value of maximum link's width (number of lanes)"},
    MetricDescriptor{"node_pcidevice_current_link_transfers_per_second", MetricType::kGauge,
                     "Value of current link's transfers per second (T/s)"},
    MetricDescriptor{"node_pcidevice_current_link_width", MetricType::kGauge,
                     "Value of current link's width (number of lanes)"},
    MetricDescriptor{"node_pcidevice_d3cold_allowed", MetricType::kGauge,
                     "Whether the PCIe device supports D3cold power state (0/1)."},
    MetricDescriptor{"node_pcidevice_sriov_drivers_autoprobe", MetricType::kGauge,
                     "Whether SR-IOV drivers autoprobe is enabled for the device (0/1)."},
    MetricDescriptor{"node_pcidevice_sriov_numvfs", MetricType::kGauge,
                     "Number of Virtual Functions (VFs) currently enabled for SR-IOV."},
    MetricDescriptor{"node_pcidevice_sriov_totalvfs", MetricType::kGauge,
                     "Total number of Virtual Functions (VFs) supported by the device."},
    MetricDescriptor{"node_pcidevice_sriov_vf_total_msix", MetricType::kGauge,
                     "Total number of MSI-X vectors for Virtual Functions."},
    MetricDescriptor{
        "node_pcidevice_power_state", MetricType::kGauge,
        "PCIe device power state, one of: D0, D1, D2, D3hot, D3cold, unknown or error."},
    MetricDescriptor{"node_pcidevice_numa_node", MetricType::kGauge,
                     "NUMA node number for the PCI device. -1 indicates unknown or not available."},
    MetricDescriptor{"node_pcidevice_info", MetricType::kGauge,
                     "Non-numeric data from /sys/bus/pci/devices/<location>, value is always 1."},
};

constexpr std::array<std::string_view, 7> kPowerStates = {"D0",     "D1",      "D2",   "D3hot",
                                                          "D3cold", "unknown", "error"};

constexpr std::array kOptions = {
    OptionDescriptor{"names", OptionType::kBool, "false",
                     "Also names of vendor, device, subsystem and class, as labels of "
                     "node_pcidevice_info."},
    OptionDescriptor{"ids_file", OptionType::kString, "''",
                     "The pci.ids file with the names; empty: where Debian's and others' packages "
                     "have it."},
};
constexpr std::array<std::string_view, 2> kIdsFiles = {"usr/share/misc/pci.ids",
                                                       "usr/share/hwdata/pci.ids"};

struct Location {
  std::string segment, bus, device, function;
};

/// 0000:00:1f.2
std::optional<Location> parse_location(std::string_view text) {
  std::string_view rest = text;
  Location out;
  out.segment = base::take_until(rest, ':');
  out.bus = base::take_until(rest, ':');
  out.device = base::take_until(rest, '.');
  out.function = rest;
  for (const std::string* part : {&out.segment, &out.bus, &out.device, &out.function}) {
    if (!base::parse_uint(*part, 16)) return std::nullopt;
  }
  return out;
}

class PcideviceCollector final : public Collector {
 public:
  explicit PcideviceCollector(const CollectorContext& context)
      : directory_(context.roots.sys("bus/pci/devices")),
        wants_names_(option_bool(context, kPcideviceCollector, "names")),
        ids_files_(ids_files(context)),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    const auto names = host::list_directory(directory_);
    if (!names) return std::unexpected(names.error());
    if (wants_names_) learn_names(*names);
    for (const std::string& name : *names) {
      const auto location = parse_location(name);
      if (location) {
        add(sink, name, *location);
      } else {
        complaints_.add(directory_, 1, "SEGMENT:BUS:DEVICE.FUNCTION", name);
      }
    }
    return complaints_.take();
  }

 private:
  void add(Sink& sink, const std::string& name, const Location& location) {
    device_ = directory_ + "/" + name + "/";
    const std::array<LabelView, 4> labels = {
        LabelView{"bus", location.bus}, LabelView{"device", location.device},
        LabelView{"function", location.function}, LabelView{"segment", location.segment}};
    add_info(sink, name, labels);
    const auto add = [&](Metric metric, double value) {
      sink.add(families_[metric], labels, value);
    };
    add(kMaxSpeed, speed("max_link_speed"));
    add(kMaxWidth, number("max_link_width", -1));
    add(kSpeed, speed("current_link_speed"));
    add(kWidth, number("current_link_width", -1));
    add(kCold, number("d3cold_allowed", 0));
    add(kAutoprobe, number("sriov_drivers_autoprobe", 0));
    add(kFunctions, number("sriov_numvfs", 0));
    add(kTotalFunctions, number("sriov_totalvfs", 0));
    add(kMsix, number("sriov_vf_total_msix", 0));
    add_power_state(sink, labels);
    if (const double node = number("numa_node", -1); node != -1) add(kNumaNode, node);
  }

  void add_info(Sink& sink, const std::string& name, const std::array<LabelView, 4>& labels) {
    const Location parent = parent_of(name);
    const PciIds numbers = read_ids();
    const std::string ids[] = {fmt::format("0x{:06x}", numbers.class_id),
                               fmt::format("0x{:04x}", numbers.vendor),
                               fmt::format("0x{:04x}", numbers.device),
                               fmt::format("0x{:04x}", numbers.subsystem_vendor),
                               fmt::format("0x{:04x}", numbers.subsystem_device),
                               fmt::format("0x{:02x}", id("revision"))};
    static const PciNames kNone;  // an empty label is none
    const auto known = names_.find(numbers);
    const PciNames& words = known != names_.end() ? known->second : kNone;
    const std::array<LabelView, 19> all = {
        labels[0],
        LabelView{"class_id", ids[0]},
        labels[1],
        LabelView{"device_id", ids[2]},
        labels[2],
        LabelView{"parent_bus", parent.bus},
        LabelView{"parent_device", parent.device},
        LabelView{"parent_function", parent.function},
        LabelView{"parent_segment", parent.segment},
        LabelView{"revision", ids[5]},
        labels[3],
        LabelView{"subsystem_device_id", ids[4]},
        LabelView{"subsystem_vendor_id", ids[3]},
        LabelView{"vendor_id", ids[1]},
        LabelView{"vendor_name", words.vendor},
        LabelView{"device_name", words.device},
        LabelView{"subsystem_vendor_name", words.subsystem_vendor},
        LabelView{"subsystem_device_name", words.subsystem_device},
        LabelView{"class_name", words.class_name}};
    sink.add(families_[kInfo], all, 1);
  }

  /// The entries are links into /sys/devices/pci0000:00/PARENT/DEVICE.
  Location parent_of(const std::string& name) const {
    std::array<char, 1024> target{};
    const ssize_t size =
        ::readlink((directory_ + "/" + name).c_str(), target.data(), target.size());
    std::string_view path(target.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
    path = path.substr(0, std::min(path.size(), path.rfind('/')));
    const auto parent = parse_location(path.substr(path.rfind('/') + 1));
    return parent ? *parent : Location{"*", "*", "*", "*"};
  }

  void add_power_state(Sink& sink, const std::array<LabelView, 4>& labels) {
    const auto content = buffer_.read(device_ + "power_state");
    if (!content) return;
    const std::string state(base::trim(*content));
    for (const std::string_view known : kPowerStates) {
      const std::array<LabelView, 5> all = {labels[0], labels[1], labels[2], labels[3],
                                            LabelView{"state", known}};
      sink.add(families_[kPowerState], all, state == known ? 1 : 0);
    }
  }

  double number(std::string_view file, double fallback) {
    const std::string path = device_ + std::string(file);
    const auto content = buffer_.read(path);
    if (!content) return fallback;  // a file that cannot be read is of a device without the thing
    const auto value = base::parse_int(base::trim(*content));
    if (value) return static_cast<double>(*value);
    complaints_.add(path, 1, "a number", base::trim(*content));
    return fallback;
  }

  /// "8.0 GT/s PCIe", "Unknown"
  double speed(std::string_view file) {
    const auto content = buffer_.read(device_ + std::string(file));
    if (!content) return -1;
    std::string_view rest = base::trim(*content);
    const auto value = base::parse_double(next_word(rest));
    return value && rest.find("GT/s") != std::string_view::npos ? *value * 1e9 : -1;
  }

  static std::vector<std::string> ids_files(const CollectorContext& context) {
    const std::string chosen = option_string(context, kPcideviceCollector, "ids_file");
    if (!chosen.empty()) return {chosen};
    std::vector<std::string> all;
    for (const std::string_view path : kIdsFiles) all.push_back(context.roots.root(path));
    return all;
  }

  /// Of device_.
  PciIds read_ids() {
    return {.class_id = static_cast<std::uint32_t>(id("class")) & 0xff'ffffU,
            .vendor = static_cast<std::uint16_t>(id("vendor")),
            .device = static_cast<std::uint16_t>(id("device")),
            .subsystem_vendor = static_cast<std::uint16_t>(id("subsystem_vendor")),
            .subsystem_device = static_cast<std::uint16_t>(id("subsystem_device"))};
  }

  /// Reads the file of names only when a device is there that was not there before.
  void learn_names(const std::vector<std::string>& devices) {
    std::vector<PciIds> present;
    bool is_new = false;
    for (const std::string& name : devices) {
      device_ = directory_ + "/" + name + "/";
      present.push_back(read_ids());
      is_new = is_new || !names_.contains(present.back());
    }
    if (!is_new) return;
    std::string text;
    for (const std::string& path : ids_files_) {
      auto read = host::read_file(path);
      if (read) {
        text = *std::move(read);
        break;
      }
      if (&path == &ids_files_.back()) complaints_.add(read.error());
    }
    // Without the file they are their numbers; the complaint is of the first run only.
    auto found = find_pci_names(text, present);
    names_.clear();
    for (std::size_t i = 0; i < present.size(); ++i) names_[present[i]] = std::move(found[i]);
  }

  /// 0 when there is none.
  std::uint64_t id(std::string_view file) {
    const std::string path = device_ + std::string(file);
    const auto content = buffer_.read(path);
    std::uint64_t value = 0;
    if (content) {
      std::string_view text = base::trim(*content);
      if (text.starts_with("0x")) text.remove_prefix(2);
      const auto parsed = base::parse_uint(text, 16);
      if (!parsed) complaints_.add(path, 1, "a hexadecimal number", text);
      value = parsed.value_or(0);
    }
    return value;
  }

  const std::string directory_;
  const bool wants_names_;
  const std::vector<std::string> ids_files_;
  const std::array<FamilyId, kMetrics.size()> families_;
  std::map<PciIds, PciNames> names_;  // of the devices that are there
  std::string device_;
  host::FileBuffer buffer_;
  Complaints complaints_;
};

}  // namespace

const CollectorDescriptor kPcideviceCollector = {
    .name = "pcidevice",
    .help = "PCI devices, their links, power states and virtual functions.",
    .enabled_by_default = false,
    .options = kOptions,
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<PcideviceCollector>(context);
    },
};

}  // namespace nexus::monitor
