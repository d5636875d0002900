// Numbers, times and the agent's own address.
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
