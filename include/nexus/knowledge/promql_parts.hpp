// Parts of an expression that are expressions themselves. Thread safety: pure functions.
#pragma once

#include <optional>

#include "nexus/knowledge/promql.hpp"

namespace nexus::knowledge::promql {

/// Where the outermost operation is a comparison that filters a vector by a scalar: that vector.
/// Nothing else has one.
[[nodiscard]] std::optional<Query> compared_vector(const Query& query);

}  // namespace nexus::knowledge::promql
