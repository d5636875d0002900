// A vital as it stands in the tables of default_vitals*.cpp. Thread safety: plain values.
#pragma once

#include <limits>
#include <span>
#include <string_view>

#include "nexus/config/load.hpp"

namespace nexus::config {

inline constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
inline constexpr double kMiB = 1 << 20;
inline constexpr double kGiB = 1 << 30;

struct ShippedVital {
  std::string_view name;
  std::string_view expr;
  std::string_view unit;
  std::string_view help;
  double warning = kNone;
  double critical = kNone;
  Direction direction = Direction::kAbove;
  double minimum = 0;
  double maximum = kNone;
  Millis pending = 0s;
  bool forecast = true;
  bool anomaly = true;
};

/// Those of hardware, arrays, and the network's tables.
[[nodiscard]] std::span<const ShippedVital> hardware_vitals() noexcept;

}  // namespace nexus::config
