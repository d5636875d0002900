// What vitals and alerts share: running an expression with a time limit and keeping its status, and
// naming what a series is about.
//
// Thread safety: one thread.
#pragma once

#include <string>
#include <string_view>

#include "nexus/analyze/rules.hpp"

namespace nexus::analyze {

class Evaluator {
 public:
  /// `kind` is "vital" or "alert", for the metrics.
  Evaluator(Clock& clock, const knowledge::Queryable& data, knowledge::SelfMetrics& self,
            std::string_view kind);

  /// The elements of the result at `at`; a scalar is one element without labels. The outcome is
  /// noted in `status`.
  [[nodiscard]] Result<knowledge::promql::Vector> run(const knowledge::promql::Query& query,
                                                      WallTime at, RuleStatus& status);
  /// A rule whose result was usable in part.
  void complain(RuleStatus& status, std::string error);

 private:
  Clock& clock_;
  const knowledge::Queryable& data_;
  knowledge::Counter evaluations_;
  knowledge::Counter failures_;
  knowledge::Counter seconds_;
};

/// Labels without __name__.
[[nodiscard]] StringMap to_map(const knowledge::Labels& labels);
/// What a series is about: its mountpoint, device, service, ... or "host".
[[nodiscard]] std::string subject_of(const StringMap& labels);
[[nodiscard]] std::string subject_of(const knowledge::Labels& labels);

}  // namespace nexus::analyze
