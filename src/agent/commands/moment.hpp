// A point in time as people give it to a command: RFC 3339, Unix seconds, or relative to now as
// Grafana writes it ("now", "now-1h30m"; "-1h" is the same as "now-1h"). Durations are
// Prometheus's. Thread safety: pure.
#pragma once

#include <cstdint>
#include <string_view>

#include "nexus/base/result.hpp"

namespace nexus::agent {

/// Unix milliseconds. `option` names it in the error (kInvalidArgument); `now` in the same unit is
/// the wall clock, or of a stopped agent's history the newest sample.
[[nodiscard]] Result<std::int64_t> moment(std::string_view option, std::string_view text,
                                          std::int64_t now);

}  // namespace nexus::agent
