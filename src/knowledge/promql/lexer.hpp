// Text to tokens. Comments (# to the end of the line) and blanks are dropped; keywords are
// identifiers, because PromQL lets most of them name metrics and labels. Thread safety: pure
// functions. The tokens view the text.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/base/result.hpp"

namespace nexus::knowledge::promql {

enum class TokenKind {
  kEnd,
  kIdentifier,
  kNumber,
  kDuration,
  kString,
  kLeftParen,
  kRightParen,
  kLeftBrace,
  kRightBrace,
  kLeftBracket,
  kRightBracket,
  kComma,
  kColon,
  kAt,
  kAssign,
  kRegex,
  kNotRegex,
  kEqual,
  kNotEqual,
  kGreater,
  kLess,
  kGreaterEqual,
  kLessEqual,
  kAdd,
  kSub,
  kMul,
  kDiv,
  kMod,
  kPow,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::size_t offset = 0;
  std::string_view text;
  double number = 0;  // kNumber: the value; kDuration: seconds
};

/// kInvalidArgument with "line:column: parse error: ...". The last token is kEnd.
[[nodiscard]] Result<std::vector<Token>> tokenize(std::string_view text);

/// How an error message names a token: its text in quotes, or "end of query".
[[nodiscard]] std::string describe(const Token& token);

/// "line:column: parse error: message" for a place in `text`; columns count characters.
[[nodiscard]] Error parse_error(std::string_view text, std::size_t offset,
                                std::string_view message);

/// The value of a kString token; escapes as in Go. nullopt-like: an error names the bad escape.
[[nodiscard]] Result<std::string> unquote(std::string_view quoted);

}  // namespace nexus::knowledge::promql
