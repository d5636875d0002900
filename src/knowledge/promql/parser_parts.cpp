// The parts of expressions: selectors and their matchers, label lists, strings.
#include <fmt/format.h>

#include "knowledge/promql/check.hpp"
#include "knowledge/promql/parser.hpp"

namespace nexus::knowledge::promql {
namespace {

std::optional<MatchOp> match_operator(TokenKind kind) {
  if (kind == TokenKind::kAssign) return MatchOp::kEqual;
  if (kind == TokenKind::kNotEqual) return MatchOp::kNotEqual;
  if (kind == TokenKind::kRegex) return MatchOp::kRegex;
  if (kind == TokenKind::kNotRegex) return MatchOp::kNotRegex;
  return std::nullopt;
}

}  // namespace

bool Parser::selector_only(VectorSelector& out) {
  const Token& first = peek();
  if (first.kind != TokenKind::kIdentifier && first.kind != TokenKind::kLeftBrace) {
    unexpected("a selector such as name{label=\"value\"}");
    return false;
  }
  if (!selector(out)) return false;
  return expect(TokenKind::kEnd, "the end of the selector");
}

bool Parser::selector(VectorSelector& out) {
  const std::size_t start = peek().offset;
  if (peek().kind == TokenKind::kIdentifier) {
    out.metric = advance().text;
    if (!add_matcher(out, std::string(kMetricName), MatchOp::kEqual, out.metric, start)) {
      return false;
    }
  }
  if (peek().kind == TokenKind::kLeftBrace && !matchers(out)) return false;
  const std::string problem = check(out);
  if (!problem.empty()) fail_at(start, problem);
  return problem.empty();
}

bool Parser::matchers(VectorSelector& out) {
  advance();  // the brace
  while (peek().kind != TokenKind::kRightBrace) {
    if (!matcher(out)) return false;
    if (peek().kind == TokenKind::kRightBrace) break;
    if (!expect(TokenKind::kComma, "\",\" or \"}\"")) return false;
  }
  advance();
  return true;
}

bool Parser::matcher(VectorSelector& out) {
  const Token& first = peek();
  std::string name;
  if (first.kind == TokenKind::kString) {
    if (!string(name)) return false;
    const TokenKind next = peek().kind;
    if (next == TokenKind::kComma || next == TokenKind::kRightBrace) {
      // {"metric.with.dots"}: a quoted name on its own is the metric's.
      return add_matcher(out, std::string(kMetricName), MatchOp::kEqual, name, first.offset);
    }
  } else if (first.kind == TokenKind::kIdentifier &&
             first.text.find(':') == std::string_view::npos) {
    name = advance().text;
  } else {
    unexpected("a label name or \"}\"");
    return false;
  }
  const auto op = match_operator(peek().kind);
  if (!op) {
    unexpected("one of =, !=, =~, !~");
    return false;
  }
  advance();
  if (peek().kind != TokenKind::kString) {
    unexpected("a quoted label value");
    return false;
  }
  std::string value;
  return string(value) && add_matcher(out, std::move(name), *op, std::move(value), first.offset);
}

bool Parser::add_matcher(VectorSelector& out, std::string name, MatchOp op, std::string value,
                         std::size_t offset) {
  if (name.empty()) {
    fail_at(offset, "a label name must not be empty");
    return false;
  }
  if (name == kMetricName && !out.metric.empty() && !out.matchers.empty()) {
    fail_at(offset, fmt::format("the metric name is already set to \"{}\"", out.metric));
    return false;
  }
  // A selector of only what matches nothing is no query, so each is compiled while it is parsed.
  const bool is_regex = op == MatchOp::kRegex || op == MatchOp::kNotRegex;
  if (is_regex && ++regexes_ > kMaxRegexes) {
    fail_at(offset, fmt::format("at most {} regular expressions are allowed", kMaxRegexes));
    return false;
  }
  auto made = Matcher::make(std::move(name), op, std::move(value));
  if (!made) {
    fail_at(offset, made.error().message());
    return false;
  }
  out.matchers.push_back(std::move(*made));
  return true;
}

bool Parser::grouping(LabelSet& out) {
  out.listed_count = at_keyword("by") || at_keyword("on");
  advance();
  return label_list(out.names);
}

bool Parser::label_list(std::vector<std::string>& out) {
  if (!expect(TokenKind::kLeftParen, "\"(\" and a list of labels")) return false;
  while (peek().kind != TokenKind::kRightParen) {
    const Token& token = peek();
    std::string name;
    if (token.kind == TokenKind::kIdentifier && token.text.find(':') == std::string_view::npos) {
      name = advance().text;
    } else if (token.kind != TokenKind::kString) {
      unexpected("a label name or \")\"");
      return false;
    } else if (!string(name)) {
      return false;
    }
    if (name.empty()) {
      fail_at(token.offset, "a label name must not be empty");
      return false;
    }
    out.push_back(std::move(name));
    if (peek().kind == TokenKind::kRightParen) break;
    if (!expect(TokenKind::kComma, "\",\" or \")\"")) return false;
  }
  advance();
  return true;
}

bool Parser::matching(Matching& out) {
  if (at_keyword("on") || at_keyword("ignoring")) {
    if (!grouping(out.labels)) return false;
    if (at_keyword("group_left") || at_keyword("group_right")) {
      out.cardinality =
          at_keyword("group_left") ? Cardinality::kManyToOne : Cardinality::kOneToMany;
      advance();
      if (peek().kind == TokenKind::kLeftParen && !label_list(out.include)) return false;
    }
  }
  for (const std::string_view word : {"fill", "fill_left", "fill_right"}) {
    if (!at_keyword(word) || peek(1).kind != TokenKind::kLeftParen) continue;
    not_supported(peek().offset, fmt::format("{}, an experiment of Prometheus", word));
    return false;
  }
  return true;
}

NodePtr Parser::vector_selector() {
  const std::size_t start = peek().offset;
  VectorSelector node;
  if (!selector(node)) return nullptr;
  return make(ValueType::kVector, std::move(node), 0, start);
}

bool Parser::string(std::string& out) {
  const Token& token = advance();
  auto value = unquote(token.text);
  if (!value) {
    fail_at(token.offset, value.error().message());
    return false;
  }
  out = std::move(*value);
  return true;
}

}  // namespace nexus::knowledge::promql
