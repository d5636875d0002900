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
// The forest (100 KiB and more) is asked of rows that only it can judge: those that stand apart,
// with no training row within a 32nd of the range in both features. All others are as usual as the
// rows beside them. It is never kept: measure() grows it once, for its offset and its lowest score,
// and score() grows only the way of one row through it.
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
  double decision = 0;  // decision function: negative is anomalous; 0 without a score
  bool strange = false;
  bool needs_forest = false;            // only a forest can tell; without its score nothing is said
  Severity severity = Severity::kInfo;  // warning: beyond the range by all of it
};

class Model {
 public:
  static constexpr std::size_t kMaxRows = 2048;

  /// What `rows`, all of the window, tell without a forest.
  [[nodiscard]] static Result<Model> learn(std::span<const FeatureRow> rows);
  /// What the forest is grown on: at most kMaxRows of the rows it was learnt from, evenly thinned,
  /// row by row, as the 32-bit floats that a forest compares.
  [[nodiscard]] std::vector<float> training(std::span<const FeatureRow> rows) const;
  /// score_samples of a row by the forest on those. What judge() compares it with, the forest's
  /// offset and its lowest score of them, is measured when these rows or options are others than
  /// before.
  [[nodiscard]] Result<double> score(const FeatureRow& row, std::span<const float> training,
                                     const IsolationForest::Options& options);
  [[nodiscard]] std::size_t measurements() const noexcept { return measurements_; }

  /// `score`: of this row; it is looked at only when the forest was measured.
  [[nodiscard]] Judgement judge(const FeatureRow& row, const config::VitalConfig& vital,
                                std::optional<double> score = std::nullopt) const;
  [[nodiscard]] bool constant() const noexcept { return low_ == high_; }
  [[nodiscard]] double lowest_value() const noexcept { return low_[0]; }
  [[nodiscard]] double highest_value() const noexcept { return high_[0]; }
  /// Values come to the forest less this, so that a float holds what matters of large ones.
  [[nodiscard]] FeatureRow shifted(const FeatureRow& row) const noexcept;

 private:
  static constexpr int kCells = 32;  // of a feature's range
  struct Measured {
    double offset = 0;
    double lowest = 0;       // score of a training row
    std::uint64_t rows = 0;  // a checksum of what it was grown on
    IsolationForest::Options options;
  };

  [[nodiscard]] int cell(const FeatureRow& row, std::size_t feature) const noexcept;
  void settle(const FeatureRow& row) noexcept;
  [[nodiscard]] bool apart(const FeatureRow& row) const noexcept;

  std::optional<Measured> measured_;
  std::size_t measurements_ = 0;
  // By the value's cell, from the one below the range to the one above: the changes' cells that
  // have a row in them or beside.
  std::array<std::uint64_t, kCells + 2> near_{};
  FeatureRow low_{};
  FeatureRow high_{};
  double origin_ = 0;  // subtracted from values
};

}  // namespace nexus::analyze
