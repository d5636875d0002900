#include "nexus/base/go_text.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>

#include "base/special_double.hpp"

namespace nexus::base {
namespace {

// The longest shortest fixed text: a sign, "0." and 323 zeros before 17 digits.
constexpr std::size_t kLongest = 360;

void append(std::string& out, double value, std::chars_format format) {
  if (append_special(out, value)) return;
  std::array<char, kLongest> buffer;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, format);
  out.append(buffer.data(), end.ptr);
}

bool is_between(double value, double low, double high) {
  const double size = std::abs(value);
  return !std::isfinite(value) || size == 0 || (size >= low && size < high);
}

}  // namespace

void append_go_fixed(std::string& out, double value) {
  append(out, value, std::chars_format::fixed);
}

void append_go_json(std::string& out, double value) {
  append(out, value,
         is_between(value, 1e-6, 1e21) ? std::chars_format::fixed : std::chars_format::scientific);
}

std::string go_value(double value) {
  std::string out;
  append(out, value,
         is_between(value, 1e-4, 1e6) ? std::chars_format::fixed : std::chars_format::scientific);
  return out;
}

std::string go_scientific(double value) {
  std::string out;
  append(out, value, std::chars_format::scientific);
  if (std::isfinite(value)) {
    if (const auto e = out.find('e'); e != std::string::npos) out[e] = 'E';
  }
  return out;
}

std::string go_general(double value, int digits) {
  std::string out;
  if (!append_special(out, value)) out = fmt::format("{:.{}g}", value, digits);
  return out;
}

std::string go_quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\r') {
      out += "\\r";
    } else if (byte < 0x20 || byte == 0x7F) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out + '"';
}

}  // namespace nexus::base
