// The evaluator: a checked tree over a Queryable, at all steps of a query at once.
//
// Each selector selects its series once and reads each of them once, for the whole time it needs.
// What is touched is charged to the limits; the cancel callback is asked about every kWorkPerCheck
// samples. Errors: kConflict (data that the operators cannot take: duplicate series, many-to-many
// matches), kExhausted (too many samples), kCancelled. Thread safety: one thread, one query; an
// Evaluator lives as long as the blocks it made.
#pragma once

#include <deque>
#include <memory>
#include <span>

#include "knowledge/promql/ast.hpp"
#include "knowledge/promql/block.hpp"
#include "nexus/base/result.hpp"
#include "nexus/knowledge/promql.hpp"
#include "nexus/knowledge/queryable.hpp"

namespace nexus::knowledge::promql {

struct Window;  // functions.hpp

class Evaluator {
 public:
  Evaluator(const Queryable& data, Steps steps, const Limits& limits)
      : data_(data), pinned_(data.pin()), steps_(steps), limits_(limits) {}

  /// A node of type scalar or instant vector.
  [[nodiscard]] Result<Block> evaluate(const Node& node);
  /// A range selector at an instant: its raw samples.
  [[nodiscard]] Result<Matrix> samples(const MatrixSelector& selector);

  // For the bodies of functions and operators.
  enum class Read { kValues, kTimestamps };
  [[nodiscard]] Result<Block> select(const VectorSelector& selector, Read what);
  [[nodiscard]] Block scalar_block() const;  // one row without labels, all absent
  [[nodiscard]] const Steps& steps() const noexcept { return steps_; }
  /// Owns `labels` for as long as the evaluation lasts.
  [[nodiscard]] const Labels& keep(Labels labels) { return kept_.emplace_back(std::move(labels)); }
  /// Counts samples against the limit.
  [[nodiscard]] Status charge(std::size_t samples);
  /// Counts work done on samples already charged: only asks whether to stop.
  [[nodiscard]] Status work(std::size_t samples);

 private:
  static constexpr std::uint64_t kWorkPerCheck = 1U << 16U;

  [[nodiscard]] Result<Block> evaluate_unary(const Unary& node);
  [[nodiscard]] Result<Block> evaluate_call(const Call& node);
  [[nodiscard]] Result<Block> evaluate_range_function(const Call& node);
  [[nodiscard]] Result<Block> evaluate_math_function(const Call& node);
  [[nodiscard]] Status run_windows(const Call& node, const MatrixSelector& selector,
                                   std::span<const Window> windows, std::span<const double> scalar,
                                   std::span<double> out);
  [[nodiscard]] std::vector<SeriesId> series_of(const VectorSelector& selector, std::int64_t range);
  void read_without_stale(SeriesId id, const VectorSelector& selector, std::int64_t range);

  const Queryable& data_;
  const std::shared_ptr<const void> pinned_;  // rows refer to labels of the data
  const Steps steps_;
  const Limits& limits_;
  std::uint64_t charged_ = 0;
  std::uint64_t worked_ = 0;
  Column column_;  // reused from series to series
  std::deque<Labels> kept_;
};

/// Rows without their names from here on.
void drop_names(Block& block);

/// Rows of equal labels become one. kConflict when two of them have a value at one step, or always
/// when `strict`.
[[nodiscard]] Status merge_equal_rows(Block& block, bool strict);

[[nodiscard]] Result<Block> evaluate_binary(Evaluator& evaluator, const Binary& node);
[[nodiscard]] Result<Block> evaluate_aggregate(Evaluator& evaluator, const Aggregate& node);

}  // namespace nexus::knowledge::promql
