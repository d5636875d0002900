// netdev: traffic, errors and drops of every network device, from /proc/net/dev; rx_nohandler from
// sysfs.
//
// The loopback device is left out by default, as in Debian's node_exporter.
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>

#include <array>
#include <bit>
#include <memory>

#include "monitor/collectors.hpp"
#include "monitor/device_filter.hpp"
#include "monitor/families.hpp"
#include "monitor/named_lines.hpp"
#include "monitor/small_files.hpp"
#include "nexus/host/file.hpp"
#include "nexus/host/kept_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kOptions = {
    OptionDescriptor{"device_include", OptionType::kRegex, "''",
                     "Devices that are taken; all when empty. Not together with device_exclude."},
    OptionDescriptor{"device_exclude", OptionType::kRegex, "'^lo$'", "Devices that are left out."},
    OptionDescriptor{"nohandler", OptionType::kBool, "true",
                     "Also node_network_receive_nohandler_total, one more file a device."},
    OptionDescriptor{"detailed_metrics", OptionType::kBool, "false",
                     "The kernel's own counters of errors instead of the sums of /proc/net/dev, "
                     "under other names, from sysfs."},
    OptionDescriptor{"address_info", OptionType::kBool, "false",
                     "Also node_network_address_info, the addresses of every device of the running "
                     "machine."},
};

#define NEXUS_NETDEV_METRIC(name)                                       \
  MetricDescriptor{"node_network_" name "_total", MetricType::kCounter, \
                   "Network device statistic " name "."}
// In the order of the columns of /proc/net/dev (net/core/net-procfs.c), then the one of sysfs.
constexpr std::array kMetrics = {
    NEXUS_NETDEV_METRIC("receive_bytes"),
    NEXUS_NETDEV_METRIC("receive_packets"),
    NEXUS_NETDEV_METRIC("receive_errs"),
    NEXUS_NETDEV_METRIC("receive_drop"),
    NEXUS_NETDEV_METRIC("receive_fifo"),
    NEXUS_NETDEV_METRIC("receive_frame"),
    NEXUS_NETDEV_METRIC("receive_compressed"),
    NEXUS_NETDEV_METRIC("receive_multicast"),
    NEXUS_NETDEV_METRIC("transmit_bytes"),
    NEXUS_NETDEV_METRIC("transmit_packets"),
    NEXUS_NETDEV_METRIC("transmit_errs"),
    NEXUS_NETDEV_METRIC("transmit_drop"),
    NEXUS_NETDEV_METRIC("transmit_fifo"),
    NEXUS_NETDEV_METRIC("transmit_colls"),
    NEXUS_NETDEV_METRIC("transmit_carrier"),
    NEXUS_NETDEV_METRIC("transmit_compressed"),
    NEXUS_NETDEV_METRIC("receive_nohandler"),
    // With detailed_metrics, in place of the columns that are errors:
    NEXUS_NETDEV_METRIC("receive_errors"),
    NEXUS_NETDEV_METRIC("receive_dropped"),
    NEXUS_NETDEV_METRIC("receive_missed_errors"),
    NEXUS_NETDEV_METRIC("receive_fifo_errors"),
    NEXUS_NETDEV_METRIC("receive_length_errors"),
    NEXUS_NETDEV_METRIC("receive_over_errors"),
    NEXUS_NETDEV_METRIC("receive_crc_errors"),
    NEXUS_NETDEV_METRIC("receive_frame_errors"),
    NEXUS_NETDEV_METRIC("multicast"),
    NEXUS_NETDEV_METRIC("collisions"),
    NEXUS_NETDEV_METRIC("transmit_errors"),
    NEXUS_NETDEV_METRIC("transmit_dropped"),
    NEXUS_NETDEV_METRIC("transmit_fifo_errors"),
    NEXUS_NETDEV_METRIC("transmit_aborted_errors"),
    NEXUS_NETDEV_METRIC("transmit_carrier_errors"),
    NEXUS_NETDEV_METRIC("transmit_heartbeat_errors"),
    NEXUS_NETDEV_METRIC("transmit_window_errors"),
    MetricDescriptor{"node_network_address_info", MetricType::kGauge,
                     "Node network address by device."},
};
#undef NEXUS_NETDEV_METRIC

constexpr std::size_t kColumns = 16;
constexpr std::size_t kDetailed = kColumns + 1;
constexpr std::size_t kAddress = kMetrics.size() - 1;
// Files of /sys/class/net/<device>/statistics
// (Documentation/ABI/testing/sysfs-class-net-statistics).
constexpr std::array kDetailedFiles = {
    NumberFile{"rx_bytes", 0},
    NumberFile{"rx_packets", 1},
    NumberFile{"rx_compressed", 6},
    NumberFile{"tx_bytes", 8},
    NumberFile{"tx_packets", 9},
    NumberFile{"tx_compressed", 15},
    NumberFile{"rx_nohandler", kColumns},
    NumberFile{"rx_errors", kDetailed},
    NumberFile{"rx_dropped", kDetailed + 1},
    NumberFile{"rx_missed_errors", kDetailed + 2},
    NumberFile{"rx_fifo_errors", kDetailed + 3},
    NumberFile{"rx_length_errors", kDetailed + 4},
    NumberFile{"rx_over_errors", kDetailed + 5},
    NumberFile{"rx_crc_errors", kDetailed + 6},
    NumberFile{"rx_frame_errors", kDetailed + 7},
    NumberFile{"multicast", kDetailed + 8},
    NumberFile{"collisions", kDetailed + 9},
    NumberFile{"tx_errors", kDetailed + 10},
    NumberFile{"tx_dropped", kDetailed + 11},
    NumberFile{"tx_fifo_errors", kDetailed + 12},
    NumberFile{"tx_aborted_errors", kDetailed + 13},
    NumberFile{"tx_carrier_errors", kDetailed + 14},
    NumberFile{"tx_heartbeat_errors", kDetailed + 15},
    NumberFile{"tx_window_errors", kDetailed + 16},
};
constexpr std::size_t kMaxDevices = 65'536;

