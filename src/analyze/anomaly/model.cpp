#include "analyze/anomaly/model.hpp"

#include <algorithm>

namespace nexus::analyze {
namespace {

constexpr double kMargin = 0.02;         // of the score, 0 to 1
constexpr double kStrangeExcess = 0.25;  // of the training range
constexpr double kWarningExcess = 1.0;
constexpr double kOfNaturalRange = 0.02;  // what matters in practice
constexpr double kOfSize = 0.05;

/// The least distance that anybody cares about.
double least_distance(const config::VitalConfig& vital, double low, double high) {
  if (vital.minimum && vital.maximum) return kOfNaturalRange * (*vital.maximum - *vital.minimum);
  return kOfSize * std::max(std::abs(low), std::abs(high));
}

}  // namespace

Result<Model> Model::train(std::span<const FeatureRow> rows,
                           const IsolationForest::Options& options) {
  if (rows.size() < 2)
    return fail(Errc::kInvalidArgument, "{} samples, at least 2 are needed", rows.size());
  Model model;
  model.low_ = model.high_ = rows.front();
  for (const FeatureRow& row : rows) {
    for (std::size_t f = 0; f < kFeatures; ++f) {
      model.low_[f] = std::min(model.low_[f], row[f]);
      model.high_[f] = std::max(model.high_[f], row[f]);
    }
  }
  model.origin_ = model.low_[0] / 2 + model.high_[0] / 2;
  if (model.constant()) return model;
  const std::size_t stride = (rows.size() + kMaxRows - 1) / kMaxRows;
  std::vector<double> flat;
  flat.reserve(rows.size() / stride * kFeatures + kFeatures);
  for (std::size_t i = 0; i < rows.size(); i += stride) {
    const FeatureRow row = model.shifted(rows[i]);
    flat.insert(flat.end(), row.begin(), row.end());
  }
  auto forest = IsolationForest::fit(flat, kFeatures, options);
  if (!forest) return propagate(std::move(forest));
  model.forest_ = std::move(*forest);
  return model;
}

FeatureRow Model::shifted(const FeatureRow& row) const noexcept {
  constexpr double kMost = std::numeric_limits<double>::max();
  return {std::clamp(row[0] - origin_, -kMost, kMost), row[1]};
}

Judgement Model::judge(const FeatureRow& row, const config::VitalConfig& vital) const {
  Judgement out;
  if (!forest_) return out;
  const double score = forest_->score_samples(shifted(row));
  out.decision = score - forest_->offset();
  if (!(out.decision < 0)) return out;

  const double least = least_distance(vital, low_[0], high_[0]);
  double excess = 0;
  for (std::size_t f = 0; f < kFeatures; ++f) {
    const double range = high_[f] - low_[f];
    const double distance = std::max(low_[f] - row[f], row[f] - high_[f]);
    if (distance >= least && range > 0) excess = std::max(excess, distance / range);
  }
  const bool lower_than_all =
      score < forest_->lowest_score() - kMargin && high_[0] - low_[0] >= least;
  out.strange = lower_than_all || excess >= kStrangeExcess;
  if (excess >= kWarningExcess) out.severity = Severity::kWarning;
  return out;
}

}  // namespace nexus::analyze
