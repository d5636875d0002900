// Numbers, times and the agent's own address.
#include <fmt/format.h>

#include <cmath>

#include "analyze/templates/bodies.hpp"
#include "nexus/base/go_text.hpp"
#include "nexus/base/text.hpp"

namespace nexus::analyze::templates {

Result<Value> timestamp(const Data&, Span a) {
  const auto number = to_number(a[0]);
  if (!number) return std::unexpected(number.error());
  auto shown = humanize_timestamp(*number);
  if (!shown) return std::unexpected(shown.error());
  return text(std::move(*shown));
}

Result<Value> to_time(const Data&, Span a) {
  const auto number = to_number(a[0]);
  if (!number) return std::unexpected(number.error());
  if (!(std::abs(*number) < 9.2e9))
    return fail(Errc::kInvalidArgument, "{} cannot be represented as a nanoseconds timestamp",
                base::go_value(*number));
  return Value{base::from_unix_millis(static_cast<std::int64_t>(std::floor(*number * 1000)))};
}

/// Seconds as Go prints a time.Duration: 1h2m3.5s, 1.5ms, 0s.
Result<Value> to_duration(const Data&, Span a) {
  const auto number = to_number(a[0]);
  if (!number) return std::unexpected(number.error());
  if (!(std::abs(*number) < 9.2e9))
    return fail(Errc::kInvalidArgument, "{} cannot be represented as a nanoseconds duration",
                base::go_value(*number));
  const auto nanoseconds = static_cast<std::int64_t>(*number * 1e9);
  const auto size = static_cast<std::uint64_t>(std::abs(nanoseconds));
  std::string out = nanoseconds < 0 ? "-" : "";
  const auto in_units = [](std::uint64_t count, std::uint64_t unit, std::string_view name) {
    std::string digits = fmt::format("{}", unit + count % unit);  // 1, then the fraction
    digits.erase(digits.find_last_not_of('0') + 1);
    const std::string fraction = digits.size() > 1 ? "." + digits.substr(1) : "";
    return fmt::format("{}{}{}", count / unit, fraction, name);
  };
  constexpr std::uint64_t kSecond = 1'000'000'000;
  if (size == 0) return text("0s");
  if (size < 1'000) return text(out + in_units(size, 1, "ns"));
  if (size < 1'000'000) return text(out + in_units(size, 1'000, "µs"));
  if (size < kSecond) return text(out + in_units(size, 1'000'000, "ms"));
  const std::uint64_t minutes = size / kSecond / 60;
  if (minutes >= 60) out += fmt::format("{}h", minutes / 60);
  if (minutes > 0) out += fmt::format("{}m", minutes % 60);
  return text(out + in_units(size % (60 * kSecond), kSecond, "s"));
}

Result<Value> parse_duration(const Data&, Span a) {
  const auto given = text_of(a[0]);
  if (!given) return std::unexpected(given.error());
  const auto duration = base::parse_duration(*given);
  if (!duration) return fail(Errc::kInvalidArgument, "not a valid duration string: \"{}\"", *given);
  return Value{static_cast<double>(duration->count()) / 1000};
}

Result<Value> now(const Data& data, Span) {
  return Value{static_cast<double>(base::to_unix_millis(data.time)) / 1000};
}

Result<Value> external_url(const Data& data, Span) {
  return text(data.external_url);
}

Result<Value> path_prefix(const Data& data, Span) {
  const auto scheme = data.external_url.find("://");
  const auto path = data.external_url.find('/', scheme == std::string::npos ? 0 : scheme + 3);
  return text(path == std::string::npos ? "" : data.external_url.substr(path));
}

}  // namespace nexus::analyze::templates
