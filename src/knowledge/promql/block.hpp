// Block: the value of an expression at all steps at once; one row a series, one cell a step.
//
// Evaluating series by series instead of step by step does what depends on labels (matching,
// grouping, dropping the name) once a series. A cell without a value holds absent(), a NaN of its
// own that no arithmetic makes. It is a quiet one: the compiler may turn signalling NaNs, such as
// the stale marker, into quiet ones (g++ 12 does so when it folds `a != b ? a : signalling`). A
// scalar is a block with one row without labels.
//
// Invariants: cells.size() == rows.size() * steps. No row of a vector is wholly absent: such a
// series does not exist. Rows point to labels that the Queryable or the Evaluator owns. Thread
// safety: plain values.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "nexus/knowledge/labels.hpp"

namespace nexus::knowledge::promql {

inline constexpr std::uint64_t kAbsentBits = 0x7ff8616273656e74ULL;  // a NaN that spells "absent"
[[nodiscard]] constexpr double absent() noexcept {
  return std::bit_cast<double>(kAbsentBits);
}
[[nodiscard]] constexpr bool is_absent(double value) noexcept {
  return std::bit_cast<std::uint64_t>(value) == kAbsentBits;
}
[[nodiscard]] constexpr bool is_present(double value) noexcept {
  return !is_absent(value);
}

/// As nexus::knowledge::is_stale_marker, inline: it is asked of every sample.
[[nodiscard]] constexpr bool is_stale(double value) noexcept {
  return std::bit_cast<std::uint64_t>(value) == 0x7ff0000000000002ULL;
}

/// The points in time of a query, in milliseconds. An instant query has one.
struct Steps {
  std::int64_t start = 0;
  std::int64_t step = 1;
  std::size_t count = 1;
  [[nodiscard]] std::int64_t at(std::size_t i) const noexcept {
    return start + static_cast<std::int64_t>(i) * step;
  }
  [[nodiscard]] std::int64_t last() const noexcept { return at(count - 1); }
};

struct Row {
  const Labels* labels = nullptr;
  bool nameless = false;  // read as if the labels had no __name__: dropping it copies nothing
};

struct Block {
  std::size_t steps = 1;
  std::vector<Row> rows;
  std::vector<double> cells;
  bool names_matter = false;  // two rows may differ in nothing but their name

  explicit Block(std::size_t step_count) : steps(step_count) {}

  void reserve(std::size_t count) {
    rows.reserve(count);
    cells.reserve(count * steps);
  }
  /// A new row, all absent. The span lives until the next row comes.
  std::span<double> add(Row row) {
    rows.push_back(row);
    cells.resize(cells.size() + steps, absent());
    return {cells.data() + cells.size() - steps, steps};
  }
  void drop_last() {
    rows.pop_back();
    cells.resize(cells.size() - steps);
  }
  void drop_last_if_empty() {
    if (std::ranges::none_of(row(rows.size() - 1), is_present)) drop_last();
  }
  void drop_empty_rows() {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (std::ranges::none_of(row(i), is_present)) continue;
      if (kept != i) {
        rows[kept] = rows[i];
        std::ranges::copy(row(i), row(kept).begin());
      }
      ++kept;
    }
    rows.resize(kept);
    cells.resize(kept * steps);
  }
  [[nodiscard]] std::span<double> row(std::size_t i) { return {cells.data() + i * steps, steps}; }
  [[nodiscard]] std::span<const double> row(std::size_t i) const {
    return {cells.data() + i * steps, steps};
  }
};

}  // namespace nexus::knowledge::promql
