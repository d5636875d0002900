#include "knowledge/block.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "knowledge/bits.hpp"
#include "knowledge/values.hpp"
#include "nexus/base/result.hpp"

namespace nexus::knowledge {
namespace {

using Rows = std::array<std::uint16_t, kMaxRows>;

constexpr std::uint8_t kAllRows = 0;  // presence: a sample in every row
constexpr std::uint8_t kSomeRows =
    1;  // presence: lengths of runs, absent and present by turns, follow

std::uint8_t* put_presence(std::uint8_t* to, std::span<const std::uint16_t> rows,
                           std::size_t total) {
  if (rows.size() == total) {
    *to = kAllRows;
    return to + 1;
  }
  *to++ = kSomeRows;
  to = put_varint(to, rows.size());
  std::size_t next = 0;
  for (std::size_t i = 0; i < rows.size();) {
    std::size_t length = 1;
    while (i + length < rows.size() && rows[i + length] == rows[i] + length) ++length;
    to = put_varint(to, rows[i] - next);
    to = put_varint(to, length);
    next = rows[i] + length;
    i += length;
  }
  return to;
}

/// Reads which rows have samples; returns how many. `rows` is filled only when not all have.
std::uint32_t get_presence(const std::uint8_t*& from, std::uint32_t total, Rows* rows) noexcept {
  if (*from++ == kAllRows) return total;
  const auto count = static_cast<std::uint32_t>(get_varint(from));
  if (rows == nullptr) return count;
  std::size_t next = 0;
  for (std::uint32_t i = 0; i < count;) {
    next += get_varint(from);
    for (std::uint64_t left = get_varint(from); left > 0 && i < count; --left) {
      (*rows)[i++] = static_cast<std::uint16_t>(next++);
    }
  }
  return count;
}

// The regular grid from the first to the last time, of which times deviate little. Unsigned: any
// two times are fine.
class Grid {
 public:
  Grid(std::int64_t first, std::int64_t last, std::uint32_t rows) noexcept
      : first_(static_cast<std::uint64_t>(first)),
        steps_(rows < 2 ? 1 : rows - 1),
        whole_((static_cast<std::uint64_t>(last) - first_) / steps_),
        rest_((static_cast<std::uint64_t>(last) - first_) % steps_) {}

