// Range vectors: the samples of range selectors and the points of subqueries, in windows that slide
// along the steps of the query, and the functions over them.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "knowledge/promql/bodies.hpp"
#include "knowledge/promql/evaluator.hpp"
#include "knowledge/promql/functions.hpp"
#include "knowledge/promql/lanes.hpp"
#include "knowledge/promql/signature.hpp"
#include "nexus/base/go_text.hpp"
#include "nexus/base/text.hpp"
#include "nexus/knowledge/models.hpp"

namespace nexus::knowledge::promql {
namespace {

/// For each right edge the samples in (t - range, t].
void slide(std::span<const std::int64_t> times, const Steps& ends, std::int64_t range,
           std::vector<Window>& out) {
  out.clear();
  Edge begin;
  Edge end;
  for (std::size_t i = 0; i < ends.count; ++i) {
    const std::int64_t time = ends.at(i);
    out.push_back({begin.move(times, time - range), end.move(times, time)});
  }
}

/// The multiples of the step in (start of the first window, end of the last]. Windows may reach to
/// before 1970; as in Prometheus the division then rounds up.
Steps points_of(const Steps& ends, std::int64_t range, std::int64_t step) {
  const std::int64_t before = ends.start - range;
  std::int64_t first = step * (before / step);
  if (first <= before) first += step;
  Steps points{first, step, 0};
  if (ends.last() >= first) {
    points.count = static_cast<std::size_t>((ends.last() - first) / step) + 1;
  }
  return points;
}

/// What a function is over samples that are known as buckets only: `over` of one of their values,
/// over the sum of another where there is one. Functions that are not here take the last of each.
struct OverBuckets {
  RangeBody function;
  BucketValue value;
  RangeBody over;
  std::optional<BucketValue> divisor{};
};
constexpr OverBuckets kOverBuckets[] = {
    {max_over_time, BucketValue::kMax, max_over_time},
    {min_over_time, BucketValue::kMin, min_over_time},
    {sum_over_time, BucketValue::kSum, sum_over_time},
    {count_over_time, BucketValue::kCount, sum_over_time},
    {avg_over_time, BucketValue::kSum, sum_over_time, BucketValue::kCount},
    // The bucket's end stands for the time of its sample.
    {ts_of_max_over_time, BucketValue::kMax, ts_of_max_over_time},
    {ts_of_min_over_time, BucketValue::kMin, ts_of_min_over_time},
};

/// What is about each sample of a range: of samples that are known as buckets only it is less than
/// what was there, and nothing that is kept of a bucket mends that.
constexpr RangeBody kOfEverySample[] = {
    stddev_over_time, stdvar_over_time, quantile_over_time,    mad_over_time,
    changes,          first_over_time,  ts_of_first_over_time, ts_of_last_over_time};

bool is_of_every_sample(RangeBody function) noexcept {
  return std::ranges::find(kOfEverySample, function) != std::end(kOfEverySample);
}

const OverBuckets* over_buckets(RangeBody function) noexcept {
  const auto* found = std::ranges::find(kOverBuckets, function, &OverBuckets::function);
  return found == std::end(kOverBuckets) ? nullptr : found;
}

}  // namespace

struct Evaluator::RangeRun {
  RangeBody body;
  std::uint32_t cost = 0;  // of a window besides its samples
  Steps ends;
  std::int64_t range = 0;
  std::int64_t coarsest = 0;  // ms; the step of the tier that samples came from, 0: none
  std::array<std::vector<double>, 2> scalars;  // empty: no such argument
  std::vector<Window> windows;
  std::string problem;
  Block block;
};

void Evaluator::read_without_stale(SeriesId id, const Steps& ends, std::int64_t range) {
  column_.clear();
  data_.read(id, ends.start - range, ends.last(), column_);
  const auto first = std::ranges::find_if(column_.values, is_stale);  // mostly there is none
  auto kept = static_cast<std::size_t>(first - column_.values.begin());
  for (std::size_t i = kept; i < column_.size(); ++i) {
    if (is_stale(column_.values[i])) continue;
    column_.times[kept] = column_.times[i];
    column_.values[kept] = column_.values[i];
    ++kept;
  }
  column_.times.resize(kept);
  column_.values.resize(kept);
}

void Evaluator::read_points(const Points& points, std::size_t row) {
  column_.clear();
  const auto cells = points.block.row(row);
  for (std::size_t i = 0; i < cells.size(); ++i) {
    if (is_absent(cells[i])) continue;
    column_.times.push_back(points.steps.at(i));
    column_.values.push_back(cells[i]);
  }
}

Result<Evaluator::Points> Evaluator::evaluate_points(const Subquery& node) {
  const std::int64_t step = node.step > 0 ? node.step : limits_.subquery_step_ms;
  const Steps steps = points_of(moved(node.time), node.range, step);
  if (steps.count == 0) return Points{steps, Block(0)};
  const Steps outer = std::exchange(steps_, steps);
  auto block = evaluate(*node.operand);
  steps_ = outer;
  if (!block) return propagate(std::move(block));
  return Points{steps, std::move(*block)};
}

Result<Matrix> Evaluator::samples(const Node& range_vector) {
  Matrix matrix;
  if (const auto* subquery = std::get_if<Subquery>(&range_vector.kind)) {
    const auto points = evaluate_points(*subquery);
    if (!points) return std::unexpected(points.error());
    for (std::size_t r = 0; r < points->block.rows.size(); ++r) {
      read_points(*points, r);
      matrix.push_back({labels_of(points->block.rows[r]), column_});
    }
  } else {
    const auto& selector = std::get<MatrixSelector>(range_vector.kind);
    const Steps ends = moved(selector.vector.time);
    (void)data_.step_for(ends.start - selector.range);  // for who watches the tiers
    for (const SeriesId id : series_of(selector.vector, ends, selector.range)) {
      read_without_stale(id, ends, selector.range);
      if (Status status = charge(column_.size() * sizeof(Sample) / sizeof(double)); !status) {
        return std::unexpected(std::move(status).error());
      }
      looked_at_ += column_.size();
      const Labels& labels = data_.labels(id);
      if (column_.size() > 0 && !labels.empty()) matrix.push_back({labels, column_});
    }
  }
  std::ranges::sort(matrix, {}, &MatrixSeries::labels);
  return matrix;
}

Status Evaluator::run_windows(RangeRun& run, std::size_t first_step, std::span<double> out) {
  const std::span<const Window> windows = run.windows;
  // In runs, so that long windows over many steps can be stopped in between.
  for (std::size_t first = 0; first < windows.size();) {
    std::size_t touched = 0;
    std::size_t last = first;
    const auto is_odd = [&] { return run.cost == 0 && (last - first) % kLanes != 0; };
    while (last < windows.size() && (touched < kWorkPerCheck || is_odd())) {
      looked_at_ += windows[last].size();
      touched += windows[last++].size() + run.cost;
    }
    const std::size_t count = last - first;
    const auto part = [&](const std::vector<double>& scalar) {
      return scalar.empty() ? std::span<const double>()
                            : std::span<const double>(scalar).subspan(first_step + first, count);
    };
    run.body({.times = column_.times,
              .values = column_.values,
              .windows = windows.subspan(first, count),
              .steps = {steps_.at(first_step + first), steps_.step, count},
              .ends = {run.ends.at(first_step + first), run.ends.step, count},
              .range = run.range,
              .scalars = {part(run.scalars[0]), part(run.scalars[1])},
              .models = models_of(data_),
              .problem = &run.problem},
             out.subspan(first, count));
    first = last;
    if (Status status = work(touched); !status) return status;
    if (!run.problem.empty()) return fail(Errc::kConflict, "{}", run.problem);
  }
  return {};
}

Status Evaluator::fill_row(RangeRun& run, const Slice& slice, std::size_t row) {
  if (column_.size() == 0) return {};
  // Under @ every window is the same, and so is its result unless a number comes in.
  const bool once = run.ends.step == 0 && run.scalars[0].empty();
  Steps ends = slice.ends;
  if (once) ends.count = 1;
  slide(column_.times, ends, run.range, run.windows);
  const auto out = run.block.row(row).subspan(slice.first, slice.count);
  if (Status status = run_windows(run, slice.first, out.first(ends.count)); !status) return status;
  if (once) std::ranges::fill(out, out.front());
  return {};
}

Status Evaluator::fill_row_from_buckets(RangeRun& run, const Slice& slice,
                                        const SeriesRow& series) {
  const OverBuckets& how = *over_buckets(run.body);
  const auto fill = [&](BucketValue value) -> Status {
    column_.clear();
    data_.read_buckets(series.id, slice.ends.start - run.range, slice.ends.last(), value, column_);
    if (Status status = charge_samples(slice); !status) return status;
    const RangeBody function = std::exchange(run.body, how.over);
    Status filled = fill_row(run, slice, series.row);
    run.body = function;
    return filled;
  };
  if (!how.divisor) return fill(how.value);
  if (Status status = fill(*how.divisor); !status) return status;
  const auto out = run.block.row(series.row).subspan(slice.first, slice.count);
  const std::vector<double> divisors(out.begin(), out.end());
  if (Status status = fill(how.value); !status) return status;
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (!is_absent(out[i])) out[i] /= divisors[i];
  }
  return {};
}

