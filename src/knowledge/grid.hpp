// The time column of a block: the deviation of each row from the regular grid between the first and
// the last time, in as many bytes as the largest needs. Random access without decoding.
//
// Unsigned arithmetic: any two times are fine. Thread safety: plain values.
#pragma once

#include <cstdint>
#include <span>

#include "knowledge/bits.hpp"

namespace nexus::knowledge {

struct Grid {
  std::int64_t first = 0;
  std::int64_t last = 0;
  std::uint32_t rows = 0;
  std::uint8_t width = 0;  // bytes of a deviation: 0, 1, 2, 4 or 8
  Bytes deviations;        // width * rows

  [[nodiscard]] bool is_valid() const noexcept;
  /// Times of the rows from `row` on, as many as `out` takes.
  void times(std::uint32_t row, std::span<std::int64_t> out) const noexcept;
  [[nodiscard]] std::int64_t time_at(std::uint32_t row) const noexcept;
  [[nodiscard]] std::uint32_t first_row_after(std::int64_t time) const noexcept;
};

/// Writes the deviations of 1 to kMaxBlockRows times that ascend strictly; returns the end and sets
/// the width. `to` has 8 bytes a row.
std::uint8_t* put_times(std::span<const std::int64_t> times, std::uint8_t& width,
                        std::uint8_t* to) noexcept;

}  // namespace nexus::knowledge
