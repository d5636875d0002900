// ForestDetector: the isolation forest by itself as a detector of rows of one or many columns, for
// comparing with others and for who expects scikit-learn's: grown on the rows before, with its own
// score, and a flag where the decision function is negative.
//
// A row of one column is its value and its change, of many the columns. Trained on the last
// kWindow rows, grown again every kRefit rows. A forest is indifferent to the unit of a column:
// they come to it by the middle and the range of the window, so that its 32-bit floats hold what
// matters. Rows with a value that is not finite, or a time that is not newer, are left out.
//
// Thread safety: one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "nexus/analyze/anomaly.hpp"
#include "nexus/analyze/detect.hpp"

namespace nexus::analyze {

class ForestDetector {
 public:
  static constexpr std::size_t kWindow = 2048;
  static constexpr std::size_t kRefit = 64;
  static constexpr std::size_t kMinimum = 256;  // rows before there is a score: a whole subsample

  /// At most IsolationForest::kMaxDimensions columns.
  ForestDetector(std::size_t columns, double contamination);

  /// Scores the row by the rows before it: `score` is s(x) of the paper, 0 to 1, `probability` the
  /// share of the window's rows that are as strange.
  std::optional<RowScore> push(std::int64_t time, std::span<const double> row);
  /// By how much the score of the last row falls when a column of it is as usual (the window's
  /// median), most first, at most `most`.
  [[nodiscard]] std::vector<Contribution> contributions(std::size_t most) const;

 private:
  struct Scale {
    double middle = 0;
    double half = 0;    // of the range; 0: constant
    double median = 0;  // not scaled
  };
  [[nodiscard]] double scaled(std::size_t feature, double value) const noexcept;
  void grow();

  const std::size_t columns_;
  const std::size_t features_;
  const double contamination_;
  std::vector<double> rows_;  // features of the newest, row by row; up to kRefit more than kWindow
  std::vector<Scale> scales_;
  std::optional<IsolationForest> forest_;
  std::vector<double> scores_;  // of the rows it was grown on, ascending
  std::size_t since_ = 0;       // rows since it was grown
  std::vector<double> row_;     // the last one's features, not scaled
  std::vector<double> asked_;   // the same, scaled
  double score_ = 0;
  std::optional<double> before_;  // of one column: the last value
  std::optional<std::int64_t> time_;
};

}  // namespace nexus::analyze
