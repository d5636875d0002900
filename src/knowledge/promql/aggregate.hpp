// Aggregations: rows sorted into groups by their labels. Thread safety: as the Evaluator.
#pragma once

#include <vector>

#include "knowledge/promql/evaluator.hpp"

namespace nexus::knowledge::promql {

/// The groups of the rows of a block, numbered in order of appearance.
struct Groups {
  std::vector<std::uint32_t> of_row;
  std::vector<Row> rows;  // the labels of each group

  Groups(Evaluator& evaluator, const LabelSet& grouping, const Block& input);
};

[[nodiscard]] Result<Block> evaluate_aggregate(Evaluator& evaluator, const Aggregate& node);
/// topk, bottomk, limitk, quantile, count_values.
[[nodiscard]] Result<Block> evaluate_aggregate_with_parameter(Evaluator& evaluator,
                                                              const Aggregate& node);

}  // namespace nexus::knowledge::promql
