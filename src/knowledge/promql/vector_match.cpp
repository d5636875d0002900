#include "knowledge/promql/vector_match.hpp"

#include "knowledge/promql/operators.hpp"
#include "knowledge/promql/signature.hpp"

namespace nexus::knowledge::promql {
namespace {

/// The rows of both sides under the numbers of their signatures.
struct Matches {
  Signature signature;
  std::vector<std::uint32_t> lhs;
  std::vector<std::uint32_t> rhs;
  std::size_t count = 0;

  Matches(const LabelSet& matching, const Block& left, const Block& right)
      : signature(matching, matching.listed_count ? Name::kKept : Name::kDropped) {
    SignatureIndex index(signature);
    lhs.reserve(left.rows.size());
    rhs.reserve(right.rows.size());
    for (const Row& row : left.rows) lhs.push_back(index.add(row));
    for (const Row& row : right.rows) rhs.push_back(index.add(row));
    count = index.size();
  }
};

std::string name_of(const Row& row) {
  return to_string(Signature({}, Name::kKept).labels(row));
}

/// Steps at which the block has any value at all.
std::vector<bool> populated_steps(const Block& block) {
  std::vector<bool> populated(block.steps);
  for (std::size_t r = 0; r < block.rows.size(); ++r) {
    const auto cells = block.row(r);
    for (std::size_t i = 0; i < cells.size(); ++i) {
      if (is_present(cells[i])) populated[i] = true;
    }
  }
  return populated;
}

/// The rows of one side folded to one row a signature.
class OneSide {
 public:
  OneSide(const Block& block, const std::vector<std::uint32_t>& numbers, std::size_t count)
      : block_(block), numbers_(numbers), folded_(block.steps), row_of_(count, kNone) {
    folded_.cells.reserve(block.cells.size());
  }

  /// When two rows of one signature have a value at a step of `relevant` it is a kConflict; without
  /// `relevant` the first wins.
  Status fold(const Signature& signature, const std::vector<bool>* relevant) {
    for (std::size_t r = 0; r < block_.rows.size(); ++r) {
      std::size_t& target = row_of_[numbers_[r]];
      const auto from = block_.row(r);
      if (target == kNone) {
        target = folded_.rows.size();
        std::ranges::copy(from, folded_.add(block_.rows[r]).begin());
        continue;
      }
      const auto to = folded_.row(target);
      for (std::size_t i = 0; i < from.size(); ++i) {
        if (is_absent(from[i])) continue;
        if (is_absent(to[i])) {
          to[i] = from[i];
        } else if (relevant != nullptr && (*relevant)[i]) {
          return fail(
              Errc::kConflict,
              "found duplicate series for the match group {} on the right hand-side of the "
              "operation: [{}, "
              "{}]; many-to-many matching not allowed: matching labels must be unique on one side",
              to_string(signature.labels(block_.rows[r])), name_of(folded_.rows[target]),
              name_of(block_.rows[r]));
        }
      }
    }
    return {};
  }

  /// Empty when no row has this signature.
  [[nodiscard]] std::span<const double> row(std::uint32_t number) const {
    const std::size_t target = row_of_[number];
    if (target == kNone) return {};
    return folded_.row(target);
  }

 private:
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);
  const Block& block_;
  const std::vector<std::uint32_t>& numbers_;
  Block folded_;
  std::vector<std::size_t> row_of_;
};

/// Notes the steps at which a signature was matched; only kept for signatures that several rows on
/// the left share.
class Matched {
 public:
  Matched(const Matches& matches, std::size_t steps) : rows_(matches.count), steps_(matches.count) {
    for (const std::uint32_t number : matches.lhs) ++rows_[number];
    for (std::size_t n = 0; n < rows_.size(); ++n) {
      if (rows_[n] < 2) continue;
      steps_[n].resize(steps);
      any_shared_ = true;
    }
  }
  /// False when one of the cells is a second match.
  bool note(std::uint32_t number, std::span<const double> cells) {
    std::vector<bool>& seen = steps_[number];
    if (seen.empty()) return true;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      if (is_absent(cells[i])) continue;
      if (seen[i]) return false;
      seen[i] = true;
    }
    return true;
  }
  [[nodiscard]] bool any_shared() const noexcept { return any_shared_; }

