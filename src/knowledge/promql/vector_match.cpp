#include "knowledge/promql/vector_match.hpp"

#include <array>

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

/// Rows by the number of their signature.
class RowsOf {
 public:
  RowsOf(const std::vector<std::uint32_t>& numbers, std::size_t count) : rows_(count) {
    for (std::size_t r = 0; r < numbers.size(); ++r) rows_[numbers[r]].push_back(r);
  }
  [[nodiscard]] const std::vector<std::size_t>& operator[](std::uint32_t number) const {
    return rows_[number];
  }
  [[nodiscard]] auto begin() const { return rows_.begin(); }
  [[nodiscard]] auto end() const { return rows_.end(); }

 private:
  std::vector<std::vector<std::size_t>> rows_;
};

/// kConflict when two of the rows of a signature have a value at one of the `relevant` steps.
Status check_unique(const Block& one, const RowsOf& rows_of, const Signature& signature,
                    const std::vector<bool>& relevant, std::string_view side) {
  for (const std::vector<std::size_t>& rows : rows_of) {
    if (rows.size() < 2) continue;
    for (std::size_t i = 0; i < one.steps; ++i) {
      if (!relevant[i]) continue;
      const Row* first = nullptr;
      for (const std::size_t r : rows) {
        if (is_absent(one.row(r)[i])) continue;
        if (first == nullptr) {
          first = &one.rows[r];
          continue;
        }
        return fail(Errc::kConflict,
                    "found duplicate series for the match group {} on the {} hand-side of the "
                    "operation: [{}, {}]; many-to-many matching not allowed: matching labels must "
                    "be unique on one side",
                    to_string(signature.labels(*first)), side, to_string(labels_of(one.rows[r])),
                    to_string(labels_of(*first)));
      }
    }
  }
  return {};
}

/// Notes the steps at which a signature was matched; only kept for signatures that several rows of
/// the "many" side share.
class Matched {
 public:
  Matched(const std::vector<std::uint32_t>& numbers, std::size_t count, std::size_t steps)
      : rows_(count), steps_(count) {
    for (const std::uint32_t number : numbers) ++rows_[number];
    for (std::size_t n = 0; n < rows_.size(); ++n) {
      if (rows_[n] >= 2) steps_[n].resize(steps);
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

 private:
  std::vector<std::uint32_t> rows_;
  std::vector<std::vector<bool>> steps_;
};

/// The steps at which any row of a signature has a value.
class Present {
 public:
  Present(const Block& block, const std::vector<std::uint32_t>& numbers, std::size_t count)
      : steps_(count) {
    for (std::size_t r = 0; r < numbers.size(); ++r) {
      std::vector<bool>& steps = steps_[numbers[r]];
      steps.resize(block.steps);
      const auto cells = block.row(r);
      for (std::size_t i = 0; i < cells.size(); ++i) {
        if (is_present(cells[i])) steps[i] = true;
      }
    }
  }
  /// Removes the cells where the signature is (or is not) present.
  void mask(std::span<double> cells, std::uint32_t number, bool keep_where_present) const {
    const std::vector<bool>& steps = steps_[number];
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const bool there = !steps.empty() && steps[i];
      if (there != keep_where_present) cells[i] = absent();
    }
  }

 private:
  std::vector<std::vector<bool>> steps_;
};

/// One evaluation of an operator between two vectors.
class Match {
 public:
  Match(Evaluator& evaluator, const Binary& node, const Block& lhs, const Block& rhs)
      : evaluator_(evaluator),
        node_(node),
        swapped_(node.matching.cardinality == Cardinality::kOneToMany),
        many_(swapped_ ? rhs : lhs),
        one_(swapped_ ? lhs : rhs),
        matches_(node.matching.labels, many_, one_),
        one_rows_(matches_.rhs, matches_.count),
        filters_(is_comparison(node.op) && !node.returns_bool),
        // One-to-one the labels matched on are the result's; else those of the "many" side.
        labels_(one_to_one() ? node.matching.labels : LabelSet{},
                filters_ ? Name::kKept : Name::kDropped),
        may_have_equal_rows_(!one_to_one()),
        has_row_(matches_.count),
        output_(lhs.steps) {}

  Result<Block> run() {
    const std::vector<bool> relevant = populated_steps(many_);
    Status status =
        check_unique(one_, one_rows_, matches_.signature, relevant, swapped_ ? "left" : "right");
    if (status) status = match_rows();
    if (status && may_have_equal_rows_) status = merge_equal_rows(output_, false);
    if (!status) return std::unexpected(std::move(status).error());
    output_.names_matter = filters_ && many_.names_matter;
    return std::move(output_);
  }

