// A finding's record as the state database keeps it. Thread safety: pure functions.
#pragma once

#include <string>

#include "nexus/analyze/finding.hpp"

namespace nexus::analyze {

/// With `flapping` and `missing`, which are the finding's.
[[nodiscard]] std::string record_to_json(const Finding& finding);
/// Fills in what record_to_json() wrote; false: it cannot be read.
[[nodiscard]] bool record_from_json(const std::string& text, Finding& finding);

}  // namespace nexus::analyze
