// What the history gives where samples are kept as buckets only.
#include <algorithm>

#include "knowledge/disk/tier_block.hpp"
#include "knowledge/history_state.hpp"
#include "knowledge/merge_samples.hpp"

namespace nexus::knowledge {
namespace {

double value_of(const disk::Bucket& bucket, BucketValue what) noexcept {
  switch (what) {
    case BucketValue::kMin:
      return bucket.min;
    case BucketValue::kMax:
      return bucket.max;
    case BucketValue::kSum:
      return bucket.sum;
    case BucketValue::kCount:
      return bucket.count;
  }
  return 0;
}

std::vector<disk::Bucket> buckets_of(const Column& samples, std::int64_t step) {
  return disk::aggregate_samples(samples, step, std::nullopt, disk::Flavour::kGauge);
}

}  // namespace

void History::State::read_rows(SeriesId id, const Found& found, std::int64_t start,
                               std::int64_t end, Column& out) const {
  Column several;
  const std::int64_t before = found.from > end ? end : found.from - 1;
  if (start < before) store->read_rows(registry.labels(id).hash(), start, before, several);
  for (const Group::View& view : found.views) view.read(id, start, end, several);
  merge_samples(several, out);
}

void History::read_buckets(SeriesId id, std::int64_t start, std::int64_t end, BucketValue what,
                           Column& out) const {
  const std::int64_t step = step_for(start);
  if (step == 0) return read(id, start, end, out);
  const State::Found found = state_->find(id);  // the memory first, as in read()
  const std::uint64_t hash = labels(id).hash();
  std::vector<disk::Bucket> fine;
  const std::int64_t from = state_->store->read_tiers(hash, start, end, fine);
  Column rows;
  state_->read_rows(id, found, from, end, rows);
  // A bucket may have begun in a finer tier and end in rows.
  for (const disk::Bucket& bucket : buckets_of(rows, 1)) fine.push_back(bucket);
  std::vector<disk::Bucket> buckets = disk::aggregate_buckets(fine, step, std::nullopt);
  Column past;
  state_->store->read_past(hash, start, end, past);
  if (past.size() > 0) {
    // Not with the tiers yet; where both have a bucket the samples may be the same.
    Column all;
    past.times.insert(past.times.end(), rows.times.begin(), rows.times.end());
    past.values.insert(past.values.end(), rows.values.begin(), rows.values.end());
    merge_samples(past, all);
    const std::vector<disk::Bucket> more = buckets_of(all, step);
    buckets.insert(buckets.end(), more.begin(), more.end());
    disk::settle(buckets);
  }
  for (const disk::Bucket& bucket : buckets) {
    out.times.push_back(std::min(bucket.end, end));
    out.values.push_back(value_of(bucket, what));
  }
}

}  // namespace nexus::knowledge
