// Which groups of processes changed most about now: what a person asks first of an anomaly.
//
// From the series of process groups in the history: processors, memory and input/output of the last
// two minutes against the hour before (without the last ten minutes), and groups whose oldest
// process began in the last quarter of an hour. A few values a group are looked up, nothing is
// scanned. Empty where groups are not collected or have not been for ten minutes and more.
//
// Thread safety: pure functions over a Queryable.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/analyze/anomaly.hpp"
#include "nexus/knowledge/queryable.hpp"

namespace nexus::analyze {

/// Those that fit a vital (or a scope of the host: "host", "cpu", "memory", ...) by its name, the
/// largest part of the change first, at most three a resource.
[[nodiscard]] std::vector<ProcessPart> processes_near(const knowledge::Queryable& data,
                                                      std::int64_t now_ms, std::string_view metric);
/// "; processes: web memory 1.2 GiB (usually 300 MiB), ...", or nothing.
[[nodiscard]] std::string to_sentence(const std::vector<ProcessPart>& parts);

}  // namespace nexus::analyze
