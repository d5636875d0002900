#include "knowledge/open_block.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace nexus::knowledge {

IdSet::IdSet(std::span<const SeriesId> given, const std::function<bool(SeriesId)>& is_known)
    : ids_(given.begin(), given.end()) {
  for (const SeriesId id : ids_) unknown_ += is_known(id) ? 0 : 1;
  if (unknown_ == 0 && std::ranges::is_sorted(ids_, std::ranges::less_equal{}) &&
      std::ranges::adjacent_find(ids_) == ids_.end()) {
    return;
  }
  given_ = ids_;
  order_.resize(given_.size());
  std::iota(order_.begin(), order_.end(), 0U);
  if (unknown_ > 0) std::erase_if(order_, [&](std::uint32_t i) { return !is_known(given_[i]); });
  std::ranges::sort(order_, {}, [this](std::uint32_t i) { return std::pair(given_[i], i); });
  const auto doubled =
      std::ranges::unique(order_, {}, [this](std::uint32_t i) { return given_[i]; });
  order_.erase(doubled.begin(), doubled.end());
  ids_.resize(order_.size());
  for (std::size_t i = 0; i < order_.size(); ++i) ids_[i] = given_[order_[i]];
}

bool IdSet::is(std::span<const SeriesId> given) const noexcept {
  const std::vector<SeriesId>& own = order_.empty() ? ids_ : given_;
  return own.size() == given.size() &&
         std::memcmp(own.data(), given.data(), given.size_bytes()) == 0;
}

std::ptrdiff_t IdSet::find(SeriesId id) const noexcept {
  const auto found = std::ranges::lower_bound(ids_, id);
  return found != ids_.end() && *found == id ? found - ids_.begin() : -1;
}

void IdSet::arrange(std::span<const double> values, double* to) const noexcept {
  if (order_.empty()) {
    std::memcpy(to, values.data(), values.size_bytes());
    return;
  }
  for (std::size_t i = 0; i < order_.size(); ++i) to[i] = values[order_[i]];
}

std::size_t IdSet::bytes() const noexcept {
  return sizeof(IdSet) +
         (ids_.capacity() + given_.capacity() + order_.capacity()) * sizeof(SeriesId);
}

double* OpenBlock::allocate(std::size_t count) {
  if (free_count_ < count) {
    const std::size_t left = kMaxRows - rows_.load(std::memory_order_relaxed);
    free_count_ = count * std::min<std::size_t>(left, 32);
    arenas_.push_back(std::make_unique_for_overwrite<double[]>(free_count_));
    free_ = arenas_.back().get();
    bytes_ += free_count_ * sizeof(double);
  }
  double* result = free_;
  free_ += count;
  free_count_ -= count;
  return result;
}

std::span<const double> OpenBlock::append(std::int64_t time,
                                          const std::shared_ptr<const IdSet>& set,
                                          std::span<const double> values) {
  const std::uint32_t row = rows_.load(std::memory_order_relaxed);
  NEXUS_CHECK(row < kMaxRows && set->given_size() == values.size());
  if (sets_.empty() || sets_.back() != set) {
    sets_.push_back(set);
    bytes_ += set->bytes();
  }
  double* to = allocate(set->ids().size());
  set->arrange(values, to);
  samples_ += set->ids().size();
  rows_list_[row] = {time, set.get(), to};
  rows_.store(row + 1, std::memory_order_release);
  return {to, set->ids().size()};
}

void OpenBlock::for_each(SeriesId id, std::int64_t start, std::int64_t end,
                         const auto& visit) const {
  const std::span<const Row> all(rows_list_.data(), rows());
  const auto first = std::ranges::upper_bound(all, start, {}, &Row::time);
  const IdSet* set = nullptr;
  std::ptrdiff_t place = -1;
  for (auto row = first; row != all.end() && row->time <= end; ++row) {
    if (row->set != set) {
      set = row->set;
      place = set->find(id);
    }
    if (place >= 0) visit(row->time, row->values[place]);
  }
}

void OpenBlock::read(SeriesId id, std::int64_t start, std::int64_t end, Column& out) const {
  for_each(id, start, end, [&](std::int64_t time, double value) {
    out.times.push_back(time);
    out.values.push_back(value);
  });
}

