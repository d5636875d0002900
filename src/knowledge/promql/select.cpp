// Selectors: series by their matchers, their samples at the steps of the query or in windows that
// slide along them.
#include "knowledge/promql/evaluator.hpp"
#include "knowledge/promql/functions.hpp"

namespace nexus::knowledge::promql {
namespace {

/// True when every series has the same name, so that dropping it cannot make two of them equal.
bool names_one_metric(const VectorSelector& selector) {
  return std::ranges::any_of(selector.matchers, [](const Matcher& matcher) {
    return matcher.name() == kMetricName && matcher.op() == MatchOp::kEqual;
  });
}

/// For each step the newest sample in (t - lookback, t]; a stale marker is copied and thereby
/// absent.
void look_back(const Column& column, const Steps& steps, std::int64_t offset, std::int64_t lookback,
               Evaluator::Read what, std::span<double> out) {
  std::size_t next = 0;
  for (std::size_t i = 0; i < steps.count; ++i) {
    const std::int64_t time = steps.at(i) - offset;
    while (next < column.size() && column.times[next] <= time) ++next;
    if (next == 0 || column.times[next - 1] <= time - lookback) continue;
    const double value = column.values[next - 1];
    if (is_stale(value)) continue;
    const bool as_time = what == Evaluator::Read::kTimestamps;
    out[i] = as_time ? static_cast<double>(column.times[next - 1]) / 1000.0 : value;
  }
}

/// For each step the samples in (t - range, t].
void slide(std::span<const std::int64_t> times, const Steps& steps, std::int64_t offset,
           std::int64_t range, std::vector<Window>& out) {
  out.clear();
  Window window;
  const auto size = static_cast<std::uint32_t>(times.size());
  for (std::size_t i = 0; i < steps.count; ++i) {
    const std::int64_t time = steps.at(i) - offset;
    while (window.end < size && times[window.end] <= time) ++window.end;
    while (window.begin < window.end && times[window.begin] <= time - range) ++window.begin;
    out.push_back(window);
  }
}

}  // namespace

std::vector<SeriesId> Evaluator::series_of(const VectorSelector& selector, std::int64_t range) {
  return data_.select(selector.matchers, steps_.start - selector.offset - range,
                      steps_.last() - selector.offset);
}

Result<Block> Evaluator::select(const VectorSelector& selector, Read what) {
  Block block(steps_.count);
  block.names_matter = !names_one_metric(selector);
  const std::int64_t begin = steps_.start - selector.offset - limits_.lookback_ms;
  const std::int64_t end = steps_.last() - selector.offset;
  for (const SeriesId id : series_of(selector, limits_.lookback_ms)) {
    column_.clear();
    data_.read(id, begin, end, column_);
    if (Status status = charge(column_.size() + steps_.count); !status) {
      return std::unexpected(std::move(status).error());
    }
    const Labels& labels = data_.labels(id);
    if (column_.size() == 0 || labels.empty()) continue;
    const auto out = block.add({&labels, false});
    look_back(column_, steps_, selector.offset, limits_.lookback_ms, what, out);
    block.drop_last_if_empty();
  }
  return block;
}

void Evaluator::read_without_stale(SeriesId id, const VectorSelector& selector,
                                   std::int64_t range) {
  column_.clear();
  data_.read(id, steps_.start - selector.offset - range, steps_.last() - selector.offset, column_);
  std::size_t kept = 0;
  for (std::size_t i = 0; i < column_.size(); ++i) {
    if (is_stale(column_.values[i])) continue;
    column_.times[kept] = column_.times[i];
    column_.values[kept] = column_.values[i];
    ++kept;
  }
  column_.times.resize(kept);
  column_.values.resize(kept);
}

Result<Matrix> Evaluator::samples(const MatrixSelector& selector) {
  Matrix matrix;
  for (const SeriesId id : series_of(selector.vector, selector.range)) {
    read_without_stale(id, selector.vector, selector.range);
    if (Status status = charge(column_.size()); !status) {
      return std::unexpected(std::move(status).error());
    }
    const Labels& labels = data_.labels(id);
    if (column_.size() > 0 && !labels.empty()) matrix.push_back({labels, column_});
  }
  return matrix;
}

Status Evaluator::run_windows(const Call& node, const MatrixSelector& selector,
                              std::span<const Window> windows, std::span<const double> scalar,
                              std::span<double> out) {
  const RangeBody body = std::get<RangeBody>(node.function->body);
  // In runs, so that long windows over many steps can be stopped in between.
  for (std::size_t first = 0; first < windows.size();) {
    std::size_t touched = 0;
    std::size_t last = first;
    while (last < windows.size() && touched < kWorkPerCheck) touched += windows[last++].size();
    const std::size_t count = last - first;
    body({.times = column_.times,
          .values = column_.values,
          .windows = windows.subspan(first, count),
          .steps = {steps_.at(first), steps_.step, count},
          .range = selector.range,
          .offset = selector.vector.offset,
          .scalar = scalar.empty() ? scalar : scalar.subspan(first, count)},
         out.subspan(first, count));
    first = last;
    if (Status status = work(touched); !status) return status;
  }
  return {};
}

Result<Block> Evaluator::evaluate_range_function(const Call& node) {
  const MatrixSelector* selector = nullptr;
  Block scalar(steps_.count);  // stays without a row when the function takes no number
  for (const NodePtr& argument : node.arguments) {
    if (argument->type == ValueType::kMatrix) {
      selector = &std::get<MatrixSelector>(without_parens(*argument).kind);
      continue;
    }
    auto value = evaluate(*argument);
    if (!value) return value;
    scalar = std::move(*value);
  }
  NEXUS_CHECK(selector != nullptr);  // the checker saw to it
  Block block(steps_.count);
  block.names_matter = !names_one_metric(selector->vector);
  std::vector<Window> windows;
  windows.reserve(steps_.count);
  for (const SeriesId id : series_of(selector->vector, selector->range)) {
    read_without_stale(id, selector->vector, selector->range);
    if (Status status = charge(column_.size() + steps_.count); !status) {
      return std::unexpected(std::move(status).error());
    }
    if (column_.size() == 0) continue;
    slide(column_.times, steps_, selector->vector.offset, selector->range, windows);
    const auto out = block.add({&data_.labels(id), false});
    if (Status status = run_windows(node, *selector, windows, scalar.cells, out); !status) {
      return std::unexpected(std::move(status).error());
    }
    block.drop_last_if_empty();
  }
  return block;
}

}  // namespace nexus::knowledge::promql
