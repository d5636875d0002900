// Rules: vitals (recording rules with thresholds) and [[alert]] rules, over PromQL.
//
// Vitals are evaluated every tick; each element of the result becomes a sample of the series
// `name{labels}` in the history (one batch a tick through the rules' own ring), a NaN none, and a
// series that is not given any more a stale marker. A value that has reached a threshold is an
// observation named like the vital, its severity that of the higher threshold; the subject is the
// series' mountpoint, service, device, ... or "host". An evaluation error is counted, kept and
// shown; it stops no other rule and resolves nothing.
//
// With `clear` a finding ends only beyond it. Where a rule says so (`on_missing`), a series that
// gives no value any more holds or makes a finding that is `missing`, for up to a day.
//
// Alerts as in Prometheus: every element of the result is one, with the element's labels and the
// rule's over them. Labels and annotations are templates as in Prometheus's rule files.
//
// Rule files (`rule_files`) are Prometheus's: groups of recording and alerting rules, each group at
// its interval (15 s when it names none); alerts are findings too, their severity that of the label
// `severity`. ALERTS and ALERTS_FOR_STATE are written for all alerts, of rule files and of the
// configuration.
//
// Sources in the book: "vital:NAME", "alert:NAME" and "rule:FILE;GROUP;NAME#N"; rules that a reload
// took away are retired. Rules are compiled once; compile() reads the rule files and reports every
// bad expression and template with its place.
//
// Thread safety: the ticks from one thread; set() and the snapshots from any.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "nexus/analyze/book.hpp"
#include "nexus/analyze/rule_file.hpp"
#include "nexus/base/clock.hpp"
#include "nexus/config/analyze.hpp"
#include "nexus/knowledge/labels.hpp"
#include "nexus/knowledge/promql.hpp"
#include "nexus/knowledge/queryable.hpp"
#include "nexus/knowledge/ring.hpp"
#include "nexus/knowledge/self_metrics.hpp"

namespace nexus::analyze {

/// One series of a vital as it stands.
struct VitalValue {
  knowledge::SeriesId series = 0;  // in the history
  knowledge::Labels labels;        // with __name__ = the vital's name
  double value = 0;
  WallTime time{};
  std::uint32_t vital = 0;           // index into RuleSet::vitals
  std::optional<Severity> severity;  // of the threshold it is beyond, if any
};

struct VitalsSnapshot {
  std::shared_ptr<const std::vector<config::VitalConfig>> definitions;
  std::vector<VitalValue> values;  // by vital, then labels
  WallTime time{};
};

struct RuleStatus {
  std::string name;
  std::string error;  // of the last evaluation, empty when it went well
  double duration_seconds = 0;
  WallTime evaluated{};
};

/// An alert of a rule that is pending or firing, as Prometheus shows it.
struct RuleAlert {
  knowledge::Labels labels;  // alertname among them
  config::StringMap annotations;
  FindingState state = FindingState::kPending;
  WallTime active_at{};
  std::optional<WallTime> keep_firing_since;
  double value = 0;
  bool seen = true;  // false: fires on by keep_firing_for only
};

/// One rule and how its last evaluation went, as Prometheus's API shows it.
struct RuleReport {
  bool alerting = false;
  std::string name;
  std::string query;
  Millis pending{0};
  Millis keep_firing_for{0};
  config::StringMap labels;
  config::StringMap annotations;
  std::vector<RuleAlert> alerts;
  std::string error;
  double duration_seconds = 0;
  WallTime evaluated{};  // the epoch: not yet
};

struct GroupReport {
  std::string name;
  std::string file;
  Millis interval{0};
  std::size_t limit = 0;
  std::vector<RuleReport> rules;
  double duration_seconds = 0;
  WallTime evaluated{};
};
using GroupReports = std::vector<GroupReport>;

/// All expressions parsed. Immutable.
class RuleSet {
 public:
  /// Problems name the place of each bad expression. Vitals must be of type vector or scalar,
  /// alerts of type vector or scalar.
  [[nodiscard]] static std::shared_ptr<const RuleSet> compile(
      const config::Config& config, std::vector<config::Problem>& problems);
  struct CompiledVital {
    config::VitalConfig definition;
    knowledge::promql::Query query;
  };
  struct CompiledAlert {
    config::AlertConfig definition;
    knowledge::promql::Query query;
    std::optional<knowledge::promql::Query> clear;
    std::optional<knowledge::promql::Query> data;  // what is compared; with clear, on_missing
    std::shared_ptr<const Rule::Templates> labels;
    std::shared_ptr<const Rule::Templates> annotations;
  };
  std::vector<CompiledVital> vitals;  // enabled ones
  std::vector<CompiledAlert> alerts;
  std::vector<std::shared_ptr<const RuleGroup>> groups;       // of the rule files
  std::map<std::string, std::uint64_t, std::less<>> digests;  // of the rule files' texts, by path
  std::shared_ptr<const std::vector<config::VitalConfig>> definitions;
};

class Rules {
 public:
  Rules(Clock& clock, const knowledge::Queryable& data, knowledge::SeriesRegistry& registry,
        std::shared_ptr<knowledge::SampleRing> ring, Book& book, knowledge::SelfMetrics& self);
  ~Rules();

  void set(std::shared_ptr<const RuleSet> rules);
  /// Evaluates all vitals at the clock's wall time, pushes their samples, reports thresholds.
  void tick_vitals();
  /// Evaluates all alerts, and the groups of rule files that are due, and reports them.
  void tick_alerts();

  [[nodiscard]] std::shared_ptr<const VitalsSnapshot> vitals() const;
  [[nodiscard]] std::vector<RuleStatus> status() const;
  /// Everything as groups of Prometheus's API: the rule files', then "vitals" and "alerts" of
  /// agent.toml.
  [[nodiscard]] GroupReports groups() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace nexus::analyze
