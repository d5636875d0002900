// Instant selectors: series by their matchers, and their newest samples at the steps of the query.
#include <algorithm>
#include <limits>

#include "knowledge/promql/evaluator.hpp"
#include "knowledge/promql/functions.hpp"

namespace nexus::knowledge::promql {
namespace {

/// For each time the newest sample in (t - lookback, t], unless it is a stale marker.
/// Says for how many there was one.
std::size_t look_back(const Column& column, const Steps& ends, std::int64_t lookback,
                      Evaluator::Read what, std::span<double> out) {
  std::size_t found = 0;
  Edge edge;
  for (std::size_t i = 0; i < ends.count; ++i) {
    const std::int64_t time = ends.at(i);
    const std::size_t next = edge.move(column.times, time);
    if (next == 0 || column.times[next - 1] <= time - lookback) continue;
    const double value = column.values[next - 1];
    if (is_stale(value)) continue;
    const bool as_time = what == Evaluator::Read::kTimestamps;
    out[i] = as_time ? static_cast<double>(column.times[next - 1]) / 1000.0 : value;
    ++found;
  }
  return found;
}

}  // namespace

Steps Evaluator::moved(const TimeModifiers& time) const {
  Steps ends = steps_;
  switch (time.at) {
    case TimeModifiers::At::kNone:
      break;
    case TimeModifiers::At::kTime:
      ends = {time.at_time, 0, steps_.count};
      break;
    case TimeModifiers::At::kStart:
      ends = {query_steps_.start, 0, steps_.count};
      break;
    case TimeModifiers::At::kEnd:
      ends = {query_steps_.last(), 0, steps_.count};
      break;
  }
  ends.start -= time.offset;
  return ends;
}

std::vector<SeriesId> Evaluator::series_of(const VectorSelector& selector, const Steps& ends,
                                           std::int64_t range) {
  return data_.select(selector.matchers, ends.start - range, ends.last());
}

std::int64_t Evaluator::look_back_at(const Steps& ends) const {
  std::int64_t back = limits_.lookback_ms;
  // Looking back further may reach a coarser tier; there are few.
  for (int tier = 0; tier < 8; ++tier) {
    const std::int64_t step = data_.step_for(ends.start - back);
    if (step <= back) break;
    back = step;
  }
  return back;
}

void Evaluator::read_newest(SeriesId id, const Steps& ends, std::int64_t lookback) {
  column_.clear();
  const std::int64_t begin = ends.start - lookback;
  if (ends.last() > ends.start) {
    data_.read(id, begin, ends.last(), column_);
  } else if (const auto sample = data_.last(id, begin, ends.start)) {
    column_.times.push_back(sample->time);
    column_.values.push_back(sample->value);
  }
}

std::vector<Evaluator::Slice> Evaluator::slices_of(const Steps& ends, std::int64_t range) {
  // What a slice reads again of the one before is a quarter of it at most.
  const std::int64_t length = std::max(kSliceMillis, 4 * range);
  std::vector<Slice> slices;
  std::int64_t counted = std::numeric_limits<std::int64_t>::min();
  const std::size_t steps =
      ends.step == 0 || ends.last() - ends.start < 2 * length
          ? ends.count
          : std::max<std::size_t>(1, static_cast<std::size_t>(length / ends.step));
  for (std::size_t first = 0; first < ends.count; first += steps) {
    const std::size_t count = std::min(steps, ends.count - first);
    slices.push_back({first, count, {ends.at(first), ends.step, count}, counted});
    counted = slices.back().ends.last();
  }
  return slices;
}

Status Evaluator::charge_samples(const Slice& slice) {
  const auto fresh = std::ranges::upper_bound(column_.times, slice.counted);
  return charge_read(static_cast<std::size_t>(column_.times.end() - fresh));
}

Result<std::vector<Evaluator::SeriesRow>> Evaluator::add_rows(const std::vector<SeriesId>& ids,
                                                              Block& block) {
  std::vector<SeriesRow> rows;
  rows.reserve(ids.size());
  if (Status status = charge(ids.size() * block.steps); !status) {
    return std::unexpected(std::move(status).error());
  }
  block.reserve(ids.size());
  for (const SeriesId id : ids) {
    const Labels& labels = data_.labels(id);
    if (labels.empty()) continue;  // forgotten meanwhile
    rows.push_back({id, 0});
  }
  // In the order of Prometheus: it decides which of equal values topk takes, and the last digits of
  // sums.
  std::ranges::sort(rows, {},
                    [&](const SeriesRow& row) -> const Labels& { return data_.labels(row.id); });
  for (SeriesRow& row : rows) {
    row.row = block.rows.size();
    block.add({&data_.labels(row.id), false});
  }
  return rows;
}

Result<Block> Evaluator::select(const VectorSelector& selector, Read what) {
  Block block(steps_.count);
  block.names_matter = !names_one_metric(selector);
  const Steps ends = moved(selector.time);
  const std::int64_t lookback = look_back_at(ends);
  const auto rows = add_rows(series_of(selector, ends, lookback), block);
  if (!rows) return std::unexpected(rows.error());
  for (const Slice& slice : slices_of(ends, lookback)) {
    for (const SeriesRow& series : *rows) {
      read_newest(series.id, slice.ends, lookback);
      if (Status status = charge_samples(slice); !status) {
        return std::unexpected(std::move(status).error());
      }
      looked_at_ += look_back(column_, slice.ends, lookback, what,
                              block.row(series.row).subspan(slice.first, slice.count));
    }
  }
  block.drop_empty_rows();
  return block;
}

}  // namespace nexus::knowledge::promql
