// Operands that begin with a word: aggregations, function calls, inf and nan, selectors.
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "knowledge/promql/check.hpp"
#include "knowledge/promql/functions.hpp"
#include "knowledge/promql/parser.hpp"

namespace nexus::knowledge::promql {
namespace {

std::optional<AggregateOp> aggregation(std::string_view word) {
  for (auto op = AggregateOp::kSum; op <= AggregateOp::kCountValues;
       op = static_cast<AggregateOp>(static_cast<int>(op) + 1)) {
    if (word == symbol(op)) return op;
  }
  return std::nullopt;
}

/// Words that can never start an operand.
bool is_modifier(std::string_view word) {
  return word == "bool" || word == "on" || word == "ignoring" || word == "group_left" ||
         word == "group_right";
}

}  // namespace

std::string lowered(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

NodePtr Parser::named() {
  const Token& token = peek();
  const std::string word = lowered(token.text);
  const bool parenthesis = peek(1).kind == TokenKind::kLeftParen;
  const bool grouped = at_keyword("by", 1) || at_keyword("without", 1);
  if (is_modifier(word)) return unexpected("an expression");
  if (parenthesis || grouped) {
    if (const auto op = aggregation(word)) return aggregate(*op);
  }
  if (parenthesis) return call();
  if (word == "inf" || word == "nan") {
    advance();
    using Double = std::numeric_limits<double>;
    const NumberLiteral value{word == "inf" ? Double::infinity() : Double::quiet_NaN()};
    return make(ValueType::kScalar, value, 0, token.offset);
  }
  return vector_selector();
}

/// The second argument of info(): conditions in braces, which may all match the empty string.
NodePtr Parser::conditions() {
  const std::size_t start = peek().offset;
  if (peek().kind != TokenKind::kLeftBrace) {
    return unexpected("conditions in braces such as {version=~\".+\"}");
  }
  VectorSelector selector;
  if (!matchers(selector)) return nullptr;
  return make(ValueType::kVector, std::move(selector), 0, start);
}

bool Parser::arguments(std::vector<NodePtr>& out, int& depth, bool of_info) {
  if (!expect(TokenKind::kLeftParen, "\"(\"")) return false;
  while (peek().kind != TokenKind::kRightParen) {
    NodePtr argument = of_info && out.size() == 1 ? conditions() : expression();
    if (!argument) return false;
    depth = std::max(depth, argument->depth);
    out.push_back(std::move(argument));
    if (peek().kind == TokenKind::kRightParen) break;
    if (!expect(TokenKind::kComma, "\",\" or \")\"")) return false;
    if (peek().kind == TokenKind::kRightParen) {
      unexpected("an argument");
      return false;
    }
  }
  advance();
  return true;
}

NodePtr Parser::aggregate(AggregateOp op) {
  const std::size_t start = advance().offset;
  Aggregate node;
  node.op = op;
  node.grouping.listed_count = true;  // without a clause: by ()
  const auto at_clause = [&] { return at_keyword("by") || at_keyword("without"); };
  const bool clause_first = at_clause();
  if (clause_first && !grouping(node.grouping)) return nullptr;
  std::vector<NodePtr> operands;
  int depth = 0;
  if (!arguments(operands, depth)) return nullptr;
  if (!clause_first && at_clause() && !grouping(node.grouping)) return nullptr;
  const std::size_t expected = has_parameter(op) ? 2 : 1;
  if (operands.size() != expected) {
    return fail_at(start, fmt::format("wrong number of arguments for aggregate expression "
                                      "provided, expected {}, got {}",
                                      expected, operands.size()));
  }
  node.operand = std::move(operands.back());
  if (has_parameter(op)) node.parameter = std::move(operands.front());
  const std::string problem = check(node);
  return make(ValueType::kVector, std::move(node), depth, start, problem);
}

NodePtr Parser::call() {
  const Token& name = advance();
  Call node;
  node.function = find_function(name.text);
  if (node.function == nullptr) {
    if (const std::string_view reason = why_unsupported(name.text); !reason.empty()) {
      return not_supported(name.offset, fmt::format("function {}(), {}", name.text, reason));
    }
    return fail_at(name.offset, fmt::format("unknown function with name \"{}\"", name.text));
  }
  int depth = 0;
  if (!arguments(node.arguments, depth, node.function->name == "info")) return nullptr;
  const ValueType type = node.function->result;
  const std::string problem = check(node);
  return make(type, std::move(node), depth, name.offset, problem);
}

}  // namespace nexus::knowledge::promql
