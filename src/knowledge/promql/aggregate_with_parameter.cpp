// Aggregations that take a parameter: topk, bottomk, limitk, limit_ratio, quantile, count_values.
#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "knowledge/promql/aggregate.hpp"
#include "knowledge/promql/number_text.hpp"
#include "knowledge/promql/quantile.hpp"
#include "knowledge/promql/sampling.hpp"
#include "knowledge/promql/signature.hpp"

namespace nexus::knowledge::promql {
namespace {

std::vector<std::vector<std::uint32_t>> members_of(const Groups& groups) {
  std::vector<std::vector<std::uint32_t>> members(groups.rows.size());
  for (std::size_t r = 0; r < groups.of_row.size(); ++r) {
    members[groups.of_row[r]].push_back(static_cast<std::uint32_t>(r));
  }
  return members;
}

struct Candidate {
  double value = 0;
  std::uint32_t row = 0;
};

/// The k best of the candidates offered, in a binary heap with the worst of them on top. Which of
/// equal values stay is decided as in Prometheus: a newcomer must be better, and the heap is sifted
/// as Go's container/heap does.
class Best {
 public:
  enum class Order { kGreatest, kLeast };
  Best(Order order, std::size_t k) : order_(order), k_(k) {}

  void offer(Candidate candidate) {
    if (heap_.size() < k_) {
      heap_.push_back(candidate);
      sift_up();
    } else if (k_ > 0 && better(candidate.value, heap_.front().value)) {
      heap_.front() = candidate;
      sift_down();
    }
  }
  /// Best first, NaN last.
  [[nodiscard]] std::vector<Candidate> sorted() && {
    std::ranges::stable_sort(heap_, [&](const Candidate& a, const Candidate& b) {
      if (std::isnan(a.value)) return false;
      return std::isnan(b.value) || better(a.value, b.value);
    });
    return std::move(heap_);
  }

 private:
  [[nodiscard]] bool better(double a, double b) const {
    if (std::isnan(b)) return !std::isnan(a);
    return order_ == Order::kGreatest ? a > b : a < b;
  }
  /// NaN is worse than anything, another NaN included.
  [[nodiscard]] bool worse(std::size_t a, std::size_t b) const {
    const double x = heap_[a].value;
    const double y = heap_[b].value;
    if (std::isnan(x)) return true;
    return order_ == Order::kGreatest ? x < y : x > y;
  }
  void sift_up() {
    std::size_t at = heap_.size() - 1;
    while (at > 0) {
      const std::size_t parent = (at - 1) / 2;
      if (!worse(at, parent)) break;
      std::swap(heap_[at], heap_[parent]);
      at = parent;
    }
  }
  void sift_down() {
    std::size_t at = 0;
    for (;;) {
      const std::size_t left = 2 * at + 1;
      if (left >= heap_.size()) break;
      std::size_t child = left;
      if (left + 1 < heap_.size() && worse(left + 1, left)) child = left + 1;
      if (!worse(child, at)) break;
      std::swap(heap_[at], heap_[child]);
      at = child;
    }
  }

