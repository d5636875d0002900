// What a vital that ships inside the binary is written as: rows of default_vitals.cpp (the host and
// the agent), hardware_vitals.cpp, process_vitals.cpp and service_vitals.cpp (what the agent is
// connected to). Thread safety: plain values.
#pragma once

#include <limits>
#include <span>
#include <string_view>

#include "nexus/config/values.hpp"

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

/// Hardware, arrays, and the network's tables.
[[nodiscard]] std::span<const ShippedVital> hardware_vitals() noexcept;
/// Processes, control groups, connections, what text files and applications give.
[[nodiscard]] std::span<const ShippedVital> process_vitals() noexcept;
/// PostgreSQL, Redis, Docker, Kubernetes.
[[nodiscard]] std::span<const ShippedVital> service_vitals() noexcept;

}  // namespace nexus::config
