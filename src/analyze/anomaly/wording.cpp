#include "analyze/anomaly/wording.hpp"

#include <fmt/format.h>

#include <array>
#include <cmath>

namespace nexus::analyze {

std::string series_text(std::string_view metric, const knowledge::Labels& labels) {
  std::string out(metric);
  if (labels.size() > 0) out += to_string(labels);
  return out;
}

std::string amount_text(double value, std::string_view unit, int digits) {
  const auto number = fmt::format("{:.{}g}", value, digits);
  if (unit.empty() || unit == "count" || !std::isfinite(value)) return number;
  if (unit == "processors") return fmt::format("{:.2f} processors", value);
  if (unit == "per_second") return number + "/s";
  if (unit != "bytes" && unit != "bytes_per_second") return fmt::format("{} {}", number, unit);
  std::string_view size = "B";
  for (const std::string_view larger : {"KiB", "MiB", "GiB", "TiB"}) {
    if (std::abs(value) < 1024) break;
    value /= 1024;
    size = larger;
  }
  return fmt::format("{:.3g} {}{}", value, size, unit == "bytes" ? "" : "/s");
}

std::string_view unit_in(std::string_view metric) {
  constexpr std::array<std::string_view, 5> kUnits = {"bytes_per_second", "per_second", "bytes",
                                                      "percent", "seconds"};
  for (const std::string_view unit : kUnits) {  // a word of its own: no milliseconds
    if (metric.ends_with(unit) &&
        (metric.size() == unit.size() || metric[metric.size() - unit.size() - 1] == '_'))
      return unit;
  }
  return {};
}

}  // namespace nexus::analyze