  Order order_;
  std::size_t k_;
  std::vector<Candidate> heap_;
};

std::vector<Candidate> candidates(const Block& input, const std::vector<std::uint32_t>& rows,
                                  std::size_t step) {
  std::vector<Candidate> out;
  for (const std::uint32_t row : rows) {
    const double value = input.row(row)[step];
    if (is_present(value)) out.push_back({value, row});
  }
  return out;
}

std::vector<Candidate> choose(AggregateOp op, std::vector<Candidate> from, std::size_t k) {
  if (op == AggregateOp::kLimitk) {
    from.resize(std::min(from.size(), k));
    return from;
  }
  Best best(op == AggregateOp::kTopk ? Best::Order::kGreatest : Best::Order::kLeast, k);
  for (const Candidate& candidate : from) best.offer(candidate);
  return std::move(best).sorted();
}

/// How many to choose at each step. Values that are no number or too large to be one are errors.
Result<std::vector<std::size_t>> counts_of(const Block& parameter, std::size_t rows) {
  std::vector<std::size_t> counts;
  counts.reserve(parameter.cells.size());
  for (const double k : parameter.cells) {
    if (std::isnan(k)) return fail(Errc::kConflict, "Parameter value is NaN");
    if (!(std::fabs(k) < 0x1p63)) {
      return fail(Errc::kConflict, "Scalar value {} {}flows int64", k, k > 0 ? "over" : "under");
    }
    counts.push_back(k < 1 ? 0 : static_cast<std::size_t>(std::fmin(k, static_cast<double>(rows))));
  }
  return counts;
}

/// The rows chosen keep their labels. An instant query has them in order, group by group.
Result<Block> choose_rows(Evaluator& evaluator, const Aggregate& node, const Block& input,
                          const Block& parameter) {
  const auto counts = counts_of(parameter, input.rows.size());
  if (!counts) return std::unexpected(counts.error());
  const auto members = members_of(Groups(evaluator, node.grouping, input));
  Block output(input.steps);
  output.names_matter = input.names_matter;
  if (input.steps == 1) {
    for (const auto& rows : members) {
      for (const Candidate& chosen : choose(node.op, candidates(input, rows, 0), (*counts)[0])) {
        output.add(input.rows[chosen.row]).front() = chosen.value;
      }
    }
    return output;
  }
  output.reserve(input.rows.size());
  for (const Row& row : input.rows) output.add(row);
  for (const auto& rows : members) {
    for (std::size_t i = 0; i < input.steps; ++i) {
      if (Status status = evaluator.work(rows.size()); !status) {
        return std::unexpected(std::move(status).error());
      }
      for (const Candidate& chosen : choose(node.op, candidates(input, rows, i), (*counts)[i])) {
        output.row(chosen.row)[i] = chosen.value;
      }
    }
  }
  output.drop_empty_rows();
  return output;
}

/// The share of the series that their hashes choose, the same ones at each step of one ratio; a
/// negative ratio chooses those that its complement does not.
Result<Block> choose_share(Evaluator& evaluator, Block input, const Block& ratios) {
  for (const double ratio : ratios.cells) {
    if (std::isnan(ratio)) return fail(Errc::kConflict, "Ratio value is NaN");
  }
  for (std::size_t r = 0; r < input.rows.size(); ++r) {
    if (Status status = evaluator.work(input.steps); !status) {
      return std::unexpected(std::move(status).error());
    }
    const double place = place_of(labels_of(input.rows[r]));
    const auto cells = input.row(r);
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const double ratio = std::clamp(ratios.cells[i], -1.0, 1.0);
      const bool chosen = ratio >= 0 ? place < ratio : place >= 1 + ratio;
      if (!chosen) cells[i] = absent();
    }
  }
  input.drop_empty_rows();
  return input;
}

Result<Block> quantiles(Evaluator& evaluator, const Aggregate& node, const Block& input,
                        const Block& parameter) {
  const Groups groups(evaluator, node.grouping, input);
  const auto members = members_of(groups);
  Block output(input.steps);
  output.reserve(groups.rows.size());
  output.names_matter = node.grouping.listed_count && input.names_matter;
  std::vector<double> values;
  for (std::size_t g = 0; g < members.size(); ++g) {
    const auto cells = output.add(groups.rows[g]);
    for (std::size_t i = 0; i < cells.size(); ++i) {
      values.clear();
      for (const Candidate& candidate : candidates(input, members[g], i)) {
        values.push_back(candidate.value);
      }
      if (Status status = evaluator.work(members[g].size()); !status) {
        return std::unexpected(std::move(status).error());
      }
      if (!values.empty()) cells[i] = quantile(parameter.cells[i], values);
    }
  }
  return output;
}

/// One row a group and value; the value stands in a label.
Result<Block> count_values(Evaluator& evaluator, const Aggregate& node, const Block& input) {
  const std::string& label = std::get<StringLiteral>(without_parens(*node.parameter).kind).value;
  LabelSet grouping = node.grouping;
  if (grouping.listed_count) grouping.names.push_back(label);
  const Signature signature(grouping, grouping.listed_count ? Name::kKept : Name::kDropped);
  SignatureIndex index(signature);
  Block output(input.steps);
  output.names_matter = node.grouping.listed_count && input.names_matter;
  for (std::size_t r = 0; r < input.rows.size(); ++r) {
    std::unordered_map<std::uint64_t, std::uint32_t> row_of_value;
    const Labels labels = labels_of(input.rows[r]);
    for (std::size_t i = 0; i < input.steps; ++i) {
      const double value = input.row(r)[i];
      if (is_absent(value)) continue;
      const auto [found, is_new] = row_of_value.try_emplace(std::bit_cast<std::uint64_t>(value));
      if (is_new) {
        const Labels counted = labels.with(label, fixed_text(value));
        found->second = index.add({&counted, false});
        if (found->second == output.rows.size()) {
          auto kept = evaluator.keep_made(signature.labels({&counted, false}));
          if (!kept) return propagate(std::move(kept));
          if (Status status = evaluator.charge(input.steps); !status) {
            return std::unexpected(std::move(status).error());
          }
          output.add({*kept, false});
        }
      }
      double& cell = output.row(found->second)[i];
      cell = is_absent(cell) ? 1 : cell + 1;
    }
  }
  return output;
}

}  // namespace

Result<Block> evaluate_aggregate_with_parameter(Evaluator& evaluator, const Aggregate& node) {
  auto input = evaluator.evaluate(*node.operand);
  if (!input) return input;
  if (node.op == AggregateOp::kCountValues) return count_values(evaluator, node, *input);
  const auto parameter = evaluator.evaluate(*node.parameter);
  if (!parameter) return parameter;
  if (Status status = evaluator.charge(input->cells.size()); !status) {
    return std::unexpected(std::move(status).error());
  }
  if (node.op == AggregateOp::kLimitRatio) {
    return choose_share(evaluator, std::move(*input), *parameter);
  }
  if (node.op == AggregateOp::kQuantile) {
    evaluator.check_quantiles(*parameter, *node.parameter);
    return quantiles(evaluator, node, *input, *parameter);
  }
  return choose_rows(evaluator, node, *input, *parameter);
}

}  // namespace nexus::knowledge::promql
