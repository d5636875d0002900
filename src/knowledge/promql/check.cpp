#include "knowledge/promql/check.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace nexus::knowledge::promql {
namespace {

bool is_number_like(const Node& node) {
  return node.type == ValueType::kScalar || node.type == ValueType::kVector;
}

}  // namespace

std::string check(const Unary& unary) {
  if (is_number_like(*unary.operand)) return {};
  return fmt::format("unary \"{}\" is only allowed on a scalar or instant vector, got {}",
                     unary.negative ? '-' : '+', describe(unary.operand->type));
}

std::string check(const Binary& binary, bool has_matching) {
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
  if ((scalar_lhs || scalar_rhs) && has_matching) {
    return "vector matching (on, ignoring) is only allowed between instant vectors";
  }
  return {};
}

ValueType type_of(const Binary& binary) {
  const bool scalars =
      binary.lhs->type == ValueType::kScalar && binary.rhs->type == ValueType::kScalar;
  return scalars ? ValueType::kScalar : ValueType::kVector;
}

std::string check(const Aggregate& aggregate) {
  if (aggregate.operand->type == ValueType::kVector) return {};
  return fmt::format("expected instant vector in aggregation {}, got {}", symbol(aggregate.op),
                     describe(aggregate.operand->type));
}

std::string check(const Call& call) {
  const Function& function = *call.function;
  const std::size_t count = call.arguments.size();
  if (count < function.min_arguments || count > function.max_arguments) {
    const bool fixed = function.min_arguments == function.max_arguments;
    const bool few = count < function.min_arguments;
    return fmt::format("expected {}{} argument(s) in call to {}(), got {}",
                       fixed ? "" : (few ? "at least " : "at most "),
                       few ? function.min_arguments : function.max_arguments, function.name, count);
  }
  for (std::size_t i = 0; i < count; ++i) {
    const ValueType expected = function.arguments[i];
    const ValueType actual = call.arguments[i]->type;
    if (actual == expected) continue;
    return fmt::format("expected {} as argument {} of {}(), got {}", describe(expected), i + 1,
                       function.name, describe(actual));
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
