#include "analyze/anomaly/forest_detector.hpp"

#include <algorithm>
#include <cmath>

namespace nexus::analyze {
namespace {

constexpr double kFarthest = 1e6;  // half ranges: farther out no split tells more

}  // namespace

ForestDetector::ForestDetector(std::size_t columns, double contamination)
    : columns_(columns),
      features_(columns == 1 ? 2 : columns),
      contamination_(contamination),
      scales_(features_),
      row_(features_),
      asked_(features_) {}

double ForestDetector::scaled(std::size_t feature, double value) const noexcept {
  const Scale& scale = scales_[feature];
  // Halves, since the difference of two large doubles may be no finite one.
  const double distance = value / 2 - scale.middle / 2;
  if (scale.half == 0) return distance == 0 ? 0 : std::copysign(kFarthest, distance);
  return std::clamp(distance / scale.half * 2, -kFarthest, kFarthest);
}

void ForestDetector::grow() {
  if (rows_.size() > kWindow * features_) {
    const auto gone = static_cast<std::ptrdiff_t>(rows_.size() - kWindow * features_);
    rows_.erase(rows_.begin(), rows_.begin() + gone);
  }
  const std::size_t count = rows_.size() / features_;
  std::vector<double> values(count);
  for (std::size_t f = 0; f < features_; ++f) {
    for (std::size_t i = 0; i < count; ++i) values[i] = rows_[i * features_ + f];
    std::ranges::sort(values);
    scales_[f] = {.middle = values.front() / 2 + values.back() / 2,
                  .half = values.back() / 2 - values.front() / 2,
                  .median = values[count / 2]};
  }
  std::vector<double> training(rows_.size());
  for (std::size_t i = 0; i < training.size(); ++i) training[i] = scaled(i % features_, rows_[i]);
  IsolationForest::Options options;
  options.contamination = contamination_;
  auto grown = IsolationForest::fit(training, features_, options);
  since_ = 0;
  if (!grown) return;  // the one before goes on
  forest_ = std::move(*grown);
  scores_.clear();
  for (std::size_t i = 0; i < count; ++i)
    scores_.push_back(
        forest_->anomaly_score(std::span(training).subspan(i * features_, features_)));
  std::ranges::sort(scores_);
}

std::optional<RowScore> ForestDetector::push(std::int64_t time, std::span<const double> row) {
  if (time_ && time <= *time_) return std::nullopt;
  if (!std::ranges::all_of(row, [](double value) { return std::isfinite(value); }))
    return std::nullopt;
  time_ = time;
  std::ranges::copy(row, row_.begin());
  if (columns_ == 1) {
    const double change = row[0] - before_.value_or(row[0]);
    row_[1] = std::isfinite(change) ? change : std::copysign(1e308, change);
    before_ = row[0];
  }
  if (rows_.size() >= kMinimum * features_ && (!forest_ || since_ >= kRefit)) grow();
  RowScore out;
  out.progress =
      std::min(1.0, static_cast<double>(rows_.size() / features_) / static_cast<double>(kMinimum));
  if (forest_) {
    for (std::size_t f = 0; f < features_; ++f) asked_[f] = scaled(f, row_[f]);
    out.ready = true;
    out.score = score_ = out.raw = forest_->anomaly_score(asked_);
    const auto stranger = std::ranges::lower_bound(scores_, out.score);
    out.probability = (static_cast<double>(scores_.end() - stranger) + 1) /
                      (static_cast<double>(scores_.size()) + 1);
    out.flag = forest_->decision_function(asked_) < 0;
  }
  rows_.insert(rows_.end(), row_.begin(), row_.end());
  ++since_;
  return out;
}

std::vector<Contribution> ForestDetector::contributions(std::size_t most) const {
  std::vector<Contribution> out;
  if (!forest_) return out;
  double all = 0;
  std::vector<double> row = asked_;
  for (std::size_t c = 0; c < columns_; ++c) {
    row[c] = scaled(c, scales_[c].median);
    const double less = score_ - forest_->anomaly_score(row);
    row[c] = asked_[c];
    if (!(less > 0)) continue;
    out.push_back({c, less, scales_[c].median, row_[c]});
    all += less;
  }
  for (Contribution& one : out) one.share /= all;
  std::ranges::sort(out, std::ranges::greater(), &Contribution::share);
  if (out.size() > most) out.resize(most);
  return out;
}

}  // namespace nexus::analyze
