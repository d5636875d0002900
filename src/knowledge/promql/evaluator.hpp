// The evaluator: a checked tree over a Queryable, at all steps of a query at once.
//
// Each selector selects its series once and reads each of them once, for the whole time it needs.
// A subquery is its operand evaluated at steps of its own, once for all windows over it. What is
// touched is charged to the limits; the cancel callback is asked about every kWorkPerCheck
// samples. Errors: kConflict (data that the operators cannot take: duplicate series, many-to-many
// matches), kExhausted (too many samples), kCancelled. Thread safety: one thread, one query; an
// Evaluator lives as long as the blocks it made.
#pragma once

#include <deque>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>

#include "knowledge/promql/ast.hpp"
#include "knowledge/promql/block.hpp"
#include "knowledge/promql/functions.hpp"
#include "knowledge/promql/rows.hpp"
#include "nexus/base/result.hpp"
#include "nexus/knowledge/promql.hpp"
#include "nexus/knowledge/queryable.hpp"

namespace nexus::knowledge::promql {

class Evaluator {
 public:
  /// `resolution` is the step of the query in milliseconds; 0 for an instant query. `text` is that
  /// of the query, for the places that notes name.
  Evaluator(const Queryable& data, Steps steps, std::int64_t resolution, const Limits& limits,
            std::string_view text)
      : data_(data),
        pinned_(data.pin()),
        query_steps_(steps),
        resolution_(resolution),
        steps_(steps),
        limits_(limits),
        text_(text) {}

  /// A node of type scalar or instant vector.
  [[nodiscard]] Result<Block> evaluate(const Node& node);
  /// A range selector or a subquery at an instant: the samples themselves.
  [[nodiscard]] Result<Matrix> samples(const Node& range_vector);

  // For the bodies of functions and operators.
  enum class Read { kValues, kTimestamps };
  [[nodiscard]] Result<Block> select(const VectorSelector& selector, Read what);
  /// A function over the windows of its range argument; names are kept.
  [[nodiscard]] Result<Block> over_range(const Call& call, RangeBody body);
  /// The span that start() and end() name, and the step of the query.
  [[nodiscard]] const Steps& query_steps() const noexcept { return query_steps_; }
  [[nodiscard]] std::int64_t resolution() const noexcept { return resolution_; }
  [[nodiscard]] Block scalar_block() const;  // one row without labels, all absent
  [[nodiscard]] const Steps& steps() const noexcept { return steps_; }
  /// Owns `labels` for as long as the evaluation lasts. They are counted; the next charge() says
  /// when they are too many.
  [[nodiscard]] const Labels& keep(Labels labels);
  /// The same for labels as long as an expression makes them: charged by their size, and refused
  /// when a value is longer than kMaxLabelBytes.
  [[nodiscard]] Result<const Labels*> keep_made(Labels labels);
  /// Counts what is made and held (cells, points, labels) against both limits.
  [[nodiscard]] Status charge(std::size_t samples);
  /// Counts work done on samples already charged: only asks whether to stop.
  [[nodiscard]] Status work(std::size_t samples);
  /// Notes for people, of what stands at `where`; said once each.
  void warn(const Node& where, std::string_view what);
  void inform(const Node& where, std::string_view what);
  /// Warns of quantiles outside of 0 to 1.
  void check_quantiles(const Block& quantiles, const Node& where);
  [[nodiscard]] Account account() const;
  /// What the rows of a result refer to, when the evaluation is done.
  [[nodiscard]] KeptLabels take_labels() { return {pinned_, std::move(kept_)}; }

 private:
  static constexpr std::uint64_t kWorkPerCheck = 1U << 16U;
  /// What a query makes is held until it ends: 32 MiB. What it reads is not.
  static constexpr std::uint64_t kMaxHeld = 4U << 20U;

  static constexpr std::size_t kMaxLabelBytes = 64U << 10U;

  /// The operand of a subquery at the steps of its own.
  struct Points {
    Steps steps;
    Block block;
  };
  struct RangeRun;  // what the windows of all series of a call have in common
  /// Some of the steps, of which all series are read before the next ones: what lies at one time
  /// lies together, so that blocks on disk are read and checked once a query and not once a series.
  struct Slice {
    std::size_t first = 0;  // step
    std::size_t count = 0;
    Steps ends;                // of these steps
    std::int64_t counted = 0;  // samples up to this time are charged already
  };
  static constexpr std::int64_t kSliceMillis = 4LL * 3'600'000;

