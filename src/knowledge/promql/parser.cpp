#include "knowledge/promql/parser.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "knowledge/promql/check.hpp"

namespace nexus::knowledge::promql {
namespace {

constexpr int kLowest = 1;
constexpr int kPower = 6;

int precedence_of(BinaryOp op) {
  switch (op) {
    case BinaryOp::kOr:
      return kLowest;
    case BinaryOp::kAnd:
    case BinaryOp::kUnless:
      return 2;
    case BinaryOp::kEqual:
    case BinaryOp::kNotEqual:
    case BinaryOp::kGreater:
    case BinaryOp::kLess:
    case BinaryOp::kGreaterEqual:
    case BinaryOp::kLessEqual:
      return 3;
    case BinaryOp::kAdd:
    case BinaryOp::kSub:
      return 4;
    case BinaryOp::kMul:
    case BinaryOp::kDiv:
    case BinaryOp::kMod:
    case BinaryOp::kAtan2:
      return 5;
    case BinaryOp::kPow:
      return kPower;
  }
  return kLowest;
}

/// By the token's text; words in any case.
std::optional<BinaryOp> binary_operator(const Token& token) {
  static constexpr BinaryOp kAll[] = {
      BinaryOp::kAdd,       BinaryOp::kSub,     BinaryOp::kMul,   BinaryOp::kDiv,
      BinaryOp::kMod,       BinaryOp::kPow,     BinaryOp::kAtan2, BinaryOp::kEqual,
      BinaryOp::kNotEqual,  BinaryOp::kGreater, BinaryOp::kLess,  BinaryOp::kGreaterEqual,
      BinaryOp::kLessEqual, BinaryOp::kAnd,     BinaryOp::kOr,    BinaryOp::kUnless,
  };
  if (token.kind == TokenKind::kString || token.kind == TokenKind::kEnd) return std::nullopt;
  const std::string word = lowered(token.text);
  const auto* found = std::ranges::find(kAll, word, [](BinaryOp op) { return symbol(op); });
  if (found == std::end(kAll)) return std::nullopt;
  return *found;
}

}  // namespace

NodePtr Parser::query() {
  NodePtr root = expression(kLowest);
  if (!root || !end_of_query()) return nullptr;
  return root;
}

bool Parser::end_of_query() {
  if (peek().kind == TokenKind::kEnd) return true;
  unexpected("an operator or the end of the query");
  return false;
}

NodePtr Parser::expression(int min_precedence) {
  if (depth_ >= kMaxDepth) {
    return fail_at(peek().offset, fmt::format("nested deeper than {} levels", kMaxDepth));
  }
  ++depth_;
  NodePtr lhs = unary();
  while (lhs) {
    const auto op = binary_operator(peek());
    if (!op || precedence_of(*op) < min_precedence) break;
    lhs = binary(std::move(lhs), *op, precedence_of(*op));
  }
  --depth_;
  return lhs;
}

NodePtr Parser::binary(NodePtr lhs, BinaryOp op, int precedence) {
  const std::size_t start = advance().offset;
  Binary node;
  node.op = op;
  if (at_keyword("bool")) {
    advance();
    node.returns_bool = true;
  }
  if (!matching(node.matching)) return nullptr;
  // Only ^ binds to the right: 2 ^ 3 ^ 2 is 2 ^ (3 ^ 2).
  NodePtr rhs = expression(op == BinaryOp::kPow ? precedence : precedence + 1);
  if (!rhs) return nullptr;
  node.lhs = std::move(lhs);
  node.rhs = std::move(rhs);
  const int depth = std::max(node.lhs->depth, node.rhs->depth);
  const std::string problem = check(node);
  // As in Prometheus an empty list next to a number means nothing.
  if (node.lhs->type == ValueType::kScalar || node.rhs->type == ValueType::kScalar) {
    node.matching = {};
  }
  const ValueType type = type_of(node);
  const std::uint32_t offset = node.lhs->offset;
  NodePtr made = make(type, std::move(node), depth, start, problem);
  if (made) made->offset = offset;  // complaints are of the operator, it begins before
  return made;
}

NodePtr Parser::unary() {
  const Token& sign = peek();
  // +Inf is one literal: so it prints, and so it shall read back.
  const bool infinity = sign.kind == TokenKind::kAdd && at_keyword("inf", 1);
  if (infinity) advance();
  if (infinity || (sign.kind != TokenKind::kAdd && sign.kind != TokenKind::kSub)) {
    NodePtr operand = primary();
    return operand ? modifiers(std::move(operand), sign.offset) : nullptr;
  }
  advance();
  const bool negative = sign.kind == TokenKind::kSub;
  NodePtr operand = expression(kPower);  // -2 ^ 2 is -(2 ^ 2)
  if (!operand) return nullptr;
  if (auto* number = std::get_if<NumberLiteral>(&operand->kind)) {
    if (negative) number->value = -number->value;
    operand->offset = static_cast<std::uint32_t>(sign.offset);
    return operand;
  }
  const ValueType type = operand->type;
  const int depth = operand->depth;
  Unary node{negative, std::move(operand)};
  const std::string problem = check(node);
  return make(type, std::move(node), depth, sign.offset, problem);
}

NodePtr Parser::primary() {
  const Token& token = peek();
  if (token.kind == TokenKind::kIdentifier) return named();
  if (token.kind == TokenKind::kLeftBrace) return vector_selector();
  if (token.kind == TokenKind::kNumber || token.kind == TokenKind::kDuration) {
    advance();  // Prometheus 3: a duration is its seconds
    const NumberLiteral literal{token.number, token.kind == TokenKind::kDuration};
    return make(ValueType::kScalar, literal, 0, token.offset);
  }
  if (token.kind == TokenKind::kString) {
    StringLiteral literal;
    if (!string(literal.value)) return nullptr;
    return make(ValueType::kString, std::move(literal), 0, token.offset);
  }
  if (!expect(TokenKind::kLeftParen, "an expression")) return nullptr;
  NodePtr inner = expression(kLowest);
  if (!inner || !expect(TokenKind::kRightParen, "\")\"")) return nullptr;
  const ValueType type = inner->type;
  const int depth = inner->depth;
  return make(type, Paren{std::move(inner)}, depth, token.offset);
}

NodePtr Parser::make(ValueType type, Node::Kind kind, int operand_depth, std::size_t start,
                     const std::string& problem) {
  if (!problem.empty()) return fail_at(start, problem);
  if (operand_depth >= kMaxDepth) {
    return fail_at(start, fmt::format("nested deeper than {} levels", kMaxDepth));
  }
  return std::make_unique<Node>(type, operand_depth + 1, std::move(kind),
                                static_cast<std::uint32_t>(start));
}

bool Parser::at_keyword(std::string_view word, std::size_t ahead) const {
  const Token& token = peek(ahead);
  return token.kind == TokenKind::kIdentifier && token.text.size() == word.size() &&
         lowered(token.text) == word;
}

const Token& Parser::advance() {
  const Token& token = peek();
  if (at_ + 1 < tokens_.size()) ++at_;
  return token;
}

bool Parser::accept(TokenKind kind) {
  if (peek().kind != kind) return false;
  advance();
  return true;
}

bool Parser::expect(TokenKind kind, std::string_view what) {
  if (accept(kind)) return true;
  unexpected(what);
  return false;
}

std::nullptr_t Parser::fail_at(std::size_t offset, std::string_view message) {
  if (!error_) error_ = parse_error(text_, offset, message);
  return nullptr;
}

std::nullptr_t Parser::unexpected(std::string_view expected) {
  return fail_at(peek().offset,
                 fmt::format("unexpected {}, expected {}", describe(peek()), expected));
}

std::nullptr_t Parser::not_supported(std::size_t offset, std::string_view what) {
  return fail_at(offset, fmt::format("not supported: {}", what));
}

}  // namespace nexus::knowledge::promql
