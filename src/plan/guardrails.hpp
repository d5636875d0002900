// Guardrails: the pure function that says whether an action may be taken, and why not.
//
// Everything it needs is in a Situation; it reads no clock and touches nothing, so each rail is
// tested by itself. The order is part of the contract (nexus/plan/planner.hpp): stopped, mode,
// protected, maintenance, hold, too many unhealthy, unknown name, not seen, missing data,
// dependency, in flight, breaker, cool-down, rate, blast radius. A person's action is not held back
// by maintenance, holds, too many unhealthy, not seen, missing data, breaker, cool-down and mode
// `propose`; a proposal that a person approves neither, but for the breaker.
//
// Attempts: each action of a remedy on a target is one. When `max_attempts` were made and a further
// one is due (the cool-down is over, or the trouble came back as a new episode), the breaker opens
// instead. With `breaker_open_for` it cools off into one more attempt. Thread safety: pure
// functions and plain values.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "nexus/base/clock.hpp"
#include "nexus/config/operate.hpp"

namespace nexus::plan {

/// What is remembered about one (remedy, target).
struct PairState {
  std::uint32_t attempts = 0;
  /// In a row: proposals that expired or were declined, actions that the agent's end, the fleet's
  /// lock or a condition kept from beginning.
  std::uint32_t unanswered = 0;
  WallTime last_end{};  // when the last action ended; before that, when it was submitted
  WallTime cooldown_until{};
  bool open = false;
  WallTime opened{};
  std::uint32_t openings = 0;  // in a row, without a quiet time between: each cools off later
  std::string why;             // it opened
  std::uint64_t version = 0;  // counts changes: an older state never overwrites a newer one on disk

  /// Nothing to forget; a cool-down may hold all the same.
  [[nodiscard]] bool fresh() const noexcept { return !open && attempts == 0 && unanswered == 0; }
};

/// The rails of one remedy: [guardrails] with the remedy's own values over it.
struct Rails {
  config::GuardrailsSection limits;
  Millis cooldown{};
  std::uint32_t max_attempts = 0;
};

/// Who wants the action: a remedy, a person, or a person who approves a remedy's proposal.
enum class Asker { kRemedy, kPerson, kApproval };

struct Situation {
  WallTime now{};
  Asker asker = Asker::kRemedy;
  std::optional<std::string> stopped;      // why nothing may be done
  config::Mode mode = config::Mode::kAct;  // the more careful of the agent's and the remedy's
  std::optional<std::string> protected_reason;
  std::optional<std::string> name_unknown;     // by which name the target is counted
  std::optional<std::string> maintenance;      // the window that is open for the target
  std::optional<std::string> held;             // by whom, until when
  std::optional<std::string> suspect;          // why the sensor, not the target, is suspected
  std::optional<std::string> not_seen;         // why the finding is not what is so now
  std::optional<std::string> flaps;            // why what it says is not relied upon
  std::optional<std::string> missing_data;     // why what is known of it is too old
  std::optional<std::string> dependency_down;  // what the target depends on, and how that is
  bool in_flight = false;                      // an action for the target
  std::string_view remedy;
  std::string_view target;
  PairState pair;
  WallTime fired{};              // when the finding's present episode began to fire
  std::uint32_t hour_total = 0;  // actions of the last hour
  std::uint32_t hour_target = 0;
  std::uint32_t hour_proposals = 0;
  WallTime total_frees{};  // when the oldest of them leaves the hour
  WallTime target_frees{};
  WallTime proposals_free{};
  std::size_t other_targets = 0;  // distinct other targets being acted on
  std::size_t watched = 0;        // services, when the target is one; 0: no share is to be kept
};

enum class Verdict { kAct, kPropose, kSkip };
[[nodiscard]] std::string_view to_string(Verdict verdict) noexcept;  // acted proposed skipped

struct Ruling {
  Verdict verdict = Verdict::kSkip;
  std::string_view code;  // a literal: ok, stopped, observe, protected, in_flight, breaker_open,
                          // cooldown, rate, ...
  std::string reason;     // a sentence; empty with `ok`
  bool opens_breaker = false;  // this ruling found that the attempts are used up
};

[[nodiscard]] Ruling judge(const Situation& situation, const Rails& rails);

/// Why the hourly rates have no room for one more, if so.
[[nodiscard]] std::optional<Ruling> over_rate(const Situation& situation, const Rails& rails,
                                              Verdict verdict);

/// For how long a breaker stays open the `openings`-th time in a row; 0: until it is reset.
[[nodiscard]] Millis open_for(std::uint32_t openings, const Rails& rails);

/// How long to wait after the `attempts`-th action or unanswered proposal; `random` is in [0, 1).
[[nodiscard]] Millis cooldown_after(std::uint32_t attempts, const Rails& rails, double random);

/// Brings a pair up to the present: pulls back times that a clock set back has left in the future,
/// forgets its attempts after `reset_after` without trouble, and lets an open breaker that has
/// cooled off make one more attempt. True when something changed.
[[nodiscard]] bool settle(PairState& pair, WallTime last_trouble, const Rails& rails, WallTime now);

}  // namespace nexus::plan