  void seek(std::uint32_t row) noexcept {
    time_ = first_ + whole_ * row + rest_ * row / steps_;
    carry_ = rest_ * row % steps_;
  }
  /// The time of the row that was sought; goes on to the next.
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
  std::uint64_t first_;
  std::uint64_t steps_;
  std::uint64_t whole_;
  std::uint64_t rest_;
  std::uint64_t time_ = 0;
  std::uint64_t carry_ = 0;
};

template <typename T>
void add_deviations(const std::uint8_t* from, Grid grid, std::span<std::int64_t> out) noexcept {
  for (std::int64_t& time : out) {
    const auto deviation = static_cast<std::uint64_t>(std::int64_t{get_fixed<T>(from)});
    time = static_cast<std::int64_t>(grid.next() + deviation);
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

std::size_t Block::bytes() const noexcept {
  return sizeof(Block) + offsets_.capacity() * sizeof(std::uint32_t) + data_.capacity();
}

void Block::times(std::uint32_t first, std::span<std::int64_t> out) const noexcept {
  Grid grid(first_time_, last_time_, rows_);
  grid.seek(first);
  const std::uint8_t* from = data_.data() + std::size_t{first} * deviation_width_;
  switch (deviation_width_) {
    case 0:
      for (std::int64_t& time : out) time = static_cast<std::int64_t>(grid.next());
      return;
    case 1:
      return add_deviations<std::int8_t>(from, grid, out);
    case 2:
      return add_deviations<std::int16_t>(from, grid, out);
    case 4:
      return add_deviations<std::int32_t>(from, grid, out);
    default:
      return add_deviations<std::int64_t>(from, grid, out);
  }
}

std::int64_t Block::time_at(std::uint32_t row) const noexcept {
  std::int64_t time = 0;
  times(row, {&time, 1});
  return time;
}

std::uint32_t Block::first_row_after(std::int64_t time) const noexcept {
  std::uint32_t low = 0;
  std::uint32_t high = rows_;
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

std::uint32_t Block::samples_of(std::size_t column) const noexcept {
  const std::uint8_t* from = data_.data() + offsets_[column];
  return get_presence(from, rows_, nullptr);
}

void Block::read(SeriesId id, std::int64_t start, std::int64_t end, Column& out) const {
  if (last_time_ <= start || first_time_ > end) return;
  const auto found = std::ranges::lower_bound(*ids_, id);
  if (found == ids_->end() || *found != id) return;
  const std::uint8_t* from =
      data_.data() + offsets_[static_cast<std::size_t>(found - ids_->begin())];
  Rows rows;
  const std::uint32_t count = get_presence(from, rows_, &rows);
  const bool all = count == rows_;
  const std::uint32_t first_row = first_row_after(start);
  const std::uint32_t end_row = first_row_after(end);
  const auto place_of = [&](std::uint32_t row) {
    if (all) return row;
    const auto rows_end = rows.begin() + count;
    return static_cast<std::uint32_t>(std::lower_bound(rows.begin(), rows_end, row) - rows.begin());
  };
  const std::uint32_t first = place_of(first_row);
  const std::uint32_t last = place_of(end_row);
  if (first >= last) return;
  std::array<double, kMaxRows> values;
  decode_values(from, {values.data(), last});  // columns are read from their front
  out.values.insert(out.values.end(), values.begin() + first, values.begin() + last);
  if (all) {
    const std::size_t size = out.times.size();
    out.times.resize(size + last - first);
    times(first, std::span(out.times).subspan(size));
    return;
  }
  std::array<std::int64_t, kMaxRows> row_times;
  times(first_row, {row_times.data(), end_row - first_row});
  for (std::uint32_t i = first; i < last; ++i) out.times.push_back(row_times[rows[i] - first_row]);
}

BlockBuilder::BlockBuilder() = default;

std::uint8_t* BlockBuilder::reserve(std::size_t bytes) {
  if (data_.size() < used_ + bytes) data_.resize(std::max(data_.size() * 2, used_ + bytes));
  return data_.data() + used_;
}

void BlockBuilder::begin(std::span<const std::int64_t> times) {
  NEXUS_CHECK(!times.empty() && times.size() <= kMaxRows);
  block_ = Block();
  ids_.clear();
  used_ = 0;
  block_.first_time_ = times.front();
  block_.last_time_ = times.back();
  block_.rows_ = static_cast<std::uint32_t>(times.size());
  put_times(times);
}

void BlockBuilder::put_times(std::span<const std::int64_t> times) {
  std::array<std::int64_t, kMaxRows> deviations;
  std::int64_t least = 0;
  std::int64_t most = 0;
  Grid grid(block_.first_time_, block_.last_time_, block_.rows_);
  grid.seek(0);
  for (std::uint32_t row = 0; row < block_.rows_; ++row) {
    deviations[row] =
        static_cast<std::int64_t>(static_cast<std::uint64_t>(times[row]) - grid.next());
    least = std::min(least, deviations[row]);
    most = std::max(most, deviations[row]);
  }
  const std::uint8_t width = width_for(least, most);
  block_.deviation_width_ = width;
  std::uint8_t* to = reserve(std::size_t{8} * kMaxRows);
  for (std::uint32_t row = 0; row < block_.rows_; ++row, to += width) {
    std::memcpy(to, &deviations[row], width);
  }
  used_ += std::size_t{width} * block_.rows_;
}

void BlockBuilder::add(SeriesId id, std::span<const std::uint16_t> rows,
                       std::span<const double> values) {
  NEXUS_CHECK(!rows.empty() && rows.size() == values.size());
  NEXUS_CHECK(ids_.empty() || ids_.back() < id);
  std::uint8_t* to = reserve(16 + rows.size() * 4 + values_bound(values.size()));
  ids_.push_back(id);
  block_.offsets_.push_back(static_cast<std::uint32_t>(used_));
  to = put_presence(to, rows, block_.rows_);
  to = encode_values(values, to);
  used_ = static_cast<std::size_t>(to - data_.data());
  block_.samples_ += values.size();
}

std::shared_ptr<const Block> BlockBuilder::finish(const Ids& previous) {
  // Exact sizes: a block lives for a day.
  auto block = std::make_shared<Block>();
  block_.data_.reserve(used_ + kBitPadding);
  block_.data_.assign(data_.begin(), data_.begin() + static_cast<std::ptrdiff_t>(used_));
  block_.data_.resize(used_ + kBitPadding);
  block_.offsets_.shrink_to_fit();
  block_.ids_ = previous != nullptr && *previous == ids_
                    ? previous
                    : std::make_shared<const std::vector<SeriesId>>(ids_);
  *block = std::move(block_);
  return block;
}

}  // namespace nexus::knowledge
