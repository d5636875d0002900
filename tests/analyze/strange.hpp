// Series and models that the tests of anomalies share.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "analyze/anomaly/model.hpp"
#include "analyze/anomaly/random.hpp"

namespace nexus::analyze::test {

/// -1 to 1, the same for the same second.
inline double noise(int second) {
  return 2 * Random(static_cast<std::uint64_t>(second)).uniform() - 1;
}

inline double ordinary(int s) {
  return 20 + 5 * std::sin(s / 50.0) + 3 * noise(s);
}

/// A model and its forest, kept here, so that many rows can be judged.
struct Trained {
  Model model;
  IsolationForest forest;

  [[nodiscard]] Judgement judge(const FeatureRow& row, const config::VitalConfig& vital) const {
    return model.judge(row, vital, forest.score_samples(model.shifted(row)));
  }
};

inline Result<Trained> trained(const std::vector<FeatureRow>& rows) {
  auto model = Model::learn(rows);
  if (!model) return std::unexpected(model.error());
  const auto training = model->training(rows);
  if (auto measured = model->score(rows.front(), training, {}); !measured)
    return std::unexpected(measured.error());
  const std::vector<double> flat(training.begin(), training.end());
  auto forest = IsolationForest::fit(flat, kFeatures, {});
  if (!forest) return std::unexpected(forest.error());
  return Trained{std::move(*model), std::move(*forest)};
}

}  // namespace nexus::analyze::test
