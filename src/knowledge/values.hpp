// Doubles of one column in the smallest of a few lossless encodings. Every bit comes back: NaN
// payloads, stale markers, infinities, denormals and -0 among them. See README.md for the format.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "knowledge/integers.hpp"

namespace nexus::knowledge {

/// What encode_values() may write for `count` values at most, scratch included.
[[nodiscard]] constexpr std::size_t values_bound(std::size_t count) noexcept {
  return 128 + 2 * integers_bound(count);
}

/// Encodes 1 to kMaxRows values; returns the end. `to` has values_bound(values.size()) bytes.
std::uint8_t* encode_values(std::span<const double> values, std::uint8_t* to) noexcept;

/// Decodes values.size() values.
void decode_values(const std::uint8_t* from, std::span<double> values) noexcept;

}  // namespace nexus::knowledge
