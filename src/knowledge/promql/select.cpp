// Instant selectors: series by their matchers, and their newest samples at the steps of the query.
#include "knowledge/promql/evaluator.hpp"
#include "knowledge/promql/functions.hpp"

namespace nexus::knowledge::promql {
namespace {

/// For each time the newest sample in (t - lookback, t], unless it is a stale marker.
void look_back(const Column& column, const Steps& ends, std::int64_t lookback, Evaluator::Read what,
               std::span<double> out) {
  std::size_t next = 0;
  for (std::size_t i = 0; i < ends.count; ++i) {
    const std::int64_t time = ends.at(i);
    while (next < column.size() && column.times[next] <= time) ++next;
    if (next == 0 || column.times[next - 1] <= time - lookback) continue;
    const double value = column.values[next - 1];
    if (is_stale(value)) continue;
    const bool as_time = what == Evaluator::Read::kTimestamps;
    out[i] = as_time ? static_cast<double>(column.times[next - 1]) / 1000.0 : value;
  }
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

Result<Block> Evaluator::select(const VectorSelector& selector, Read what) {
  Block block(steps_.count);
  block.names_matter = !names_one_metric(selector);
  const Steps ends = moved(selector.time);
  const std::int64_t lookback = look_back_at(ends);
  for (const SeriesId id : series_of(selector, ends, lookback)) {
    read_newest(id, ends, lookback);
    if (Status status = charge(column_.size() + steps_.count); !status) {
      return std::unexpected(std::move(status).error());
    }
    const Labels& labels = data_.labels(id);
    if (column_.size() == 0 || labels.empty()) continue;
    const auto out = block.add({&labels, false});
    look_back(column_, ends, lookback, what, out);
    block.drop_last_if_empty();
  }
  return block;
}

}  // namespace nexus::knowledge::promql
