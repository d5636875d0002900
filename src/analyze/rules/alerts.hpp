// Alerts: evaluates [[alert]] rules and reports each element of their results.
//
// As in Prometheus every element of a vector is an alert, whatever its value; a scalar is one when
// it is not zero. Labels of the rule replace those of the element; labels and annotations are
// templates.
//
// Thread safety: one thread, but status() any.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "analyze/rules/evaluator.hpp"
#include "analyze/rules/presence.hpp"
#include "nexus/analyze/rules.hpp"

namespace nexus::analyze {

struct TemplateData;

class Alerts {
 public:
  Alerts(Clock& clock, const knowledge::Queryable& data, Book& book, knowledge::SelfMetrics& self);

  void adopt(std::shared_ptr<const RuleSet> rules);
  void tick();
  [[nodiscard]] std::vector<RuleStatus> status() const;

 private:
  void evaluate(const RuleSet::CompiledAlert& alert, WallTime now, RuleStatus& status);
  /// What fires on although its element is gone: by `clear` or for want of data; and what fires
  /// because there is no data. False: an expression could not be evaluated.
  bool fill_gaps(const RuleSet::CompiledAlert& alert, WallTime now, RuleStatus& status,
                 TemplateData& data, std::vector<Observation>& seen, std::vector<Book::Held>& held);

  Clock& clock_;
  Book& book_;
  Evaluator evaluator_;
  std::shared_ptr<const RuleSet> rules_;
  std::map<std::string, Presence> presence_;  // by alert, with on_missing = "fire"

  mutable std::mutex mutex_;  // guards status_
  std::vector<RuleStatus> status_;
};

}  // namespace nexus::analyze
