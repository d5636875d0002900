#include "knowledge/grid.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "knowledge/limits.hpp"

namespace nexus::knowledge {
namespace {

// Walks the regular grid.
class Walk {
 public:
  Walk(std::int64_t first, std::int64_t last, std::uint32_t rows, std::uint32_t row) noexcept
      : steps_(rows < 2 ? 1 : rows - 1) {
    const std::uint64_t span = static_cast<std::uint64_t>(last) - static_cast<std::uint64_t>(first);
    whole_ = span / steps_;
    rest_ = span % steps_;
    time_ = static_cast<std::uint64_t>(first) + whole_ * row + rest_ * row / steps_;
    carry_ = rest_ * row % steps_;
  }

  /// Whether all steps are of one length, and that length.
  [[nodiscard]] bool is_even() const noexcept { return rest_ == 0; }
  [[nodiscard]] std::uint64_t step() const noexcept { return whole_; }
  /// The time of this row; goes on to the next.
  std::uint64_t next() noexcept {
    const std::uint64_t time = time_;
    time_ += whole_;
    carry_ += rest_;
    if (carry_ >= steps_) {
      carry_ -= steps_;
      ++time_;
    }
    return time;
  }

 private:
  std::uint64_t steps_;
  std::uint64_t whole_ = 0;
  std::uint64_t rest_ = 0;
  std::uint64_t time_ = 0;
  std::uint64_t carry_ = 0;
};

template <typename T>
void add_deviations(const std::uint8_t* from, Walk walk, std::span<std::int64_t> out) noexcept {
  for (std::int64_t& time : out) {
    T deviation;
    std::memcpy(&deviation, from, sizeof deviation);
    from += sizeof deviation;
    time = static_cast<std::int64_t>(walk.next() +
                                     static_cast<std::uint64_t>(std::int64_t{deviation}));
  }
}

std::uint8_t width_for(std::int64_t least, std::int64_t most) noexcept {
  if (least == 0 && most == 0) return 0;
  if (least >= INT8_MIN && most <= INT8_MAX) return 1;
  if (least >= INT16_MIN && most <= INT16_MAX) return 2;
  if (least >= INT32_MIN && most <= INT32_MAX) return 4;
  return 8;
}

}  // namespace

bool Grid::is_valid() const noexcept {
  if (rows == 0 || rows > kMaxBlockRows || deviations.size() != std::size_t{width} * rows) {
    return false;
  }
  if (width != 0 && width != 1 && width != 2 && width != 4 && width != 8) return false;
  std::array<std::int64_t, kMaxBlockRows> all;
  const std::span<std::int64_t> used(all.data(), rows);
  times(0, used);
  return used.front() == first && used.back() == last &&
         std::ranges::adjacent_find(used, std::ranges::greater_equal{}) == used.end();
}

void Grid::times(std::uint32_t row, std::span<std::int64_t> out) const noexcept {
  Walk walk(first, last, rows, row);
  const std::uint8_t* from = deviations.data() + std::size_t{row} * width;
  switch (width) {
    case 0:
      if (walk.is_even()) {
        const std::uint64_t step = walk.step();
        std::uint64_t time = walk.next();
        for (std::int64_t& one : out) {
          one = static_cast<std::int64_t>(time);
          time += step;
        }
        return;
      }
      for (std::int64_t& time : out) time = static_cast<std::int64_t>(walk.next());
      return;
    case 1:
      return add_deviations<std::int8_t>(from, walk, out);
    case 2:
      return add_deviations<std::int16_t>(from, walk, out);
    case 4:
      return add_deviations<std::int32_t>(from, walk, out);
    default:
      return add_deviations<std::int64_t>(from, walk, out);
  }
}

std::int64_t Grid::time_at(std::uint32_t row) const noexcept {
  std::int64_t time = 0;
  times(row, {&time, 1});
  return time;
}

std::uint32_t Grid::first_row_after(std::int64_t time) const noexcept {
  std::uint32_t low = 0;
  std::uint32_t high = rows;
  while (low < high) {
    const std::uint32_t middle = (low + high) / 2;
    if (time_at(middle) > time) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

std::uint8_t* put_times(std::span<const std::int64_t> times, std::uint8_t& width,
                        std::uint8_t* to) noexcept {
  std::array<std::int64_t, kMaxBlockRows> deviations;
  std::int64_t least = 0;
  std::int64_t most = 0;
  Walk walk(times.front(), times.back(), static_cast<std::uint32_t>(times.size()), 0);
  for (std::size_t row = 0; row < times.size(); ++row) {
    deviations[row] =
        static_cast<std::int64_t>(static_cast<std::uint64_t>(times[row]) - walk.next());
    least = std::min(least, deviations[row]);
    most = std::max(most, deviations[row]);
  }
  width = width_for(least, most);
  for (std::size_t row = 0; row < times.size(); ++row, to += width) {
    std::memcpy(to, &deviations[row], width);
  }
  return to;
}

}  // namespace nexus::knowledge
