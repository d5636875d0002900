// The syntax tree of PromQL: what the parser makes, the printer prints and the evaluator walks.
//
// Invariants: (1) a Node is immutable once the parser has handed it out; (2) it is well typed:
// every operator, call and aggregation has operands of the types it takes; (3) no path from the
// root is longer than kMaxDepth, so recursion over a tree is safe on any stack. The forms still to
// come (subqueries, @, grouped matching, aggregations with a parameter) are further alternatives of
// Node::Kind and further fields here; nothing else has to change shape for them. Thread safety:
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
using NodePtr = std::unique_ptr<const Node>;

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

enum class AggregateOp { kSum, kAvg, kMin, kMax, kCount };
[[nodiscard]] std::string_view symbol(AggregateOp op) noexcept;

/// A list of label names: those that count, or those that do not.
struct LabelSet {
  bool listed_count = false;  // on(...), by(...); else ignoring(...), without(...)
  std::vector<std::string> names;
};

struct NumberLiteral {
  double value = 0;
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
  LabelSet matching;  // meaningful between two vectors
  NodePtr lhs;
  NodePtr rhs;
};
struct Aggregate {
  AggregateOp op = AggregateOp::kSum;
  LabelSet grouping;
  NodePtr operand;
};
struct Call {
  const Function* function = nullptr;
  std::vector<NodePtr> arguments;
};
struct VectorSelector {
  std::string metric;             // as written before the brace; empty when there was none
  std::vector<Matcher> matchers;  // the metric's __name__ matcher included
  std::int64_t offset = 0;        // ms into the past
};
struct MatrixSelector {
  VectorSelector vector;
  std::int64_t range = 0;  // ms, > 0
};

struct Node {
  using Kind = std::variant<NumberLiteral, StringLiteral, Paren, Unary, Binary, Aggregate, Call,
                            VectorSelector, MatrixSelector>;
  ValueType type = ValueType::kScalar;
  int depth = 1;
  Kind kind;
};

/// `node` without the parentheses around it.
[[nodiscard]] const Node& without_parens(const Node& node) noexcept;

/// "instant vector", "range vector", "scalar", "string": as error messages name the types.
[[nodiscard]] std::string_view describe(ValueType type) noexcept;

/// The canonical text.
[[nodiscard]] std::string print(const Node& node);

}  // namespace nexus::knowledge::promql
