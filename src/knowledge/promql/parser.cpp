#include "knowledge/promql/parser.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "knowledge/promql/check.hpp"
#include "knowledge/promql/functions.hpp"

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

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

std::string lowered(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), lower);
  return out;
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

std::optional<AggregateOp> aggregation(std::string_view word) {
  for (const auto op : {AggregateOp::kSum, AggregateOp::kAvg, AggregateOp::kMin, AggregateOp::kMax,
                        AggregateOp::kCount}) {
    if (word == symbol(op)) return op;
  }
  return std::nullopt;
}

/// Words that can never start an operand.
bool is_modifier(std::string_view word) {
  return word == "bool" || word == "on" || word == "ignoring" || word == "group_left" ||
         word == "group_right";
}

constexpr std::string_view kOperand = "an expression";

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
  bool has_matching = false;
  if (at_keyword("bool")) {
    advance();
    node.returns_bool = true;
  }
  if (!matching(node, has_matching)) return nullptr;
  // Only ^ binds to the right: 2 ^ 3 ^ 2 is 2 ^ (3 ^ 2).
  NodePtr rhs = expression(op == BinaryOp::kPow ? precedence : precedence + 1);
  if (!rhs) return nullptr;
  node.lhs = std::move(lhs);
  node.rhs = std::move(rhs);
  const int depth = std::max(node.lhs->depth, node.rhs->depth);
  const std::string problem = check(node, has_matching);
  const ValueType type = type_of(node);
  return make(type, std::move(node), depth, start, problem);
}

NodePtr Parser::unary() {
  const Token& sign = peek();
  if (sign.kind != TokenKind::kAdd && sign.kind != TokenKind::kSub) {
    NodePtr operand = primary();
    return operand && nothing_behind() ? std::move(operand) : nullptr;
  }
  advance();
  const bool negative = sign.kind == TokenKind::kSub;
  NodePtr operand = expression(kPower);  // -2 ^ 2 is -(2 ^ 2)
  if (!operand) return nullptr;
  if (const auto* number = std::get_if<NumberLiteral>(&operand->kind)) {
    const NumberLiteral folded{negative ? -number->value : number->value};
    return make(ValueType::kScalar, folded, 0, sign.offset);
  }
  const ValueType type = operand->type;
  const int depth = operand->depth;
  Unary node{negative, std::move(operand)};
  const std::string problem = check(node);
  return make(type, std::move(node), depth, sign.offset, problem);
}

bool Parser::nothing_behind() {
  const Token& token = peek();
  if (token.kind == TokenKind::kAt) {
    not_supported(token.offset, "the @ modifier");
  } else if (token.kind == TokenKind::kLeftBracket) {
    std::int64_t length = 0;
    if (range(length)) fail_at(token.offset, "a range is only allowed after a vector selector");
  } else if (at_keyword("offset")) {
    fail_at(token.offset, "offset is only allowed after a vector or range selector");
  }
  return !error_;
}

NodePtr Parser::selector_with_modifiers() {
  const std::size_t start = peek().offset;
  MatrixSelector node;
  if (!selector(node.vector)) return nullptr;
  bool has_offset = false;
  for (;;) {
    const Token& token = peek();
    if (token.kind == TokenKind::kLeftBracket && node.range == 0) {
      if (!range(node.range)) return nullptr;
      if (has_offset) return fail_at(token.offset, "offset must stand behind the range");
    } else if (at_keyword("offset")) {
      if (has_offset) return fail_at(token.offset, "offset may not be set twice");
      if (!offset(node.vector.offset)) return nullptr;
      has_offset = true;
    } else {
      break;
    }
  }
  if (node.range > 0) return make(ValueType::kMatrix, std::move(node), 0, start);
  return make(ValueType::kVector, std::move(node.vector), 0, start);
}

