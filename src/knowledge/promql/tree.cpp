// The syntax tree as JSON, key by key as Prometheus's web/api/v1/translate_ast.go writes it: keys
// ascend, times are milliseconds.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <span>

#include "knowledge/promql/ast.hpp"
#include "knowledge/promql/functions.hpp"
#include "knowledge/promql/number_text.hpp"
#include "knowledge/promql/parser.hpp"
#include "nexus/knowledge/promql_tree.hpp"

namespace nexus::knowledge::promql {
namespace {

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) < 0x20) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out += '"';
}

/// `[one,two]` of what `text_of` makes of each.
template <typename List, typename TextOf>
std::string listed(const List& list, TextOf&& text_of) {
  std::string out = "[";
  for (const auto& one : list) {
    if (out.size() > 1) out += ',';
    out += text_of(one);
  }
  return out += ']';
}

std::string_view word(bool value) {
  return value ? "true" : "false";
}

/// As Prometheus lists them: that of a name before the brace comes last.
std::string matchers(const VectorSelector& selector) {
  static constexpr std::string_view kTypes[] = {"=", "!=", "=~", "!~"};
  static_assert(static_cast<int>(MatchOp::kEqual) == 0 &&
                static_cast<int>(MatchOp::kNotRegex) == 3);
  std::vector<Matcher> all = selector.matchers;
  if (!selector.metric.empty()) std::ranges::rotate(all, all.begin() + 1);
  return listed(all, [](const Matcher& one) {
    return fmt::format(R"({{"name":{},"type":"{}","value":{}}})", quoted(one.name()),
                       kTypes[static_cast<std::size_t>(one.op())], quoted(one.value()));
  });
}

std::string start_or_end(const TimeModifiers& time) {
  switch (time.at) {
    case TimeModifiers::At::kStart:
      return "\"start\"";
    case TimeModifiers::At::kEnd:
      return "\"end\"";
    case TimeModifiers::At::kNone:
    case TimeModifiers::At::kTime:
      break;
  }
  return "null";
}

std::string timestamp(const TimeModifiers& time) {
  return time.at == TimeModifiers::At::kTime ? fmt::format("{}", time.at_time) : "null";
}

/// Of two vectors: how they are matched. Nothing else has it.
std::string matching(const Binary& node) {
  if (node.lhs->type != ValueType::kVector || node.rhs->type != ValueType::kVector) return "null";
  std::string_view card = "one-to-one";
  if (is_set_operator(node.op)) card = "many-to-many";
  if (node.matching.cardinality == Cardinality::kManyToOne) card = "many-to-one";
  if (node.matching.cardinality == Cardinality::kOneToMany) card = "one-to-many";
  return fmt::format(R"({{"card":"{}","include":{},"labels":{},"on":{}}})", card,
                     listed(node.matching.include, quoted),
                     listed(node.matching.labels.names, quoted),
                     word(node.matching.labels.listed_count));
}

std::string tree(const Node& node);

struct Translate {
  std::string operator()(const NumberLiteral& node) const {
    return fmt::format(R"({{"type":"numberLiteral","val":"{}"}})", fixed_text(node.value));
  }
  std::string operator()(const StringLiteral& node) const {
    return fmt::format(R"({{"type":"stringLiteral","val":{}}})", quoted(node.value));
  }
  std::string operator()(const Paren& node) const {
    return fmt::format(R"({{"expr":{},"type":"parenExpr"}})", tree(*node.inner));
  }
  std::string operator()(const Unary& node) const {
    return fmt::format(R"({{"expr":{},"op":"{}","type":"unaryExpr"}})", tree(*node.operand),
                       node.negative ? '-' : '+');
  }
  std::string operator()(const Binary& node) const {
    return fmt::format(
        R"({{"bool":{},"lhs":{},"matching":{},"op":"{}","rhs":{},"type":"binaryExpr"}})",
        word(node.returns_bool), tree(*node.lhs), matching(node), symbol(node.op), tree(*node.rhs));
  }
  std::string operator()(const Aggregate& node) const {
    return fmt::format(
        R"({{"expr":{},"grouping":{},"op":"{}","param":{},"type":"aggregation","without":{}}})",
        tree(*node.operand), listed(node.grouping.names, quoted), symbol(node.op),
        node.parameter ? tree(*node.parameter) : "null", word(!node.grouping.listed_count));
  }
  std::string operator()(const Call& node) const {
    const Function& function = *node.function;
    // Prometheus counts the arguments that may be left out; -1: any number.
    const auto optional =
        function.max_arguments == Function::kVariadic
            ? -1
            : static_cast<int>(function.max_arguments) - static_cast<int>(function.min_arguments);
    const auto types = std::span(function.arguments).first(function.listed_arguments());
    return fmt::format(
        R"({{"args":{},"func":{{"argTypes":{},"name":"{}","returnType":"{}","variadic":{}}},"type":"call"}})",
        listed(node.arguments, [](const NodePtr& one) { return tree(*one); }),
        listed(types, [](ValueType type) { return quoted(to_string(type)); }), function.name,
        to_string(function.result), optional);
  }
  std::string operator()(const VectorSelector& node) const {
    return fmt::format(
        R"({{"matchers":{},"name":{},"offset":{},"startOrEnd":{},"timestamp":{},"type":"vectorSelector"}})",
        matchers(node), quoted(node.metric), node.time.offset, start_or_end(node.time),
        timestamp(node.time));
  }
  std::string operator()(const MatrixSelector& node) const {
    const VectorSelector& vector = node.vector;
    return fmt::format(
        R"({{"matchers":{},"name":{},"offset":{},"range":{},"startOrEnd":{},"timestamp":{},"type":"matrixSelector"}})",
        matchers(vector), quoted(vector.metric), vector.time.offset, node.range,
        start_or_end(vector.time), timestamp(vector.time));
  }
  std::string operator()(const Subquery& node) const {
    return fmt::format(
        R"({{"expr":{},"offset":{},"range":{},"startOrEnd":{},"step":{},"timestamp":{},"type":"subquery"}})",
        tree(*node.operand), node.time.offset, node.range, start_or_end(node.time), node.step,
        timestamp(node.time));
  }
};

std::string tree(const Node& node) {
  return std::visit(Translate(), node.kind);
}

}  // namespace

Result<std::string> tree_of(std::string_view query) {
  const auto root = parse_tree(query);
  if (!root) return std::unexpected(root.error());
  return tree(**root);
}

}  // namespace nexus::knowledge::promql
