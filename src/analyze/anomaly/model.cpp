#include "analyze/anomaly/model.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "analyze/anomaly/archive.hpp"

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

Result<Model> Model::learn(std::span<const FeatureRow> rows) {
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
  for (const FeatureRow& row : rows) model.settle(row);
  return model;
}

std::vector<float> Model::training(std::span<const FeatureRow> rows) const {
  const std::size_t stride = (rows.size() + kMaxRows - 1) / kMaxRows;
  std::vector<float> flat;
  flat.reserve(std::min(rows.size(), kMaxRows) * kFeatures);
  constexpr double kMost = std::numeric_limits<float>::max();
  for (std::size_t i = 0; i < rows.size(); i += stride) {
    for (const double value : shifted(rows[i]))
      flat.push_back(static_cast<float>(std::clamp(value, -kMost, kMost)));
  }
  return flat;
}

Result<double> Model::score(const FeatureRow& row, std::span<const float> training,
                            const IsolationForest::Options& options) {
  const std::vector<double> rows(training.begin(), training.end());
  const auto bytes = std::as_bytes(training);
  const std::uint64_t sum = checksum({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  if (!measured_ || measured_->rows != sum || measured_->options != options) {
    const auto forest = IsolationForest::fit(rows, kFeatures, options);
    if (!forest) return std::unexpected(forest.error());
    measured_ = Measured{forest->offset(), forest->lowest_score(), sum, options};
    ++measurements_;
  }
  return IsolationForest::score_samples_of(shifted(row), rows, options);
}

/// In which part of the training range a row lies, from 1; 0 and kCells + 1 are as much below and
/// above it, what is farther out is -1. Halved before subtracting, as in features.hpp.
int Model::cell(const FeatureRow& row, std::size_t feature) const noexcept {
  if (row[feature] == high_[feature]) return kCells;
  const double half = high_[feature] / 2 - low_[feature] / 2;
  const double place = half > 0 ? (row[feature] / 2 - low_[feature] / 2) / half : -1;
  const double at = std::floor(place * kCells) + 1;
  return at >= 0 && at <= kCells + 1 ? static_cast<int>(at) : -1;
}

void Model::settle(const FeatureRow& row) noexcept {
  // A row of the training lies within its range, but for what rounding makes of the largest ranges.
  const int value = std::clamp(cell(row, 0), 1, kCells);
  const int change = std::clamp(cell(row, 1), 1, kCells);
  const std::uint64_t beside = std::uint64_t{7} << static_cast<unsigned>(change - 1);
  for (int i = value - 1; i <= value + 1; ++i) near_[static_cast<std::size_t>(i)] |= beside;
}

bool Model::apart(const FeatureRow& row) const noexcept {
  const int value = cell(row, 0);
  const int change = cell(row, 1);
  if (value < 0 || change < 0) return true;
  return (near_[static_cast<std::size_t>(value)] >> static_cast<unsigned>(change) & 1U) == 0;
}

FeatureRow Model::shifted(const FeatureRow& row) const noexcept {
  constexpr double kMost = std::numeric_limits<double>::max();
  return {std::clamp(row[0] - origin_, -kMost, kMost), row[1]};
}

Judgement Model::judge(const FeatureRow& row, const config::VitalConfig& vital,
                       std::optional<double> score) const {
  Judgement out;
  if (constant()) return out;
  const double least = least_distance(vital, low_[0], high_[0]);
  double excess = 0;
  for (std::size_t f = 0; f < kFeatures; ++f) {
    const double range = high_[f] - low_[f];
    const double distance = std::max(low_[f] - row[f], row[f] - high_[f]);
    if (distance >= least && range > 0) excess = std::max(excess, distance / range);
  }
  const bool outside = excess >= kStrangeExcess;
  const bool is_apart = high_[0] - low_[0] >= least && apart(row);
  out.needs_forest = outside || is_apart;
  if (!score || !measured_) return out;
  out.decision = *score - measured_->offset;
  if (!(out.decision < 0)) return out;
  out.strange = outside || (is_apart && *score < measured_->lowest - kMargin);
  if (excess >= kWarningExcess) out.severity = Severity::kWarning;
  return out;
}

}  // namespace nexus::analyze
