// wifi: wireless interfaces and their stations, by generic netlink (nl80211).
#include <linux/genetlink.h>
#include <linux/nl80211.h>

#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/tcp_sockets.hpp"
#include "nexus/base/text.hpp"

namespace nexus::monitor {
namespace {

enum Metric : std::size_t {
  kFrequency,
  kInfo,
  kConnected,
  kInactive,
  kReceiveRate,
  kTransmitRate,
  kReceiveBytes,
  kTransmitBytes,
  kSignal,
  kRetries,
  kFailed,
  kBeaconLoss,
  kReceivedPackets,
  kTransmittedPackets,
};
constexpr std::array kMetrics = {
    MetricDescriptor{"node_wifi_interface_frequency_hertz", MetricType::kGauge,
                     "The current frequency a WiFi interface is operating at, in hertz."},
    MetricDescriptor{
        "node_wifi_station_info", MetricType::kGauge,
        "Labeled WiFi interface station information as provided by the operating system."},
    MetricDescriptor{"node_wifi_station_connected_seconds_total", MetricType::kCounter,
                     "The total number of seconds a station has been connected to an access "
                     "point."},
    MetricDescriptor{"node_wifi_station_inactive_seconds", MetricType::kGauge,
                     "The number of seconds since any wireless activity has occurred on a "
                     "station."},
    MetricDescriptor{"node_wifi_station_receive_bits_per_second", MetricType::kGauge,
                     "The current WiFi receive bitrate of a station, in bits per second."},
    MetricDescriptor{"node_wifi_station_transmit_bits_per_second", MetricType::kGauge,
                     "The current WiFi transmit bitrate of a station, in bits per second."},
    MetricDescriptor{"node_wifi_station_receive_bytes_total", MetricType::kCounter,
                     "The total number of bytes received by a WiFi station."},
    MetricDescriptor{"node_wifi_station_transmit_bytes_total", MetricType::kCounter,
                     "The total number of bytes transmitted by a WiFi station."},
    MetricDescriptor{"node_wifi_station_signal_dbm", MetricType::kGauge,
                     "The current WiFi signal strength, in decibel-milliwatts (dBm)."},
    MetricDescriptor{
        "node_wifi_station_transmit_retries_total", MetricType::kCounter,
        "The total number of times a station has had to retry while sending a packet."},
    MetricDescriptor{"node_wifi_station_transmit_failed_total", MetricType::kCounter,
                     "The total number of times a station has failed to send a packet."},
    MetricDescriptor{"node_wifi_station_beacon_loss_total", MetricType::kCounter,
                     "The total number of times a station has detected a beacon loss."},
    MetricDescriptor{"node_wifi_station_received_packets_total", MetricType::kCounter,
                     "The total number of packets received by a station."},
    MetricDescriptor{"node_wifi_station_transmitted_packets_total", MetricType::kCounter,
                     "The total number of packets transmitted by a station."},
};

struct Interface {
  std::uint32_t index = 0;
  std::string name;
  std::uint32_t megahertz = 0;
};

std::string mac(Bytes bytes) {
  std::string out;
  for (const std::byte b : bytes.first(std::min<std::size_t>(bytes.size(), 6)))
    fmt::format_to(std::back_inserter(out), "{}{:02x}", out.empty() ? "" : ":",
                   static_cast<unsigned>(b));
  return out;
}

double unsigned_of(Bytes bytes) {
  return static_cast<double>(read_padded<std::uint64_t>(bytes));  // of 1 to 8 bytes, little endian
}

/// In units of 100 kbit/s.
double rate_of(Bytes nested) {
  double rate = 0;
  for_each_attribute(nested, [&](unsigned type, Bytes value) {
    if (type == NL80211_RATE_INFO_BITRATE32) rate = unsigned_of(value);
    if (type == NL80211_RATE_INFO_BITRATE && rate == 0) rate = unsigned_of(value);
  });
  return rate * 100'000;
}

class WifiCollector final : public Collector {
 public:
  explicit WifiCollector(const CollectorContext& context)
      : is_live_(is_live(context.roots)), families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    if (!is_live_) return fail(Errc::kNotFound, "these are not the devices of this host");
    auto netlink = Netlink::open(NETLINK_GENERIC);
    if (!netlink) return propagate(std::move(netlink));
    const auto family = netlink->family(NL80211_GENL_NAME);
    if (!family) return fail(Errc::kNotFound, "{}", family.error().message());
    family_ = *family;
    std::vector<Interface> interfaces;
    Status asked = ask(*netlink, NL80211_CMD_GET_INTERFACE, 0, [&](Bytes attributes) {
      if (auto found = interface_of(attributes); !found.name.empty())
        interfaces.push_back(std::move(found));
    });
    if (!asked) return asked;
    if (interfaces.empty()) return fail(Errc::kNotFound, "no wireless interface");
    for (const Interface& interface : interfaces) {
      sink.add(families_[kFrequency], {{"device", interface.name}}, interface.megahertz * 1e6);
      if (asked) asked = add_networks(sink, *netlink, interface);
      if (asked) asked = add_stations(sink, *netlink, interface);
    }
    return asked;
  }

 private:
  template <typename Visit>
  Status ask(Netlink& netlink, std::uint8_t command, std::uint32_t index, Visit&& visit) const {
    NetlinkRequest request(family_, NLM_F_DUMP);
    request.put(genlmsghdr{.cmd = command, .version = 0, .reserved = 0});
    if (index != 0) request.attribute(NL80211_ATTR_IFINDEX, std::as_bytes(std::span(&index, 1)));
    return netlink.ask(request, [&](unsigned, Bytes payload) {
      if (payload.size() > sizeof(genlmsghdr)) visit(payload.subspan(sizeof(genlmsghdr)));
    });
  }

