#include "analyze/templates/lexer.hpp"

#include <algorithm>

#include "nexus/base/text.hpp"

namespace nexus::analyze::templates {
namespace {

constexpr std::string_view kBlank = " \t\r\n";

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

bool is_blank(char c) {
  return kBlank.contains(c);
}

std::string_view trimmed_right(std::string_view text) {
  return text.substr(0, text.find_last_not_of(kBlank) + 1);
}

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  Result<std::vector<Token>> run() {
    while (at_ < text_.size()) {
      if (Status status = plain(); !status) return std::unexpected(status.error());
    }
    add(Token::Kind::kEnd);
    return std::move(tokens_);
  }

 private:
  using Kind = Token::Kind;

  template <typename... Args>
  std::unexpected<Error> error(fmt::format_string<Args...> format, Args&&... args) const {
    return fail(Errc::kInvalidArgument, "{}: {}", line_,
                fmt::format(format, std::forward<Args>(args)...));
  }

  [[nodiscard]] std::string_view rest() const { return text_.substr(at_); }

  void skip(std::size_t count) {
    line_ += static_cast<int>(std::ranges::count(text_.substr(at_, count), '\n'));
    at_ += count;
  }

  void add(Kind kind, std::string text = {}) {
    tokens_.push_back({kind, std::move(text), {}, line_, joined_});
  }

  /// Text up to the next action, and the action.
  Status plain() {
    const auto open = std::min(text_.find("{{", at_), text_.size());
    std::string_view text = text_.substr(at_, open - at_);
    const bool trims = text_.substr(open).starts_with("{{-") && open + 3 < text_.size() &&
                       is_blank(text_[open + 3]);
    if (trims) text = trimmed_right(text);
    if (trim_next_) text.remove_prefix(std::min(text.find_first_not_of(kBlank), text.size()));
    trim_next_ = false;
    if (!text.empty()) add(Kind::kText, std::string(text));
    skip(open - at_);
    if (at_ == text_.size()) return {};
    skip(trims ? 3 : 2);
    const auto inner = rest().substr(std::min(rest().find_first_not_of(kBlank), rest().size()));
    if (inner.starts_with("/*")) return comment();
    add(Kind::kOpen);
    return action();
  }

  Status comment() {
    const auto end = rest().find("*/");
    if (end == std::string_view::npos) return error("unclosed comment");
    skip(end + 2);
    const auto blanks = std::min(rest().find_first_not_of(kBlank), rest().size());
    if (rest().substr(blanks).starts_with("-}}")) {
      trim_next_ = true;
      skip(blanks + 3);
      return {};
    }
    if (!rest().starts_with("}}")) return error("comment ends before closing delimiter");
    skip(2);
    return {};
  }

  Status action() {
    while (true) {
      const auto blanks = std::min(rest().find_first_not_of(kBlank), rest().size());
      joined_ = blanks == 0;
      skip(blanks);
      if (at_ == text_.size()) return error("unclosed action");
      if (blanks > 0 && rest().starts_with("-}}")) {
        trim_next_ = true;
        skip(1);
      }
      if (rest().starts_with("}}")) {
        add(Kind::kClose);
        skip(2);
        return {};
      }
      if (Status status = token(); !status) return status;
    }
  }

  Status token() {
    const char c = rest().front();
    if (c == '"' || c == '`') return quoted(c);
    if (c == '.' && (rest().size() == 1 || !is_word(rest()[1]))) return simple(Kind::kDot, 1);
    if (c == '.' && !(rest()[1] >= '0' && rest()[1] <= '9')) return named(Kind::kField, 1);
    if (c == '$') return named(Kind::kVariable, 1);
    if ((c >= '0' && c <= '9') || c == '.' || c == '-' || c == '+') return number();
    if (is_word(c)) return word();
    if (rest().starts_with(":=")) return simple(Kind::kDeclare, 2);
    switch (c) {
      case '|':
        return simple(Kind::kPipe, 1);
      case '(':
        return simple(Kind::kOpenParen, 1);
      case ')':
        return simple(Kind::kCloseParen, 1);
      case ',':
        return simple(Kind::kComma, 1);
      case '=':
        return simple(Kind::kAssign, 1);
      default:
        return error("unexpected \"{}\" in operand", c);
    }
  }

  Status simple(Kind kind, std::size_t length) {
    add(kind, std::string(rest().substr(0, length)));
    skip(length);
    return {};
  }

