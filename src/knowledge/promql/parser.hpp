// The parser: tokens to a checked syntax tree, by recursive descent with precedence climbing.
//
// The first problem ends it: members return a null pointer or false and error() says what and
// where. Nesting and size are bounded (kMaxDepth, kMaxQueryBytes), so hostile text costs a message,
// not the stack. Thread safety: one thread, one use.
#pragma once

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "knowledge/promql/ast.hpp"
#include "knowledge/promql/lexer.hpp"

namespace nexus::knowledge::promql {

inline constexpr std::size_t kMaxQueryBytes = 64 * 1024;

class Parser {
 public:
  /// `tokens` end with kEnd and view `text`; both outlive the parser.
  Parser(std::string_view text, std::span<const Token> tokens) : text_(text), tokens_(tokens) {}

  /// The whole text as one expression.
  [[nodiscard]] NodePtr query();
  /// The whole text as one selector without range and offset.
  [[nodiscard]] bool selector_only(VectorSelector& out);
  [[nodiscard]] const Error& error() const { return *error_; }

 private:
  // Expressions, parser.cpp.
  NodePtr expression(int min_precedence);
  NodePtr binary(NodePtr lhs, BinaryOp op, int precedence);
  NodePtr unary();
  NodePtr primary();
  NodePtr selector_with_modifiers();
  NodePtr named();
  NodePtr aggregate(AggregateOp op);
  NodePtr call();
  bool nothing_behind();  // no range, offset or @ behind an operand
  bool end_of_query();

  // Their parts, parser_parts.cpp.
  bool selector(VectorSelector& out);
  bool matchers(VectorSelector& out);
  bool matcher(VectorSelector& out);
  bool add_matcher(VectorSelector& out, std::string name, MatchOp op, std::string value,
                   std::size_t offset);
  bool grouping(LabelSet& out);
  bool matching(Binary& binary, bool& has_matching);
  bool range(std::int64_t& out);
  bool offset(std::int64_t& out);
  bool duration(std::int64_t& out);
  bool string(std::string& out);

  /// The node, unless it is nested too deeply or the checker found `problem`.
  NodePtr make(ValueType type, Node::Kind kind, int operand_depth, std::size_t start,
               const std::string& problem = {});

  [[nodiscard]] const Token& peek(std::size_t ahead = 0) const {
    return tokens_[std::min(at_ + ahead, tokens_.size() - 1)];
  }
  [[nodiscard]] bool at_keyword(std::string_view word, std::size_t ahead = 0) const;
  const Token& advance();
  bool accept(TokenKind kind);
  bool expect(TokenKind kind, std::string_view what);
  /// Both note the first error only, and return what reads well after `return`.
  std::nullptr_t fail_at(std::size_t offset, std::string_view message);
  std::nullptr_t unexpected(std::string_view expected);
  std::nullptr_t not_supported(std::size_t offset, std::string_view what);

  std::string_view text_;
  std::span<const Token> tokens_;
  std::size_t at_ = 0;
  int depth_ = 0;
  std::optional<Error> error_;
};

}  // namespace nexus::knowledge::promql
