// Planner: finding in, action (or a reason why not) out.
//
// For every firing finding it looks for the remedies that match and passes each through the
// guardrails (DESIGN.md section 9) in a fixed order: stopped, mode, protected, maintenance, hold,
// too many unhealthy, unknown name, not seen, missing data, dependency, in flight, breaker,
// cool-down, rate, blast radius. The first that objects gives the reason. Each decision, acted or
// not, is recorded when its reason changes; a refusal is written by the next tick at the latest.
//
// What `observe` alone holds back is followed in the shadow ledger: report().
//
// A person's dry run changes nothing and is held back by the protected set only. An action that
// was cancelled, expired or lost before it started is no attempt and never opens a breaker; a
// proposal that nobody wanted lengthens the cool-down, so that people are not flooded. A proposal
// counts against the hourly rates when it is approved, and is asked all rails again then.
//
// Invariants: (1) counters, cool-downs, breakers and the kill switch survive a restart (state
// database), written before the action is handed on; (2) one action per target at a time; (3) the
// protected set compiled in cannot be configured away; (4) a person's request passes the same
// guardrails except maintenance, holds, too many unhealthy, not seen, missing data, cool-down,
// breaker and mode `propose`; (5) a wall clock that is set neither ends nor lengthens a cool-down,
// a rate, a hold or a breaker: what was counted in this boot moves with it.
//
// Lock order: none is held while the ActionSink or the Book is called. Thread safety: all members,
// any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "nexus/analyze/book.hpp"
#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"
#include "nexus/config/operate.hpp"
#include "nexus/knowledge/self_metrics.hpp"
#include "nexus/knowledge/state.hpp"
#include "nexus/plan/action.hpp"
#include "nexus/plan/hold.hpp"
#include "nexus/plan/shadow.hpp"
#include "nexus/plan/surroundings.hpp"

namespace nexus::plan {

/// Where actions go. Implemented by execute.
class ActionSink {
 public:
  virtual ~ActionSink() = default;
  /// Journals the action and queues it (state kQueued) or keeps it for approval (state kProposed).
  [[nodiscard]] virtual Status submit(Action action) = 0;
  /// Whether an action on this account is proposed, queued, running or verifying.
  [[nodiscard]] virtual bool in_flight(std::string_view account) const = 0;
  /// The same without the proposals.
  [[nodiscard]] virtual bool active(std::string_view account) const { return in_flight(account); }
  /// Cancels the proposals on this account: a person acts there.
  virtual void supersede(std::string_view account, std::string_view why) {
    std::ignore = account;
    std::ignore = why;
  }
  /// What the rails count an action on, when that is not its target; empty: the target.
  [[nodiscard]] virtual std::string account(const Action& action) const {
    std::ignore = action;
    return {};
  }
  /// Distinct targets with an action queued, running or verifying.
  [[nodiscard]] virtual std::size_t targets_in_flight() const = 0;
  /// Checks type, target and parameters against the action's descriptor.
  [[nodiscard]] virtual Status validate(const Action& action) const = 0;
  /// The action that was submitted with this idempotency key, if any. submit() of a second one is
  /// kAlreadyExists.
  [[nodiscard]] virtual Result<std::optional<Action>> find_by_key(
      std::string_view idempotency_key) const = 0;
  /// Cancels the actions of this finding that have not started: it has resolved, so they would be
  /// for nothing.
  virtual void withdraw(std::string_view fingerprint, std::string_view why) = 0;
  /// The one name of a target, whatever alias it was called by; as given when that is not known.
  /// Never waits: a decision must not hang on whoever knows names.
  [[nodiscard]] virtual std::string resolve(std::string_view action_type,
                                            std::string_view target) = 0;
  /// Whether resolve() tells this target's one name, rather than the given one for want of better.
  [[nodiscard]] virtual bool name_known(std::string_view action_type,
                                        std::string_view target) const = 0;
  /// An action as the journal has it. kNotFound: there is none of this id.
  [[nodiscard]] virtual Result<Action> find(std::string_view id) const = 0;
  /// Queues a proposed action. kConflict: it is not proposed (any more).
  [[nodiscard]] virtual Status approve(std::string_view id, std::string_view who,
                                       std::string_view why) = 0;
  /// Cancels a proposed action that can never be approved.
  virtual void refuse(std::string_view id, std::string_view why) = 0;
  /// How long an action of this type usually takes until it has helped, in seconds.
  [[nodiscard]] virtual Result<std::optional<double>> usual_seconds(std::string_view) const {
    return std::nullopt;
  }
};

/// State of one (remedy, target).
struct Breaker {
  std::string remedy;
  std::string target;
  std::string state;             // closed, open
  std::uint32_t attempts = 0;    // since the last reset
  std::uint32_t unanswered = 0;  // in a row: proposals that expired or were declined, actions that
                                 // the agent's end, a lock or a condition kept from beginning
  WallTime cooldown_until{};
  WallTime opened{};
  std::string reason;  // why it opened
};

/// Compiled remedies, immutable.
class RemedySet {
 public:
  [[nodiscard]] static std::shared_ptr<const RemedySet> compile(
      const config::Config& config, std::vector<config::Problem>& problems);
  ~RemedySet();
  struct Impl;
  const std::unique_ptr<const Impl> impl;
  explicit RemedySet(std::unique_ptr<const Impl> made);
};

class Planner {
 public:
  /// `seed` of the jitter; 0: a random one. An empty `stop_file` switches that file off. `boot`
  /// tells this boot of the machine from others (/proc/sys/kernel/random/boot_id).
  [[nodiscard]] static Result<std::unique_ptr<Planner>> open(
      Clock& clock, knowledge::StateDb& db, knowledge::SelfMetrics& self, analyze::Book& book,
      ActionSink& sink, std::string stop_file, std::uint64_t seed = 0, std::string boot = {});
  ~Planner();

