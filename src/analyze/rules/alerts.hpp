// Alerts: evaluates [[alert]] rules and reports each element of their results.
//
// As in Prometheus every element of a vector is an alert, whatever its value; a scalar is one when
// it is not zero. Labels of the rule replace those of the element; labels and annotations are
// templates.
//
// Thread safety: one thread, but status() any.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "analyze/rules/evaluator.hpp"
#include "nexus/analyze/rules.hpp"

namespace nexus::analyze {

class Alerts {
 public:
  Alerts(Clock& clock, const knowledge::Queryable& data, Book& book, knowledge::SelfMetrics& self);

  void adopt(std::shared_ptr<const RuleSet> rules);
  void tick();
  [[nodiscard]] std::vector<RuleStatus> status() const;

 private:
  void evaluate(const RuleSet::CompiledAlert& alert, WallTime now, RuleStatus& status);

  Clock& clock_;
  Book& book_;
  Evaluator evaluator_;
  std::shared_ptr<const RuleSet> rules_;

  mutable std::mutex mutex_;  // guards status_
  std::vector<RuleStatus> status_;
};

}  // namespace nexus::analyze
