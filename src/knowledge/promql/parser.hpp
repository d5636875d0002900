// The parser: tokens to a checked syntax tree, by recursive descent with precedence climbing.
//
// The first problem ends it: members return a null pointer or false and error() says what and
// where. Nesting, size and regular expressions are bounded (kMaxDepth, kMaxQueryBytes,
// kMaxRegexes), so hostile text costs a message, not the stack. Thread safety: one thread, one use.
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
  NodePtr expression(int min_precedence = 0);
  NodePtr binary(NodePtr lhs, BinaryOp op, int precedence);
  NodePtr unary();
  NodePtr primary();
  bool end_of_query();

  // Operands that begin with a word, parser_calls.cpp.
  NodePtr named();
  NodePtr aggregate(AggregateOp op);
  NodePtr call();
  bool arguments(std::vector<NodePtr>& out, int& depth, bool of_info = false);
  NodePtr conditions();

  // What stands behind an operand, parser_modifiers.cpp.
  NodePtr modifiers(NodePtr operand, std::size_t start);
  NodePtr range_or_subquery(NodePtr operand, std::size_t start);
  bool offset(TimeModifiers* time);  // nullptr: the operand cannot be moved in time
  bool at(TimeModifiers* time);
  bool at_time(TimeModifiers& out);
  bool duration(std::int64_t& out);

  // Their parts, parser_parts.cpp.
  NodePtr vector_selector();
  bool selector(VectorSelector& out);
  bool matchers(VectorSelector& out);
  bool matcher(VectorSelector& out);
  bool add_matcher(VectorSelector& out, std::string name, MatchOp op, std::string value,
                   std::size_t offset);
  bool grouping(LabelSet& out);
  bool label_list(std::vector<std::string>& out);
  bool matching(Matching& out);
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
  std::size_t regexes_ = 0;  // made
  std::optional<Error> error_;
};

/// The tree of a query; errors as Query::parse().
[[nodiscard]] Result<NodePtr> parse_tree(std::string_view text);

/// ASCII letters in lower case: keywords are known in any case.
[[nodiscard]] std::string lowered(std::string_view text);

}  // namespace nexus::knowledge::promql