  /// Who knows what targets depend on and how those are. Null: nobody. Set before the first
  /// finding.
  void set_surroundings(std::shared_ptr<const Surroundings> surroundings);

  void configure(std::shared_ptr<const config::Config> config,
                 std::shared_ptr<const RemedySet> remedies);

  /// Decides about one finding that has just fired or resolved.
  void on_finding(const analyze::Finding& finding);
  /// Looks again at every firing finding: cool-downs that ended, breakers that cooled off, the stop
  /// file.
  void tick();
  /// What became of an action; feeds back-off and breaker. An open breaker is a finding
  /// "remedy_breaker_open".
  void on_finished(const Action& action);

  /// A person's action through the guardrails: the submitted action, or kConflict with the reason.
  [[nodiscard]] Result<Action> request(const ActionRequest& request);
  /// Lets a proposed action run when no rail objects now: all but the cool-down, which its own
  /// proposal has begun. kConflict with the reason; it stays proposed, unless it can never be done.
  [[nodiscard]] Status approve(std::string_view id, std::string_view who,
                               std::string_view why = {});

  /// Holds remedies off what the request names, until it expires. kInvalidArgument: no targets, no
  /// time; kExhausted: too many.
  [[nodiscard]] Result<Hold> hold(const HoldRequest& request);
  /// Ends a hold. kNotFound.
  [[nodiscard]] Result<Hold> release(std::string_view id);
  /// Those in force, the one that ends first first.
  [[nodiscard]] std::vector<Hold> holds() const;

  /// What each remedy would have done while it was only observing, and what happened without it.
  [[nodiscard]] Result<std::vector<ShadowSummary>> report();
  /// The newest entries of the shadow ledger, of one remedy or (empty) of all.
  [[nodiscard]] Result<std::vector<ShadowEntry>> shadow(std::string_view remedy, std::size_t limit);

  /// At the start, once the sink has recovered: corrects decisions whose action was lost because
  /// the agent ended before the action was journaled.
  [[nodiscard]] Status recover();

  /// The kill switch: persisted, also the file `stop_file`. `who` is recorded by the caller's
  /// audit. A stop that cannot be persisted stops all the same, and is an error; a start that
  /// cannot be persisted does not start.
  [[nodiscard]] Status set_running(bool running, std::string_view who);
  /// Why a queued action may not start any more: stopped, a mode (its own remedy's too) that does
  /// not allow it, its remedy is gone, switched off or another one since, a thing that is protected
  /// now, a hold, something it depends on that is down. Attempts and rates were counted when it was
  /// decided on.
  [[nodiscard]] std::optional<Refusal> refusal(const Action& action) const;
  /// False while stopped by set_running() or by the stop file.
  [[nodiscard]] bool running() const;

  [[nodiscard]] std::vector<Breaker> breakers() const;
  /// Re-arms: closes the breaker and forgets the attempts, by any name of the target. kNotFound
  /// when there is none.
  [[nodiscard]] Status reset(std::string_view remedy, std::string_view target);

  /// Newest first, ids below `before` (0: from the newest).
  [[nodiscard]] Result<std::vector<Decision>> decisions(std::size_t limit, std::int64_t before = 0);
  /// Those about one finding, newest first, at most `limit`.
  [[nodiscard]] Result<std::vector<Decision>> decisions_about(const std::string& fingerprint,
                                                              std::size_t limit);
  [[nodiscard]] WallTime last_check() const;

  /// The remedies, switched on, that would answer such a finding, in their order.
  struct Answer {
    std::string remedy;
    std::string action;
    std::string target;
    config::Mode mode{};
  };
  [[nodiscard]] std::vector<Answer> answers_to(const analyze::Finding& finding) const;

  struct Impl;  // src/plan/planner_impl.hpp

 private:
  explicit Planner(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Why a target must not be touched, or nothing. The floor (pid 1's units, the agent itself, sshd,
/// dbus, logind, journald, the init system, ...) is compiled in; `extra` are globs from the
/// configuration.
[[nodiscard]] std::optional<std::string> protected_reason(std::string_view action_type,
                                                          std::string_view target,
                                                          const std::vector<std::string>& extra);

/// Whether the targets of an action of this type are services: nexus/config/service_name.hpp.
[[nodiscard]] bool is_unit_action(std::string_view action_type);

/// The one spelling of a target: unit actions take "web" for "web.service".
[[nodiscard]] std::string canonical_target(std::string_view action_type, std::string_view target);

}  // namespace nexus::plan
