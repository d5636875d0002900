// netdev: traffic, errors and drops of every network device, from /proc/net/dev; rx_nohandler from
// sysfs.
//
// The loopback device is left out by default, as in Debian's node_exporter.
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/device_filter.hpp"
#include "monitor/families.hpp"
#include "monitor/named_lines.hpp"
#include "nexus/host/file.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kOptions = {
    OptionDescriptor{"device_include", OptionType::kRegex, "''",
                     "Devices that are taken; all when empty. Not together with device_exclude."},
    OptionDescriptor{"device_exclude", OptionType::kRegex, "'^lo$'", "Devices that are left out."},
    OptionDescriptor{"nohandler", OptionType::kBool, "true",
                     "Also node_network_receive_nohandler_total, one more file a device."},
};

#define NEXUS_NETDEV_METRIC(name)                                       \
  MetricDescriptor{"node_network_" name "_total", MetricType::kCounter, \
                   "Network device statistic " name "."}
// In the order of the columns of /proc/net/dev (net/core/net-procfs.c), then the one of sysfs.
constexpr std::array kMetrics = {
    NEXUS_NETDEV_METRIC("receive_bytes"),      NEXUS_NETDEV_METRIC("receive_packets"),
    NEXUS_NETDEV_METRIC("receive_errs"),       NEXUS_NETDEV_METRIC("receive_drop"),
    NEXUS_NETDEV_METRIC("receive_fifo"),       NEXUS_NETDEV_METRIC("receive_frame"),
    NEXUS_NETDEV_METRIC("receive_compressed"), NEXUS_NETDEV_METRIC("receive_multicast"),
    NEXUS_NETDEV_METRIC("transmit_bytes"),     NEXUS_NETDEV_METRIC("transmit_packets"),
    NEXUS_NETDEV_METRIC("transmit_errs"),      NEXUS_NETDEV_METRIC("transmit_drop"),
    NEXUS_NETDEV_METRIC("transmit_fifo"),      NEXUS_NETDEV_METRIC("transmit_colls"),
    NEXUS_NETDEV_METRIC("transmit_carrier"),   NEXUS_NETDEV_METRIC("transmit_compressed"),
    NEXUS_NETDEV_METRIC("receive_nohandler"),
};
#undef NEXUS_NETDEV_METRIC

constexpr std::size_t kColumns = kMetrics.size() - 1;
constexpr std::size_t kMaxDevices = 65'536;

struct Device {
  bool wanted = false;
  std::string nohandler;  // path of the file; empty when there is none (before Linux 4.6) or it is
                          // not wanted
};

class NetdevCollector final : public Collector {
 public:
  NetdevCollector(const CollectorContext& context, NameFilter filter)
      : path_(context.roots.proc("net/dev")),
        class_path_(context.roots.sys("class/net/")),
        wants_nohandler_(option_bool(context, kNetdevCollector, "nohandler")),
        filter_(std::move(filter)),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    return read_named_lines(buffer_, path_, "network device statistics", devices_, complaints_,
                            [&](std::size_t number, std::string_view line) {
                              if (line.find('|') == std::string_view::npos)
                                add(sink, number, line);  // no heading
                            });
  }

 private:
  void add(Sink& sink, std::size_t number, std::string_view line) {
    const std::size_t colon = line.rfind(':');
    if (colon == std::string_view::npos)
      return complaints_.add(path_, number, "DEVICE: NUMBERS", line);
    const std::string_view name = base::trim(line.substr(0, colon));
    if (name.empty()) return complaints_.add(path_, number, "a device's name", line);
    Device* device =
        devices_.next(name, [&](std::string_view fresh) { return make_device(fresh); });
    if (device == nullptr)
      return complaints_.add(path_, number, "each device once, at most 65536", name);
    if (!device->wanted) return;
    std::string_view rest = line.substr(colon + 1);
    for (std::size_t i = 0; i < kColumns; ++i) {
      const std::string_view word = next_word(rest);
      if (const auto count = base::parse_uint(word)) {
        sink.add(families_[i], {{"device", name}}, static_cast<double>(*count));
      } else {
        complaints_.add(path_, number, "16 numbers", word);
      }
    }
    if (!device->nohandler.empty()) add_nohandler(sink, name, *device);
  }

  void add_nohandler(Sink& sink, std::string_view name, Device& device) {
    const auto text = small_buffer_.read(device.nohandler);
    if (!text) return device.nohandler.clear();  // no such file, or the device has just gone
    if (const auto count = base::parse_uint(base::trim(*text))) {
      sink.add(families_[kColumns], {{"device", name}}, static_cast<double>(*count));
    } else {
      complaints_.add(device.nohandler, 1, "a number", base::trim(*text));
    }
  }

  Device make_device(std::string_view name) {
    Device device{.wanted = filter_.accepts(name), .nohandler = {}};
    // The kernel forbids these names (dev_valid_name()); a recorded tree might not.
    const bool is_path = name.find('/') != std::string_view::npos || name.starts_with('.');
    if (device.wanted && wants_nohandler_ && !is_path) {
      device.nohandler = class_path_ + std::string(name) + "/statistics/rx_nohandler";
    }
    return device;
  }

  const std::string path_;
  const std::string class_path_;
  const bool wants_nohandler_;
  const NameFilter filter_;
  const std::array<FamilyId, kMetrics.size()> families_;
  host::FileBuffer buffer_;
  host::FileBuffer small_buffer_;
  NameTable<Device> devices_{kMaxDevices};
  Complaints complaints_;
};

Result<std::unique_ptr<Collector>> make(const CollectorContext& context) {
  auto filter = device_filter(context, kNetdevCollector);
  if (!filter) return propagate(std::move(filter));
  return std::make_unique<NetdevCollector>(context, std::move(*filter));
}

}  // namespace

const CollectorDescriptor kNetdevCollector = {
    .name = "netdev",
    .help = "Traffic, errors and drops of every network device.",
    .options = kOptions,
    .metrics = kMetrics,
    .make = make,
};

}  // namespace nexus::monitor
