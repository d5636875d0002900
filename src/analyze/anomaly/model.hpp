// Model: what is usual of one series, and the judgement whether a row is stranger than anything it
// was learnt from.
//
// The contamination quantile alone would call a tenth of all points anomalous. A row is *strange*
// only when its decision function is negative and besides
//   - its score lies below the lowest score of the training rows by kMargin, or
//   - it lies outside the training range of a feature by a quarter of that range (a forest cannot
//     tell a value just beyond its range from one far beyond);
// and the distance matters in practice: at least 2 % of the vital's natural range or, without one,
// 5 % of its size. A series that was constant is never strange: it has no range to compare with.
//
// The forest (100 KiB and more) is grown for rows that only it can judge: those that stand apart,
// with no training row within a 32nd of the range in both features. All others are as usual as the
// rows beside them.
//
// Thread safety: one thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "analyze/anomaly/features.hpp"
#include "nexus/analyze/anomaly.hpp"

namespace nexus::analyze {

struct Judgement {
  double decision = 0;  // decision function: negative is anomalous; 0 without a forest
  bool strange = false;
  bool needs_forest = false;            // only a forest can tell; without one nothing else is said
  Severity severity = Severity::kInfo;  // warning: beyond the range by all of it
};

class Model {
 public:
  static constexpr std::size_t kMaxRows = 2048;

  /// What `rows`, all of the window, tell without a forest.
  [[nodiscard]] static Result<Model> learn(std::span<const FeatureRow> rows);
  /// Grows the forest on at most kMaxRows of the rows it was learnt from, evenly thinned.
  [[nodiscard]] Status grow(std::span<const FeatureRow> rows,
                            const IsolationForest::Options& options);
  void drop_forest() noexcept { forest_.reset(); }

  [[nodiscard]] Judgement judge(const FeatureRow& row, const config::VitalConfig& vital) const;
  [[nodiscard]] bool constant() const noexcept { return low_ == high_; }
  [[nodiscard]] double lowest_value() const noexcept { return low_[0]; }
  [[nodiscard]] double highest_value() const noexcept { return high_[0]; }
  [[nodiscard]] bool has_forest() const noexcept { return forest_.has_value(); }
  /// Of the forest.
  [[nodiscard]] std::size_t bytes() const noexcept { return forest_ ? forest_->bytes() : 0; }

 private:
  static constexpr int kCells = 32;  // of a feature's range

  [[nodiscard]] FeatureRow shifted(const FeatureRow& row) const noexcept;
  [[nodiscard]] int cell(const FeatureRow& row, std::size_t feature) const noexcept;
  void settle(const FeatureRow& row) noexcept;
  [[nodiscard]] bool apart(const FeatureRow& row) const noexcept;

  std::optional<IsolationForest> forest_;  // none for a constant series
  // By the value's cell, from the one below the range to the one above: the changes' cells that
  // have a row in them or beside.
  std::array<std::uint64_t, kCells + 2> near_{};
  FeatureRow low_{};
  FeatureRow high_{};
  double origin_ = 0;  // subtracted from values, so that a float holds what matters of large ones
};

}  // namespace nexus::analyze
