#include "knowledge/block_view.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "knowledge/block_format.hpp"
#include "knowledge/dense_times.hpp"
#include "knowledge/limits.hpp"
#include "knowledge/values.hpp"

namespace nexus::knowledge {
namespace {

/// How many rows of `total` have samples and, when `rows` has room, which. Leaves `from` behind it.
std::optional<std::uint32_t> get_presence(ByteReader& from, std::uint32_t total,
                                          std::span<std::uint16_t> rows) noexcept {
  const std::uint64_t count = from.get_varint();
  if (!from.ok() || count == 0 || count > total) return std::nullopt;
  std::uint64_t next = 0;
  for (std::uint64_t i = 0; i < count;) {
    const std::uint64_t skipped = from.get_varint();
    const std::uint64_t length = from.get_varint();
    if (!from.ok() || skipped > total || length == 0 || length > count - i) return std::nullopt;
    next += skipped;
    if (next + length > total) return std::nullopt;
    for (std::uint64_t row = 0; row < length && i + row < rows.size(); ++row) {
      rows[i + row] = static_cast<std::uint16_t>(next + row);
    }
    i += length;
    next += length;
  }
  return static_cast<std::uint32_t>(count);
}

/// Calls visit(first id, ids before it, length) for each run of ids until it returns false. False
/// when the bytes are no runs.
bool for_each_run(Bytes ids, const auto& visit) noexcept {
  ByteReader from(ids);
  std::uint64_t next = 0;
  std::uint64_t seen = 0;
  while (!from.rest().empty()) {
    next += from.get_varint();
    const std::uint64_t length = from.get_varint();
    constexpr std::uint64_t kMaxId = std::numeric_limits<SeriesId>::max();
    if (!from.ok() || length == 0 || length > kMaxId || next > kMaxId || next + length > kMaxId + 1)
      return false;
    if (!visit(next, seen, length)) return true;
    next += length;
    seen += length;
  }
  return true;
}

std::unexpected<Error> corrupt(const char* what) {
  return fail(Errc::kCorrupt, "block: {}", what);
}

}  // namespace

struct BlockView::Places {
  Bytes values;
  Bytes base;  // the values that predict these, if any
  std::uint32_t count = 0;
  bool all = true;  // a sample in every row
  // Of the range that was asked for:
  std::uint32_t first = 0;
  std::uint32_t end = 0;
  std::uint32_t first_row = 0;
  std::uint32_t end_row = 0;
};

Result<BlockView> BlockView::parse(Bytes bytes) {
  BlockHeader header;
  if (bytes.size() < sizeof header) return corrupt("shorter than its header");
  std::memcpy(&header, bytes.data(), sizeof header);
  if ((header.magic & kBlockMagicMask) != kBlockMagic) return corrupt("no such magic number");
  const std::uint32_t version = header.magic >> 24;
  if (version < kFirstBlockVersion || version > kBlockVersion) {
    return fail(Errc::kUnsupported, "block: version {}, known are {} to {}", version,
                kFirstBlockVersion, kBlockVersion);
  }
  if (header.size != bytes.size()) return corrupt("another size than its header says");
  BlockView view;
  view.bytes_ = bytes;
  view.columns_ = header.columns;
  view.samples_ = header.samples;
  std::size_t at = sizeof header;
  const auto take = [&](std::uint64_t size, Bytes& part) {
    if (size > bytes.size() - kBitPadding - at) return false;
    part = bytes.subspan(at, static_cast<std::size_t>(size));
    at += part.size();
    return true;
  };
  Grid& grid = view.grid_;
  grid = {header.first_time, header.last_time, header.rows, header.time_width, {}};
  const bool is_dense = version > kFirstBlockVersion && header.time_width == kDenseTimes;
  std::uint16_t dense_size = 0;
  if (is_dense && bytes.size() >= at + sizeof dense_size + kBitPadding) {
    std::memcpy(&dense_size, bytes.data() + at, sizeof dense_size);
    at += sizeof dense_size;
  }
  const std::uint64_t times_size =
      is_dense ? dense_size : std::uint64_t{header.time_width} * header.rows;
  if (bytes.size() < at + kBitPadding || !take(times_size, grid.deviations) ||
      !take(header.ids_size, view.ids_) ||
      !take(stride_count(header.columns) * sizeof(Stride), view.strides_) ||
      !take(header.lengths_size, view.lengths_)) {
    return corrupt("a part ends behind its end");
  }
  view.data_ = bytes.subspan(at, bytes.size() - kBitPadding - at);
  if (header.columns == 0) return corrupt("no columns");
  if (is_dense && !view.decode_times(grid.deviations)) return corrupt("times are none");
  if (!grid.is_valid()) return corrupt("times do not ascend");
  if (!view.has_right_ids()) return corrupt("ids are not those of its columns");
  if (!view.has_right_lengths()) return corrupt("columns do not fill it");
  return view;
}

/// Dense times become plain ones, which are found without decoding.
bool BlockView::decode_times(Bytes dense) {
  std::array<std::int64_t, kMaxBlockRows> times;
  if (grid_.rows == 0 || grid_.rows > times.size()) return false;
  const std::span<std::int64_t> used(times.data(), grid_.rows);
  if (!get_dense_times(dense, grid_.first, used) || used.back() != grid_.last) return false;
  std::vector<std::uint8_t> plain(used.size_bytes());
  plain.resize(static_cast<std::size_t>(put_times(used, grid_.width, plain.data()) - plain.data()));
  plain.shrink_to_fit();
  deviations_ = std::make_shared<const std::vector<std::uint8_t>>(std::move(plain));
  grid_.deviations = *deviations_;
  return true;
}

bool BlockView::has_right_ids() const noexcept {
  std::uint64_t ids = 0;
  const bool are_runs = for_each_run(ids_, [&](std::uint64_t, std::uint64_t, std::uint64_t size) {
    ids += size;
    return true;
  });
  return are_runs && ids == columns_;
}

bool BlockView::has_right_lengths() const noexcept {
  ByteReader lengths(lengths_);
  std::uint64_t end = 0;
  for (std::uint32_t column = 0; column < columns_; ++column) {
    if (column % kStride == 0 && column > 0) {
      Stride stride;
      const std::size_t place = column / kStride - 1;
      std::memcpy(&stride, strides_.data() + place * sizeof stride, sizeof stride);
      const std::size_t read = lengths_.size() - lengths.rest().size();
      if (stride.data != end || stride.lengths != read) return false;
    }
    const std::uint64_t length = lengths.get_varint();
    if (length > data_.size()) return false;
    end += length;
  }
  return lengths.ok() && lengths.rest().empty() && end == data_.size();
}

std::vector<SeriesId> BlockView::ids() const {
  std::vector<SeriesId> ids;
  ids.reserve(columns_);
  for_each_run(ids_, [&](std::uint64_t first, std::uint64_t, std::uint64_t length) {
    for (std::uint64_t i = 0; i < length; ++i) ids.push_back(static_cast<SeriesId>(first + i));
    return true;
  });
  return ids;
}

std::optional<std::uint32_t> BlockView::find(SeriesId id) const noexcept {
  std::optional<std::uint32_t> column;
  for_each_run(ids_, [&](std::uint64_t first, std::uint64_t before, std::uint64_t length) {
    if (id >= first && id < first + length)
      column = static_cast<std::uint32_t>(before + id - first);
    return first + length <= id;
  });
  return column;
}

Bytes BlockView::column_bytes(std::uint32_t column) const noexcept {
  Stride stride;
  const std::uint32_t strides = column / kStride;
  if (strides > 0) {
    std::memcpy(&stride, strides_.data() + (strides - 1) * sizeof stride, sizeof stride);
  }
  ByteReader lengths(lengths_.subspan(stride.lengths));
  std::size_t begin = stride.data;
  for (std::uint32_t left = column % kStride; left > 0; --left) begin += lengths.get_varint();
  return data_.subspan(begin, lengths.get_varint());
}

bool BlockView::locate(std::uint32_t column, std::span<std::uint16_t> rows,
                       Places& out) const noexcept {
  const auto skip_presence = [&](Bytes bytes, std::span<std::uint16_t> to, Places& places) {
    ByteReader from(bytes);
    places.all = bytes.empty() || bytes.front() != kSomeRows;
    places.count = grid_.rows;
    if (!places.all) {
      from.skip(1);
      const auto count = get_presence(from, grid_.rows, to);
      if (!count) return false;
      places.count = *count;
    }
    places.values = from.rest();
    return true;
  };
  if (!skip_presence(column_bytes(column), rows, out)) return false;
  const std::uint64_t distance = reference_of(out.values);
  if (distance == 0) return true;
  Places base;
  if (distance > column) return false;
  if (!skip_presence(column_bytes(column - static_cast<std::uint32_t>(distance)), {}, base)) {
    return false;
  }
  out.base = base.values;
  return base.count == out.count;
}

bool BlockView::locate(std::uint32_t column, std::int64_t start, std::int64_t end,
                       std::span<std::uint16_t> rows, Places& out) const noexcept {
  if (!locate(column, rows, out)) return false;
  const auto place_of = [&](std::uint32_t row) {
    if (out.all) return row;
    const auto present = rows.first(out.count);
    return static_cast<std::uint32_t>(std::ranges::lower_bound(present, row) - present.begin());
  };
  out.first_row = grid_.first_row_after(start);
  out.end_row = grid_.first_row_after(end);
  out.first = place_of(out.first_row);
  out.end = place_of(out.end_row);
  return true;
}

std::optional<std::uint32_t> BlockView::samples_of(std::uint32_t column) const noexcept {
  Places places;
  if (!locate(column, {}, places)) return std::nullopt;
  return places.count;
}

bool BlockView::read(std::uint32_t column, std::int64_t start, std::int64_t end,
                     Column& out) const {
  if (grid_.last <= start || grid_.first > end) return true;
  std::array<std::uint16_t, kMaxBlockRows> rows;
  Places places;
  if (!locate(column, start, end, rows, places)) return false;
  if (places.first >= places.end) return true;
  std::array<double, kMaxBlockRows> values;  // columns are read from their front
  if (!decode_values(places.values, places.base, {values.data(), places.end})) return false;
  out.values.insert(out.values.end(), values.begin() + places.first, values.begin() + places.end);
  const std::size_t size = out.times.size();
  if (places.all) {
    out.times.resize(size + places.end - places.first);
    grid_.times(places.first, std::span(out.times).subspan(size));
    return true;
  }
  std::array<std::int64_t, kMaxBlockRows> times;
  grid_.times(places.first_row, {times.data(), places.end_row - places.first_row});
  for (std::uint32_t i = places.first; i < places.end; ++i) {
    out.times.push_back(times[rows[i] - places.first_row]);
  }
  return true;
}

bool BlockView::aggregate(std::uint32_t column, std::int64_t start, std::int64_t end,
                          Aggregate& to) const {
  if (grid_.last <= start || grid_.first > end) return true;
  std::array<std::uint16_t, kMaxBlockRows> rows;
  Places places;
  if (!locate(column, start, end, rows, places)) return false;
  return aggregate_values(places.values, places.base, places.first, places.end, to);
}

std::optional<std::uint32_t> BlockView::decode(std::uint32_t column, std::span<std::uint16_t> rows,
                                               std::span<double> values) const noexcept {
  Places places;
  if (!locate(column, rows, places)) return std::nullopt;
  if (!decode_values(places.values, places.base, values.first(places.count))) return std::nullopt;
  for (std::uint32_t row = 0; places.all && row < grid_.rows; ++row) {
    rows[row] = static_cast<std::uint16_t>(row);
  }
  return places.count;
}

}  // namespace nexus::knowledge
