#include <algorithm>
#include <limits>

#include "knowledge/disk/store.hpp"
#include "knowledge/merge_samples.hpp"

namespace nexus::knowledge::disk {
namespace {

std::int64_t oldest_of(const Stream& stream) {
  std::int64_t oldest = std::numeric_limits<std::int64_t>::max();
  const auto segments = stream.segments();
  for (const auto& segment : *segments) {
    if (segment->usable && segment->first <= segment->last) {
      oldest = std::min(oldest, segment->first);
    }
  }
  return oldest;
}

}  // namespace

std::vector<Store::Wanted> Store::find(const Stream& stream, std::uint64_t hash, std::int64_t start,
                                       std::int64_t end) {
  std::vector<Wanted> found;
  const auto segments = stream.segments();
  for (const auto& segment : *segments) {
    if (!segment->usable || segment->first > end || segment->last <= start) continue;
    for (const Names::Name& name : segment->names->find(hash)) {
      for (const Entry& entry : segment->entries) {
        const bool rows = entry.kind == Kind::kBlock || entry.kind == Kind::kTier;
        if (rows && entry.first <= end && entry.last > start && entry.low <= name.number &&
            name.number <= entry.high) {
          found.push_back({segment, entry, name.number});
        }
      }
    }
  }
  std::ranges::stable_sort(found, {}, [](const Wanted& one) { return one.entry.first; });
  return found;
}

void Store::read_rows(std::uint64_t hash, std::int64_t start, std::int64_t end, Column& out) const {
  const std::size_t first = out.size();
  bool ascending = true;
  for (const Wanted& one : find(*data_, hash, start, end)) {
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
    const std::int64_t from = buckets.empty() ? start : std::max(start, buckets.back().end);
    if (!block || !read_buckets(*block, one.number, from, end, buckets)) {
      ++health_->damaged_records;
    }
  }
  return buckets;
}

void Store::read_tier(const Tier& tier, std::uint64_t hash, std::int64_t start, std::int64_t end,
                      Column& out) const {
  append_samples(buckets_of(tier, hash, start, end), tier.step, start, end, out);
}

std::size_t Store::serving(std::int64_t start) const {
  std::size_t best = 0;
  std::int64_t reaches = oldest_of(*data_);
  for (std::size_t place = 0; place < tiers_.size() && reaches > start; ++place) {
    const std::int64_t oldest = oldest_of(*tiers_[place].stream);
    if (oldest >= reaches - tiers_[place].step) continue;
    best = place + 1;
    reaches = oldest;
  }
  return best;
}

void Store::read(std::uint64_t labels_hash, std::int64_t start, std::int64_t end,
                 Column& out) const {
  const std::size_t first = out.size();
  // What a tier does not have yet is in the next finer one.
  for (std::size_t place = serving(start);; --place) {
    const std::int64_t from = out.size() == first ? start : std::max(start, out.times.back());
    if (from >= end) return;
    if (place == 0) return read_rows(labels_hash, from, end, out);
    read_tier(tiers_[place - 1], labels_hash, from, end, out);
  }
}

void Store::aggregate(std::uint64_t labels_hash, std::int64_t start, std::int64_t end,
                      Aggregate& to) const {
  for (const Wanted& one : find(*data_, labels_hash, start, end)) {
    const auto [is_readable, block] = cache_.get_block(*one.segment->file, one.entry);
    if (!is_readable) continue;
    const auto column = block ? block->find(one.number) : std::nullopt;
    if (!block || (column && !block->aggregate(*column, start, end, to))) {
      ++health_->damaged_records;
    }
  }
}

std::int64_t Store::step_for(std::int64_t start) const {
  const std::size_t place = serving(start);
  return place == 0 ? 0 : tiers_[place - 1].step;
}

std::int64_t Store::oldest() const {
  std::int64_t oldest = oldest_of(*data_);
  for (const Tier& tier : tiers_) oldest = std::min(oldest, oldest_of(*tier.stream));
  return oldest;
}

}  // namespace nexus::knowledge::disk
