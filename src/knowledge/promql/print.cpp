// The canonical text of a tree, as Prometheus's String() gives it.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <span>

#include "knowledge/promql/ast.hpp"
#include "knowledge/promql/functions.hpp"
#include "knowledge/promql/number_text.hpp"
#include "nexus/base/go_text.hpp"
#include "nexus/base/text.hpp"

namespace nexus::knowledge::promql {
namespace {

bool is_plain_label(std::string_view name) {
  if (name.empty() || (name.front() >= '0' && name.front() <= '9')) return false;
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
  return name.find_first_not_of(kPlain) == std::string_view::npos;
}

std::string list(std::span<const std::string> names) {
  std::string out = "(";
  for (const std::string& name : names) {
    if (out.size() > 1) out += ", ";
    out += is_plain_label(name) ? name : base::go_quoted(name);
  }
  return out += ')';
}

std::string number(const NumberLiteral& literal) {
  if (literal.duration && std::isfinite(literal.value)) {
    return base::format_duration(Millis(std::llround(literal.value * 1000)));
  }
  return fixed_text(literal.value);
}

/// The step of an @ modifier and the offset, in the order of Prometheus.
std::string moved(const TimeModifiers& time) {
  std::string out;
  switch (time.at) {
    case TimeModifiers::At::kNone:
      break;
    case TimeModifiers::At::kTime:
      out += fmt::format(" @ {}{}.{:03}", time.at_time < 0 ? "-" : "",
                         std::abs(time.at_time) / 1000, std::abs(time.at_time) % 1000);
      break;
    case TimeModifiers::At::kStart:
      out += " @ start()";
      break;
    case TimeModifiers::At::kEnd:
      out += " @ end()";
      break;
  }
  if (time.offset != 0) out += " offset " + base::format_duration(Millis(time.offset));
  return out;
}

std::string range_of(const Subquery& node) {
  const std::string step = node.step > 0 ? base::format_duration(Millis(node.step)) : "";
  return fmt::format("[{}:{}]{}", base::format_duration(Millis(node.range)), step,
                     moved(node.time));
}

/// The aggregation with its clause, up to the parenthesis.
std::string head(const Aggregate& node) {
  std::string out(symbol(node.op));
  if (!node.grouping.listed_count) {
    out += " without " + list(node.grouping.names) + ' ';
  } else if (!node.grouping.names.empty()) {
    out += " by " + list(node.grouping.names) + ' ';
  }
  return out;
}

/// The operator with its modifiers.
std::string operation(const Binary& node) {
  std::string out(symbol(node.op));
  if (node.returns_bool) out += " bool";
  const Matching& matching = node.matching;
  const bool grouped = matching.cardinality != Cardinality::kOneToOne;
  if (matching.labels.listed_count || !matching.labels.names.empty() || grouped) {
    out += matching.labels.listed_count ? " on " : " ignoring ";
    out += list(matching.labels.names);
  }
  if (grouped) {
    out += matching.cardinality == Cardinality::kManyToOne ? " group_left " : " group_right ";
    out += list(matching.include);
  }
  return out;
}

/// Conditions sorted as text, as in Prometheus.
std::string selector(const VectorSelector& vector) {
  std::vector<std::string> conditions;
  bool name_written = vector.metric.empty();
  for (const Matcher& matcher : vector.matchers) {
    if (!name_written && matcher.name() == kMetricName) {
      name_written = true;
      continue;
    }
    conditions.push_back(to_string(matcher));
  }
  if (conditions.empty()) return vector.metric;
  std::ranges::sort(conditions);
  return fmt::format("{}{{{}}}", vector.metric, fmt::join(conditions, ","));
}

struct Printer {
  std::string operator()(const NumberLiteral& node) const { return number(node); }
  std::string operator()(const StringLiteral& node) const { return base::go_quoted(node.value); }
  std::string operator()(const Paren& node) const { return '(' + print(*node.inner) + ')'; }
  std::string operator()(const Unary& node) const {
    return (node.negative ? '-' : '+') + print(*node.operand);
  }
  std::string operator()(const Binary& node) const {
    return fmt::format("{} {} {}", print(*node.lhs), operation(node), print(*node.rhs));
  }
  std::string operator()(const Aggregate& node) const {
    const std::string parameter = node.parameter ? print(*node.parameter) + ", " : "";
    return fmt::format("{}({}{})", head(node), parameter, print(*node.operand));
  }
  std::string operator()(const Call& node) const {
    std::string out(node.function->name);
    out += '(';
    for (std::size_t i = 0; i < node.arguments.size(); ++i) {
      if (i > 0) out += ", ";
      out += print(*node.arguments[i]);
    }
    return out += ')';
  }
  std::string operator()(const VectorSelector& node) const {
    return selector(node) + moved(node.time);
  }
  std::string operator()(const MatrixSelector& node) const {
    return fmt::format("{}[{}]{}", selector(node.vector), base::format_duration(Millis(node.range)),
                       moved(node.vector.time));
  }
  std::string operator()(const Subquery& node) const {
    return print(*node.operand) + range_of(node);
  }
};

/// Breaks what is longer than a line, operand by operand, each level indented by two blanks.
class PrettyPrinter {
 public:
  [[nodiscard]] std::string print(const Node& node, std::size_t level) const {
    const std::string line = promql::print(node);
    // As in Prometheus a subquery that fits is not indented.
    const bool subquery = std::holds_alternative<Subquery>(node.kind);
    if (line.size() <= kMaxLine) return subquery ? line : indent(level) + line;
    return std::visit([&](const auto& kind) { return split(kind, line, level); }, node.kind);
  }

