// Binary operators between two instant vectors: matching by labels, arithmetic, comparisons and set
// operators.
#pragma once

#include "knowledge/promql/evaluator.hpp"

namespace nexus::knowledge::promql {

/// One-to-one: for each row of `lhs` the row of `rhs` with the same signature. kConflict when a
/// signature has more than one sample on a side at one step.
[[nodiscard]] Result<Block> match_one_to_one(Evaluator& evaluator, const Binary& node,
                                             const Block& lhs, const Block& rhs);

/// and, or, unless.
[[nodiscard]] Result<Block> combine_sets(const Binary& node, Block lhs, const Block& rhs);

}  // namespace nexus::knowledge::promql
