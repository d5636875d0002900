// Groups: the groups of the rule files at work in the daemon, each at its interval.
//
// Recorded series, ALERTS and ALERTS_FOR_STATE go into the history, one batch a group and
// evaluation; alerts are observations for the book, whose sources are "rule:FILE;GROUP;NAME#N".
//
// Thread safety: one thread, but reports() any.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "analyze/cadence.hpp"
#include "analyze/rules/evaluator.hpp"
#include "analyze/rules/group.hpp"
#include "analyze/rules/overlay.hpp"
#include "nexus/analyze/rules.hpp"

namespace nexus::analyze {

inline constexpr std::uint32_t kFirstRuleGroup = 2'000'000;
inline constexpr std::string_view kRuleSource = "rule:";

class Groups {
 public:
  Groups(Clock& clock, const knowledge::Queryable& data, knowledge::SeriesRegistry& registry,
         std::shared_ptr<knowledge::SampleRing> ring, Book& book, knowledge::SelfMetrics& self);
  ~Groups();

  void adopt(const RuleSet& rules);
  /// Evaluates the groups that are due.
  void tick();
  [[nodiscard]] GroupReports reports() const;
  /// Whether no rule has this source any more.
  [[nodiscard]] static bool is_gone(const RuleSet& rules, std::string_view source);

 private:
  struct Live {
    Live(std::shared_ptr<const RuleGroup> definition, std::uint32_t number)
        : group(std::move(definition)), number_in_history(number) {}
    Group group;
    std::uint32_t number_in_history;
    Cadence cadence;
    GroupReport report;
  };

  [[nodiscard]] GroupWorld world();
  void evaluate(Live& live);
  void push(std::uint32_t number);
  Status append(const knowledge::Labels& labels, WallTime time, double value);
  void observe(const Live& live);
  void publish();

  Clock& clock_;
  knowledge::SeriesRegistry& registry_;
  std::shared_ptr<knowledge::SampleRing> ring_;
  Book& book_;
  Overlay overlay_;
  Evaluator evaluator_;
  knowledge::Counter refused_;

  std::vector<std::unique_ptr<Live>> live_;
  std::map<std::pair<std::string, std::string>, std::uint32_t> numbers_;  // by file and name
  std::vector<knowledge::SeriesId> ids_;                                  // the batch
  std::vector<double> values_;
  std::int64_t time_ = 0;

  mutable std::mutex mutex_;  // guards reports_
  std::shared_ptr<const GroupReports> reports_;
};

}  // namespace nexus::analyze