 private:
  [[nodiscard]] bool one_to_one() const {
    return node_.matching.cardinality == Cardinality::kOneToOne;
  }

  Status match_rows() {
    Matched matched(matches_.lhs, matches_.count, many_.steps);
    const Comparison comparison = filters_ ? Comparison::kFilter : Comparison::kBool;
    Status status;
    with_operator(node_.op, comparison, [&](auto operation) {
      for (std::size_t m = 0; m < many_.rows.size() && status; ++m) {
        for (const std::size_t o : one_rows_[matches_.lhs[m]]) {
          status = match_pair(m, o, operation, matched);
          if (!status) break;
        }
      }
    });
    return status;
  }

  template <typename Operation>
  Status match_pair(std::size_t m, std::size_t o, Operation operation, Matched& matched) {
    const auto many = many_.row(m);
    const auto one = one_.row(o);
    if (Status status = evaluator_.work(many.size()); !status) return status;
    auto row = result_row(many_.rows[m], one_.rows[o]);
    if (!row) return std::unexpected(std::move(row).error());
    const auto cells = output_.add(*row);
    for (std::size_t i = 0; i < cells.size(); ++i) {
      if (is_absent(many[i]) || is_absent(one[i])) continue;
      if (!swapped_) {
        cells[i] = operation(many[i], one[i]);
      } else {
        // A filter keeps the left value, which is here the one side's.
        cells[i] = operation(one[i], many[i]);
      }
    }
    if (has_row_[matches_.lhs[m]]) may_have_equal_rows_ = true;
    has_row_[matches_.lhs[m]] = true;
    const bool unique = !one_to_one() || matched.note(matches_.lhs[m], cells);
    const std::size_t rows = output_.rows.size();
    output_.drop_last_if_empty();
    if (output_.rows.size() == rows) {
      if (Status status = evaluator_.charge(cells.size()); !status) return status;
    }
    if (unique) return {};
    return fail(Errc::kConflict,
                "multiple matches for labels {}: many-to-one matching must be explicit "
                "(group_left/group_right)",
                to_string(matches_.signature.labels(many_.rows[m])));
  }

  Result<Row> result_row(const Row& many, const Row& one) {
    const auto keep = [&](Labels labels) -> const Labels& {
      return evaluator_.keep(std::move(labels));
    };
    Row row = labels_.row(many, keep);
    if (node_.matching.include.empty()) return row;
    Labels labels = labels_of(row);
    for (const std::string& name : node_.matching.include) {
      const std::string_view value = label_of(one, name);
      labels = value.empty() ? labels.without(std::array{name}) : labels.with(name, value);
    }
    auto kept = evaluator_.keep_made(std::move(labels));
    if (!kept) return propagate(std::move(kept));
    return Row{*kept, node_.returns_bool};  // bool drops even a name that was taken over
  }

  Evaluator& evaluator_;
  const Binary& node_;
  bool swapped_;  // group_right
  const Block& many_;
  const Block& one_;
  Matches matches_;  // its left side is the "many" side
  RowsOf one_rows_;
  bool filters_;
  Signature labels_;
  bool may_have_equal_rows_;
  std::vector<bool> has_row_;  // by signature
  Block output_;
};

}  // namespace

Result<Block> match_vectors(Evaluator& evaluator, const Binary& node, const Block& lhs,
                            const Block& rhs) {
  return Match(evaluator, node, lhs, rhs).run();
}

Result<Block> combine_sets(const Binary& node, Block lhs, const Block& rhs) {
  const Matches matches(node.matching.labels, lhs, rhs);
  const bool is_or = node.op == BinaryOp::kOr;
  // or asks what the left side has, and and unless what the right side has.
  const Present other(is_or ? lhs : rhs, is_or ? matches.lhs : matches.rhs, matches.count);
  Status status;
  if (is_or) {
    lhs.reserve(lhs.rows.size() + rhs.rows.size());
    const std::size_t left_rows = lhs.rows.size();
    for (std::size_t r = 0; r < rhs.rows.size(); ++r) {
      const auto cells = lhs.add(rhs.rows[r]);
      std::ranges::copy(rhs.row(r), cells.begin());
      other.mask(cells, matches.rhs[r], false);
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
      other.mask(cells, matches.lhs[r], node.op == BinaryOp::kAnd);
      output.drop_last_if_empty();
    }
    lhs = std::move(output);
  }
  if (!status) return std::unexpected(std::move(status).error());
  return lhs;
}

}  // namespace nexus::knowledge::promql
