// What a field of Redis's INFO is called by redis_exporter, and lines of INFO with several values.
// Thread safety: pure functions.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "nexus/monitor/collector.hpp"

namespace nexus::monitor {

struct RedisField {
  std::string_view field;
  std::string_view metric;  // without "redis_"
  MetricType type;
};

/// Fields of INFO's text, in order: the section that its last comment named, name and value, none
/// of the latter empty.
void each_redis_field(std::string_view text,
                      const std::function<void(std::string_view section, std::string_view name,
                                               std::string_view value)>& take);

/// Null when redis_exporter does not know the field.
[[nodiscard]] const RedisField* find_redis_field(std::string_view field);

/// Whether a field that redis_exporter does not know is left out although it may be a number:
/// identities and what says the same again for people.
[[nodiscard]] bool is_ignored_redis_field(std::string_view field);

/// Numbers, and words for yes (ok, up, true, yes) and no (fail, err, down, false, no).
[[nodiscard]] std::optional<double> parse_redis_value(std::string_view text);

/// The value of `key` in "a=1,b=2"; empty when there is none.
[[nodiscard]] std::string_view redis_part(std::string_view parts, std::string_view key);

}  // namespace nexus::monitor
