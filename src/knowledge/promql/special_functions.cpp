// Functions that look at the whole call: time, pi, start, end, max_of, scalar, vector, absent,
// timestamp, and those of native histograms, which find none.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "knowledge/promql/ast.hpp"
#include "knowledge/promql/bodies.hpp"
#include "knowledge/promql/evaluator.hpp"

namespace nexus::knowledge::promql {
namespace {

double step_seconds(const Steps& steps, std::size_t i) {
  return static_cast<double>(steps.at(i)) / 1000.0;
}

/// What absent() knows of the labels: those that the selector pins to one value.
Labels pinned_labels(const Node& argument) {
  const Node& inner = without_parens(argument);
  const auto* selector = std::get_if<VectorSelector>(&inner.kind);
  if (const auto* range = std::get_if<MatrixSelector>(&inner.kind)) selector = &range->vector;
  if (selector == nullptr) return {};
  std::vector<Label> pinned;
  std::vector<std::string_view> seen;
  for (const Matcher& matcher : selector->matchers) {
    if (matcher.name() == kMetricName) continue;
    const bool again = std::ranges::find(seen, matcher.name()) != seen.end();
    seen.push_back(matcher.name());
    if (again || matcher.op() != MatchOp::kEqual) {
      std::erase_if(pinned, [&](const Label& label) { return label.name == matcher.name(); });
    } else {
      pinned.push_back({matcher.name(), matcher.value()});
    }
  }
  return Labels(std::move(pinned));
}

/// One where `vector` has no value.
Block absence(Evaluator& evaluator, const Call& call, const Block& vector) {
  Block block(vector.steps);
  const auto cells = block.add({&evaluator.keep(pinned_labels(*call.arguments.front())), true});
  std::ranges::fill(cells, 1.0);
  for (std::size_t r = 0; r < vector.rows.size(); ++r) {
    const auto row = vector.row(r);
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (is_present(row[i])) cells[i] = promql::absent();
    }
  }
  block.drop_last_if_empty();
  return block;
}

}  // namespace

Result<Block> time_of_step(Evaluator& evaluator, const Call&) {
  Block block = evaluator.scalar_block();
  for (std::size_t i = 0; i < block.steps; ++i) block.cells[i] = step_seconds(evaluator.steps(), i);
  return block;
}

Result<Block> pi(Evaluator& evaluator, const Call&) {
  Block block = evaluator.scalar_block();
  std::ranges::fill(block.cells, std::numbers::pi);
  return block;
}

namespace {

Block constant(const Evaluator& evaluator, double value) {
  Block block = evaluator.scalar_block();
  std::ranges::fill(block.cells, value);
  return block;
}

double to_seconds(std::int64_t millis) {
  return static_cast<double>(millis) / 1000.0;
}

/// One of two numbers at each step. As in Go an infinity that wins outright beats a NaN.
template <typename Better>
Result<Block> either(Evaluator& evaluator, const Call& call, double extreme, Better better) {
  auto a = evaluator.evaluate(*call.arguments[0]);
  if (!a) return a;
  const auto b = evaluator.evaluate(*call.arguments[1]);
  if (!b) return b;
  for (std::size_t i = 0; i < a->cells.size(); ++i) {
    const double x = a->cells[i];
    const double y = b->cells[i];
    if (x == extreme || y == extreme) {
      a->cells[i] = extreme;
    } else if (std::isnan(x) || std::isnan(y)) {
      a->cells[i] = std::numeric_limits<double>::quiet_NaN();
    } else if (x == y) {  // zeros may differ in their sign
      a->cells[i] = better(std::signbit(y), std::signbit(x)) ? x : y;
    } else {
      a->cells[i] = better(x, y) ? x : y;
    }
  }
  return a;
}

}  // namespace

Result<Block> start_of_query(Evaluator& evaluator, const Call&) {
  return constant(evaluator, to_seconds(evaluator.query_steps().start));
}

Result<Block> end_of_query(Evaluator& evaluator, const Call&) {
  return constant(evaluator, to_seconds(evaluator.query_steps().last()));
}

Result<Block> range_of_query(Evaluator& evaluator, const Call&) {
  const Steps& steps = evaluator.query_steps();
  return constant(evaluator, to_seconds(steps.last() - steps.start));
}

Result<Block> step_of_query(Evaluator& evaluator, const Call&) {
  return constant(evaluator, to_seconds(evaluator.resolution()));
}

Result<Block> max_of(Evaluator& evaluator, const Call& call) {
  return either(evaluator, call, std::numeric_limits<double>::infinity(),
                [](auto x, auto y) { return x > y; });
}

Result<Block> min_of(Evaluator& evaluator, const Call& call) {
  return either(evaluator, call, -std::numeric_limits<double>::infinity(),
                [](auto x, auto y) { return x < y; });
}

Result<Block> vector_of(Evaluator& evaluator, const Call& call) {
  return evaluator.evaluate(*call.arguments.front());  // a scalar is a row without labels already
}

Result<Block> scalar_of(Evaluator& evaluator, const Call& call) {
  auto vector = evaluator.evaluate(*call.arguments.front());
  if (!vector) return vector;
  Block block = evaluator.scalar_block();
  for (std::size_t i = 0; i < block.steps; ++i) {
    std::size_t found = 0;
    for (std::size_t r = 0; r < vector->rows.size(); ++r) {
      const double cell = vector->row(r)[i];
      if (is_absent(cell)) continue;
      block.cells[i] = cell;
      ++found;
    }
    if (found != 1) block.cells[i] = std::numeric_limits<double>::quiet_NaN();
  }
  return block;
}

Result<Block> absent_of(Evaluator& evaluator, const Call& call) {
  auto vector = evaluator.evaluate(*call.arguments.front());
  if (!vector) return vector;
  return absence(evaluator, call, *vector);
}

Result<Block> absent_over_time(Evaluator& evaluator, const Call& call) {
  auto present = evaluator.over_range(call, present_over_time);
  if (!present) return present;
  return absence(evaluator, call, *present);
}

Result<Block> timestamp_of(Evaluator& evaluator, const Call& call) {
  const Node& argument = without_parens(*call.arguments.front());
  const auto* selector = std::get_if<VectorSelector>(&argument.kind);
  auto block = selector != nullptr ? evaluator.select(*selector, Evaluator::Read::kTimestamps)
                                   : evaluator.evaluate(argument);
  if (!block) return block;
  if (selector == nullptr) {
    for (std::size_t c = 0; c < block->cells.size(); ++c) {
      double& cell = block->cells[c];
      if (is_present(cell)) cell = step_seconds(evaluator.steps(), c % block->steps);
    }
  }
  if (Status status = drop_and_merge_names(*block, false); !status) {
    return std::unexpected(std::move(status).error());
  }
  return block;
}

Result<Block> of_native_histograms(Evaluator& evaluator, const Call& call) {
  auto block = evaluator.evaluate(*call.arguments.front());
  if (!block) return block;
  return Block(block->steps);  // floats have no part in it
}

}  // namespace nexus::knowledge::promql
