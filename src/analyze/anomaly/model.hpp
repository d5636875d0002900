// Model: the forest of one series, and the judgement whether a row is stranger than anything it was
// trained on.
//
// The contamination quantile alone would call a tenth of all points anomalous. A row is *strange*
// only when its decision function is negative and besides
//   - its score lies below the lowest score of the training rows by kMargin, or
//   - it lies outside the training range of a feature by a quarter of that range (a forest cannot
//     tell a value just beyond its range from one far beyond);
// and the distance matters in practice: at least 2 % of the vital's natural range or, without one,
// 5 % of its size. A series that was constant is never strange: it has no range to compare with.
//
// Thread safety: one thread.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "analyze/anomaly/features.hpp"
#include "nexus/analyze/anomaly.hpp"

namespace nexus::analyze {

struct Judgement {
  double decision = 0;  // decision function: negative is anomalous
  bool strange = false;
  Severity severity = Severity::kInfo;  // warning: beyond the range by all of it
};

class Model {
 public:
  static constexpr std::size_t kMaxRows = 2048;

  /// `rows` are all rows of the window; the forest is grown on at most kMaxRows of them, evenly
  /// thinned.
  [[nodiscard]] static Result<Model> train(std::span<const FeatureRow> rows,
                                           const IsolationForest::Options& options);

  [[nodiscard]] Judgement judge(const FeatureRow& row, const config::VitalConfig& vital) const;
  [[nodiscard]] bool constant() const noexcept { return low_ == high_; }
  [[nodiscard]] double lowest_value() const noexcept { return low_[0]; }
  [[nodiscard]] double highest_value() const noexcept { return high_[0]; }
  [[nodiscard]] std::size_t bytes() const noexcept { return forest_ ? forest_->bytes() : 0; }

 private:
  [[nodiscard]] FeatureRow shifted(const FeatureRow& row) const noexcept;

  std::optional<IsolationForest> forest_;  // none for a constant series
  FeatureRow low_{};
  FeatureRow high_{};
  double origin_ = 0;  // subtracted from values, so that a float holds what matters of large ones
};

}  // namespace nexus::analyze
