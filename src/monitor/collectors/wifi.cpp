// wifi: wireless interfaces and their stations, by generic netlink (nl80211).
#include <linux/genetlink.h>
#include <linux/nl80211.h>

#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/nl80211.hpp"
#include "monitor/tcp_sockets.hpp"

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
    std::vector<WifiInterface> interfaces;
    Status asked = ask(*netlink, NL80211_CMD_GET_INTERFACE, 0, [&](Bytes attributes) {
      if (auto found = wifi_interface(attributes); !found.name.empty())
        interfaces.push_back(std::move(found));
    });
    if (!asked) return asked;
    if (interfaces.empty()) return fail(Errc::kNotFound, "no wireless interface");
    for (const WifiInterface& interface : interfaces) {
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

  /// Those that the interface is part of.
  Status add_networks(Sink& sink, Netlink& netlink, const WifiInterface& interface) const {
    return ask(netlink, NL80211_CMD_GET_SCAN, interface.index, [&](Bytes attributes) {
      const auto network = wifi_network(attributes);
      if (!network) return;
      sink.add(families_[kInfo],
               {{"bssid", network->bssid},
                {"device", interface.name},
                {"mode", network->mode},
                {"ssid", network->ssid}},
               1);
    });
  }

  Status add_stations(Sink& sink, Netlink& netlink, const WifiInterface& interface) const {
    return ask(netlink, NL80211_CMD_GET_STATION, interface.index, [&](Bytes attributes) {
      const WifiStation station = wifi_station(attributes);
      const std::array values = {
          std::pair(kConnected, station.connected),
          std::pair(kInactive, station.inactive),
          std::pair(kReceiveRate, station.receive_rate),
          std::pair(kTransmitRate, station.transmit_rate),
          std::pair(kReceiveBytes, station.receive_bytes),
          std::pair(kTransmitBytes, station.transmit_bytes),
          std::pair(kSignal, station.signal),
          std::pair(kRetries, station.retries),
          std::pair(kFailed, station.failed),
          std::pair(kBeaconLoss, station.beacon_losses),
          std::pair(kReceivedPackets, station.received_packets),
          std::pair(kTransmittedPackets, station.transmitted_packets),
      };
      for (const auto& [metric, value] : values)
        sink.add(families_[metric], {{"device", interface.name}, {"mac_address", station.address}},
                 value);
    });
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
