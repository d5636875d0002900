// Doubles as integers and the arithmetic that made them: what kernels and runtimes report is mostly
// an integer divided by a power of ten, in one of the ways in which programs do that.
//
// Lossless: a value counts as an integer only when the arithmetic gives every bit of it back.
// Thread safety: pure functions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "knowledge/limits.hpp"

namespace nexus::knowledge {

/// value = integer / 10^d (0-12), or integer * 10^-d (0x10 | d), or integer / 1000 / 1000 (0x20):
/// all three differ in the last bit. Powers of two: integer * 2^exponent.
struct Scale {
  std::uint8_t decimal = 0;
  bool is_binary = false;
  std::int16_t exponent = 0;
};

[[nodiscard]] bool is_valid(const Scale& scale) noexcept;

/// A column as integers, and the rows whose values are none.
struct Scaled {
  std::array<std::int64_t, kMaxBlockRows> integers;
  std::array<std::uint16_t, kMaxBlockRows> exceptions;
  std::size_t exception_count = 0;
  Scale scale;
};

/// False when more than one in sixteen is no such integer.
[[nodiscard]] bool scale_decimal(std::span<const double> values, Scaled& out) noexcept;
[[nodiscard]] bool scale_binary(std::span<const double> values, Scaled& out) noexcept;

/// Whether value is an integer of the decimal scale, and which.
[[nodiscard]] bool as_decimal(double value, std::uint8_t decimal, std::int64_t& integer) noexcept;

[[nodiscard]] double value_of(std::int64_t integer, const Scale& scale) noexcept;
/// The same of a whole number that may be too large for an integer.
[[nodiscard]] double scale_number(double number, const Scale& scale) noexcept;
void values_of(std::span<const std::int64_t> integers, const Scale& scale,
               std::span<double> values) noexcept;

}  // namespace nexus::knowledge
