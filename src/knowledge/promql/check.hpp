// The type checker: what operators, calls and aggregations demand of their operands.
// Each returns what is wrong, or an empty string. Thread safety: pure functions.
#pragma once

#include <string>

#include "knowledge/promql/ast.hpp"
#include "knowledge/promql/functions.hpp"

namespace nexus::knowledge::promql {

[[nodiscard]] std::string check(const Unary& unary);
/// `has_matching`: on(...) or ignoring(...) was written.
[[nodiscard]] std::string check(const Binary& binary, bool has_matching);
[[nodiscard]] std::string check(const Aggregate& aggregate);
[[nodiscard]] std::string check(const Call& call);
/// Prometheus wants at least one matcher that an absent label does not satisfy.
[[nodiscard]] std::string check(const VectorSelector& selector);

[[nodiscard]] ValueType type_of(const Binary& binary);

}  // namespace nexus::knowledge::promql