  static Interface interface_of(Bytes attributes) {
    Interface out;
    for_each_attribute(attributes, [&](unsigned type, Bytes value) {
      if (type == NL80211_ATTR_IFINDEX) out.index = read_padded<std::uint32_t>(value);
      if (type == NL80211_ATTR_IFNAME) out.name = base::sanitize_utf8(text_of(value));
      if (type == NL80211_ATTR_WIPHY_FREQ) out.megahertz = read_padded<std::uint32_t>(value);
    });
    return out;
  }

  /// Those that the interface is part of.
  Status add_networks(Sink& sink, Netlink& netlink, const Interface& interface) const {
    return ask(netlink, NL80211_CMD_GET_SCAN, interface.index, [&](Bytes attributes) {
      for_each_attribute(attributes, [&](unsigned type, Bytes bss) {
        if (type == NL80211_ATTR_BSS) add_network(sink, interface, bss);
      });
    });
  }

  void add_network(Sink& sink, const Interface& interface, Bytes bss) const {
    std::optional<std::uint32_t> status;
    std::string bssid;
    std::string ssid;
    for_each_attribute(bss, [&](unsigned type, Bytes value) {
      if (type == NL80211_BSS_STATUS) status = read_padded<std::uint32_t>(value);
      if (type == NL80211_BSS_BSSID) bssid = mac(value);
      if (type == NL80211_BSS_INFORMATION_ELEMENTS) ssid = ssid_of(value);
    });
    if (!status) return;
    const std::string_view mode = *status == NL80211_BSS_STATUS_IBSS_JOINED  ? "ad-hoc"
                                  : *status <= NL80211_BSS_STATUS_ASSOCIATED ? "client"
                                                                             : "unknown";
    sink.add(families_[kInfo],
             {{"bssid", bssid}, {"device", interface.name}, {"mode", mode}, {"ssid", ssid}}, 1);
  }

  /// Information elements: a byte of type, a byte of length, the value; 0 is the name.
  static std::string ssid_of(Bytes elements) {
    while (elements.size() >= 2) {
      const auto length = static_cast<std::size_t>(elements[1]);
      if (elements.size() < 2 + length) return {};
      const Bytes value = elements.subspan(2, length);
      if (elements[0] == std::byte{0})
        return base::sanitize_utf8({reinterpret_cast<const char*>(value.data()), value.size()});
      elements = elements.subspan(2 + length);
    }
    return {};
  }

  Status add_stations(Sink& sink, Netlink& netlink, const Interface& interface) const {
    return ask(netlink, NL80211_CMD_GET_STATION, interface.index, [&](Bytes attributes) {
      std::string address;
      Bytes info;
      for_each_attribute(attributes, [&](unsigned type, Bytes value) {
        if (type == NL80211_ATTR_MAC) address = mac(value);
        if (type == NL80211_ATTR_STA_INFO) info = value;
      });
      add_station(sink, interface, address, info);
    });
  }

  void add_station(Sink& sink, const Interface& interface, const std::string& address,
                   Bytes info) const {
    std::array<double, kMetrics.size()> values{};
    bool wide_received = false;
    bool wide_sent = false;
    for_each_attribute(info, [&](unsigned type, Bytes value) {
      if (type == NL80211_STA_INFO_CONNECTED_TIME) values[kConnected] = unsigned_of(value);
      if (type == NL80211_STA_INFO_INACTIVE_TIME) values[kInactive] = unsigned_of(value) / 1000;
      if (type == NL80211_STA_INFO_RX_BITRATE) values[kReceiveRate] = rate_of(value);
      if (type == NL80211_STA_INFO_TX_BITRATE) values[kTransmitRate] = rate_of(value);
      if (type == NL80211_STA_INFO_RX_BYTES && !wide_received)
        values[kReceiveBytes] = unsigned_of(value);
      if (type == NL80211_STA_INFO_TX_BYTES && !wide_sent)
        values[kTransmitBytes] = unsigned_of(value);
      if (type == NL80211_STA_INFO_RX_BYTES64) {
        values[kReceiveBytes] = unsigned_of(value);
        wide_received = true;
      }
      if (type == NL80211_STA_INFO_TX_BYTES64) {
        values[kTransmitBytes] = unsigned_of(value);
        wide_sent = true;
      }
      if (type == NL80211_STA_INFO_SIGNAL) values[kSignal] = read_padded<std::int8_t>(value);
      if (type == NL80211_STA_INFO_TX_RETRIES) values[kRetries] = unsigned_of(value);
      if (type == NL80211_STA_INFO_TX_FAILED) values[kFailed] = unsigned_of(value);
      if (type == NL80211_STA_INFO_BEACON_LOSS) values[kBeaconLoss] = unsigned_of(value);
      if (type == NL80211_STA_INFO_RX_PACKETS) values[kReceivedPackets] = unsigned_of(value);
      if (type == NL80211_STA_INFO_TX_PACKETS) values[kTransmittedPackets] = unsigned_of(value);
    });
    for (std::size_t i = kConnected; i < kMetrics.size(); ++i)
      sink.add(families_[i], {{"device", interface.name}, {"mac_address", address}}, values[i]);
  }

  const bool is_live_;
  const std::array<FamilyId, kMetrics.size()> families_;
  std::uint16_t family_ = 0;
};

}  // namespace

const CollectorDescriptor kWifiCollector = {
    .name = "wifi",
    .help = "Wireless interfaces and their stations.",
    .enabled_by_default = false,
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<WifiCollector>(context);
    },
};

}  // namespace nexus::monitor
