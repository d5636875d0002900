// Whole numbers in adaptive run-length Golomb-Rice code (after H. Malvar, "Adaptive Run-Length /
// Golomb-Rice Encoding of Quantized Generalized Gaussian Sources with Unknown Statistics", DCC
// 2006). It needs no table, so it suits short columns and long runs of zeros.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "knowledge/bits.hpp"

namespace nexus::knowledge {

/// The parameter to start with that suits the values best, at most 62.
[[nodiscard]] unsigned rice_parameter(std::span<const std::uint64_t> values) noexcept;

/// Writes at most 8 + 13 * values.size() bytes; returns the end.
std::uint8_t* encode_rice(std::span<const std::uint64_t> values, unsigned parameter,
                          std::uint8_t* to) noexcept;

/// Reads the first values.size() values; returns the bytes begun, more than there are when the
/// bytes are no such code. kBitPadding bytes behind `from` are readable.
std::size_t decode_rice(Bytes from, unsigned parameter, std::span<std::uint64_t> values) noexcept;

}  // namespace nexus::knowledge
