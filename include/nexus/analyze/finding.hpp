// Finding: what analysis has to say. An alert, a vital beyond its threshold, a forecast that
// crosses one, an anomaly, a failed service, what became of a tuning, something that is not as it
// is configured, what belongs together: one life cycle (pending, firing, resolved), one severity
// scale, a subject, evidence, a fingerprint.
//
// Thread safety: plain values.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/analyze/change.hpp"

#include "nexus/base/clock.hpp"
#include "nexus/config/values.hpp"

namespace nexus::analyze {

using config::Severity;
using config::StringMap;

enum class FindingKind {
  kAlert,
  kVital,
  kForecast,
  kAnomaly,
  kService,
  kAgent,
  kIncident,      // findings that belong together; incidents.hpp
  kOptimization,  // a tuning that is proposed, was kept, or was taken back
  kDrift,         // what is in force is not what was configured, or set
};
inline constexpr std::array kFindingKinds{
    FindingKind::kAlert,    FindingKind::kVital,        FindingKind::kForecast,
    FindingKind::kAnomaly,  FindingKind::kService,      FindingKind::kAgent,
    FindingKind::kIncident, FindingKind::kOptimization, FindingKind::kDrift};
enum class FindingState { kPending, kFiring, kResolved };
[[nodiscard]] std::string_view to_string(FindingKind kind) noexcept;    // alert vital forecast ...
[[nodiscard]] std::string_view to_string(FindingState state) noexcept;  // pending firing resolved

struct Evidence {
  std::string source;  // the expression, or the model
  double value = 0;
  std::optional<double> threshold;
  std::string text;  // one sentence for people
};

/// The findings that an incident is made of, by fingerprint: its record has them as its cause and
/// symptoms.
struct Members {
  std::string cause;                  // the most upstream one
  std::vector<std::string> symptoms;  // the others, kMostSymptoms of a record at most
};

/// What an analyzer sees at one moment; the Book makes findings of it.
struct Observation {
  FindingKind kind = FindingKind::kAlert;
  std::string name;  // "disk_usage_percent", "service_failed", an alert's name
  Severity severity = Severity::kWarning;
  std::string subject;  // what it is about: "web.service", "/var", "host"
  StringMap labels;
  StringMap annotations;
  Evidence evidence;
  Millis pending{0};  // `for`
  Millis keep_firing_for{0};
  bool missing = false;  // what is seen is that there are no values (`on_missing`)
  WallTime began{};      // of an episode that begins now; unset: now
  std::shared_ptr<const Members> members = {};  // of an incident
  SteadyTime received{};  // when the agent learned of it; measures detection to action
};

/// One thing that became of a finding.
struct StateChange {
  WallTime time{};
  std::string
      what;  // pending firing resolved retired; info warning critical; flapping steady missing back
};

/// An action that was taken for it, or proposed.
struct FindingAction {
  WallTime time{};
  std::string id;
  std::string type;
  std::string target;
  std::string state;   // proposed queued running ... succeeded failed
  std::string result;  // one sentence, once it is there
  std::string remedy;
};

/// What belongs to a finding beside its values: immutable, shared by snapshots.
struct FindingRecord {
  static constexpr std::size_t kMostChanges = 40;  // of each list the newest
  static constexpr std::size_t kMostActions = 10;
  static constexpr std::size_t kMostSymptoms = 50;
  static constexpr std::size_t kMostCauses = 10;  // of `what_changed`

  std::vector<StateChange> states;     // oldest first
  std::string cause;                   // fingerprint of the finding that explains this one
  std::string cause_link;              // depends_on, connection, started_together, incident
  std::vector<std::string> symptoms;   // fingerprints of those that this one explains
  Changes what_changed;                // on the host, shortly before it began; newest first
  std::vector<FindingAction> actions;  // oldest first
};

struct Finding {
  std::string
      fingerprint;  // 16 hexadecimal digits over kind, name and labels; stable over restarts
  FindingKind kind = FindingKind::kAlert;
  std::string name;
  Severity severity = Severity::kWarning;
  std::string subject;
  StringMap labels;
  StringMap annotations;
  Evidence evidence;
  FindingState state = FindingState::kPending;
  WallTime started{};  // first seen in this episode
  std::optional<WallTime> fired;
  WallTime last_seen{};
  std::optional<WallTime> resolved;
  std::uint64_t episodes = 0;  // how often it has fired since it is known
  /// Whether it is so as far as was looked: not while keep_firing_for holds it, nor after a start
  /// until somebody has seen it again, nor when its rule could not be evaluated. What is not seen
  /// is told, and not acted upon.
  bool seen_now = true;
  /// It changed its state so often lately that it is held firing until it is steady again. It is
  /// told once, and not acted upon.
  bool flapping = false;
  /// Its data is gone: there is no value by which to say whether it is so.
  bool missing = false;
  /// When the agent learned of this episode; with a `for`, when it fired. Unset after a restart.
  SteadyTime received{};
  std::shared_ptr<const FindingRecord> record;  // null: nothing yet; see record_of()
};

[[nodiscard]] const FindingRecord& record_of(const Finding& finding) noexcept;

[[nodiscard]] std::string fingerprint(FindingKind kind, std::string_view name,
                                      const StringMap& labels);

}  // namespace nexus::analyze
