#include "knowledge/promql/rows.hpp"

#include <algorithm>
#include <compare>
#include <utility>

namespace nexus::knowledge::promql {
namespace {

/// As the labels compare that the rows have, see labels_of().
bool is_before(const Row& a, const Row& b) {
  if (!a.nameless && !b.nameless) return *a.labels < *b.labels;
  const auto skip_name = [](const Row& row, auto at) {
    if (row.nameless && at != row.labels->end() && at->name == kMetricName) ++at;
    return at;
  };
  auto left = skip_name(a, a.labels->begin());
  auto right = skip_name(b, b.labels->begin());
  while (left != a.labels->end() && right != b.labels->end()) {
    if (const auto order = *left <=> *right; order != 0) return order < 0;
    left = skip_name(a, ++left);
    right = skip_name(b, ++right);
  }
  return left == a.labels->end() && right != b.labels->end();
}

}  // namespace

Rows::Rows(std::shared_ptr<const State> state)
    : state_(std::move(state)),
      size_(state_->matrix.empty() ? state_->order.size() : state_->matrix.size()) {}

Rows::RowLabels Rows::labels(std::size_t row) const {
  if (!state_->matrix.empty()) return {state_->matrix[row].labels, false};
  const Row& of = state_->block.rows[state_->order[row]];
  return {*of.labels, of.nameless};
}

std::size_t Rows::read(std::size_t row, std::size_t first, std::size_t most, Column& out) const {
  out.clear();
  if (!state_->matrix.empty()) {
    const Column& samples = state_->matrix[row].samples;
    const std::size_t end = std::min(samples.size(), first + most);
    for (std::size_t i = first; i < end; ++i) {
      out.times.push_back(samples.times[i]);
      out.values.push_back(samples.values[i]);
    }
    return end == samples.size() ? 0 : end;
  }
  const auto cells = state_->block.row(state_->order[row]);
  const std::size_t end = std::min(cells.size(), first + most);
  for (std::size_t i = first; i < end; ++i) {
    if (is_absent(cells[i])) continue;
    out.times.push_back(state_->steps.at(i));
    out.values.push_back(cells[i]);
  }
  return end == cells.size() ? 0 : end;
}

Rows make_rows(KeptLabels kept, const Steps& steps, Block block, RowOrder order) {
  auto state =
      std::make_shared<Rows::State>(Rows::State{std::move(kept), steps, std::move(block), {}, {}});
  const Block& made = state->block;
  state->order.reserve(made.rows.size());
  for (std::size_t i = 0; i < made.rows.size(); ++i) {
    if (std::ranges::any_of(made.row(i), is_present))
      state->order.push_back(static_cast<std::uint32_t>(i));
  }
  if (order == RowOrder::kByLabels) {
    std::ranges::stable_sort(state->order, [&](std::uint32_t a, std::uint32_t b) {
      return is_before(made.rows[a], made.rows[b]);
    });
  }
  return Rows(std::move(state));
}

Rows make_rows(Matrix matrix) {
  auto state = std::make_shared<Rows::State>();
  state->matrix = std::move(matrix);
  return Rows(std::move(state));
}

}  // namespace nexus::knowledge::promql
