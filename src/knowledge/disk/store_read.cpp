#include <algorithm>
#include <limits>

#include "knowledge/disk/store.hpp"
#include "knowledge/merge_samples.hpp"

namespace nexus::knowledge::disk {
namespace {

/// The oldest and the newest time; first > second when there is none.
std::pair<std::int64_t, std::int64_t> span_of(const Stream& stream) {
  std::pair<std::int64_t, std::int64_t> span{std::numeric_limits<std::int64_t>::max(),
                                             std::numeric_limits<std::int64_t>::min()};
  const auto segments = stream.segments();
  for (const auto& segment : *segments) {
    if (!segment->usable || segment->first > segment->last) continue;
    span.first = std::min(span.first, segment->first);
    span.second = std::max(span.second, segment->last);
  }
  return span;
}

std::int64_t oldest_of(const Stream& stream) {
  return span_of(stream).first;
}

}  // namespace

std::vector<Store::Wanted> Store::find(const Stream& stream, std::uint64_t hash, std::int64_t start,
                                       std::int64_t end) {
  std::vector<Wanted> found;
  const auto segments = stream.segments();
  for (const auto& segment : *segments) {
    if (!segment->usable || segment->first > end || segment->last <= start) continue;
    const auto names = stream.names_of(*segment);
    for (const Names::Name& name : names->find(hash)) {
      for (const Entry& entry : segment->entries) {
        const bool rows = entry.kind == Kind::kBlock || entry.kind == Kind::kTier;
        const bool of_group = name.group == kAnyGroup || name.group == entry.group;
        if (rows && of_group && entry.first <= end && entry.last > start &&
            entry.low <= name.number && name.number <= entry.high) {
          found.push_back({segment, entry, name.number});
        }
      }
    }
  }
  std::ranges::stable_sort(found, {}, [](const Wanted& one) { return one.entry.first; });
  return found;
}

void Store::read_rows(std::uint64_t hash, std::int64_t start, std::int64_t end, Column& out) const {
  read_rows(find(*data_, hash, start, end), start, end, out);
}

bool Store::has_past(std::uint64_t hash, std::int64_t start, std::int64_t end) const {
  return !find(*past_, hash, start, end).empty();
}

void Store::read_past(std::uint64_t hash, std::int64_t start, std::int64_t end, Column& out) const {
  read_rows(find(*past_, hash, start, end), start, end, out);
}

void Store::read_rows(std::span<const Wanted> wanted, std::int64_t start, std::int64_t end,
                      Column& out) const {
  const std::size_t first = out.size();
  bool ascending = true;
  for (const Wanted& one : wanted) {
    const auto [is_readable, block] = cache_.get_block(*one.segment->file, one.entry);
    if (!is_readable) continue;  // counted and logged
    const auto column = block ? block->find(one.number) : std::nullopt;
    const std::size_t before = out.size();
    if (!block || (column && !block->read(*column, start, end, out))) ++health_->damaged_records;
    ascending = ascending && (before == first || before == out.size() ||
                              out.times[before - 1] < out.times[before]);
  }
  if (ascending) return;
  Column all;  // blocks that overlap
  all.times.assign(out.times.begin() + static_cast<std::ptrdiff_t>(first), out.times.end());
  all.values.assign(out.values.begin() + static_cast<std::ptrdiff_t>(first), out.values.end());
  out.times.resize(first);
  out.values.resize(first);
  merge_samples(all, out);
}

std::vector<Bucket> Store::buckets_of(const Tier& tier, std::uint64_t hash, std::int64_t start,
                                      std::int64_t end) const {
  std::vector<Bucket> buckets;
  for (const Wanted& one : find(*tier.stream, hash, start, end)) {
    const auto [is_readable, block] = cache_.get_block(*one.segment->file, one.entry);
    if (!is_readable) continue;
    if (!block || !read_buckets(*block, one.number, start, end, buckets)) {
      ++health_->damaged_records;
    }
  }
  settle(buckets);
  return buckets;
}

void Store::read_tier(const Tier& tier, std::uint64_t hash, std::int64_t start, std::int64_t end,
                      Column& out) const {
  append_samples(buckets_of(tier, hash, start, end), tier.step, start, end, out);
}

std::size_t Store::serving(std::int64_t start) const {
  // Tiers have what is old: most questions are newer.
  if (start >= tiers_until_.load(std::memory_order_relaxed)) return 0;
  std::size_t best = 0;
  std::int64_t reaches = oldest_of(*data_);
  for (std::size_t place = 0; place < tiers_.size() && reaches > start; ++place) {
    const auto [oldest, newest] = span_of(*tiers_[place].stream);
    if (newest <= start || oldest >= reaches - tiers_[place].step) continue;
    best = place + 1;
    reaches = oldest;
  }
  return best;
}

std::int64_t Store::read_tiers(std::uint64_t labels_hash, std::int64_t start, std::int64_t end,
                               std::vector<Bucket>& out) const {
  std::int64_t from = start;
  for (std::size_t place = serving(start); place > 0 && from < end; --place) {
    const std::vector<Bucket> some = buckets_of(tiers_[place - 1], labels_hash, from, end);
    if (some.empty()) continue;
    out.insert(out.end(), some.begin(), some.end());
    from = some.back().end;
  }
  return from;
}

void Store::read(std::uint64_t labels_hash, std::int64_t start, std::int64_t end,
                 Column& out) const {
  const bool past = has_past(labels_hash, start, end);
  Column several;
  Column& to = past ? several : out;
  const std::size_t first = to.size();
  // What a tier does not have yet is in the next finer one.
  for (std::size_t place = serving(start);; --place) {
    const std::int64_t from = to.size() == first ? start : std::max(start, to.times.back());
    if (from < end && place == 0) read_rows(labels_hash, from, end, to);
    if (from >= end || place == 0) break;
    read_tier(tiers_[place - 1], labels_hash, from, end, to);
  }
  if (!past) return;
  read_past(labels_hash, start, end, several);
  merge_samples(several, out);
}

void Store::aggregate(std::uint64_t labels_hash, std::int64_t start, std::int64_t end,
                      Aggregate& to) const {
  const std::vector<Wanted> wanted = find(*data_, labels_hash, start, end);
  std::int64_t until = std::numeric_limits<std::int64_t>::min();
  for (const Wanted& one : wanted) {
    if (one.entry.first > until) {
      until = one.entry.last;
      continue;
    }
    Column all;  // of two groups at once: they may have the same samples
    read_rows(wanted, start, end, all);
    for (const double value : all.values) to.add(value);
    return;
  }
  for (const Wanted& one : wanted) {
    const auto [is_readable, block] = cache_.get_block(*one.segment->file, one.entry);
    if (!is_readable) continue;
    const auto column = block ? block->find(one.number) : std::nullopt;
    if (!block || (column && !block->aggregate(*column, start, end, to))) {
      ++health_->damaged_records;
    }
  }
}

void Store::note_tiers() {
  std::int64_t until = std::numeric_limits<std::int64_t>::min();
  for (const Tier& tier : tiers_) until = std::max(until, span_of(*tier.stream).second);
  tiers_until_ = until;
}

std::int64_t Store::step_for(std::int64_t start) const {
  const std::size_t place = serving(start);
  return place == 0 ? 0 : tiers_[place - 1].step;
}

std::int64_t Store::oldest() const {
  std::int64_t oldest = std::min(oldest_of(*data_), oldest_of(*past_));
  for (const Tier& tier : tiers_) oldest = std::min(oldest, oldest_of(*tier.stream));
  return oldest;
}

}  // namespace nexus::knowledge::disk