  [[nodiscard]] std::string note(std::string_view kind, const Node& where,
                                 std::string_view what) const;
  void note_range_call(const Call& call, const RangeRun& run);
  [[nodiscard]] Result<Block> evaluate_unary(const Unary& node);
  [[nodiscard]] Result<Block> evaluate_call(const Call& node);
  [[nodiscard]] Result<Block> evaluate_math_function(const Call& node);
  [[nodiscard]] Result<Points> evaluate_points(const Subquery& node);
  [[nodiscard]] Status over_series(RangeRun& run, const MatrixSelector& selector);
  [[nodiscard]] Status over_points(RangeRun& run, const Subquery& subquery);
  /// A row, still empty, for each series that has labels.
  struct SeriesRow {
    SeriesId id;
    std::size_t row;
  };
  /// Cells of the steps of a slice, from the samples in column_.
  [[nodiscard]] Status fill_row(RangeRun& run, const Slice& slice, std::size_t row);
  /// The same of a function that over_buckets() knows, where samples are known as buckets.
  [[nodiscard]] Status fill_row_from_buckets(RangeRun& run, const Slice& slice,
                                             const SeriesRow& series);
  [[nodiscard]] Status run_windows(RangeRun& run, std::size_t first_step, std::span<double> out);
  /// The steps in slices, in order; `range` is how far each looks back.
  [[nodiscard]] static std::vector<Slice> slices_of(const Steps& ends, std::int64_t range);
  /// Counts the samples in column_ that the slice before has not read; they are not kept.
  [[nodiscard]] Status charge_samples(const Slice& slice);
  [[nodiscard]] Status charge_read(std::size_t samples);
  /// Tells limits_.hold what is held now.
  [[nodiscard]] Status tell_hold();
  [[nodiscard]] Result<std::vector<SeriesRow>> add_rows(const std::vector<SeriesId>& ids,
                                                        Block& block);

  /// The times that a selector or subquery looks at, one a step; all the same under @.
  [[nodiscard]] Steps moved(const TimeModifiers& time) const;
  [[nodiscard]] std::vector<SeriesId> series_of(const VectorSelector& selector, const Steps& ends,
                                                std::int64_t range);
  /// The look-back of the query, or the step of the tier that serves it where that is longer.
  [[nodiscard]] std::int64_t look_back_at(const Steps& ends) const;
  /// What look-back needs; of a single time that is one sample.
  void read_newest(SeriesId id, const Steps& ends, std::int64_t lookback);
  void read_without_stale(SeriesId id, const Steps& ends, std::int64_t range);
  void read_points(const Points& points, std::size_t row);

  const Queryable& data_;
  const std::shared_ptr<const void> pinned_;  // rows refer to labels of the data
  const Steps query_steps_;                   // what start() and end() mean, in subqueries too
  const std::int64_t resolution_;
  Steps steps_;
  const Limits& limits_;
  const std::string_view text_;
  std::uint64_t charged_ = 0;
  std::uint64_t held_ = 0;  // values, or as many bytes by eight
  std::uint64_t told_ = 0;  // of them and of what is read at once, to limits_.hold
  std::uint64_t worked_ = 0;
  std::uint64_t looked_at_ = 0;  // see Account
  std::uint64_t widest_ = 0;     // the most samples of a series read at once
  Column column_;                // reused from series to series
  std::deque<Labels> kept_;
  static constexpr std::size_t kMaxNotes = 1000;  // of which the first are told
  std::set<std::string> warnings_;
  std::set<std::string> infos_;
};

/// Rows without their names from here on.
void drop_names(Block& block);

/// Rows that are equal without their names become one, see merge_equal_rows().
[[nodiscard]] Status drop_and_merge_names(Block& block, bool strict);

/// Rows of equal labels become one. kConflict when two of them have a value at one step, or always
/// when `strict`.
[[nodiscard]] Status merge_equal_rows(Block& block, bool strict);

[[nodiscard]] Result<Block> evaluate_binary(Evaluator& evaluator, const Binary& node);

}  // namespace nexus::knowledge::promql
