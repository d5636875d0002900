// What is behind Rows: a block with all that its labels need, or the samples of a range selector.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "knowledge/promql/block.hpp"
#include "nexus/knowledge/promql_rows.hpp"

namespace nexus::knowledge::promql {

/// What rows of blocks refer to.
struct KeptLabels {
  std::shared_ptr<const void> pin;
  std::deque<Labels> made;
};

struct Rows::State {
  KeptLabels kept;
  Steps steps;
  Block block{1};
  std::vector<std::uint32_t> order;  // rows of the block
  Matrix matrix;                     // used when the block has no rows
};

/// Rows in their order, or sorted by labels. Rows without a value are left out.
enum class RowOrder { kAsMade, kByLabels };
[[nodiscard]] Rows make_rows(KeptLabels kept, const Steps& steps, Block block, RowOrder order);
[[nodiscard]] Rows make_rows(Matrix matrix);

}  // namespace nexus::knowledge::promql