void OpenBlock::aggregate(SeriesId id, std::int64_t start, std::int64_t end, Aggregate& to) const {
  for_each(id, start, end, [&](std::int64_t, double value) { to.add(value); });
}

std::uint64_t OpenBlock::published_samples() const noexcept {
  std::uint64_t sum = 0;
  for (const Row& row : std::span(rows_list_).first(rows())) sum += row.set->ids().size();
  return sum;
}

std::uint32_t OpenBlock::row_after(std::int64_t time) const noexcept {
  const std::span<const Row> all(rows_list_.data(), rows());
  const auto found = std::ranges::upper_bound(all, time, {}, &Row::time);
  return static_cast<std::uint32_t>(found - all.begin());
}

std::shared_ptr<const Block> OpenBlock::seal(BlockBuilder& builder) const {
  return std::make_shared<const Block>(encode(builder, 0, rows()));
}

std::vector<std::uint8_t> OpenBlock::encode(BlockBuilder& builder, std::uint32_t first,
                                            std::uint32_t end) const {
  NEXUS_CHECK(first < end && end <= rows());
  const std::span<const Row> all(rows_list_.data() + first, end - first);
  std::array<std::int64_t, kMaxRows> times;
  std::ranges::transform(all, times.begin(), &Row::time);
  builder.begin({times.data(), all.size()});
  const bool uniform =
      std::ranges::all_of(all, [&](const Row& row) { return row.set == all.front().set; });
  uniform ? encode_uniform(builder, all) : encode_mixed(builder, all);
  return builder.finish();
}

// All rows have the same series: a transposition, eight columns (one cache line of each row) at a
// time.
void OpenBlock::encode_uniform(BlockBuilder& builder, std::span<const Row> rows) {
  constexpr std::size_t kTile = 8;
  std::array<std::array<double, kMaxRows>, kTile> tile;
  std::array<std::uint16_t, kMaxRows> all;
  std::iota(all.begin(), all.end(), std::uint16_t{0});
  const std::span<const SeriesId> ids = rows.front().set->ids();
  for (std::size_t first = 0; first < ids.size(); first += kTile) {
    const std::size_t width = std::min(kTile, ids.size() - first);
    for (std::size_t r = 0; r < rows.size(); ++r) {
      const double* from = rows[r].values + first;
      for (std::size_t c = 0; c < width; ++c) tile[c][r] = from[c];
    }
    for (std::size_t c = 0; c < width; ++c) {
      builder.add(ids[first + c], {all.data(), rows.size()}, {tile[c].data(), rows.size()});
    }
  }
}

// Rows differ in their series: one id after another, with a cursor into each set.
void OpenBlock::encode_mixed(BlockBuilder& builder, std::span<const Row> rows) {
  std::vector<const IdSet*> sets;  // in order of appearance
  std::vector<SeriesId> ids;
  for (const Row& row : rows) {
    if (!sets.empty() && sets.back() == row.set) continue;
    sets.push_back(row.set);
    ids.insert(ids.end(), row.set->ids().begin(), row.set->ids().end());
  }
  std::ranges::sort(ids);
  const auto doubled = std::ranges::unique(ids);
  ids.erase(doubled.begin(), doubled.end());

  std::vector<std::size_t> cursors(sets.size(), 0);
  std::array<std::uint16_t, kMaxRows> places;
  std::array<double, kMaxRows> values;
  for (const SeriesId id : ids) {
    std::size_t used = 0;
    std::size_t s = 0;
    const auto has = [&] {
      const std::span<const SeriesId> of_set = sets[s]->ids();
      return cursors[s] < of_set.size() && of_set[cursors[s]] == id;
    };
    bool present = has();
    for (std::size_t r = 0; r < rows.size(); ++r) {
      if (rows[r].set != sets[s]) {
        if (present) ++cursors[s];
        ++s;
        present = has();
      }
      if (!present) continue;
      places[used] = static_cast<std::uint16_t>(r);
      values[used++] = rows[r].values[cursors[s]];
    }
    if (present) ++cursors[s];
    builder.add(id, {places.data(), used}, {values.data(), used});
  }
}

}  // namespace nexus::knowledge
