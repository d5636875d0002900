// Group: one group of a rule file at work, as Prometheus's rules.Group: its rules one after the
// other at one time, alerts from pending to firing to resolved, stale markers for series that a
// rule does not give any more.
//
// Times are those that evaluate() is given, never the clock's, so that the daemon and the unit
// tests of rules run the same code. A rule that fails keeps its alerts and series as they were.
//
// Thread safety: one thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "analyze/templates/template.hpp"
#include "nexus/analyze/rule_file.hpp"
#include "nexus/analyze/rules.hpp"

namespace nexus::analyze {

/// Where queries go and samples come from; both see what was appended before.
struct GroupWorld {
  std::function<Result<knowledge::promql::Vector>(const knowledge::promql::Query& query,
                                                  WallTime time)>
      query;
  std::function<Status(const knowledge::Labels& labels, WallTime time, double value)> append;
  /// The last sample of exactly this series within the hour before; for ALERTS_FOR_STATE after a
  /// restart. May be unset.
  std::function<std::optional<knowledge::Sample>(const knowledge::Labels& labels, WallTime time)>
      recall;
  /// A clock for how long rules take; may be unset.
  std::function<double()> seconds;
  config::StringMap external_labels;
  std::string external_url;
};

class Group {
 public:
  explicit Group(std::shared_ptr<const RuleGroup> definition);

  /// Takes over alerts and series of rules with the same kind, name and labels; the others' series
  /// end at the next evaluation.
  void inherit(Group& old);
  void evaluate(WallTime now, const GroupWorld& world);
  /// Ends all series, for a group that is gone.
  void end(WallTime now, const GroupWorld& world);

  [[nodiscard]] const RuleGroup& definition() const noexcept { return *definition_; }
  [[nodiscard]] std::size_t size() const noexcept { return rules_.size(); }
  [[nodiscard]] const std::string& error(std::size_t rule) const { return rules_[rule].error; }
  /// What is pending or firing, by labels. `seen` says whether the last evaluation saw it.
  [[nodiscard]] std::vector<RuleAlert> alerts(std::size_t rule) const;
  [[nodiscard]] RuleReport report(std::size_t rule) const;

 private:
  struct Alert {
    RuleAlert shown;
    FindingState state = FindingState::kPending;
    std::optional<WallTime> resolved;
    bool seen = false;
  };
  struct Live {
    std::map<knowledge::Labels, Alert> alerts;
    std::set<knowledge::Labels> series;  // of the last good evaluation
    std::string error;
    WallTime evaluated{};
    double duration_seconds = 0;
  };
  struct Output {
    knowledge::Labels labels;
    double value = 0;
  };

  Result<std::vector<Output>> run(std::size_t index, WallTime time, const GroupWorld& world);
  Result<std::vector<Output>> record(std::size_t index, knowledge::promql::Vector result) const;
  Result<std::vector<Output>> alert(std::size_t index, knowledge::promql::Vector result,
                                    WallTime time, const GroupWorld& world);
  Result<std::map<knowledge::Labels, RuleAlert>> expand(std::size_t index,
                                                        const knowledge::promql::Vector& result,
                                                        WallTime time,
                                                        const GroupWorld& world) const;
  void see(const Rule& rule, Live& live, std::map<knowledge::Labels, RuleAlert> seen, WallTime time,
           const GroupWorld& world);
  /// Moves an alert on; false when it is nothing any more.
  static bool settle(const Rule& rule, Alert& alert, WallTime time);
  void write(Live& live, const std::vector<Output>& outputs, WallTime time,
             const GroupWorld& world);
  [[nodiscard]] config::StringMap labels_of(const Rule& rule) const;

  std::shared_ptr<const RuleGroup> definition_;
  std::vector<Live> rules_;
  std::set<knowledge::Labels> ended_;  // series of rules that are gone
  bool restores_ = true;               // until the first evaluation
};

}  // namespace nexus::analyze
