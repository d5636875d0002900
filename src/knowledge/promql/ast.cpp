#include "knowledge/promql/ast.hpp"

#include <algorithm>

namespace nexus::knowledge::promql {

std::string_view symbol(BinaryOp op) noexcept {
  switch (op) {
    case BinaryOp::kAdd:
      return "+";
    case BinaryOp::kSub:
      return "-";
    case BinaryOp::kMul:
      return "*";
    case BinaryOp::kDiv:
      return "/";
    case BinaryOp::kMod:
      return "%";
    case BinaryOp::kPow:
      return "^";
    case BinaryOp::kAtan2:
      return "atan2";
    case BinaryOp::kEqual:
      return "==";
    case BinaryOp::kNotEqual:
      return "!=";
    case BinaryOp::kGreater:
      return ">";
    case BinaryOp::kLess:
      return "<";
    case BinaryOp::kGreaterEqual:
      return ">=";
    case BinaryOp::kLessEqual:
      return "<=";
    case BinaryOp::kAnd:
      return "and";
    case BinaryOp::kOr:
      return "or";
    case BinaryOp::kUnless:
      return "unless";
  }
  return "";
}

bool is_comparison(BinaryOp op) noexcept {
  return op >= BinaryOp::kEqual && op <= BinaryOp::kLessEqual;
}

bool is_set_operator(BinaryOp op) noexcept {
  return op >= BinaryOp::kAnd;
}

std::string_view symbol(AggregateOp op) noexcept {
  switch (op) {
    case AggregateOp::kSum:
      return "sum";
    case AggregateOp::kAvg:
      return "avg";
    case AggregateOp::kMin:
      return "min";
    case AggregateOp::kMax:
      return "max";
    case AggregateOp::kCount:
      return "count";
    case AggregateOp::kGroup:
      return "group";
    case AggregateOp::kStddev:
      return "stddev";
    case AggregateOp::kStdvar:
      return "stdvar";
    case AggregateOp::kTopk:
      return "topk";
    case AggregateOp::kBottomk:
      return "bottomk";
    case AggregateOp::kQuantile:
      return "quantile";
    case AggregateOp::kLimitk:
      return "limitk";
    case AggregateOp::kLimitRatio:
      return "limit_ratio";
    case AggregateOp::kCountValues:
      return "count_values";
  }
  return "";
}

bool has_parameter(AggregateOp op) noexcept {
  return op >= AggregateOp::kTopk;
}

const Node& without_parens(const Node& node) noexcept {
  const Node* inner = &node;
  while (const auto* paren = std::get_if<Paren>(&inner->kind)) inner = paren->inner.get();
  return *inner;
}

bool names_one_metric(const VectorSelector& selector) {
  return std::ranges::any_of(selector.matchers, [](const Matcher& matcher) {
    return matcher.name() == kMetricName && matcher.op() == MatchOp::kEqual;
  });
}

std::string_view describe(ValueType type) noexcept {
  switch (type) {
    case ValueType::kScalar:
      return "scalar";
    case ValueType::kVector:
      return "instant vector";
    case ValueType::kMatrix:
      return "range vector";
    case ValueType::kString:
      return "string";
  }
  return "";
}

}  // namespace nexus::knowledge::promql
