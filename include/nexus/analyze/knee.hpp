// Knees: at which load the response of a service degrades, and when the load gets there.
//
// KneeTrend holds minutes of load and response of one service, the newest kMost of them. fit()
// sorts them by load into bins of equal count, takes the median response of each (one slow minute
// is no knee), and fits y = flat + slope * max(0, load - knee) by least squares for every bin's
// edge as the knee. A knee is claimed only when
//   - there are kFewest minutes, and three bins or more on either side;
//   - the response at the highest load is half as much again as the flat one, and the step matters
//     against the scatter of the bins (F test against a constant, p below 0.001);
//   - the hinge leaves at most kOfLine of what a straight line leaves (a response that grows with
//     the load from the beginning has no knee).
//
// Which vital is whose load: a vital named X_requests_per_second is the load of every other vital
// named X_... with the unit seconds, percent or ratio and bad above (X_response_seconds,
// X_errors_percent), series by series of the same labels.
//
// Thread safety: plain values, one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "nexus/knowledge/labels.hpp"

namespace nexus::analyze {

struct Knee {
  double load = 0;     // where the response begins to rise
  double flat = 0;     // the response below it
  double slope = 0;    // of the response by load, above it
  double p_value = 1;  // of "the load makes no difference"
  double highest = 0;  // load seen
  std::size_t minutes = 0;
};

class KneeTrend {
 public:
  static constexpr std::size_t kMost = 7 * 1440;
  static constexpr std::size_t kFewest = 240;

  void add(double load, double response);
  [[nodiscard]] std::optional<Knee> fit() const;
  [[nodiscard]] std::size_t minutes() const noexcept { return rows_.size(); }

 private:
  std::vector<std::pair<float, float>> rows_;  // a ring
  std::size_t next_ = 0;
};

/// A service's response, its knee, and what the load's forecast says of it.
struct Performance {
  std::string metric_name;  // of the response
  std::string load_name;
  knowledge::Labels labels;  // without __name__
  std::string unit;          // of the response
  double load = 0;           // now
  double response = 0;
  std::size_t minutes = 0;  // learnt from
  std::optional<Knee> knee;
  std::optional<double> seconds;   // until the forecast of the load is at the knee; 0: it is now
  std::optional<double> earliest;  // until the upper end of its 80 % interval is
};

}  // namespace nexus::analyze
