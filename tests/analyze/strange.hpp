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

/// A model with its forest.
inline Result<Model> trained(const std::vector<FeatureRow>& rows) {
  auto model = Model::learn(rows);
  if (!model) return model;
  if (Status grown = model->grow(rows, {}); !grown) return std::unexpected(grown.error());
  return model;
}

}  // namespace nexus::analyze::test
