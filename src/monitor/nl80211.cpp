#include "monitor/nl80211.hpp"

#include <fmt/format.h>
#include <linux/nl80211.h>

#include <algorithm>

#include "nexus/base/text.hpp"

namespace nexus::monitor {
namespace {

constexpr double kRateUnit = 100'000;  // bits a second

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

double rate_of(Bytes nested) {
  double rate = 0;
  bool is_wide = false;
  for_each_attribute(nested, [&](unsigned type, Bytes value) {
    if (type == NL80211_RATE_INFO_BITRATE32) {
      rate = unsigned_of(value);
      is_wide = true;
    }
    if (type == NL80211_RATE_INFO_BITRATE && !is_wide) rate = unsigned_of(value);
  });
  return rate * kRateUnit;
}

/// Information elements: a byte of type, a byte of length, the value; 0 is the name.
std::string ssid_of(Bytes elements) {
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

std::optional<WifiNetwork> network_of(Bytes bss) {
  std::optional<std::uint32_t> status;
  WifiNetwork out;
  for_each_attribute(bss, [&](unsigned type, Bytes value) {
    if (type == NL80211_BSS_STATUS) status = read_padded<std::uint32_t>(value);
    if (type == NL80211_BSS_BSSID) out.bssid = mac(value);
    if (type == NL80211_BSS_INFORMATION_ELEMENTS) out.ssid = ssid_of(value);
  });
  if (!status) return std::nullopt;
  out.mode = *status == NL80211_BSS_STATUS_IBSS_JOINED  ? "ad-hoc"
             : *status <= NL80211_BSS_STATUS_ASSOCIATED ? "client"
                                                        : "unknown";
  return out;
}

void take_station(WifiStation& out, Bytes info) {
  bool wide_received = false;
  bool wide_sent = false;
  for_each_attribute(info, [&](unsigned type, Bytes value) {
    switch (type) {
      case NL80211_STA_INFO_CONNECTED_TIME:
        out.connected = unsigned_of(value);
        break;
      case NL80211_STA_INFO_INACTIVE_TIME:
        out.inactive = unsigned_of(value) / 1000;
        break;
      case NL80211_STA_INFO_RX_BITRATE:
        out.receive_rate = rate_of(value);
        break;
      case NL80211_STA_INFO_TX_BITRATE:
        out.transmit_rate = rate_of(value);
        break;
      case NL80211_STA_INFO_RX_BYTES:  // 32 bits, which wrap
        if (!wide_received) out.receive_bytes = unsigned_of(value);
        break;
      case NL80211_STA_INFO_TX_BYTES:
        if (!wide_sent) out.transmit_bytes = unsigned_of(value);
        break;
      case NL80211_STA_INFO_RX_BYTES64:
        out.receive_bytes = unsigned_of(value);
        wide_received = true;
        break;
      case NL80211_STA_INFO_TX_BYTES64:
        out.transmit_bytes = unsigned_of(value);
        wide_sent = true;
        break;
      case NL80211_STA_INFO_SIGNAL:
        out.signal = read_padded<std::int8_t>(value);
        break;
      case NL80211_STA_INFO_TX_RETRIES:
        out.retries = unsigned_of(value);
        break;
      case NL80211_STA_INFO_TX_FAILED:
        out.failed = unsigned_of(value);
        break;
      case NL80211_STA_INFO_BEACON_LOSS:
        out.beacon_losses = unsigned_of(value);
        break;
      case NL80211_STA_INFO_RX_PACKETS:
        out.received_packets = unsigned_of(value);
        break;
      case NL80211_STA_INFO_TX_PACKETS:
        out.transmitted_packets = unsigned_of(value);
        break;
      default:
        break;
    }
  });
}

}  // namespace

WifiInterface wifi_interface(Bytes attributes) {
  WifiInterface out;
  for_each_attribute(attributes, [&](unsigned type, Bytes value) {
    if (type == NL80211_ATTR_IFINDEX) out.index = read_padded<std::uint32_t>(value);
    if (type == NL80211_ATTR_IFNAME) out.name = base::sanitize_utf8(text_of(value));
    if (type == NL80211_ATTR_WIPHY_FREQ) out.megahertz = read_padded<std::uint32_t>(value);
  });
  return out;
}

std::optional<WifiNetwork> wifi_network(Bytes attributes) {
  std::optional<WifiNetwork> out;
  for_each_attribute(attributes, [&](unsigned type, Bytes value) {
    if (type == NL80211_ATTR_BSS) out = network_of(value);
  });
  return out;
}

WifiStation wifi_station(Bytes attributes) {
  WifiStation out;
  for_each_attribute(attributes, [&](unsigned type, Bytes value) {
    if (type == NL80211_ATTR_MAC) out.address = mac(value);
    if (type == NL80211_ATTR_STA_INFO) take_station(out, value);
  });
  return out;
}

}  // namespace nexus::monitor
