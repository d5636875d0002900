#include "knowledge/block.hpp"

#include <algorithm>
#include <cstring>

#include "knowledge/bits.hpp"
#include "knowledge/dense_times.hpp"
#include "knowledge/values.hpp"

namespace nexus::knowledge {
namespace {

BlockView view_of_own(Bytes bytes) {
  Result<BlockView> view = BlockView::parse(bytes);
  NEXUS_CHECK(view.has_value());
  return *view;
}

std::uint8_t* put_presence(std::uint8_t* to, std::span<const std::uint16_t> rows) {
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

}  // namespace

Block::Block(std::vector<std::uint8_t> bytes)
    : bytes_(std::move(bytes)), view_(view_of_own(bytes_)) {}

void Block::read(SeriesId id, std::int64_t start, std::int64_t end, Column& out) const {
  if (last_time() <= start || first_time() > end) return;
  const auto column = view_.find(id);
  NEXUS_CHECK(!column || view_.read(*column, start, end, out));
}

void Block::aggregate(SeriesId id, std::int64_t start, std::int64_t end, Aggregate& to) const {
  if (last_time() <= start || first_time() > end) return;
  const auto column = view_.find(id);
  NEXUS_CHECK(!column || view_.aggregate(*column, start, end, to));
}

std::uint32_t Block::samples_of(std::size_t column) const noexcept {
  return view_.samples_of(static_cast<std::uint32_t>(column)).value_or(0);
}

BlockBuilder::BlockBuilder() = default;

std::uint8_t* BlockBuilder::Part::reserve(std::size_t more) {
  if (bytes.size() < used + more) bytes.resize(std::max(bytes.size() * 2, used + more));
  return bytes.data() + used;
}

void BlockBuilder::begin(std::span<const std::int64_t> times, TimeCode code) {
  NEXUS_CHECK(!times.empty() && times.size() <= kMaxBlockRows);
  header_ = BlockHeader();
  references_.clear();
  for (Part* part : {&times_, &ids_, &strides_, &lengths_, &columns_}) part->used = 0;
  run_first_ = run_end_ = ids_end_ = 0;
  header_.first_time = times.front();
  header_.last_time = times.back();
  header_.rows = static_cast<std::uint16_t>(times.size());
  times_.end(put_times(times, header_.time_width, times_.reserve(times.size_bytes())));
  if (code == TimeCode::kDense && header_.time_width > 0) put_dense(times);
}

/// In place of the plain times, when that is shorter.
void BlockBuilder::put_dense(std::span<const std::int64_t> times) {
  using Size = std::uint16_t;  // plain times are shorter than it can say
  static_assert(kMaxBlockRows * sizeof(std::int64_t) <= UINT16_MAX);
  const std::size_t plain = times_.used;
  std::uint8_t* const to = times_.reserve(sizeof(Size) + dense_times_bound(times.size()));
  const std::uint8_t* const end = put_dense_times(times, to);
  if (end == nullptr) return;
  const auto size = static_cast<std::size_t>(end - to);
  if (sizeof(Size) + size >= plain) return;
  header_.time_width = kDenseTimes;
  std::uint8_t* const begin = times_.bytes.data();
  std::memmove(put_fixed(begin, static_cast<Size>(size)), to, size);
  times_.end(begin + sizeof(Size) + size);
}

void BlockBuilder::put_run() {
  if (run_end_ == run_first_) return;
  std::uint8_t* to = ids_.reserve(20);
  to = put_varint(to, run_first_ - ids_end_);
  ids_.end(put_varint(to, run_end_ - run_first_));
  ids_end_ = run_end_;
}

void BlockBuilder::put_id(SeriesId id) {
  NEXUS_CHECK(header_.columns == 0 || run_end_ <= id);
  if (id != run_end_ || header_.columns == 0) {
    put_run();
    run_first_ = id;
  }
  run_end_ = std::uint64_t{id} + 1;
}

void BlockBuilder::add(SeriesId id, std::span<const std::uint16_t> rows,
                       std::span<const double> values) {
  NEXUS_CHECK(!rows.empty() && rows.size() == values.size() && rows.size() <= header_.rows);
  put_id(id);
  if (header_.columns > 0 && header_.columns % kStride == 0) {
    const Stride stride{static_cast<std::uint32_t>(columns_.used),
                        static_cast<std::uint32_t>(lengths_.used)};
    strides_.end(put_fixed(strides_.reserve(sizeof stride), stride));
  }
  const std::size_t before = columns_.used;
  std::uint8_t* to = columns_.reserve(16 + rows.size() * 6 + values_bound(values.size()));
  if (rows.size() < header_.rows) to = put_presence(to, rows);
  columns_.end(encode_values(values, header_.columns, references_, to));
  lengths_.end(put_varint(lengths_.reserve(10), columns_.used - before));
  ++header_.columns;
  header_.samples += values.size();
}

std::vector<std::uint8_t> BlockBuilder::finish() {
  NEXUS_CHECK(header_.columns > 0);
  put_run();
  header_.ids_size = static_cast<std::uint32_t>(ids_.used);
  header_.lengths_size = static_cast<std::uint32_t>(lengths_.used);
  const std::size_t size = sizeof header_ + times_.used + ids_.used + strides_.used +
                           lengths_.used + columns_.used + kBitPadding;
  NEXUS_CHECK(size <= UINT32_MAX);
  header_.size = static_cast<std::uint32_t>(size);
  std::vector<std::uint8_t> block(size);  // exact: a block lives for a day
  std::uint8_t* to = put_fixed(block.data(), header_);
  for (const Part* part : {&times_, &ids_, &strides_, &lengths_, &columns_}) {
    to = std::copy_n(part->bytes.begin(), part->used, to);
  }
  return block;
}

}  // namespace nexus::knowledge
