// Dispatch over the tree, unary operators, function calls over numbers, and the limits.
#include <algorithm>
#include <array>

#include "knowledge/promql/aggregate.hpp"
#include "knowledge/promql/bodies.hpp"
#include "knowledge/promql/evaluator.hpp"
#include "knowledge/promql/signature.hpp"

namespace nexus::knowledge::promql {
void drop_names(Block& block) {
  for (Row& row : block.rows) row.nameless = true;
}

Status drop_and_merge_names(Block& block, bool strict) {
  drop_names(block);
  if (!block.names_matter) return {};
  block.names_matter = false;
  return merge_equal_rows(block, strict);
}

Status merge_equal_rows(Block& block, bool strict) {
  const Signature signature({}, Name::kKept);
  SignatureIndex index(signature);
  std::size_t kept = 0;
  for (std::size_t i = 0; i < block.rows.size(); ++i) {
    const std::size_t target = index.add(block.rows[i]);
    const auto from = block.row(i);
    const auto to = block.row(target);
    if (target < kept) {
      for (std::size_t s = 0; s < block.steps; ++s) {
        if (is_absent(from[s]) && !strict) continue;
        if (is_present(to[s]) || strict) {
          return fail(Errc::kConflict, "vector cannot contain metrics with the same labelset: {}",
                      to_string(signature.labels(block.rows[i])));
        }
        to[s] = from[s];
      }
      continue;
    }
    block.rows[kept] = block.rows[i];
    if (target != i) std::ranges::copy(from, to.begin());
    ++kept;
  }
  block.rows.resize(kept);
  block.cells.resize(kept * block.steps);
  return {};
}

Status Evaluator::work(std::size_t samples) {
  worked_ += samples;
  if (worked_ < kWorkPerCheck) return {};
  worked_ = 0;
  if (limits_.cancelled && limits_.cancelled()) {
    return fail(Errc::kCancelled, "query stopped: its time is over or nobody waits for it");
  }
  return {};
}

Status Evaluator::charge(std::size_t samples) {
  if (Status status = charge_read(samples); !status) return status;
  held_ += samples;
  if (held_ <= kMaxHeld) return tell_hold();
  return fail(Errc::kExhausted, "query makes more than {} values: ask for fewer series or steps",
              kMaxHeld);
}

Status Evaluator::charge_read(std::size_t samples) {
  charged_ += samples;
  if (column_.size() > widest_) {
    widest_ = column_.size();
    if (Status status = tell_hold(); !status) return status;
  }
  if (charged_ > limits_.max_samples) {
    return fail(Errc::kExhausted, "query touches more than {} samples", limits_.max_samples);
  }
  return work(samples);
}

Status Evaluator::tell_hold() {
  if (!limits_.hold) return {};
  const std::uint64_t bytes = held_ * sizeof(double) + widest_ * sizeof(Sample);
  if (bytes <= told_) return {};
  // In steps: a hold is shared by threads, and most queries need one.
  constexpr std::uint64_t kStep = 64U << 10;
  const std::uint64_t more = (bytes - told_ + kStep - 1) / kStep * kStep;
  if (Status status = limits_.hold->grow(more); !status) return status;
  told_ += more;
  return {};
}

const Labels& Evaluator::keep(Labels labels) {
  std::size_t bytes = sizeof(Labels);
  for (const Label& label : labels) bytes += label.name.size() + label.value.size() + sizeof(Label);
  held_ += bytes / sizeof(double);
  return kept_.emplace_back(std::move(labels));
}

Result<const Labels*> Evaluator::keep_made(Labels labels) {
  for (const Label& label : labels) {
    if (label.value.size() > kMaxLabelBytes) {
      return fail(Errc::kExhausted, "label {} would be {} bytes long, at most {} are allowed",
                  label.name, label.value.size(), kMaxLabelBytes);
    }
  }
  const Labels& kept = keep(std::move(labels));
  if (Status status = charge(0); !status) return std::unexpected(std::move(status).error());
  return &kept;
}

Block Evaluator::scalar_block() const {
  static const Labels kNone;
  Block block(steps_.count);
  block.add({&kNone, true});
  return block;
}

Result<Block> Evaluator::evaluate(const Node& node) {
  struct Visitor {
    Evaluator& self;
    Result<Block> operator()(const NumberLiteral& number) const {
      Block block = self.scalar_block();
      std::ranges::fill(block.cells, number.value);
      return block;
    }
    Result<Block> operator()(const Paren& paren) const { return self.evaluate(*paren.inner); }
    Result<Block> operator()(const Unary& unary) const { return self.evaluate_unary(unary); }
    Result<Block> operator()(const Binary& binary) const { return evaluate_binary(self, binary); }
    Result<Block> operator()(const Aggregate& aggregate) const {
      return evaluate_aggregate(self, aggregate);
    }
    Result<Block> operator()(const Call& call) const { return self.evaluate_call(call); }
    Result<Block> operator()(const VectorSelector& selector) const {
      return self.select(selector, Read::kValues);
    }
    Result<Block> operator()(const MatrixSelector&) const { return untyped(); }
    Result<Block> operator()(const Subquery&) const { return untyped(); }
    Result<Block> operator()(const StringLiteral&) const { return untyped(); }
    static Result<Block> untyped() {
      return fail(Errc::kInternal, "BUG: a range or string where the checker wants a number");
    }
  };
  // Nodes without samples cost time and memory too, in a subquery of many steps most of all.
  if (Status status = charge(steps_.count); !status)
    return std::unexpected(std::move(status).error());
  return std::visit(Visitor{*this}, node.kind);
}

Result<Block> Evaluator::evaluate_unary(const Unary& node) {
  Result<Block> block = evaluate(*node.operand);
  if (!block || !node.negative) return block;
  for (double& cell : block->cells) {
    if (is_present(cell)) cell = -cell;
  }
  if (Status status = drop_and_merge_names(*block, true); !status) {
    return std::unexpected(std::move(status).error());
  }
  return block;
}

Result<Block> Evaluator::evaluate_call(const Call& node) {
  if (const auto* special = std::get_if<SpecialBody>(&node.function->body)) {
    return (*special)(*this, node);
  }
  const auto* range_body = std::get_if<RangeBody>(&node.function->body);
  Result<Block> block =
      range_body != nullptr ? over_range(node, *range_body) : evaluate_math_function(node);
  if (!block || node.function->keeps_name) return block;
  // As in Prometheus: over ranges equal series never mix, elsewhere only at one and the same time.
  if (Status status = drop_and_merge_names(*block, range_body != nullptr); !status) {
    return std::unexpected(std::move(status).error());
  }
  return block;
}

Result<Block> Evaluator::evaluate_math_function(const Call& node) {
  // The only functions that may go without are those of a date: theirs is the time of the step.
  Result<Block> block =
      node.arguments.empty() ? time_of_step(*this, node) : evaluate(*node.arguments.front());
  if (!block) return block;
  std::array<std::vector<double>, 2> scalars;
  for (std::size_t i = 0; i < scalars.size(); ++i) {
    if (i + 1 >= node.arguments.size()) {
      scalars[i].assign(steps_.count, node.function->default_scalar);
      continue;
    }
    auto value = evaluate(*node.arguments[i + 1]);
    if (!value) return value;
    scalars[i] = std::move(value->cells);
  }
  const MathBody body = std::get<MathBody>(node.function->body);
  for (std::size_t r = 0; r < block->rows.size(); ++r) {
    const auto cells = block->row(r);
    for (std::size_t i = 0; i < cells.size(); ++i) {
      if (is_present(cells[i])) cells[i] = body(cells[i], scalars[0][i], scalars[1][i]);
    }
  }
  block->drop_empty_rows();  // clamp() between impossible limits leaves nothing
  return block;
}

}  // namespace nexus::knowledge::promql