  [[nodiscard]] std::size_t word_length(std::size_t from) const {
    std::size_t length = from;
    while (length < rest().size() && is_word(rest()[length])) ++length;
    return length;
  }

  Status named(Kind kind, std::size_t prefix) {
    const auto length = word_length(prefix);
    const auto whole = rest().substr(0, length);
    add(kind, std::string(kind == Kind::kField ? whole.substr(1) : whole));
    skip(length);
    return {};
  }

  Status word() {
    const auto length = word_length(0);
    const std::string name(rest().substr(0, length));
    const bool literal = name == "true" || name == "false" || name == "nil";
    add(literal ? Kind::kLiteral : Kind::kWord, name);
    if (literal && name != "nil") tokens_.back().literal = {name == "true"};
    skip(length);
    return {};
  }

  Status number() {
    std::size_t length = 1;
    while (length < rest().size()) {
      const char c = rest()[length];
      const bool exponent_sign = (c == '-' || c == '+') && (rest()[length - 1] | 0x20) == 'e';
      if (!is_word(c) && c != '.' && !exponent_sign) break;
      ++length;
    }
    const auto written = rest().substr(0, length);
    const auto digits = written.starts_with('+') ? written.substr(1) : written;
    Value value;
    if (const auto integer = base::parse_int(digits)) {
      value = {*integer};
    } else if (const auto hex = digits.starts_with("0x") ? base::parse_uint(digits.substr(2), 16)
                                                         : std::nullopt) {
      value = {static_cast<std::int64_t>(*hex)};
    } else if (const auto real = base::parse_double(digits)) {
      value = {*real};
    } else {
      return error("bad number syntax: \"{}\"", written);
    }
    add(Kind::kLiteral, std::string(written));
    tokens_.back().literal = std::move(value);
    skip(length);
    return {};
  }

  Status quoted(char quote) {
    std::string value;
    std::size_t i = 1;
    for (;; ++i) {
      if (i >= rest().size() || (quote == '"' && rest()[i] == '\n'))
        return error("unterminated {}quoted string", quote == '"' ? "" : "raw ");
      if (rest()[i] == quote) break;
      if (quote == '"' && rest()[i] == '\\') {
        ++i;
        if (!escape(i, value)) return error("invalid syntax");
      } else {
        value += rest()[i];
      }
    }
    add(Kind::kLiteral, std::string(rest().substr(0, i + 1)));
    tokens_.back().literal = {std::move(value)};
    skip(i + 1);
    return {};
  }

  /// The escape whose letter is at `i`; leaves `i` at its last character.
  bool escape(std::size_t& i, std::string& out) const {
    constexpr std::string_view kLetters = "abfnrtv\\\"'";
    constexpr std::string_view kMeaning = "\a\b\f\n\r\t\v\\\"'";
    if (i >= rest().size()) return false;
    const char c = rest()[i];
    if (const auto at = kLetters.find(c); at != std::string_view::npos) {
      out += kMeaning[at];
      return true;
    }
    const std::size_t digits = c == 'x' ? 2 : (c == 'u' ? 4 : (c == 'U' ? 8 : 0));
    const auto code = digits == 0 || i + digits >= rest().size()
                          ? std::nullopt
                          : base::parse_uint(rest().substr(i + 1, digits), 16);
    if (!code || *code > 0x10FFFF) return false;
    i += digits;
    if (digits == 2) {
      out += static_cast<char>(*code);
    } else {
      append_utf8(out, static_cast<char32_t>(*code));
    }
    return true;
  }

  static void append_utf8(std::string& out, char32_t code) {
    const auto tail = [&](int shift) { out += static_cast<char>(0x80 | ((code >> shift) & 0x3F)); };
    if (code < 0x80) {
      out += static_cast<char>(code);
    } else if (code < 0x800) {
      out += static_cast<char>(0xC0 | (code >> 6));
      tail(0);
    } else if (code < 0x10000) {
      out += static_cast<char>(0xE0 | (code >> 12));
      tail(6);
      tail(0);
    } else {
      out += static_cast<char>(0xF0 | (code >> 18));
      tail(12);
      tail(6);
      tail(0);
    }
  }

  std::string_view text_;
  std::size_t at_ = 0;
  int line_ = 1;
  bool joined_ = false;
  bool trim_next_ = false;
  std::vector<Token> tokens_;
};

}  // namespace

Result<std::vector<Token>> tokenize(std::string_view text) {
  return Lexer(text).run();
}

}  // namespace nexus::analyze::templates
