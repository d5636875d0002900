#include "knowledge/promql/lexer.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "nexus/base/text.hpp"

namespace nexus::knowledge::promql {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/// Numbers may group their digits: 1_000_000. An underscore stands between two digits.
std::optional<std::string> without_underscores(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      out += text[i];
    } else if (i == 0 || i + 1 == text.size() || text[i - 1] == '_' || text[i + 1] == '_') {
      return std::nullopt;
    }
  }
  return out;
}

/// As Go's ParseInt with base 0, then ParseFloat: 0x1f is hexadecimal, 017 octal, 09 and 1e3
/// decimal.
std::optional<double> parse_number(std::string_view raw) {
  const auto clean = without_underscores(raw);
  if (!clean) return std::nullopt;
  const std::string_view text = *clean;
  constexpr auto kMaxInteger = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (text.starts_with("0x") || text.starts_with("0X")) {
    const auto value = base::parse_uint(text.substr(2), 16);
    if (!value || *value > kMaxInteger) return std::nullopt;
    return static_cast<double>(*value);
  }
  if (text.size() > 1 && text.front() == '0' &&
      text.find_first_not_of("01234567") == std::string_view::npos) {
    const auto value = base::parse_uint(text, 8);
    if (value && *value <= kMaxInteger) return static_cast<double>(*value);
  }
  if (!is_digit(text.front()) && text.front() != '.') return std::nullopt;
  return base::parse_double(text);
}

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  Result<std::vector<Token>> run() {
    for (;;) {
      skip_blanks();
      const std::size_t start = at_;
      if (at_ == text_.size()) break;
      if (const Status status = next(); !status) return std::unexpected(status.error());
      tokens_.back().offset = start;
      tokens_.back().text = text_.substr(start, at_ - start);
    }
    tokens_.push_back({TokenKind::kEnd, text_.size(), {}, 0});
    return std::move(tokens_);
  }

 private:
  [[nodiscard]] char peek(std::size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }

  void skip_blanks() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '#') {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
        ++at_;
      } else {
        break;
      }
    }
  }

  Status next() {
    const char c = peek();
    if (is_digit(c) || (c == '.' && is_digit(peek(1)))) return number();
    if (is_letter(c) || (c == ':' && !in_brackets_)) return identifier();
    if (c == '"' || c == '\'' || c == '`') return quoted(c);
    return symbol(c);
  }

  Status identifier() {
    while (is_letter(peek()) || is_digit(peek()) || peek() == ':') ++at_;
    return push(TokenKind::kIdentifier, 0);
  }

  Status number() {
    const std::size_t start = at_;
    const bool hexadecimal = peek() == '0' && (peek(1) == 'x' || peek(1) == 'X');
    while (is_letter(peek()) || is_digit(peek()) || peek() == '.') {
      const char c = peek();
      ++at_;
      const bool exponent = (c == 'e' || c == 'E') && !hexadecimal;
      if (exponent && (peek() == '+' || peek() == '-') && is_digit(peek(1))) ++at_;
    }
    const std::string_view word = text_.substr(start, at_ - start);
    if (const auto value = parse_number(word)) return push(TokenKind::kNumber, *value);
    if (word.find_first_not_of("0123456789ywdhms") == std::string_view::npos) {
      if (const auto duration = base::parse_duration(word)) {
        return push(TokenKind::kDuration, static_cast<double>(duration->count()) / 1000.0);
      }
    }
    return error(start, fmt::format("bad number or duration \"{}\"", word));
  }

  Status quoted(char quote) {
    const std::size_t start = at_++;
    while (at_ < text_.size() && text_[at_] != quote) {
      if (quote != '`' && text_[at_] == '\n') break;
      if (quote != '`' && text_[at_] == '\\') ++at_;
      ++at_;
    }
    if (at_ >= text_.size() || text_[at_] != quote) return error(start, "unterminated string");
    ++at_;
    if (!base::is_valid_utf8(text_.substr(start, at_ - start))) {
      return error(start, "string is not valid UTF-8");
    }
    return push(TokenKind::kString, 0);
  }

  Status symbol(char c) {
    struct Symbol {
      std::string_view text;
      TokenKind kind;
    };
    static constexpr Symbol kSymbols[] = {
        {"=~", TokenKind::kRegex},       {"==", TokenKind::kEqual},
        {"=", TokenKind::kAssign},       {"!~", TokenKind::kNotRegex},
        {"!=", TokenKind::kNotEqual},    {">=", TokenKind::kGreaterEqual},
        {">", TokenKind::kGreater},      {"<=", TokenKind::kLessEqual},
        {"<", TokenKind::kLess},         {"(", TokenKind::kLeftParen},
        {")", TokenKind::kRightParen},   {"{", TokenKind::kLeftBrace},
        {"}", TokenKind::kRightBrace},   {"[", TokenKind::kLeftBracket},
        {"]", TokenKind::kRightBracket}, {",", TokenKind::kComma},
        {":", TokenKind::kColon},        {"@", TokenKind::kAt},
        {"+", TokenKind::kAdd},          {"-", TokenKind::kSub},
        {"*", TokenKind::kMul},          {"/", TokenKind::kDiv},
        {"%", TokenKind::kMod},          {"^", TokenKind::kPow},
    };
    for (const Symbol& candidate : kSymbols) {
      if (!text_.substr(at_).starts_with(candidate.text)) continue;
      at_ += candidate.text.size();
      if (c == '[') in_brackets_ = true;
      if (c == ']') in_brackets_ = false;
      return push(candidate.kind, 0);
    }
    const bool printable = c > ' ' && c <= '~';
    return error(at_, printable
                          ? fmt::format("unexpected character '{}'", c)
                          : fmt::format("unexpected byte 0x{:02x}", static_cast<unsigned char>(c)));
  }

  Status push(TokenKind kind, double number) {
    tokens_.push_back({kind, 0, {}, number});
    return {};
  }
  [[nodiscard]] std::unexpected<Error> error(std::size_t offset, std::string_view message) const {
    return std::unexpected(parse_error(text_, offset, message));
  }

  std::string_view text_;
  std::size_t at_ = 0;
  bool in_brackets_ = false;
  std::vector<Token> tokens_;
};

}  // namespace

Result<std::vector<Token>> tokenize(std::string_view text) {
  return Lexer(text).run();
}

std::string describe(const Token& token) {
  if (token.kind == TokenKind::kEnd) return "end of query";
  if (token.kind == TokenKind::kString) return fmt::format("string {}", token.text);
  return fmt::format("\"{}\"", token.text);
}

Error parse_error(std::string_view text, std::size_t offset, std::string_view message) {
  const std::string_view before = text.substr(0, offset);
  const auto line = 1 + std::ranges::count(before, '\n');
  const std::size_t line_start = before.rfind('\n') + 1;  // npos + 1 is 0
  const auto column =
      1 + std::ranges::count_if(before.substr(line_start), [](char c) {
        return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;  // not inside a UTF-8 character
      });
  return Error(Errc::kInvalidArgument,
               fmt::format("{}:{}: parse error: {}", line, column, message));
}

}  // namespace nexus::knowledge::promql
