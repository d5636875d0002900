// Binary operators between two instant vectors: matching by labels, arithmetic, comparisons and set
// operators.
#pragma once

#include "knowledge/promql/evaluator.hpp"

namespace nexus::knowledge::promql {

/// For each row of the "many" side (the left one unless group_right says otherwise) the row of the
/// "one" side with the same signature. kConflict when a signature has more than one sample on the
/// "one" side at one step, or without group_left and group_right on either side.
[[nodiscard]] Result<Block> match_vectors(Evaluator& evaluator, const Binary& node,
                                          const Block& lhs, const Block& rhs);

/// and, or, unless.
[[nodiscard]] Result<Block> combine_sets(const Binary& node, Block lhs, const Block& rhs);

}  // namespace nexus::knowledge::promql
