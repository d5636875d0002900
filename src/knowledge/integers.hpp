// Integers of one column as few bits: a predictor, and the residuals in one of two codes (rice.hpp,
// ans.hpp). See README.md for the format.
//
// The predictor is the first value, the previous one, the line through two, or the previous one
// and the step that another column took at that row.
//
// Every 64-bit integer survives: arithmetic wraps. Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "knowledge/bits.hpp"

namespace nexus::knowledge {

/// What encode_integers() may write for `count` values at most.
[[nodiscard]] constexpr std::size_t integers_bound(std::size_t count) noexcept {
  return 8448 + count * 16;
}

/// Another column's steps, one a row (that of row 0 does not count); none: no such predictor.
using Steps = std::span<const std::int64_t>;

/// Writes 1 to kMaxBlockRows values; returns the end. `to` has integers_bound(values.size()) bytes.
std::uint8_t* encode_integers(std::span<const std::int64_t> values, Steps steps,
                              std::uint8_t* to) noexcept;

/// Reads the first values.size() values; false when the bytes are no such column. kBitPadding bytes
/// behind `from` are readable. `steps` as they were given to encode_integers(), at least as many.
[[nodiscard]] bool decode_integers(Bytes from, Steps steps,
                                   std::span<std::int64_t> values) noexcept;

/// How the steps of one column predict those of another: shifted right, then left, or negated.
struct StepRule {
  std::uint8_t right = 0;  // < 64
  std::uint8_t left = 0;   // < 64
  bool negated = false;
};

/// The zeros at the end that all steps of a column have in common.
[[nodiscard]] unsigned step_shift(std::span<const std::int64_t> values) noexcept;

/// A column's values become the steps that the rule makes of them.
void make_steps(const StepRule& rule, std::span<std::int64_t> values) noexcept;

}  // namespace nexus::knowledge
