// What stands behind an operand: ranges and subqueries in brackets, offset and @.
#include <fmt/format.h>

#include <cmath>

#include "knowledge/promql/parser.hpp"

namespace nexus::knowledge::promql {
namespace {

constexpr double kMaxSeconds = 3.2e9;  // a hundred years; milliseconds then never overflow
constexpr double kMaxAtMillis = 0x1p60;

/// nullptr when the node cannot be moved in time.
TimeModifiers* time_of(Node& node) {
  if (auto* vector = std::get_if<VectorSelector>(&node.kind)) return &vector->time;
  if (auto* matrix = std::get_if<MatrixSelector>(&node.kind)) return &matrix->vector.time;
  if (auto* subquery = std::get_if<Subquery>(&node.kind)) return &subquery->time;
  return nullptr;
}

}  // namespace

NodePtr Parser::modifiers(NodePtr operand, std::size_t start) {
  while (operand) {
    const Token& token = peek();
    if (token.kind == TokenKind::kLeftBracket) {
      operand = range_or_subquery(std::move(operand), start);
    } else if (token.kind == TokenKind::kAt) {
      if (!at(time_of(*operand))) return nullptr;
    } else if (at_keyword("offset")) {
      if (!offset(time_of(*operand))) return nullptr;
    } else if (token.kind == TokenKind::kIdentifier &&
               (at_keyword("smoothed") || at_keyword("anchored"))) {
      return not_supported(token.offset,
                           fmt::format("{}, an experiment of Prometheus", token.text));
    } else {
      break;
    }
  }
  return operand;
}

NodePtr Parser::range_or_subquery(NodePtr operand, std::size_t start) {
  const std::size_t bracket = advance().offset;
  const Token& length = peek();
  std::int64_t range = 0;
  if (!duration(range)) return nullptr;
  if (range <= 0) return fail_at(length.offset, "duration must be greater than 0");
  if (!accept(TokenKind::kColon)) {
    if (!expect(TokenKind::kRightBracket, "\"]\" or \":\"")) return nullptr;
    auto* vector = std::get_if<VectorSelector>(&operand->kind);
    if (vector == nullptr) return fail_at(bracket, "ranges only allowed for vector selectors");
    if (vector->time.offset != 0) {
      return fail_at(bracket, "no offset modifiers allowed before range");
    }
    if (vector->time.at != TimeModifiers::At::kNone) {
      return fail_at(bracket, "no @ modifiers allowed before range");
    }
    return make(ValueType::kMatrix, MatrixSelector{std::move(*vector), range}, 0, start);
  }
  std::int64_t step = 0;
  if (peek().kind != TokenKind::kRightBracket) {
    const std::size_t place = peek().offset;
    if (!duration(step)) return nullptr;
    if (step <= 0) return fail_at(place, "duration must be greater than 0");
  }
  if (!expect(TokenKind::kRightBracket, "\"]\"")) return nullptr;
  if (operand->type != ValueType::kVector) {
    return fail_at(start, fmt::format("subquery is only allowed on instant vector, got {} instead",
                                      describe(operand->type)));
  }
  const int depth = operand->depth;
  return make(ValueType::kMatrix, Subquery{std::move(operand), range, step, {}}, depth, start);
}

bool Parser::offset(TimeModifiers* time) {
  const std::size_t keyword = advance().offset;
  const bool negative = peek().kind == TokenKind::kSub;
  if (negative || peek().kind == TokenKind::kAdd) advance();
  std::int64_t length = 0;
  if (!duration(length)) return false;
  if (time == nullptr) {
    fail_at(keyword,
            "offset modifier must be preceded by an instant vector selector or range vector "
            "selector or a subquery");
    return false;
  }
  if (time->offset != 0) {
    fail_at(keyword, "offset may not be set multiple times");
    return false;
  }
  time->offset = negative ? -length : length;
  return true;
}

bool Parser::at(TimeModifiers* time) {
  const std::size_t sign = advance().offset;
  TimeModifiers parsed;
  if (!at_time(parsed)) return false;
  if (time == nullptr) {
    fail_at(sign,
            "@ modifier must be preceded by an instant vector selector or range vector selector "
            "or a subquery");
    return false;
  }
  if (time->at != TimeModifiers::At::kNone) {
    fail_at(sign, "@ <timestamp> may not be set multiple times");
    return false;
  }
  time->at = parsed.at;
  time->at_time = parsed.at_time;
  return true;
}

bool Parser::at_time(TimeModifiers& out) {
  if (at_keyword("start") || at_keyword("end")) {
    out.at = at_keyword("start") ? TimeModifiers::At::kStart : TimeModifiers::At::kEnd;
    advance();
    return expect(TokenKind::kLeftParen, "\"(\"") && expect(TokenKind::kRightParen, "\")\"");
  }
  const bool negative = peek().kind == TokenKind::kSub;
  if (negative || peek().kind == TokenKind::kAdd) advance();
  const Token& token = peek();
  const bool special = at_keyword("inf") || at_keyword("nan");
  if (token.kind != TokenKind::kNumber && token.kind != TokenKind::kDuration && !special) {
    unexpected("a timestamp, start() or end()");
    return false;
  }
  const double millis = std::round((negative ? -token.number : token.number) * 1000.0);
  if (special || !(std::fabs(millis) <= kMaxAtMillis)) {
    fail_at(token.offset, fmt::format("timestamp out of bounds for @ modifier: {}{}",
                                      negative ? "-" : "", token.text));
    return false;
  }
  advance();
  out.at = TimeModifiers::At::kTime;
  out.at_time = static_cast<std::int64_t>(millis);
  return true;
}

bool Parser::duration(std::int64_t& out) {
  const Token& token = peek();
  if (token.kind != TokenKind::kDuration && token.kind != TokenKind::kNumber) {
    unexpected("a duration such as 5m or 1h30m");
    return false;
  }
  if (!(token.number <= kMaxSeconds)) {
    fail_at(token.offset, fmt::format("duration {} is out of range", token.text));
    return false;
  }
  out = std::llround(token.number * 1000.0);
  advance();
  return true;
}

}  // namespace nexus::knowledge::promql
