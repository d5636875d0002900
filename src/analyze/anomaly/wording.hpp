// How descriptions of anomalies name series and amounts.
//
// Thread safety: pure functions.
#pragma once

#include <string>
#include <string_view>

#include "nexus/knowledge/labels.hpp"

namespace nexus::analyze {

/// `cpu_usage_percent`, `disk_usage_percent{mountpoint="/"}`.
[[nodiscard]] std::string series_text(std::string_view metric, const knowledge::Labels& labels);

/// "97 percent", "18.4 GiB", "1.5 KiB/s", "0.31 processors", "7"; of what is no size so many
/// digits.
[[nodiscard]] std::string amount_text(double value, std::string_view unit, int digits = 6);

/// The unit that a vital's name ends in; empty when it has none.
[[nodiscard]] std::string_view unit_in(std::string_view metric);

}  // namespace nexus::analyze
