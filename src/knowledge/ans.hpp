// Whole numbers by a table of their own frequencies: the leading bits of each in range asymmetric
// numeral systems (rANS; J. Duda, "Asymmetric numeral systems", 2013), the rest as they are. The
// table costs some tens of bytes, so it suits long columns.
//
// Numbers are sorted into buckets as HdrHistogram does it: 2^m buckets for each power of two, so
// the frequencies of small numbers are exact and those of large ones are of their leading bits.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "knowledge/bits.hpp"

namespace nexus::knowledge {

/// Bits that encode_ans() will need, nearly; `precision` becomes the best m. 1 value at least.
[[nodiscard]] double ans_cost(std::span<const std::uint64_t> values, unsigned& precision) noexcept;

/// Writes at most 8192 + 11 * values.size() bytes; returns the end. 1 to kMaxBlockRows values.
std::uint8_t* encode_ans(std::span<const std::uint64_t> values, unsigned precision,
                         std::uint8_t* to) noexcept;

/// Reads the first values.size() values; false when the bytes are no such code. kBitPadding bytes
/// behind `from` are readable.
[[nodiscard]] bool decode_ans(Bytes from, std::span<std::uint64_t> values) noexcept;

}  // namespace nexus::knowledge
