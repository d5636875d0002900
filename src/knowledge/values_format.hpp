// The first byte of a column's values. Only values_encode.cpp and values_decode.cpp know it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nexus::knowledge {

enum class Encoding : std::uint8_t { kConstant, kRuns, kDecimal, kBinary, kXor, kRaw, kNear };
inline constexpr std::uint8_t kEncodingMask = 0x0f;
inline constexpr std::uint8_t kReference = 0x20;   // the steps of an earlier column predict it
inline constexpr std::uint8_t kExceptions = 0x40;  // some values stand apart

inline constexpr std::uint8_t kMaxConstantDecimals = 12;
inline constexpr std::uint8_t kConstantBits = 0xff;  // in place of decimals: the double follows

/// Shorter columns are hardly worth two columns of integers.
inline constexpr std::size_t kLeastForNear = 8;

/// Shorter columns are not worth a search for one that predicts them.
inline constexpr std::size_t kLeastForReference = 120;

}  // namespace nexus::knowledge