Status Evaluator::over_series(RangeRun& run, const MatrixSelector& selector) {
  run.ends = moved(selector.vector.time);
  run.range = selector.range;
  (void)data_.step_for(run.ends.start - run.range);  // for who watches the tiers
  run.block.names_matter = !names_one_metric(selector.vector);
  const auto rows = add_rows(series_of(selector.vector, run.ends, run.range), run.block);
  if (!rows) return std::unexpected(rows.error());
  for (const Slice& slice : slices_of(run.ends, run.range)) {
    const std::int64_t tier = data_.step_for(slice.ends.start - run.range);
    run.coarsest = std::max(run.coarsest, tier);
    const bool in_buckets = tier > 0 && over_buckets(run.body) != nullptr;
    for (const SeriesRow& series : *rows) {
      if (in_buckets) {
        if (Status status = fill_row_from_buckets(run, slice, series); !status) return status;
        continue;
      }
      read_without_stale(series.id, slice.ends, run.range);
      if (Status status = charge_samples(slice); !status) return status;
      if (Status status = fill_row(run, slice, series.row); !status) return status;
    }
  }
  run.block.drop_empty_rows();
  return {};
}

Status Evaluator::over_points(RangeRun& run, const Subquery& subquery) {
  run.ends = moved(subquery.time);
  run.range = subquery.range;
  const auto points = evaluate_points(subquery);
  if (!points) return std::unexpected(points.error());
  run.block.names_matter = points->block.names_matter;
  const Slice all{0, steps_.count, run.ends, 0};
  if (Status status = charge(points->block.rows.size() * (points->block.steps + steps_.count));
      !status) {
    return status;
  }
  run.block.reserve(points->block.rows.size());
  for (std::size_t r = 0; r < points->block.rows.size(); ++r) {
    read_points(*points, r);
    run.block.add(points->block.rows[r]);
    if (Status status = fill_row(run, all, r); !status) return status;
  }
  run.block.drop_empty_rows();
  return {};
}

