// The times of a long block in few bits, for blocks that lie on disk. A collector runs at ticks of
// a regular clock, misses some, and is a little late: two columns of integers, which tick a row is
// of, and how late it is. Where there is no such clock the tick is a millisecond, and the first
// column is the differences of the times.
//
// Thread safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "knowledge/bits.hpp"
#include "knowledge/integers.hpp"

namespace nexus::knowledge {

[[nodiscard]] constexpr std::size_t dense_times_bound(std::size_t count) noexcept {
  return 32 + 2 * integers_bound(count);
}

/// Writes 2 to kMaxBlockRows times that ascend strictly; returns the end, or nullptr when they are
/// too far apart. `to` has dense_times_bound(times.size()) bytes.
std::uint8_t* put_dense_times(std::span<const std::int64_t> times, std::uint8_t* to) noexcept;

/// Reads times of which the first is `first`; false when the bytes are none. kBitPadding bytes
/// behind `from` are readable.
[[nodiscard]] bool get_dense_times(Bytes from, std::int64_t first,
                                   std::span<std::int64_t> times) noexcept;

}  // namespace nexus::knowledge