 private:
  static constexpr std::size_t kMaxLine = 100;

  static std::string indent(std::size_t level) { return std::string(2 * level, ' '); }

  /// Selectors and literals stay on their line, however long.
  template <typename Leaf>
  static std::string split(const Leaf&, const std::string& line, std::size_t level) {
    return indent(level) + line;
  }
  [[nodiscard]] std::string split(const Paren& node, const std::string&, std::size_t level) const {
    return fmt::format("{0}(\n{1}\n{0})", indent(level), print(*node.inner, level + 1));
  }
  [[nodiscard]] std::string split(const Unary& node, const std::string&, std::size_t level) const {
    const std::string operand = print(*node.operand, level);
    return fmt::format("{}{}{}", indent(level), node.negative ? '-' : '+', base::trim(operand));
  }
  [[nodiscard]] std::string split(const Binary& node, const std::string&, std::size_t level) const {
    return fmt::format("{}\n{}{}\n{}", print(*node.lhs, level + 1), indent(level), operation(node),
                       print(*node.rhs, level + 1));
  }
  [[nodiscard]] std::string split(const Aggregate& node, const std::string&,
                                  std::size_t level) const {
    const std::string parameter =
        node.parameter ? print(*node.parameter, level + 1) + ",\n" : std::string();
    return fmt::format("{0}{1}(\n{2}{3}\n{0})", indent(level), head(node), parameter,
                       print(*node.operand, level + 1));
  }
  [[nodiscard]] std::string split(const Call& node, const std::string&, std::size_t level) const {
    std::string arguments;
    for (const NodePtr& argument : node.arguments) {
      if (!arguments.empty()) arguments += ",\n";
      arguments += print(*argument, level + 1);
    }
    return fmt::format("{0}{1}(\n{2}\n{0})", indent(level), node.function->name, arguments);
  }
  [[nodiscard]] std::string split(const Subquery& node, const std::string&,
                                  std::size_t level) const {
    return print(*node.operand, level) + range_of(node);
  }
};

}  // namespace

std::string print(const Node& node) {
  return std::visit(Printer{}, node.kind);
}

std::string pretty_print(const Node& node) {
  return PrettyPrinter().print(node, 0);
}

}  // namespace nexus::knowledge::promql
