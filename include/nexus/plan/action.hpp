// Action: something the agent does to the world, its cause, and what became of it (its Outcome).
//
// Life cycle:  proposed -> queued -> running -> verifying -> succeeded | failed | unverified
//              proposed -> cancelled | expired;  queued -> cancelled;  running -> cancelled |
//              interrupted
// `interrupted`: the agent ended in the middle and what became of it cannot be told; what goes on
// without the agent (a job of systemd) stays `running` until the agent is back. A dry run goes
// proposed/queued -> succeeded at once with the plan as its result. Thread safety: plain values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/config/operate.hpp"

namespace nexus::plan {

enum class ActionState {
  kProposed,  // waits for approval
  kQueued,
  kRunning,
  kVerifying,   // done, waits until the verify expression holds
  kSucceeded,   // done, and verified where there is something to verify
  kFailed,      // could not be done, or the time limit ran out
  kUnverified,  // done, but the verify expression did not hold in time
  kCancelled,
  kExpired,      // nobody approved it in time
  kInterrupted,  // the agent stopped in the middle; not repeated
};
[[nodiscard]] std::string_view to_string(
    ActionState state) noexcept;  // proposed queued running verifying ...
[[nodiscard]] std::optional<ActionState> parse_action_state(std::string_view text) noexcept;
[[nodiscard]] bool is_final(ActionState state) noexcept;

/// Why an action is there: a finding, or a named person.
struct Cause {
  std::string finding;  // name of the finding, empty when a person asked
  std::string fingerprint;
  std::string summary;       // one sentence
  std::string requested_by;  // "system", or who asked
  WallTime detected{};       // when the cause was seen
  bool operator==(const Cause&) const = default;
};

struct Outcome {
  std::string result;            // one sentence: what was done, or the error
  std::string reason_code;       // why it was cancelled before it started; empty otherwise
  std::string output;            // of a command, bounded
  std::string would_do;          // of a dry run
  std::optional<bool> verified;  // unset: nothing to verify
  std::string
      before;  // evidence taken just before (unit state, value of the verify expression), JSON
  std::string after;       // the same afterwards, JSON
  std::string undone;      // what was taken back because it did not help, or why it could not be
  std::string evidence;    // of the host just before a disruptive step, JSON, bounded
  std::string experiment;  // the windows and the test that decided to keep or undo it, JSON
  std::string fleet;       // the fleet lock it was done under, and its fencing token
  bool operator==(const Outcome&) const = default;
};

/// One step of a ladder: what it does, and the action that did it.
struct Rung {
  std::string type;
  std::string target;
  config::Parameters parameters;
  std::optional<config::VerifyConfig> verify;
  Millis timeout{300'000};
  std::string action_id;  // empty: its turn has not come
  bool operator==(const Rung&) const = default;
};

struct Action {
  std::string id;      // UUID v7
  std::string type;    // restart_service, ...
  std::string target;  // "web.service", a command's name, ...
  config::Parameters parameters;
  int priority = 50;  // 0 first
  Cause cause;
  std::string remedy;  // empty for a person's action
  bool dry_run = false;
  std::string idempotency_key;  // a second request with the same key gets the first action
  Millis timeout{300'000};
  std::optional<config::VerifyConfig> verify;
  std::uint32_t attempt = 1;  // how often this remedy has been tried on this target in this episode
  std::string definition;     // digest of the remedy it was decided by: a reload may change that
  std::vector<Rung> rungs;    // of a ladder (`composite`), in their order
  bool all_rungs = false;     // every rung has to help
  std::string parent;         // the ladder that this action is a rung of
  std::optional<config::ExperimentConfig> experiment;
  std::string only_if;   // an expression that must hold just before it acts
  std::string account;   // what the rails count it on; empty: the target
  std::string identity;  // which run of the target it is about (invocation id), where known

  ActionState state = ActionState::kQueued;
  WallTime created{};
  std::optional<WallTime> approved;
  std::string approved_by;
  std::string approval_reason;
  std::optional<WallTime> started;
  std::optional<WallTime> finished;
  std::optional<double>
      detection_to_start_seconds;  // from the finding's reception to the start, steady clock
  SteadyTime received{};           // of the finding; not persisted
  Outcome outcome;
};

/// What attempts, rates and "one at a time" are counted on.
[[nodiscard]] inline const std::string& account_of(const Action& action) noexcept {
  return action.account.empty() ? action.target : action.account;
}

/// What a person asks for.
struct ActionRequest {
  std::string type;
  std::string target;
  config::Parameters parameters;
  int priority = 50;
  bool dry_run = false;
  std::string idempotency_key;
  std::string requested_by;
  std::string reason;
};

/// Why something may not be done: a code for machines and metrics, a sentence for people.
struct Refusal {
  std::string_view code;  // a literal
  std::string reason;
};

/// One decision about one finding and one remedy: acted or not, and why.
struct Decision {
  std::int64_t id = 0;
  WallTime time{};
  std::string remedy;  // empty for a person's request
  std::string finding;
  std::string fingerprint;
  std::string action_type;
  std::string target;
  std::string verdict;      // acted, proposed, skipped
  std::string reason_code;  // cooldown, rate, breaker_open, protected, in_flight, stopped, observe,
                            // ...; "ok" when acted
  std::string reason;       // a sentence: "skipped: cool-down until 12:03:10"
  std::string action_id;    // when there is one
};

}  // namespace nexus::plan
