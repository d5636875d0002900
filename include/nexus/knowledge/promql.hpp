// PromQL over a Queryable, with the semantics of Prometheus 3: look-back 5 min, left-open ranges,
// stale markers, extrapolation of rate and increase, vector matching, subqueries, IEEE arithmetic.
//
// Query is an immutable parsed expression, checked for types; parsing errors name the position
// (line:column, from 1). What is out of scope (native histograms, fill and
// other experiments of Prometheus) is a parse error that says so, never a wrong number.
// Queries are bounded: 64 KiB of text, 200 levels of nesting, kMaxRegexes regular expressions (each
// bounded too, README.md of the room), Limits::max_samples samples touched or made (labels count
// for what they weigh), and Limits::cancelled is asked every 65,536 of them. What an evaluation
// holds at once is bounded to 32 MiB, and what several hold together by their Limits::hold. Errors
// of an evaluation: kInvalidArgument (times, steps), kConflict (duplicate series, many-to-many
// matches, values that a function cannot take), kExhausted (too many samples), kUnavailable (others
// hold too much now), kCancelled.
//
// Thread safety: Query is immutable and may be evaluated by several threads at once.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "nexus/base/memory_budget.hpp"
#include "nexus/base/result.hpp"
#include "nexus/knowledge/queryable.hpp"

namespace nexus::knowledge::promql {

inline constexpr std::size_t kMaxRegexes = 64;  // of a query or a selector

struct Node;  // the syntax tree, src/knowledge/promql/ast.hpp
class Rows;   // promql_rows.hpp

enum class ValueType { kScalar, kVector, kMatrix, kString };
[[nodiscard]] std::string_view to_string(
    ValueType type) noexcept;  // scalar vector matrix string, as the HTTP API says

struct VectorElement {
  Labels labels;
  std::int64_t time = 0;
  double value = 0;
};
using Vector = std::vector<VectorElement>;  // sort, topk and their like: in their order

struct MatrixSeries {
  Labels labels;
  Column samples;
};
using Matrix = std::vector<MatrixSeries>;

struct Scalar {
  std::int64_t time = 0;
  double value = 0;
};

using Value = std::variant<Scalar, Vector, Matrix, std::string>;
[[nodiscard]] ValueType type_of(const Value& value) noexcept;

/// What a query cost, as Prometheus counts it with `stats=`, and what is to be said of its result.
struct Account {
  /// Samples that its steps looked at: one that five windows hold counts five times.
  std::uint64_t samples = 0;
  /// At most so many samples, values and labels were held at one time.
  std::uint64_t peak = 0;
  /// In Prometheus's words and with the place, "PromQL warning: ... (1:10)"; ten of each at most.
  std::vector<std::string> warnings;
  std::vector<std::string> infos;
};

struct Limits {
  std::uint64_t max_samples = 50'000'000;
  std::int64_t lookback_ms = 300'000;
  std::int64_t subquery_step_ms = 60'000;  // of subqueries that name none: [1h:]
  /// Returns true when the evaluation must stop (time limit, client gone); asked now and then.
  std::function<bool()> cancelled;
  Account* account = nullptr;  // filled by evaluations that succeed; may be null
  /// Grows with what the evaluation holds; may be null. Whoever keeps a result that is still held
  /// as it was made (Rows) keeps this too.
  std::shared_ptr<base::MemoryHold> hold;
};

class Query {
 public:
  /// kInvalidArgument with "1:17: parse error: ..." when it cannot be right.
  [[nodiscard]] static Result<Query> parse(std::string_view text);

  [[nodiscard]] ValueType type() const noexcept;
  /// Whether it holds, as `verify` and conditions understand it, where it gave `value`: a
  /// comparison without bool, and sets of such, by having a series left, whose value may be 0;
  /// everything else by is_true(). NaN says that nothing is known, and holds nowhere.
  [[nodiscard]] bool holds(const Value& value) const noexcept;
  [[nodiscard]] const std::string& text() const noexcept { return text_; }
  /// The canonical form on one line; parses back to the same tree.
  [[nodiscard]] std::string to_string() const;
  /// The canonical form as Prometheus's format_query gives it: what is longer than 100 characters
  /// stands on several lines.
  [[nodiscard]] std::string format() const;

  [[nodiscard]] Result<Value> instant(const Queryable& data, std::int64_t time,
                                      const Limits& limits = {}) const;
  /// `step` in milliseconds, > 0. Scalars become a series without labels. At most 11,001 steps.
  [[nodiscard]] Result<Matrix> range(const Queryable& data, std::int64_t start, std::int64_t end,
                                     std::int64_t step, const Limits& limits = {}) const;

  /// The same, of results that are large: held as they were made and read row by row.
  [[nodiscard]] Result<std::variant<Scalar, Rows, std::string>> instant_rows(
      const Queryable& data, std::int64_t time, const Limits& limits) const;
  [[nodiscard]] Result<Rows> range_rows(const Queryable& data, std::int64_t start, std::int64_t end,
                                        std::int64_t step, const Limits& limits) const;

 private:
  Query(std::string text, std::shared_ptr<const Node> root)
      : text_(std::move(text)), root_(std::move(root)) {}
  std::string text_;
  std::shared_ptr<const Node> root_;
};

/// A series selector without range or offset, e.g. `service_failed{unit=~"web.*"}`: its matchers,
/// __name__ included.
[[nodiscard]] Result<std::vector<Matcher>> parse_selector(std::string_view text);

/// By the value alone: a non-empty vector with any non-zero value, or a non-zero scalar. NaN is not
/// true: it says that nothing is known.
[[nodiscard]] bool is_true(const Value& value) noexcept;

}  // namespace nexus::knowledge::promql
