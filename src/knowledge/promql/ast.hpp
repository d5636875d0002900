// The syntax tree of PromQL: what the parser makes, the printer prints and the evaluator walks.
//
// Invariants: (1) a Node does not change once the parser has handed it out; (2) it is well typed:
// every operator, call and aggregation has operands of the types it takes; (3) no path from the
// root is longer than kMaxDepth, so recursion over a tree is safe on any stack. Thread safety:
// immutable.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "nexus/knowledge/labels.hpp"
#include "nexus/knowledge/promql.hpp"

namespace nexus::knowledge::promql {

inline constexpr int kMaxDepth = 200;

struct Function;  // functions.hpp
using NodePtr = std::unique_ptr<Node>;

enum class BinaryOp {
  kAdd,
  kSub,
  kMul,
  kDiv,
  kMod,
  kPow,
  kAtan2,
  kEqual,
  kNotEqual,
  kGreater,
  kLess,
  kGreaterEqual,
  kLessEqual,
  kAnd,
  kOr,
  kUnless,
};
[[nodiscard]] std::string_view symbol(BinaryOp op) noexcept;
[[nodiscard]] bool is_comparison(BinaryOp op) noexcept;
[[nodiscard]] bool is_set_operator(BinaryOp op) noexcept;

enum class AggregateOp {
  kSum,
  kAvg,
  kMin,
  kMax,
  kCount,
  kGroup,
  kStddev,
  kStdvar,
  kTopk,
  kBottomk,
  kQuantile,
  kLimitk,
  kLimitRatio,
  kCountValues,
};
[[nodiscard]] std::string_view symbol(AggregateOp op) noexcept;
/// Whether the aggregation takes a number, or for count_values a string, before the vector.
[[nodiscard]] bool has_parameter(AggregateOp op) noexcept;

/// A list of label names: those that count, or those that do not.
struct LabelSet {
  bool listed_count = false;  // on(...), by(...); else ignoring(...), without(...)
  std::vector<std::string> names;
};

/// Which side may have several series for one of the other.
enum class Cardinality { kOneToOne, kManyToOne, kOneToMany };  // none, group_left, group_right

/// How two vectors are matched.
struct Matching {
  LabelSet labels;
  Cardinality cardinality = Cardinality::kOneToOne;
  std::vector<std::string> include;  // labels taken over from the "one" side
};

/// Moves a selector or a subquery in time.
struct TimeModifiers {
  enum class At { kNone, kTime, kStart, kEnd };
  std::int64_t offset = 0;  // ms into the past
  At at = At::kNone;
  std::int64_t at_time = 0;  // ms since the epoch, for At::kTime
};

struct NumberLiteral {
  double value = 0;
  bool duration = false;  // written as one, e.g. 5m
};
struct StringLiteral {
  std::string value;
};
struct Paren {
  NodePtr inner;
};
struct Unary {
  bool negative = false;
  NodePtr operand;
};
struct Binary {
  BinaryOp op = BinaryOp::kAdd;
  bool returns_bool = false;
  Matching matching;  // meaningful between two vectors
  NodePtr lhs;
  NodePtr rhs;
};
struct Aggregate {
  AggregateOp op = AggregateOp::kSum;
  LabelSet grouping;
  NodePtr parameter;  // null when the operation takes none
  NodePtr operand;
};
struct Call {
  const Function* function = nullptr;
  std::vector<NodePtr> arguments;
};
struct VectorSelector {
  std::string metric;             // as written before the brace; empty when there was none
  std::vector<Matcher> matchers;  // the metric's __name__ matcher included
  TimeModifiers time;
};
struct MatrixSelector {
  VectorSelector vector;
  std::int64_t range = 0;  // ms, > 0
};
struct Subquery {
  NodePtr operand;         // an instant vector
  std::int64_t range = 0;  // ms, > 0
  std::int64_t step = 0;   // ms; 0: the default of the evaluation
  TimeModifiers time;
};

struct Node {
  using Kind = std::variant<NumberLiteral, StringLiteral, Paren, Unary, Binary, Aggregate, Call,
                            VectorSelector, MatrixSelector, Subquery>;
  ValueType type = ValueType::kScalar;
  int depth = 1;
  Kind kind;
  std::uint32_t offset = 0;  // of its first byte in the query
};

/// `node` without the parentheses around it.
[[nodiscard]] const Node& without_parens(const Node& node) noexcept;

/// True when every series selected has the same name, so that dropping it makes no two equal.
[[nodiscard]] bool names_one_metric(const VectorSelector& selector);

/// "instant vector", "range vector", "scalar", "string": as error messages name the types.
[[nodiscard]] std::string_view describe(ValueType type) noexcept;

/// The canonical text.
[[nodiscard]] std::string print(const Node& node);
/// The canonical text with long expressions broken into indented lines, as format_query gives it.
[[nodiscard]] std::string pretty_print(const Node& node);

}  // namespace nexus::knowledge::promql
