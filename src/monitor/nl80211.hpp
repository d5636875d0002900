// What nl80211 (linux/nl80211.h) answers about wireless interfaces, the networks they are in, and
// stations: the attributes of one message, read with bounds checked. What is damaged or absent is
// 0 or empty. Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "monitor/netlink.hpp"

namespace nexus::monitor {

struct WifiInterface {
  std::uint32_t index = 0;
  std::string name;  // empty: a device without one (P2P)
  std::uint32_t megahertz = 0;
  bool operator==(const WifiInterface&) const = default;
};

struct WifiNetwork {
  std::string bssid;
  std::string ssid;
  std::string_view mode;  // "client", "ad-hoc", "unknown"
  bool operator==(const WifiNetwork&) const = default;
};

struct WifiStation {
  std::string address;
  double connected = 0;     // seconds
  double inactive = 0;      // seconds
  double receive_rate = 0;  // bits a second
  double transmit_rate = 0;
  double receive_bytes = 0;
  double transmit_bytes = 0;
  double signal = 0;  // dBm
  double retries = 0;
  double failed = 0;
  double beacon_losses = 0;
  double received_packets = 0;
  double transmitted_packets = 0;
  bool operator==(const WifiStation&) const = default;
};

/// Of an answer to NL80211_CMD_GET_INTERFACE.
[[nodiscard]] WifiInterface wifi_interface(Bytes attributes);
/// Of an answer to NL80211_CMD_GET_SCAN; nothing when the interface is no part of that network.
[[nodiscard]] std::optional<WifiNetwork> wifi_network(Bytes attributes);
/// Of an answer to NL80211_CMD_GET_STATION.
[[nodiscard]] WifiStation wifi_station(Bytes attributes);

}  // namespace nexus::monitor
