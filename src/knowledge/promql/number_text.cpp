#include "knowledge/promql/number_text.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>

namespace nexus::knowledge::promql {

std::string fixed_text(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  // std::chars_format::fixed gives all digits of large integers, not the shortest ones.
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), std::fabs(value),
                                 std::chars_format::scientific);
  std::string digits;
  const char* at = text.data();
  for (; *at != 'e'; ++at) {
    if (*at != '.') digits += *at;
  }
  const char* const sign = at + 1;
  int exponent = 0;
  std::from_chars(sign + 1, end.ptr, exponent);
  if (*sign == '-') exponent = -exponent;
  if (exponent < 0) {
    digits.insert(0, static_cast<std::size_t>(-exponent), '0');
    exponent = 0;
  }
  const auto whole = static_cast<std::size_t>(exponent) + 1;
  if (digits.size() < whole) digits.append(whole - digits.size(), '0');
  if (digits.size() > whole) digits.insert(whole, 1, '.');
  return std::signbit(value) ? '-' + digits : digits;
}

}  // namespace nexus::knowledge::promql
