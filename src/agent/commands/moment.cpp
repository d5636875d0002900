#include "agent/commands/moment.hpp"

#include "nexus/base/clock.hpp"
#include "nexus/base/text.hpp"

namespace nexus::agent {

Result<std::int64_t> moment(std::string_view option, std::string_view text, std::int64_t now) {
  // A bare number stays what it is everywhere else, Unix seconds, also with a sign.
  if (const auto time = base::parse_time(text)) return base::to_unix_millis(*time);
  std::string_view rest = text;
  const bool named = rest.starts_with("now");
  if (named) rest.remove_prefix(3);
  if (named && rest.empty()) return now;
  if (rest.starts_with('-') || (named && rest.starts_with('+'))) {
    if (const auto distance = base::parse_duration(rest.substr(1)))
      return rest.front() == '-' ? now - distance->count() : now + distance->count();
  }
  return fail(Errc::kInvalidArgument,
              "{}: \"{}\" is not a time: expected RFC 3339, Unix seconds, or a distance from now "
              "such as now-1h",
              option, text);
}

}  // namespace nexus::agent
