// A query's syntax tree for tools that show or build queries, and what the language has.
//
// Thread safety: pure functions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "nexus/base/result.hpp"

namespace nexus::knowledge::promql {

/// The tree as JSON in the shape of Prometheus's /api/v1/parse_query; errors as Query::parse().
[[nodiscard]] Result<std::string> tree_of(std::string_view query);

/// The names of all functions, ascending.
[[nodiscard]] std::vector<std::string_view> function_names();

}  // namespace nexus::knowledge::promql
