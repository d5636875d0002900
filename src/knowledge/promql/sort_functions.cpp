// sort and its kin. Only instant queries have an order: over a range the series are sorted by their
// labels, and the functions pass them through.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "knowledge/promql/ast.hpp"
#include "knowledge/promql/bodies.hpp"
#include "knowledge/promql/evaluator.hpp"
#include "knowledge/promql/signature.hpp"

namespace nexus::knowledge::promql {
namespace {

/// The rows of a block of one step in the order that `before` (row number, row number) says.
template <typename Before>
Block in_order(const Block& block, Before&& before) {
  std::vector<std::uint32_t> order(block.rows.size());
  std::iota(order.begin(), order.end(), 0U);
  std::ranges::stable_sort(order, before);
  Block sorted(block.steps);
  sorted.reserve(order.size());
  sorted.names_matter = block.names_matter;
  for (const std::uint32_t r : order) sorted.add(block.rows[r]).front() = block.cells[r];
  return sorted;
}

enum class Direction { kUp, kDown };

Result<Block> sort_by_value(Evaluator& evaluator, const Call& call, Direction direction) {
  auto block = evaluator.evaluate(*call.arguments.front());
  if (!block || block->steps != 1) return block;
  return in_order(*block, [&](std::uint32_t a, std::uint32_t b) {
    const double x = block->cells[a];
    const double y = block->cells[b];
    if (std::isnan(x) || std::isnan(y)) return !std::isnan(x) && std::isnan(y);  // NaN is last
    return direction == Direction::kUp ? x < y : x > y;
  });
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// Takes a run of digits, or of anything else, off the front.
std::string_view take_chunk(std::string_view& text) {
  const bool digits = is_digit(text.front());
  std::size_t end = 1;
  while (end < text.size() && is_digit(text[end]) == digits) ++end;
  const std::string_view chunk = text.substr(0, end);
  text.remove_prefix(end);
  return chunk;
}

/// Natural order: runs of digits compare as numbers, so that eth2 is before eth10.
std::strong_ordering compare_naturally(std::string_view a, std::string_view b) {
  while (!a.empty() && !b.empty()) {
    std::string_view x = take_chunk(a);
    std::string_view y = take_chunk(b);
    if (x == y) continue;
    if (is_digit(x.front()) && is_digit(y.front())) {
      const std::string_view whole_x = x;
      const std::string_view whole_y = y;
      x.remove_prefix(std::min(x.find_first_not_of('0'), x.size()));
      y.remove_prefix(std::min(y.find_first_not_of('0'), y.size()));
      if (x.size() != y.size()) return x.size() <=> y.size();
      if (x != y) return x <=> y;
      return whole_x.size() <=> whole_y.size();  // the same number: fewer zeros first
    }
    return x <=> y;
  }
  return a.size() <=> b.size();
}

Result<Block> sort_by_labels(Evaluator& evaluator, const Call& call, Direction direction) {
  auto block = evaluator.evaluate(*call.arguments.front());
  if (!block || block->steps != 1) return block;
  const auto compare = [&](const Row& a, const Row& b) {
    for (std::size_t i = 1; i < call.arguments.size(); ++i) {
      const auto& name = std::get<StringLiteral>(without_parens(*call.arguments[i]).kind).value;
      const auto order = compare_naturally(label_of(a, name), label_of(b, name));
      if (order != std::strong_ordering::equal) return order;
    }
    return labels_of(a) <=> labels_of(b);
  };
  return in_order(*block, [&](std::uint32_t a, std::uint32_t b) {
    const auto order = compare(block->rows[a], block->rows[b]);
    return direction == Direction::kUp ? order == std::strong_ordering::less
                                       : order == std::strong_ordering::greater;
  });
}

}  // namespace

Result<Block> sort_up(Evaluator& evaluator, const Call& call) {
  return sort_by_value(evaluator, call, Direction::kUp);
}
Result<Block> sort_down(Evaluator& evaluator, const Call& call) {
  return sort_by_value(evaluator, call, Direction::kDown);
}
Result<Block> sort_by_label(Evaluator& evaluator, const Call& call) {
  return sort_by_labels(evaluator, call, Direction::kUp);
}
Result<Block> sort_by_label_desc(Evaluator& evaluator, const Call& call) {
  return sort_by_labels(evaluator, call, Direction::kDown);
}

}  // namespace nexus::knowledge::promql
