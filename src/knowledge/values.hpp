// Doubles of one column in the smallest of a few lossless encodings. Every bit comes back: NaN
// payloads, stale markers, infinities, denormals and -0 among them. See README.md for the format.
//
// Decoders take any bytes: they return false rather than read what is not theirs. Of bytes that
// encode_values() wrote they never do. Where bytes are read, kBitPadding bytes behind them are
// readable. Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "knowledge/integers.hpp"
#include "knowledge/references.hpp"
#include "nexus/knowledge/aggregate.hpp"

namespace nexus::knowledge {

/// What encode_values() may write for `count` values at most, scratch included.
[[nodiscard]] constexpr std::size_t values_bound(std::size_t count) noexcept {
  return 128 + 3 * integers_bound(count);
}

/// Encodes 1 to kMaxBlockRows values; returns the end. `to` has values_bound(values.size()) bytes.
/// Takes earlier columns of the block as predictors, and keeps this one, which is number `column`,
/// as a predictor of later ones.
std::uint8_t* encode_values(std::span<const double> values, std::uint32_t column,
                            References& references, std::uint8_t* to);

/// How many columns before this one its predictor is; 0: it has none.
[[nodiscard]] std::uint64_t reference_of(Bytes from) noexcept;

/// Decodes the first values.size() values. `base` are the bytes of the predictor's values, if any.
[[nodiscard]] bool decode_values(Bytes from, Bytes base, std::span<double> values) noexcept;

/// Adds the values of places [first, end) without making those that need not be made.
[[nodiscard]] bool aggregate_values(Bytes from, Bytes base, std::size_t first, std::size_t end,
                                    Aggregate& to) noexcept;

}  // namespace nexus::knowledge
