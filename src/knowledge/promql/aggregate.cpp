// Aggregations: rows are sorted into groups by their labels once, then each row is added cell by
// cell.
#include "knowledge/promql/aggregate.hpp"

#include <cmath>
#include <limits>
#include <numeric>

#include "knowledge/promql/signature.hpp"
#include "knowledge/promql/summation.hpp"

namespace nexus::knowledge::promql {
namespace {

struct Sum {
  CompensatedSum sum;
  void add(double value) noexcept { sum.add(value); }
  [[nodiscard]] double value() const noexcept { return sum.value(); }
};
struct Least {
  double least = absent();
  void add(double value) noexcept {
    if (std::isnan(least) || value < least) least = value;
  }
  [[nodiscard]] double value() const noexcept { return least; }
};
struct Greatest {
  double greatest = absent();
  void add(double value) noexcept {
    if (std::isnan(greatest) || value > greatest) greatest = value;
  }
  [[nodiscard]] double value() const noexcept { return greatest; }
};
struct Count {
  double count = 0;
  void add(double) noexcept { count += 1; }
  [[nodiscard]] double value() const noexcept { return count; }
};

struct One {
  void add(double) noexcept {}
  [[nodiscard]] double value() const noexcept { return 1; }
};
/// Welford's algorithm, not compensated: so it is in Prometheus.
struct Variance {
  double count = 0;
  double mean = 0;
  double squares = 0;
  void add(double value) noexcept {
    count += 1;
    if (count == 1) {
      mean = value;
      squares = std::isfinite(value) ? 0 : std::numeric_limits<double>::quiet_NaN();
      return;
    }
    const double distance = value - mean;
    mean += distance / count;
    squares += distance * (value - mean);
  }
  [[nodiscard]] double value() const noexcept { return squares / count; }
};
struct Deviation {
  Variance variance;
  void add(double value) noexcept { variance.add(value); }
  [[nodiscard]] double value() const noexcept { return std::sqrt(variance.value()); }
};

/// Group by group, so that there are no more accumulators than steps; rows in their order, which
/// decides the last digits.
template <typename Accumulator>
void accumulate(const Block& input, const Groups& groups, Block& output) {
  std::vector<std::uint32_t> rows(input.rows.size());
  std::iota(rows.begin(), rows.end(), 0U);
  std::ranges::stable_sort(rows, {}, [&](std::uint32_t row) { return groups.of_row[row]; });
  std::vector<Accumulator> accumulators(input.steps);
  std::vector<bool> present(input.steps);
  for (std::size_t next = 0; next < rows.size();) {
    const std::uint32_t group = groups.of_row[rows[next]];
    std::ranges::fill(accumulators, Accumulator());
    present.assign(input.steps, false);
    for (; next < rows.size() && groups.of_row[rows[next]] == group; ++next) {
      const auto cells = input.row(rows[next]);
      for (std::size_t i = 0; i < cells.size(); ++i) {
        if (is_absent(cells[i])) continue;
        accumulators[i].add(cells[i]);
        present[i] = true;
      }
    }
    const auto cells = output.add(groups.rows[group]);
    for (std::size_t i = 0; i < cells.size(); ++i) {
      if (present[i]) cells[i] = accumulators[i].value();
    }
  }
}

void accumulate(AggregateOp op, const Block& input, const Groups& groups, Block& output) {
  switch (op) {
    case AggregateOp::kSum:
      return accumulate<Sum>(input, groups, output);
    case AggregateOp::kAvg:
      return accumulate<CompensatedMean>(input, groups, output);
    case AggregateOp::kMin:
      return accumulate<Least>(input, groups, output);
    case AggregateOp::kMax:
      return accumulate<Greatest>(input, groups, output);
    case AggregateOp::kCount:
      return accumulate<Count>(input, groups, output);
    case AggregateOp::kGroup:
      return accumulate<One>(input, groups, output);
    case AggregateOp::kStddev:
      return accumulate<Deviation>(input, groups, output);
    case AggregateOp::kStdvar:
      return accumulate<Variance>(input, groups, output);
    case AggregateOp::kTopk:
    case AggregateOp::kBottomk:
    case AggregateOp::kQuantile:
    case AggregateOp::kLimitk:
    case AggregateOp::kLimitRatio:
    case AggregateOp::kCountValues:
      return;  // with a parameter: aggregate_with_parameter.cpp
  }
}

}  // namespace

Groups::Groups(Evaluator& evaluator, const LabelSet& grouping, const Block& input) {
  // by (__name__) keeps the name; without (...) always drops it.
  const Signature signature(grouping, grouping.listed_count ? Name::kKept : Name::kDropped);
  SignatureIndex index(signature);
  of_row.reserve(input.rows.size());
  for (const Row& row : input.rows) {
    const std::uint32_t group = index.add(row);
    of_row.push_back(group);
    if (group < rows.size()) continue;
    rows.push_back(signature.row(
        row, [&](Labels labels) -> const Labels& { return evaluator.keep(std::move(labels)); }));
  }
}

Result<Block> evaluate_aggregate(Evaluator& evaluator, const Aggregate& node) {
  if (has_parameter(node.op)) return evaluate_aggregate_with_parameter(evaluator, node);
  auto input = evaluator.evaluate(*node.operand);
  if (!input) return input;
  const Groups groups(evaluator, node.grouping, *input);
  if (Status status = evaluator.charge(groups.rows.size() * input->steps); !status) {
    return std::unexpected(std::move(status).error());
  }
  Block output(input->steps);
  output.reserve(groups.rows.size());
  output.names_matter = node.grouping.listed_count && input->names_matter;
  accumulate(node.op, *input, groups, output);
  return output;
}

}  // namespace nexus::knowledge::promql
