// Executor: the priority queue, the workers, verification and recovery.
//
// Invariants: (1) an action is journaled (submit) before it can run, and its start is journaled
// before its step runs; (2) at most one action per target runs; at most `max_concurrent_actions`
// run; lower priority numbers first, then oldest; (3) a time limit really ends what was started;
// (4) after kill -9 in the middle, recover() finds the action, learns what became of it, and
// neither repeats nor forgets it; (5) every action ends in a final state and `finished` is called
// once with it; (6) nothing here holds a lock while a step runs or a callback is called.
//
// A ladder (`composite`) is an action whose rungs are actions of their own, each journaled,
// verified and recovered like any other; the ladder keeps no worker while a rung is under way. The
// next rung is begun when the last one did not help; with `all_rungs` when it helped, and what went
// before is undone when one does not.
//
// Verification: the `verify` expression is evaluated over the history about every 200 ms until it
// is true or `within` has passed; without one the step's own check is asked the same way for a few
// seconds. Only what was measured after the action ended counts for it.
//
// Thread safety: all members, any thread; `finished` is called on a worker (or the canceller's
// thread) while the target is still in flight, and must not call submit() for it. stop() lets
// running steps end within a grace time, then cancels them.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"
#include "nexus/config/values.hpp"
#include "nexus/execute/fleet.hpp"
#include "nexus/execute/journal.hpp"
#include "nexus/execute/step.hpp"
#include "nexus/knowledge/queryable.hpp"
#include "nexus/knowledge/self_metrics.hpp"
#include "nexus/plan/planner.hpp"

namespace nexus::execute {

struct ExecutorStatus {
  std::size_t proposed = 0;
  std::size_t queued = 0;
  std::size_t running = 0;  // running or verifying
};

struct Activity {
  std::vector<plan::Action> proposed;
  std::vector<plan::Action> queue;  // in the order they will run
  std::vector<plan::Action> in_progress;
};

/// An action that was done and kept, and what it has set.
struct Kept {
  plan::Action action;
  std::vector<SetValue> values;
  std::string unknown;  // why its values cannot be told for the moment; empty: they can
};

class Executor final : public plan::ActionSink {
 public:
  using Finished = std::function<void(const plan::Action&)>;

  /// `systemd` is asked, null: there is none; `privileged` is what changes this host.
  Executor(Clock& clock, Journal& journal, const knowledge::Queryable& data,
           knowledge::SelfMetrics& self, drivers::Systemd* systemd, host::Privileged& privileged);
  ~Executor() override;

  void configure(std::shared_ptr<const config::Config> config);
  void on_finished(Finished callback);
  /// Told when an action, a ladder or one of its rungs begins: it is journaled as running, and its
  /// step comes next. Called on a worker without a lock held; not again for what recover() follows.
  using Started = std::function<void(const plan::Action&)>;
  void on_started(Started callback);
  /// Asked just before a queued action starts, since the world may have changed while it waited
  /// (the kill switch, a reload, a dependency): the reason why it may not. Called without a lock
  /// held.
  using Permission = std::function<std::optional<plan::Refusal>(const plan::Action&)>;
  void set_permission(Permission refusal);
  /// Asked while an action runs: whether the kill switch is thrown. What can be ended in the middle
  /// is ended then; a job of systemd goes on, for a service stopped half-way is worse.
  void set_halted(std::function<bool()> halted);
  /// Where the action `notify` sends what it has to say.
  void set_notifier(Notifier notifier);
  /// What is kept of the host before a step that may destroy the traces: one JSON object, bounded.
  /// Called on a worker, may take a moment; empty: nothing is kept.
  using Witness = std::function<std::string(const plan::Action&)>;
  void set_witness(Witness witness);
  /// The lock that hosts share; null: none is asked. configure() makes the configured one when
  /// [fleet] changes.
  void set_fleet(std::shared_ptr<FleetLock> fleet);

  /// Settles what the last run left unfinished: after configure() and on_finished(), before
  /// start().
  [[nodiscard]] Status recover();
  void start();
  /// Nothing new starts; what runs has `grace` to end. Then commands are ended (`interrupted`), and
  /// jobs of systemd are left to it: they stay `running` in the journal, and recover() finds them.
  void stop(Millis grace);

  [[nodiscard]] Status submit(plan::Action action) override;
  [[nodiscard]] bool in_flight(std::string_view target) const override;
  [[nodiscard]] std::size_t targets_in_flight() const override;
  [[nodiscard]] bool active(std::string_view account) const override;
  void supersede(std::string_view account, std::string_view why) override;
  [[nodiscard]] std::string account(const plan::Action& action) const override;
  [[nodiscard]] Status validate(const plan::Action& action) const override;
  [[nodiscard]] Result<std::optional<plan::Action>> find_by_key(
      std::string_view idempotency_key) const override;
  void withdraw(std::string_view fingerprint, std::string_view why) override;

  [[nodiscard]] std::string resolve(std::string_view action_type, std::string_view target) override;
  [[nodiscard]] bool name_known(std::string_view action_type,
                                std::string_view target) const override;
  /// What a unit is called, from whoever has just heard it of systemd. Never waits.
  void learn_names(const std::string& unit, const std::vector<std::string>& names);
  /// Which run of a unit there is now. Never waits.
  void learn_run(const std::string& unit, const std::string& invocation_id);
  [[nodiscard]] Result<plan::Action> find(std::string_view id) const override;
  /// For Planner::approve(), which asks the rails.
  [[nodiscard]] Status approve(std::string_view id, std::string_view who,
                               std::string_view why = {}) override;
  void refuse(std::string_view id, std::string_view why) override;
  [[nodiscard]] Result<std::optional<double>> usual_seconds(std::string_view type) const override;

  [[nodiscard]] Status cancel(std::string_view id, std::string_view who);
  /// Cancels what is queued (the kill switch).
  void cancel_queued(std::string_view why);
  /// Expires proposals, prunes the journal, asks systemd about the names that resolve() could not
  /// tell. May wait for systemd.
  void tick();

  /// What a ServiceManager may use when somebody only asks (service_manager.hpp).
  [[nodiscard]] StepContext step_context() const;
  /// The value that an action has set last, beside what is there now, newest first; of the
  /// kMostKept targets that were set last. What somebody asked to roll back is wanted by nobody any
  /// more, and nobody answers for what an action may have left without success. Asks systemd about
  /// services, and reads the journal the first time: may wait.
  [[nodiscard]] Result<std::vector<Kept>> kept() const;
  static constexpr std::size_t kMostKept = 500;
  [[nodiscard]] ExecutorStatus status() const;
  [[nodiscard]] std::shared_ptr<const Activity> activity() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace nexus::execute