struct Device {
  bool wanted = false;
  std::string nohandler;  // path of the file; empty when there is none (before Linux 4.6) or it is
                          // not wanted
  host::KeptFile file;    // that of nohandler
};

class NetdevCollector final : public Collector {
 public:
  NetdevCollector(const CollectorContext& context, NameFilter filter)
      : path_(context.roots.proc("net/dev")),
        class_path_(context.roots.sys("class/net/")),
        wants_nohandler_(option_bool(context, kNetdevCollector, "nohandler")),
        wants_details_(option_bool(context, kNetdevCollector, "detailed_metrics")),
        wants_addresses_(option_bool(context, kNetdevCollector, "address_info")),
        filter_(std::move(filter)),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    if (wants_addresses_) add_addresses(sink);
    return read_named_lines(buffer_, path_, host::Record::kShort, "network device statistics",
                            devices_, complaints_, [&](std::size_t number, std::string_view line) {
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
    if (wants_details_) return add_details(sink, name);
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

  void add_details(Sink& sink, std::string_view name) {
    if (name.find('/') != std::string_view::npos || name.starts_with('.')) return;
    directory_.assign(class_path_).append(name).append("/statistics");
    const auto statistics = SmallDir::open(directory_);
    const LabelView label{"device", name};
    if (statistics)
      files_.add_numbers(sink, *statistics, kDetailedFiles, families_, std::span(&label, 1));
  }

  /// Of the running machine: no file tells.
  void add_addresses(Sink& sink) {
    ifaddrs* list = nullptr;
    if (::getifaddrs(&list) != 0) return complaints_.add(Error::from_errno("getifaddrs"));
    const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> owner(list, ::freeifaddrs);
    for (const ifaddrs* one = list; one != nullptr; one = one->ifa_next) {
      if (one->ifa_addr == nullptr || one->ifa_netmask == nullptr ||
          !filter_.accepts(one->ifa_name))
        continue;
      add_address(sink, *one);
    }
  }

  void add_address(Sink& sink, const ifaddrs& one) {
    std::array<char, INET6_ADDRSTRLEN> text{};
    int bits = 0;
    std::string_view scope = "global";
    if (one.ifa_addr->sa_family == AF_INET) {
      const auto& address = reinterpret_cast<const sockaddr_in*>(one.ifa_addr)->sin_addr;
      const auto& mask = reinterpret_cast<const sockaddr_in*>(one.ifa_netmask)->sin_addr;
      ::inet_ntop(AF_INET, &address, text.data(), text.size());
      bits = std::popcount(mask.s_addr);
      if ((ntohl(address.s_addr) >> 24) == 127) scope = "";
      if ((ntohl(address.s_addr) >> 16) == 0xa9fe) scope = "link-local";
    } else if (one.ifa_addr->sa_family == AF_INET6) {
      const auto& address = reinterpret_cast<const sockaddr_in6*>(one.ifa_addr)->sin6_addr;
      const auto& mask = reinterpret_cast<const sockaddr_in6*>(one.ifa_netmask)->sin6_addr;
      ::inet_ntop(AF_INET6, &address, text.data(), text.size());
      for (const std::uint8_t byte : mask.s6_addr) bits += std::popcount(byte);
      if (IN6_IS_ADDR_LOOPBACK(&address)) scope = "";
      if (IN6_IS_ADDR_LINKLOCAL(&address)) scope = "link-local";
    } else {
      return;
    }
    char length[8];
    const auto end = fmt::format_to(length, "{}", bits);
    sink.add(families_[kAddress],
             {{"device", one.ifa_name},
              {"address", text.data()},
              {"netmask", std::string_view(length, static_cast<std::size_t>(end - length))},
              {"scope", scope}},
             1);
  }

  void add_nohandler(Sink& sink, std::string_view name, Device& device) {
    const auto text = device.file.read(device.nohandler, small_bytes_, host::Record::kWholeFile);
    if (!text) return device.nohandler.clear();  // no such file, or the device has just gone
    if (const auto count = base::parse_uint(base::trim(*text))) {
      sink.add(families_[kColumns], {{"device", name}}, static_cast<double>(*count));
    } else {
      complaints_.add(device.nohandler, 1, "a number", base::trim(*text));
    }
  }

  Device make_device(std::string_view name) {
    Device device{.wanted = filter_.accepts(name), .nohandler = {}, .file = {}};
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
  const bool wants_details_;
  const bool wants_addresses_;
  const NameFilter filter_;
  const std::array<FamilyId, kMetrics.size()> families_;
  host::KeptFiles buffer_;
  std::vector<char> small_bytes_;
  NameTable<Device> devices_{kMaxDevices};
  std::string directory_;
  Complaints complaints_;
  SmallFiles files_{complaints_};
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
