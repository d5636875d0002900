// pcidevice: PCI devices, their links, power states and virtual functions, from
// /sys/bus/pci/devices.
//
// As node_exporter: what a device does not have is -1 for its link, 0 otherwise; names of vendors
// and devices are not looked up.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/parse.hpp"
#include "nexus/host/file.hpp"

namespace nexus::monitor {
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
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    const auto names = host::list_directory(directory_);
    if (!names) return std::unexpected(names.error());
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
    const std::string ids[] = {id("class", 6),
                               id("vendor", 4),
                               id("device", 4),
                               id("subsystem_vendor", 4),
                               id("subsystem_device", 4),
                               id("revision", 2)};
    const std::array<LabelView, 14> all = {labels[0],
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
                                           LabelView{"vendor_id", ids[1]}};
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

  std::string id(std::string_view file, int digits) {
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
    return fmt::format("0x{:0{}x}", value, digits);
  }

  const std::string directory_;
  const std::array<FamilyId, kMetrics.size()> families_;
  std::string device_;
  host::FileBuffer buffer_;
  Complaints complaints_;
};

}  // namespace

const CollectorDescriptor kPcideviceCollector = {
    .name = "pcidevice",
    .help = "PCI devices, their links, power states and virtual functions.",
    .enabled_by_default = false,
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<PcideviceCollector>(context);
    },
};

}  // namespace nexus::monitor
