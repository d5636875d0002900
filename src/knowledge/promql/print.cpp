// The canonical text of a tree, as Prometheus's String() gives it.
#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>

#include "knowledge/promql/ast.hpp"
#include "knowledge/promql/functions.hpp"
#include "nexus/base/text.hpp"

namespace nexus::knowledge::promql {
namespace {

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7F) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out += '"';
}

bool is_plain_label(std::string_view name) {
  if (name.empty() || (name.front() >= '0' && name.front() <= '9')) return false;
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
  return name.find_first_not_of(kPlain) == std::string_view::npos;
}

std::string list(const LabelSet& labels) {
  std::string out = "(";
  for (const std::string& name : labels.names) {
    if (out.size() > 1) out += ", ";
    out += is_plain_label(name) ? name : quoted(name);
  }
  return out += ')';
}

std::string number(double value) {
  if (!std::isfinite(value)) return base::format_double(value);
  std::array<char, 1100> digits{};  // the smallest double has 1,074 decimals
  const auto end = std::to_chars(digits.begin(), digits.end(), value, std::chars_format::fixed);
  return std::string(digits.data(), end.ptr);
}

std::string with_offset(std::string text, std::int64_t offset) {
  if (offset == 0) return text;
  return text += " offset " + base::format_duration(Millis(offset));
}

std::string selector(const VectorSelector& vector) {
  std::string conditions;
  bool name_written = vector.metric.empty();
  for (const Matcher& matcher : vector.matchers) {
    if (!name_written && matcher.name() == kMetricName) {
      name_written = true;
      continue;
    }
    if (!conditions.empty()) conditions += ',';
    conditions += to_string(matcher);
  }
  if (conditions.empty()) return vector.metric;
  return vector.metric + '{' + conditions + '}';
}

struct Printer {
  std::string operator()(const NumberLiteral& node) const { return number(node.value); }
  std::string operator()(const StringLiteral& node) const { return quoted(node.value); }
  std::string operator()(const Paren& node) const { return '(' + print(*node.inner) + ')'; }
  std::string operator()(const Unary& node) const {
    return (node.negative ? '-' : '+') + print(*node.operand);
  }
  std::string operator()(const Binary& node) const {
    std::string out = fmt::format("{} {}", print(*node.lhs), symbol(node.op));
    if (node.returns_bool) out += " bool";
    if (node.matching.listed_count || !node.matching.names.empty()) {
      out += (node.matching.listed_count ? " on " : " ignoring ") + list(node.matching);
    }
    return out + ' ' + print(*node.rhs);
  }
  std::string operator()(const Aggregate& node) const {
    std::string out(symbol(node.op));
    if (!node.grouping.listed_count) {
      out += " without " + list(node.grouping) + ' ';
    } else if (!node.grouping.names.empty()) {
      out += " by " + list(node.grouping) + ' ';
    }
    return out + '(' + print(*node.operand) + ')';
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
    return with_offset(selector(node), node.offset);
  }
  std::string operator()(const MatrixSelector& node) const {
    const std::string range = base::format_duration(Millis(node.range));
    return with_offset(selector(node.vector) + '[' + range + ']', node.vector.offset);
  }
};

}  // namespace

std::string print(const Node& node) {
  return std::visit(Printer{}, node.kind);
}

}  // namespace nexus::knowledge::promql
