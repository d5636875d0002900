// Integers of one column as few bits: a predictor of order 0, 1 or 2, and the residuals in adaptive
// run-length Golomb-Rice code (after H. Malvar, "Adaptive Run-Length / Golomb-Rice Encoding of
// Quantized Generalized Gaussian Sources with Unknown Statistics", DCC 2006). See README.md for the
// format.
//
// Every 64-bit integer survives: arithmetic wraps. Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace nexus::knowledge {

/// What encode_integers() may write for `count` values at most.
[[nodiscard]] constexpr std::size_t integers_bound(std::size_t count) noexcept {
  return 64 + count * 16;
}

/// Writes 1 to kMaxRows (block.hpp) values; returns the end. `to` has integers_bound(values.size())
/// bytes.
std::uint8_t* encode_integers(std::span<const std::int64_t> values, std::uint8_t* to) noexcept;

/// Reads values.size() values; returns nothing of where they ended, since columns know their
/// places.
void decode_integers(const std::uint8_t* from, std::span<std::int64_t> values) noexcept;

}  // namespace nexus::knowledge