NodePtr Parser::primary() {
  const Token& token = peek();
  if (token.kind == TokenKind::kIdentifier) return named();
  if (token.kind == TokenKind::kLeftBrace) return selector_with_modifiers();
  if (token.kind == TokenKind::kNumber || token.kind == TokenKind::kDuration) {
    advance();  // Prometheus 3: a duration is its seconds
    return make(ValueType::kScalar, NumberLiteral{token.number}, 0, token.offset);
  }
  if (token.kind == TokenKind::kString) {
    StringLiteral literal;
    if (!string(literal.value)) return nullptr;
    return make(ValueType::kString, std::move(literal), 0, token.offset);
  }
  if (!expect(TokenKind::kLeftParen, kOperand)) return nullptr;
  NodePtr inner = expression(kLowest);
  if (!inner || !expect(TokenKind::kRightParen, "\")\"")) return nullptr;
  const ValueType type = inner->type;
  const int depth = inner->depth;
  return make(type, Paren{std::move(inner)}, depth, token.offset);
}

NodePtr Parser::named() {
  const Token& token = peek();
  const std::string word = lowered(token.text);
  const bool parenthesis = peek(1).kind == TokenKind::kLeftParen;
  const bool grouped = at_keyword("by", 1) || at_keyword("without", 1);
  if (is_modifier(word)) return unexpected(kOperand);
  if (parenthesis || grouped) {
    if (const auto op = aggregation(word)) return aggregate(*op);
    if (is_future_aggregation(word)) {
      return not_supported(token.offset, fmt::format("aggregation {}", word));
    }
  }
  if (parenthesis) return call();
  if (word == "inf" || word == "nan") {
    advance();
    using Double = std::numeric_limits<double>;
    const NumberLiteral value{word == "inf" ? Double::infinity() : Double::quiet_NaN()};
    return make(ValueType::kScalar, value, 0, token.offset);
  }
  return selector_with_modifiers();
}

NodePtr Parser::aggregate(AggregateOp op) {
  const std::size_t start = advance().offset;
  Aggregate node;
  node.op = op;
  node.grouping.listed_count = true;  // without a clause: by ()
  const auto at_clause = [&] { return at_keyword("by") || at_keyword("without"); };
  const bool clause_first = at_clause();
  if (clause_first && !grouping(node.grouping)) return nullptr;
  if (!expect(TokenKind::kLeftParen, "\"(\"")) return nullptr;
  node.operand = expression(kLowest);
  if (!node.operand) return nullptr;
  if (peek().kind == TokenKind::kComma) {
    return fail_at(peek().offset, fmt::format("{}() takes one argument", symbol(op)));
  }
  if (!expect(TokenKind::kRightParen, "\")\"")) return nullptr;
  if (!clause_first && at_clause() && !grouping(node.grouping)) return nullptr;
  const int depth = node.operand->depth;
  const std::string problem = check(node);
  return make(ValueType::kVector, std::move(node), depth, start, problem);
}

NodePtr Parser::call() {
  const Token& name = advance();
  Call node;
  node.function = find_function(name.text);
  if (node.function == nullptr) {
    if (is_future_function(name.text)) {
      return not_supported(name.offset, fmt::format("function {}()", name.text));
    }
    return fail_at(name.offset, fmt::format("unknown function {}()", name.text));
  }
  advance();  // the parenthesis
  int depth = 0;
  while (peek().kind != TokenKind::kRightParen) {
    NodePtr argument = expression(kLowest);
    if (!argument) return nullptr;
    depth = std::max(depth, argument->depth);
    node.arguments.push_back(std::move(argument));
    if (peek().kind == TokenKind::kRightParen) break;
    if (!expect(TokenKind::kComma, "\",\" or \")\"")) return nullptr;
    if (peek().kind == TokenKind::kRightParen) return unexpected("an argument");
  }
  advance();
  const ValueType type = node.function->result;
  const std::string problem = check(node);
  return make(type, std::move(node), depth, name.offset, problem);
}

NodePtr Parser::make(ValueType type, Node::Kind kind, int operand_depth, std::size_t start,
                     const std::string& problem) {
  if (!problem.empty()) return fail_at(start, problem);
  if (operand_depth >= kMaxDepth) {
    return fail_at(start, fmt::format("nested deeper than {} levels", kMaxDepth));
  }
  return std::make_unique<const Node>(type, operand_depth + 1, std::move(kind));
}

bool Parser::at_keyword(std::string_view word, std::size_t ahead) const {
  const Token& token = peek(ahead);
  return token.kind == TokenKind::kIdentifier && token.text.size() == word.size() &&
         std::ranges::equal(token.text, word, {}, lower);
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
  return fail_at(offset, fmt::format("not supported yet: {}", what));
}

}  // namespace nexus::knowledge::promql
