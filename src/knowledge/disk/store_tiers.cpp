// Tiers: made from what is on disk in the next finer stream, so that nothing of them is lost with
// the process.
#include <algorithm>
#include <limits>

#include "knowledge/disk/store.hpp"
#include "knowledge/disk/tier_block.hpp"
#include "knowledge/merge_samples.hpp"

namespace nexus::knowledge::disk {
namespace {

constexpr std::int64_t kRowsOfRecord = 480;
constexpr std::size_t kSeriesOfRecord = 32;
constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::min();

bool has_rows(const Entry& entry, std::uint32_t group) {
  return (entry.kind == Kind::kBlock || entry.kind == Kind::kTier) && entry.group == group;
}

/// The oldest and the newest time of a group in a stream; first > last when there is none.
std::pair<std::int64_t, std::int64_t> span_of(const Stream& stream, std::uint32_t group) {
  std::pair<std::int64_t, std::int64_t> span{std::numeric_limits<std::int64_t>::max(), kNever};
  const auto segments = stream.segments();
  for (const auto& segment : *segments) {
    for (const Entry& entry : segment->entries) {
      if (!segment->usable || !has_rows(entry, group) || (entry.flags & kMore) != 0) continue;
      span.first = std::min(span.first, entry.first);
      span.second = std::max(span.second, entry.last);
    }
  }
  return span;
}

std::set<std::uint32_t> groups_of(const Stream& stream) {
  std::set<std::uint32_t> groups;
  const auto segments = stream.segments();
  for (const auto& segment : *segments) {
    for (const Entry& entry : segment->entries) {
      if (segment->usable && has_rows(entry, entry.group)) groups.insert(entry.group);
    }
  }
  return groups;
}

}  // namespace

/// A series of the finer stream, with what is needed to make buckets of it.
struct Store::Source {
  std::uint64_t hash = 0;
  Family family;
  Labels labels;
  std::vector<Bucket> buckets;
};

Status Store::downsample(std::int64_t now) {
  for (std::size_t place = 1; place < tiers_.size(); ++place) {
    const std::int64_t kept = tiers_[place - 1].keep / 2 / tiers_[place].step;
    const std::int64_t many = std::clamp<std::int64_t>(kept, 1, kRowsOfRecord);
    for (const std::uint32_t group : groups_of(stream_at(place))) {
      if (Status done = downsample_group(place, group, kNever, many, now); !done) return done;
    }
  }
  return {};
}

Status Store::coarsen(std::size_t place, std::int64_t until, std::int64_t now) {
  if (place == tiers_.size() || until == kNever) return {};
  for (const std::uint32_t group : groups_of(stream_at(place))) {
    if (Status done = downsample_group(place, group, until, kRowsOfRecord + 1, now); !done) {
      return done;
    }
  }
  return {};
}

/// Until all before `until` is done, and as long as there are `least` buckets to make.
Status Store::downsample_group(std::size_t place, std::uint32_t group, std::int64_t until,
                               std::int64_t least, std::int64_t now) {
  const Tier& tier = tiers_[place];
  const auto segments = stream_at(place).segments();
  const Finer finer{*segments, group};
  const auto source = span_of(stream_at(place), group);
  const auto done = span_of(*tier.stream, group);
  std::int64_t from = done.second;
  if (from == kNever) from = bucket_end(source.first, tier.step) - tier.step;
  const std::int64_t last = bucket_end(source.second, tier.step);
  // Whole buckets, but for the last of a group that has ended.
  const std::int64_t to = last == source.second || last <= until ? last : last - tier.step;
  while (from < to && (from < until || to - from >= least * tier.step)) {
    const std::int64_t next = next_bucket(finer, from, tier.step);
    if (next > to) break;
    from = std::max(from, next - tier.step);
    const std::int64_t end = std::min(to, from + kRowsOfRecord * tier.step);
    if (Status written = write_buckets(place, finer, group, from, end, now); !written)
      return written;
    from = end;
  }
  return {};
}

Status Store::coarsen_past(std::int64_t until, std::int64_t now) {
  if (tiers_.empty() || until == kNever) return {};
  const std::int64_t step = tiers_[0].step;
  const auto segments = past_->segments();
  for (const auto& segment : *segments) {
    if (!segment->usable || segment->first > segment->last || segment->last > until) continue;
    // A group of its own, so that what other imports have does not count as done.
    const std::uint32_t group = kFirstImportGroup + segment->number;
    const std::int64_t last = bucket_end(segment->last, step);
    std::int64_t from = span_of(*tiers_[0].stream, group).second;
    if (from == kNever) from = bucket_end(segment->first, step) - step;
    const Finer finer{{&segment, 1}, std::nullopt};
    for (; from < last; from += kRowsOfRecord * step) {
      const std::int64_t next = next_bucket(finer, from, step);
      if (next > last) break;
      from = std::max(from, next - step);
      const std::int64_t end = std::min(last, from + kRowsOfRecord * step);
      if (Status written = write_buckets(0, finer, group, from, end, now); !written) return written;
    }
  }
  return {};
}

bool Store::Finer::has(const Entry& entry, std::int64_t from, std::int64_t to) const noexcept {
  return has_rows(entry, group.value_or(entry.group)) && entry.first <= to && entry.last > from;
}

std::int64_t Store::next_bucket(const Finer& finer, std::int64_t from, std::int64_t step) {
  std::int64_t next = std::numeric_limits<std::int64_t>::max();
  std::vector<std::int64_t> times;
  for (const auto& segment : finer.segments) {
    if (!segment->usable || segment->last <= from) continue;
    for (const Entry& entry : segment->entries) {
      if (!finer.has(entry, from, std::numeric_limits<std::int64_t>::max())) continue;
      std::int64_t first = std::max(entry.first, from + 1);
      // Mostly there is a row soon; a record of both sides of a long pause is looked at.
      if (first > entry.first && entry.last - first > kRowsOfRecord * step && first < next) {
        const auto [is_readable, block] = cache_.get_block(*segment->file, entry);
        if (!is_readable || !block) continue;
        times.resize(block->rows());
        block->times(times);
        const auto row = std::ranges::upper_bound(times, from);
        if (row == times.end()) continue;
        first = *row;
      }
      next = std::min(next, first);
    }
  }
  return next == std::numeric_limits<std::int64_t>::max() ? next : bucket_end(next, step);
}

std::map<std::uint64_t, Store::Source> Store::sources_of(std::size_t place, const Finer& finer,
                                                         std::int64_t from, std::int64_t to) {
  std::map<std::uint64_t, Source> sources;
  for (const auto& segment : finer.segments) {
    if (!segment->usable) continue;
    std::set<std::uint32_t> numbers;  // of the series that are concerned, in this segment
    for (const Entry& entry : segment->entries) {
      if (!finer.has(entry, from, to)) continue;
      const Cache::Payload payload = cache_.get(*segment->file, entry);
      const auto block = payload == nullptr ? Result<BlockView>() : BlockView::parse(*payload);
      if (payload == nullptr || !block) continue;
      for (const SeriesId id : block->ids()) numbers.insert(place == 0 ? id : id / 8);
    }
    if (numbers.empty()) continue;
    for (const Entry& entry : segment->entries) {
      if (entry.kind != Kind::kSeries) continue;
      const Cache::Payload payload = cache_.get(*segment->file, entry);
      if (payload == nullptr) continue;
      auto definitions = decode_definitions(*payload);
      if (!definitions) continue;
      for (SeriesDefinition& one : definitions->series) {
        if (!numbers.contains(one.number)) continue;
        Source& source = sources[one.labels.hash()];
        source.hash = one.labels.hash();
        source.family = definitions->families[one.family];
        source.labels = std::move(one.labels);
      }
    }
  }
  return sources;
}

Status Store::write_buckets(std::size_t place, const Finer& finer, std::uint32_t group,
                            std::int64_t from, std::int64_t to, std::int64_t now) {
  Tier& tier = tiers_[place];
  std::map<std::uint64_t, Source> sources = sources_of(place, finer, from, to);
  std::set<std::int64_t> all_ends;
  for (auto& [hash, source] : sources) {
    // The value before decides whether a counter was reset between two buckets.
    Column before;
    read_tier(tier, hash, from - kRowsOfRecord * tier.step, from, before);
    const std::optional<double> value =
        before.size() == 0 ? std::nullopt : std::optional(before.values.back());
    if (place == 0) {
      Column rows;
      read_rows(hash, from, to, rows);
      read_past(hash, from, to, rows);
      Column samples;
      merge_samples(rows, samples);
      source.buckets =
          aggregate_samples(samples, tier.step, value, flavour_of(source.family, source.labels));
    } else {
      source.buckets =
          aggregate_buckets(buckets_of(tiers_[place - 1], hash, from, to), tier.step, value);
    }
    for (const Bucket& bucket : source.buckets) all_ends.insert(bucket.end);
  }
  std::erase_if(sources, [](const auto& one) { return one.second.buckets.empty(); });
  if (sources.empty()) return {};
  if (Status ready = tier.stream->prepare(now); !ready) return ready;
  return write_tier(tier, group, sources, {all_ends.begin(), all_ends.end()}, to);
}

Status Store::write_tier(Tier& tier, std::uint32_t group,
                         const std::map<std::uint64_t, Source>& sources,
                         const std::vector<std::int64_t>& ends, std::int64_t to) {
  if (tier.numbered != tier.stream->active()) {
    tier.numbers.clear();
    tier.numbered = tier.stream->active();
  }
  std::map<std::uint32_t, const Source*> by_number;
  Definitions fresh;
  for (const auto& [hash, source] : sources) {
    const auto [number, is_new] =
        tier.numbers.try_emplace(hash, static_cast<std::uint32_t>(tier.numbers.size()));
    by_number[number->second] = &source;
    if (is_new) fresh.series.push_back({number->second, fresh.add(source.family), source.labels});
  }
  if (Status defined = tier.stream->define(fresh); !defined) return defined;
  std::size_t left = by_number.size();
  for (auto next = by_number.begin(); next != by_number.end();) {
    RecordInfo info{.kind = Kind::kTier, .group = group, .first = ends.front(), .last = to};
    info.low = next->first;
    builder_.begin(ends, TimeCode::kDense);
    for (std::size_t i = 0; i < kSeriesOfRecord && next != by_number.end(); ++i, ++next, --left) {
      info.high = next->first;
      add_columns(builder_, next->first, next->second->buckets, ends);
    }
    info.flags = left == 0 ? 0 : kMore;
    const std::vector<std::uint8_t> bytes = builder_.finish();
    if (Status written = tier.stream->append(info, bytes); !written) return written;
  }
  return {};
}

}  // namespace nexus::knowledge::disk
