// Replay: a table row by row through the detectors and rules that live data goes through, for
// judging them on any past.
//
// One series: its VitalDetector. Many: one each, which share the alarms a day, and a row is as
// strange as its strangest column; or, `together`, one HostDetector and the columns that made the
// row strange; or, by `contamination`, the isolation forest alone: of each column, or `together`
// one over all (IsolationForest::kMaxDimensions at most). With rule groups every row is appended
// under the columns' names (what a name may not hold becomes _) and the groups are evaluated at its
// time.
//
// Thread safety: pure; `row` is called in order.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "nexus/analyze/csv.hpp"
#include "nexus/analyze/detect.hpp"
#include "nexus/analyze/rule_file.hpp"

namespace nexus::analyze {

struct ReplayOptions {
  bool together = false;
  double alarms_a_day = 1;
  /// The share of rows that a forest by itself flags (scikit-learn's); unset: the detectors above.
  std::optional<double> contamination;
  std::size_t contributions = 5;  // named of a strange row
  std::vector<std::shared_ptr<const RuleGroup>> rules;
};

struct ReplayRow {
  std::size_t row = 0;
  /// None: left out, since its time is not newer or it has no value.
  std::optional<RowScore> score;
  std::vector<Contribution> columns;  // of a strange row of many columns, most first
  std::vector<std::string> alerts;    // that fire, "NAME{labels}"
};

struct ReplaySummary {
  std::size_t rows = 0;
  std::size_t scored = 0;
  std::size_t flagged = 0;
  std::size_t known = 0;                 // strange, but seen before
  std::size_t left_out = 0;              // rows
  std::vector<std::string> rule_errors;  // the first of each rule
};

[[nodiscard]] Result<ReplaySummary> replay(const CsvTable& table, const ReplayOptions& options,
                                           const std::function<void(const ReplayRow&)>& row);

}  // namespace nexus::analyze
