// String literals of PromQL are those of Go, with single quotes allowed as well.
#include <algorithm>
#include <array>
#include <optional>

#include "knowledge/promql/lexer.hpp"
#include "nexus/base/text.hpp"

namespace nexus::knowledge::promql {
namespace {

void append_utf8(std::string& out, std::uint32_t code) {
  const auto put = [&](std::uint32_t byte) { out += static_cast<char>(byte); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0U | code >> 6U);
    put(0x80U | (code & 0x3FU));
  } else if (code < 0x10000) {
    put(0xE0U | code >> 12U);
    put(0x80U | (code >> 6U & 0x3FU));
    put(0x80U | (code & 0x3FU));
  } else {
    put(0xF0U | code >> 18U);
    put(0x80U | (code >> 12U & 0x3FU));
    put(0x80U | (code >> 6U & 0x3FU));
    put(0x80U | (code & 0x3FU));
  }
}

std::optional<char> simple_escape(char c) {
  constexpr std::string_view kNames = "abfnrtv\\\"'";
  constexpr std::string_view kValues = "\a\b\f\n\r\t\v\\\"'";
  const auto at = kNames.find(c);
  if (at == std::string_view::npos) return std::nullopt;
  return kValues[at];
}

/// Takes `digits` digits of `radix` off the front of `rest`.
std::optional<std::uint32_t> take_code(std::string_view& rest, std::size_t digits, int radix) {
  if (rest.size() < digits) return std::nullopt;
  const auto value = base::parse_uint(rest.substr(0, digits), radix);
  rest.remove_prefix(digits);
  if (!value || *value > 0x10FFFF) return std::nullopt;
  return static_cast<std::uint32_t>(*value);
}

/// `rest` stands behind the backslash. False when the escape is none.
bool append_escape(std::string& out, std::string_view& rest) {
  if (rest.empty()) return false;
  const char c = rest.front();
  if (const auto simple = simple_escape(c)) {
    out += *simple;
    rest.remove_prefix(1);
    return true;
  }
  const bool octal = c >= '0' && c <= '7';
  if (!octal) rest.remove_prefix(1);
  const std::size_t digits = octal ? 3 : c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
  if (digits == 0) return false;
  const auto code = take_code(rest, digits, octal ? 8 : 16);
  if (!code) return false;
  if (octal || c == 'x') {
    if (*code > 0xFF) return false;
    out += static_cast<char>(*code);
    return true;
  }
  if (*code >= 0xD800 && *code <= 0xDFFF) return false;
  append_utf8(out, *code);
  return true;
}

}  // namespace

Result<std::string> unquote(std::string_view quoted) {
  const char quote = quoted.front();
  std::string_view rest = quoted.substr(1, quoted.size() - 2);
  if (quote == '`') return std::string(rest);
  std::string out;
  while (!rest.empty()) {
    const char c = rest.front();
    rest.remove_prefix(1);
    if (c != '\\') {
      out += c;
    } else if (!append_escape(out, rest)) {
      return fail(Errc::kInvalidArgument, "unknown escape in string {}", quoted);
    }
  }
  if (!base::is_valid_utf8(out)) {
    return fail(Errc::kInvalidArgument, "string {} is not valid UTF-8", quoted);
  }
  return out;
}

}  // namespace nexus::knowledge::promql
