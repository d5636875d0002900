// The quantile of a sample as numpy.percentile has it: linear between the two nearest order
// statistics.
//
// Thread safety: pure function.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

namespace nexus::analyze {

/// `q` in [0, 1]; `values` is not empty and holds no NaN; it is reordered.
[[nodiscard]] inline double quantile(std::vector<double>& values, double q) {
  const double position = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::ptrdiff_t>(std::floor(position));
  const auto first = values.begin() + below;
  std::nth_element(values.begin(), first, values.end());
  const double low = *first;
  if (first + 1 == values.end()) return low;
  const double high = *std::min_element(first + 1, values.end());
  return std::lerp(low, high, position - static_cast<double>(below));
}

}  // namespace nexus::analyze
