// A float in two bytes: its upper half, rounded. All of a float's range, a little better than two
// and a half decimal digits, NaN stays NaN. For what is a distance from something that is kept as
// it is.
//
// Thread safety: pure.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace nexus::analyze {

enum class ShortFloat : std::uint16_t {};

[[nodiscard]] inline ShortFloat shorten(float value) noexcept {
  constexpr std::uint16_t kQuietNan = 0x7fc0;
  if (std::isnan(value)) return ShortFloat{kQuietNan};
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t to_even = 0x7fffU + ((bits >> 16U) & 1U);
  return ShortFloat{static_cast<std::uint16_t>((bits + to_even) >> 16U)};
}

[[nodiscard]] inline float lengthen(ShortFloat value) noexcept {
  return std::bit_cast<float>(static_cast<std::uint32_t>(value) << 16U);
}

/// No less than `value`.
[[nodiscard]] inline ShortFloat shorten_up(float value) noexcept {
  const ShortFloat nearest = shorten(value);
  if (!(lengthen(nearest) < value)) return nearest;
  const auto bits = static_cast<std::uint16_t>(nearest);
  return ShortFloat{static_cast<std::uint16_t>(value > 0 ? bits + 1 : bits - 1)};
}
/// No more than `value`.
[[nodiscard]] inline ShortFloat shorten_down(float value) noexcept {
  constexpr std::uint16_t kSign = 0x8000;
  return ShortFloat{
      static_cast<std::uint16_t>(static_cast<std::uint16_t>(shorten_up(-value)) ^ kSign)};
}

}  // namespace nexus::analyze
