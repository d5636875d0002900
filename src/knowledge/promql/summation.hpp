// Sums and means as Prometheus computes them: compensated (Neumaier 1974, "Rundungsfehleranalyse
// einiger Verfahren zur Summation endlicher Summen"), and means that fall back to an incremental
// mean when the sum would overflow. Thread safety: plain values.
#pragma once

#include <cmath>

namespace nexus::knowledge::promql {

struct CompensatedSum {
  double sum = 0;
  double compensation = 0;

  void add(double value) noexcept {
    const double total = sum + value;
    if (std::isinf(total)) {
      compensation = 0;
    } else if (std::fabs(sum) >= std::fabs(value)) {
      compensation += (sum - total) + value;
    } else {
      compensation += (value - total) + sum;
    }
    sum = total;
  }
  [[nodiscard]] double value() const noexcept { return sum + compensation; }
};

struct CompensatedMean {
  CompensatedSum sum;  // the mean itself once `incremental`
  double count = 0;
  bool incremental = false;

  void add(double value) noexcept {
    count += 1;
    if (count == 1) {
      sum.sum = value;
      return;
    }
    if (!incremental) {
      CompensatedSum next = sum;
      next.add(value);
      if (!std::isinf(next.sum)) {
        sum = next;
        return;
      }
      incremental = true;
      sum.sum /= count - 1;
      sum.compensation /= count - 1;
    }
    const double weight = (count - 1) / count;
    sum = {weight * sum.sum, weight * sum.compensation};
    sum.add(value / count);
  }
  [[nodiscard]] double value() const noexcept {
    return incremental ? sum.value() : sum.sum / count + sum.compensation / count;
  }
};

}  // namespace nexus::knowledge::promql
