// Numbers for people: Prometheus's humanize functions.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <array>
#include <cmath>
#include <span>

#include "analyze/templates/functions.hpp"
#include "nexus/base/go_text.hpp"
#include "nexus/base/text.hpp"

namespace nexus::analyze::templates {
namespace {

constexpr std::array<std::string_view, 8> kLarge = {"k", "M", "G", "T", "P", "E", "Z", "Y"};
constexpr std::array<std::string_view, 8> kBinary = {"ki", "Mi", "Gi", "Ti",
                                                     "Pi", "Ei", "Zi", "Yi"};
constexpr std::array<std::string_view, 8> kSmall = {"m", "u", "n", "p", "f", "a", "z", "y"};

std::string four_digits(double value) {
  return base::go_general(value, 4);
}

std::string divided(double value, double by, std::span<const std::string_view> units) {
  std::string_view unit;
  for (const auto next : units) {
    if (std::abs(value) < by) break;
    unit = next;
    value /= by;
  }
  return fmt::format("{}{}", four_digits(value), unit);
}

std::string multiplied(double value) {
  std::string_view unit;
  for (const auto next : kSmall) {
    if (std::abs(value) >= 1) break;
    unit = next;
    value *= 1000;
  }
  return fmt::format("{}{}", four_digits(value), unit);
}

}  // namespace

Result<double> to_number(const Value& value) {
  if (const auto* number = value.as<double>()) return *number;
  if (const auto* number = value.as<std::int64_t>()) return static_cast<double>(*number);
  if (const auto* text = value.as<std::string>()) {
    if (const auto number = base::parse_double(*text)) return *number;
    return fail(Errc::kInvalidArgument, "strconv.ParseFloat: parsing \"{}\": invalid syntax",
                *text);
  }
  return fail(Errc::kInvalidArgument, "can't convert {} to float", type_name(value));
}

std::string humanize(double value) {
  if (value == 0 || !std::isfinite(value)) return four_digits(value);
  return std::abs(value) >= 1 ? divided(value, 1000, kLarge) : multiplied(value);
}

std::string humanize_1024(double value) {
  if (std::abs(value) <= 1 || !std::isfinite(value)) return four_digits(value);
  return divided(value, 1024, kBinary);
}

std::string humanize_duration(double seconds) {
  if (!std::isfinite(seconds)) return four_digits(seconds);
  if (seconds == 0) return four_digits(seconds) + "s";
  if (std::abs(seconds) < 1) return multiplied(seconds) + "s";
  const std::string_view sign = seconds < 0 ? "-" : "";
  const double size = std::abs(seconds);
  // Beyond what Go's int64 holds nothing useful is printed by either.
  const auto whole = static_cast<std::int64_t>(std::min(size, 9.2e18));
  const auto days = whole / 86'400;
  const auto hours = whole / 3'600 % 24;
  const auto minutes = whole / 60 % 60;
  const auto rest = whole % 60;
  if (days != 0) return fmt::format("{}{}d {}h {}m {}s", sign, days, hours, minutes, rest);
  if (hours != 0) return fmt::format("{}{}h {}m {}s", sign, hours, minutes, rest);
  if (minutes != 0) return fmt::format("{}{}m {}s", sign, minutes, rest);
  return fmt::format("{}{}s", sign, four_digits(size));
}

std::string humanize_percentage(double ratio) {
  return four_digits(ratio * 100) + "%";
}

std::string show_time(WallTime time) {
  const auto millis = base::to_unix_millis(time);
  const auto fraction = (millis % 1000 + 1000) % 1000;
  const auto seconds = (millis - fraction) / 1000;
  std::string out = fmt::format("{:%Y-%m-%d %H:%M:%S}", fmt::gmtime(static_cast<time_t>(seconds)));
  if (fraction != 0) {
    out += fmt::format(".{:03}", fraction);
    out.erase(out.find_last_not_of('0') + 1);
  }
  return out + " +0000 UTC";
}

Result<std::string> humanize_timestamp(double seconds) {
  if (!std::isfinite(seconds)) return four_digits(seconds);
  // Go counts nanoseconds in 64 bits, from 1677 to 2262.
  if (std::abs(seconds) >= 9.2e9)
    return fail(Errc::kInvalidArgument, "{} cannot be represented as a nanoseconds timestamp",
                base::go_value(seconds));
  return show_time(base::from_unix_millis(static_cast<std::int64_t>(std::floor(seconds * 1000))));
}

}  // namespace nexus::analyze::templates
