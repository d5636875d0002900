// Rows: the result of a query as the evaluator made it, eight bytes a value and no label copied, to
// be read a piece of a row at a time. Values of a Matrix are four times as large, and text of them
// twenty times.
//
// A vector is rows of one step. Thread safety: immutable but for truncate(); copies share their
// content.
#pragma once

#include <cstddef>
#include <memory>

#include "nexus/knowledge/promql.hpp"

namespace nexus::knowledge::promql {

class Rows {
 public:
  struct State;  // src/knowledge/promql/rows.hpp
  explicit Rows(std::shared_ptr<const State> state);

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  /// Leaves the first rows.
  void truncate(std::size_t rows) noexcept { size_ = rows < size_ ? rows : size_; }

  /// The labels of a row; without their name where `nameless`. They live as long as a copy of this.
  struct RowLabels {
    const Labels& all;
    bool nameless;
  };
  [[nodiscard]] RowLabels labels(std::size_t row) const;

  /// Puts samples of the row into `out`, which is cleared: those at places `first` to before
  /// `first + most` that are there. Says where to go on; 0: that was the end of the row.
  [[nodiscard]] std::size_t read(std::size_t row, std::size_t first, std::size_t most,
                                 Column& out) const;

 private:
  std::shared_ptr<const State> state_;
  std::size_t size_ = 0;
};

}  // namespace nexus::knowledge::promql