/// The name of a counter says that it is one: of others rates mean nothing.
void Evaluator::note_range_call(const Call& call, const RangeRun& run) {
  const std::string_view name = call.function->name;
  if (run.block.rows.empty()) return;
  if (run.coarsest > 0 && is_of_every_sample(run.body)) {
    inform(*call.arguments.back(),
           fmt::format(
               "{} had only the last sample of each {}: the history keeps no more of that time",
               name, base::format_duration(Millis(run.coarsest))));
  }
  if (name == "quantile_over_time") {
    Block quantiles(steps_.count);
    quantiles.cells = run.scalars[0];
    check_quantiles(quantiles, *call.arguments[0]);
  }
  if (name != "rate" && name != "increase") return;
  constexpr std::array<std::string_view, 4> kCounters = {"_total", "_sum", "_count", "_bucket"};
  std::string_view before;
  for (const Row& row : run.block.rows) {
    const std::string_view metric = label_of(row, kMetricName);
    if (metric.empty() || metric == before) continue;
    before = metric;
    const auto ends = [&](std::string_view suffix) { return metric.ends_with(suffix); };
    if (std::ranges::any_of(kCounters, ends)) continue;
    std::string what =
        "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: ";
    what += base::go_quoted(metric);
    inform(*call.arguments[0], what);
  }
}

Result<Block> Evaluator::over_range(const Call& call, RangeBody body) {
  if (call.function->cost > 0 && models_of(data_) == nullptr) {
    return fail(Errc::kInvalidArgument,
                "unknown function with name \"{}\": there are no models to ask here",
                call.function->name);
  }
  RangeRun run{.body = body,
               .cost = call.function->cost,
               .ends = {},
               .scalars = {},
               .windows = {},
               .problem = {},
               .block = Block(steps_.count)};
  const Node* source = nullptr;
  std::size_t scalars = 0;
  for (const NodePtr& argument : call.arguments) {
    if (argument->type == ValueType::kMatrix) {
      source = &without_parens(*argument);
      continue;
    }
    auto value = evaluate(*argument);
    if (!value) return value;
    run.scalars.at(scalars++) = std::move(value->cells);
  }
  NEXUS_CHECK(source != nullptr);  // the checker saw to it
  const auto* selector = std::get_if<MatrixSelector>(&source->kind);
  Status status = selector != nullptr ? over_series(run, *selector)
                                      : over_points(run, std::get<Subquery>(source->kind));
  if (!status) return std::unexpected(std::move(status).error());
  note_range_call(call, run);
  return std::move(run.block);
}

}  // namespace nexus::knowledge::promql
