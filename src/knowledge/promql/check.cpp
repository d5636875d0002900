#include "knowledge/promql/check.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace nexus::knowledge::promql {
namespace {

bool is_number_like(const Node& node) {
  return node.type == ValueType::kScalar || node.type == ValueType::kVector;
}

std::string check(const Matching& matching, BinaryOp op) {
  if (matching.cardinality == Cardinality::kOneToOne) return {};
  if (is_set_operator(op)) {
    return fmt::format("no grouping allowed for \"{}\" operation", symbol(op));
  }
  if (!matching.labels.listed_count) return {};
  for (const std::string& name : matching.include) {
    if (std::ranges::find(matching.labels.names, name) == matching.labels.names.end()) continue;
    return fmt::format("label \"{}\" must not occur in ON and GROUP clause at once", name);
  }
  return {};
}

/// The type of the argument number `i`, from 0; the last type of a variadic function repeats.
ValueType argument_type(const Function& function, std::size_t i) {
  return function.arguments[std::min(i, function.listed_arguments() - 1)];
}

}  // namespace

std::string check(const Unary& unary) {
  if (is_number_like(*unary.operand)) return {};
  return fmt::format("unary \"{}\" is only allowed on a scalar or instant vector, got {}",
                     unary.negative ? '-' : '+', describe(unary.operand->type));
}

std::string check(const Binary& binary) {
  const bool comparison = is_comparison(binary.op);
  if (binary.returns_bool && !comparison) {
    return "\"bool\" can only be used on comparison operators";
  }
  for (const NodePtr* side : {&binary.lhs, &binary.rhs}) {
    if (is_number_like(**side)) continue;
    return fmt::format("\"{}\" takes only scalars and instant vectors, got {}", symbol(binary.op),
                       describe((*side)->type));
  }
  const bool scalar_lhs = binary.lhs->type == ValueType::kScalar;
  const bool scalar_rhs = binary.rhs->type == ValueType::kScalar;
  if (comparison && scalar_lhs && scalar_rhs && !binary.returns_bool) {
    return fmt::format("comparisons between scalars must use \"bool\": {} bool", symbol(binary.op));
  }
  if ((scalar_lhs || scalar_rhs) && is_set_operator(binary.op)) {
    return fmt::format("set operator \"{}\" is only allowed between instant vectors",
                       symbol(binary.op));
  }
  if (scalar_lhs || scalar_rhs) {
    if (binary.matching.labels.names.empty()) return {};
    return "vector matching only allowed between instant vectors";
  }
  return check(binary.matching, binary.op);
}

ValueType type_of(const Binary& binary) {
  const bool scalars =
      binary.lhs->type == ValueType::kScalar && binary.rhs->type == ValueType::kScalar;
  return scalars ? ValueType::kScalar : ValueType::kVector;
}

std::string check(const Aggregate& aggregate) {
  if (aggregate.operand->type != ValueType::kVector) {
    return fmt::format("expected type instant vector in aggregation expression, got {}",
                       describe(aggregate.operand->type));
  }
  if (!has_parameter(aggregate.op)) return {};
  const ValueType expected =
      aggregate.op == AggregateOp::kCountValues ? ValueType::kString : ValueType::kScalar;
  if (aggregate.parameter->type != expected) {
    return fmt::format("expected type {} in aggregation parameter, got {}", describe(expected),
                       describe(aggregate.parameter->type));
  }
  if (expected != ValueType::kString) return {};
  const auto& label = std::get<StringLiteral>(without_parens(*aggregate.parameter).kind).value;
  return label.empty() ? "invalid label name \"\" in count_values()" : "";
}

std::string check(const Call& call) {
  const Function& function = *call.function;
  const std::size_t count = call.arguments.size();
  if (count < function.min_arguments || count > function.max_arguments) {
    const bool fixed = function.min_arguments == function.max_arguments;
    const bool few = count < function.min_arguments;
    return fmt::format("expected {}{} argument(s) in call to \"{}\", got {}",
                       fixed ? "" : (few ? "at least " : "at most "),
                       few ? function.min_arguments : function.max_arguments, function.name, count);
  }
  for (std::size_t i = 0; i < count; ++i) {
    const ValueType expected = argument_type(function, i);
    const ValueType actual = call.arguments[i]->type;
    if (actual == expected) continue;
    return fmt::format("expected type {} in call to function \"{}\", got {} as argument {}",
                       describe(expected), function.name, describe(actual), i + 1);
  }
  return {};
}

std::string check(const VectorSelector& selector) {
  const bool selective =
      std::ranges::any_of(selector.matchers, [](const Matcher& m) { return !m.matches(""); });
  if (selective) return {};
  return "a selector must contain at least one matcher that does not match the empty string";
}

}  // namespace nexus::knowledge::promql
