// Doubles that are nearly numbers of some unit. What programs add up in seconds (processor time,
// durations of requests) is a number of nanoseconds but for the rounding of each addition; what is
// a percentage of something that does not change (memory, disk, files) is a first value and a
// number of equal steps, but for the rounding of the quotient. Each value lies a few units in the
// last place beside the number: two columns of integers, the number and how far the double is from
// it.
//
// Lossless for any doubles. Those that are near nothing are told by the steps between their bits,
// which are small where those of the doubles are. Thread safety: pure functions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "knowledge/bits.hpp"
#include "knowledge/limits.hpp"

namespace nexus::knowledge {

/// What an integer stands for: integer / 10^decimals, or first + integer * unit.
struct NearRule {
  bool is_multiple = false;
  std::uint8_t decimals = 0;
  double first = 0;
  double unit = 1;
};

struct Near {
  NearRule rule;
  std::array<std::int64_t, kMaxBlockRows> integers;
  std::array<std::int64_t, kMaxBlockRows> offsets;  // bits of the value - bits of what it is near
};

/// The rule that makes both columns small, by a look at some of 1 to kMaxBlockRows values. Where
/// none helps, all integers are 0 and the offsets are the doubles' own bits.
void split_near(std::span<const double> values, Near& out) noexcept;

/// The step that all values are apart by multiples of, but for rounding; 0 when there is none that
/// could be told from chance.
[[nodiscard]] double common_step(std::span<const double> values) noexcept;

/// What stands after the encoding's byte; `to` has 32 + 2 * integers_bound(count) bytes. Returns
/// the end.
std::uint8_t* put_near(const Near& near, std::size_t count, std::uint8_t* to) noexcept;
/// The first values.size() values; false when the bytes are none.
[[nodiscard]] bool get_near(ByteReader& from, std::span<double> values) noexcept;

}  // namespace nexus::knowledge