 private:
  std::vector<std::uint32_t> rows_;
  std::vector<std::vector<bool>> steps_;
  bool any_shared_ = false;
};

void mask(std::span<double> cells, std::span<const double> by, bool keep_where_present) {
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const bool there = !by.empty() && is_present(by[i]);
    if (there != keep_where_present) cells[i] = absent();
  }
}

}  // namespace

Result<Block> match_one_to_one(Evaluator& evaluator, const Binary& node, const Block& lhs,
                               const Block& rhs) {
  const Matches matches(node.matching, lhs, rhs);
  OneSide one_side(rhs, matches.rhs, matches.count);
  const std::vector<bool> relevant = populated_steps(lhs);
  if (Status status = one_side.fold(matches.signature, &relevant); !status) {
    return std::unexpected(std::move(status).error());
  }
  const bool filter = is_comparison(node.op) && !node.returns_bool;
  const Signature result_labels(node.matching, filter ? Name::kKept : Name::kDropped);
  Matched matched(matches, lhs.steps);
  Block output(lhs.steps);
  output.reserve(std::min(lhs.rows.size(), rhs.rows.size()));
  output.names_matter = filter && lhs.names_matter;
  Status status;
  const auto keep = [&](Labels labels) -> const Labels& {
    return evaluator.keep(std::move(labels));
  };
  with_operator(node.op, filter ? Comparison::kFilter : Comparison::kBool, [&](auto operation) {
    for (std::size_t r = 0; r < lhs.rows.size() && status; ++r) {
      const auto right = one_side.row(matches.lhs[r]);
      if (right.empty()) continue;
      const auto left = lhs.row(r);
      const auto cells = output.add(result_labels.row(lhs.rows[r], keep));
      for (std::size_t i = 0; i < cells.size(); ++i) {
        if (is_present(left[i]) && is_present(right[i])) cells[i] = operation(left[i], right[i]);
      }
      if (!matched.note(matches.lhs[r], cells)) {
        status = fail(Errc::kConflict,
                      "multiple matches for labels {}: many-to-one matching must be explicit "
                      "(group_left/group_right)",
                      to_string(matches.signature.labels(lhs.rows[r])));
      }
      output.drop_last_if_empty();
    }
  });
  if (status && matched.any_shared()) status = merge_equal_rows(output, false);
  if (!status) return std::unexpected(std::move(status).error());
  return output;
}

Result<Block> combine_sets(const Binary& node, Block lhs, const Block& rhs) {
  const Matches matches(node.matching, lhs, rhs);
  const bool is_or = node.op == BinaryOp::kOr;
  // or asks what the left side has, and and unless what the right side has.
  OneSide other(is_or ? lhs : rhs, is_or ? matches.lhs : matches.rhs, matches.count);
  Status status = other.fold(matches.signature, nullptr);
  if (is_or) {
    lhs.reserve(lhs.rows.size() + rhs.rows.size());
    const std::size_t left_rows = lhs.rows.size();
    for (std::size_t r = 0; r < rhs.rows.size(); ++r) {
      const auto cells = lhs.add(rhs.rows[r]);
      std::ranges::copy(rhs.row(r), cells.begin());
      mask(cells, other.row(matches.rhs[r]), false);
      lhs.drop_last_if_empty();
    }
    if (left_rows > 0 && lhs.rows.size() > left_rows) {
      lhs.names_matter = true;
      status = merge_equal_rows(lhs, false);
    } else {
      lhs.names_matter = lhs.names_matter || rhs.names_matter;
    }
  } else {
    Block output(lhs.steps);
    output.reserve(lhs.rows.size());
    output.names_matter = lhs.names_matter;
    for (std::size_t r = 0; r < lhs.rows.size(); ++r) {
      const auto cells = output.add(lhs.rows[r]);
      std::ranges::copy(lhs.row(r), cells.begin());
      mask(cells, other.row(matches.lhs[r]), node.op == BinaryOp::kAnd);
      output.drop_last_if_empty();
    }
    lhs = std::move(output);
  }
  if (!status) return std::unexpected(std::move(status).error());
  return lhs;
}

}  // namespace nexus::knowledge::promql
