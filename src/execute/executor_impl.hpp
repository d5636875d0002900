// The executor's state, shared by executor.cpp (its face), queue.cpp, run.cpp (what a worker
// does with one action), verify.cpp and recover.cpp.
//
// `mutex` guards what stands under it. Actions are held as immutable values that are replaced: a
// snapshot is a copy of pointers. An entry is changed by one party at a time: whoever has claimed
// it, under the mutex, writes the journal and then publishes the new state; a worker claims what it
// takes off the queue.
#pragma once

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include "execute/kept.hpp"
#include "execute/names.hpp"
#include "nexus/config/config.hpp"
#include "nexus/execute/executor.hpp"
#include "nexus/host/privileged.hpp"

namespace nexus::execute {

struct Entry {
  std::shared_ptr<const plan::Action> action;  // guarded by the executor's mutex
  std::uint64_t order = 0;                     // of arrival
  bool claimed = false;                        // guarded by the executor's mutex
  bool taken = false;                          // by a worker; guarded by the executor's mutex
  bool parked = false;       // a ladder whose rung is under way; guarded by the executor's mutex
  SteadyTime expires{};      // a proposal that nobody approves until then
  bool recovered = false;    // begun before a restart of the agent: followed, verified, not redone
  std::string cancelled_by;  // guarded by the executor's mutex
  std::atomic<bool> cancel{false};
  std::unique_ptr<FleetPlace> place;  // while it runs, where one is needed; its worker's
};
using EntryPtr = std::shared_ptr<Entry>;

/// How many actions on one account (plan::account_of) there are. Dry runs are not counted.
struct TargetLoad {
  std::size_t proposed = 0;
  std::size_t active = 0;  // queued, running, verifying
  bool running = false;
};

/// For how long an undo keeps its worker waiting for who is away. After a restart of the agent it
/// is the action's time limit: what runs an engine may still be booting.
inline constexpr Millis kUndoWaits{30'000};

struct UndoWish {
  bool needs_place = false;  // among the hosts: the action holds none any more
  bool waits = true;         // for who is away, and for that place; otherwise it is tried once
};

struct Executor::Impl {
  Impl(Clock& the_clock, Journal& the_journal, const knowledge::Queryable& the_data,
       knowledge::SelfMetrics& metrics, drivers::Systemd* the_systemd,
       host::Privileged& the_privileged);

  Clock& clock;
  Journal& journal;
  const knowledge::Queryable& data;
  knowledge::SelfMetrics& self;
  drivers::Systemd* const systemd;
  host::Privileged& privileged;
  std::map<std::string, std::unique_ptr<Step>, std::less<>> steps;  // constant after construction
  UnitNames names;                     // has a lock of its own, which may be taken under `mutex`
  mutable KeptSettings settings_kept;  // has a lock of its own

  mutable std::mutex mutex;
  std::condition_variable changed;
  std::shared_ptr<const config::Config> config;
  std::shared_ptr<const Started> started_callback;
  std::shared_ptr<const Finished> finished_callback;
  std::shared_ptr<const Permission> refusal;
  std::shared_ptr<const std::function<bool()>> halted;
  Notifier notifier;
  std::shared_ptr<const Witness> witness;
  std::shared_ptr<FleetLock> fleet;
  config::FleetSection fleet_section;  // what `fleet` was made of
  config::Connections fleet_servers;
  std::map<std::string, EntryPtr, std::less<>> entries;  // everything that is not final, by id
  std::multimap<std::string, EntryPtr, std::less<>> by_cause;  // the same, by fingerprint
  /// Targets of entries whose one name was not known when they came.
  std::multiset<std::string, std::less<>> unnamed;
  std::map<std::pair<int, std::uint64_t>, EntryPtr> queue;  // by priority and arrival
  std::map<std::string, TargetLoad, std::less<>> targets;   // by account
  std::size_t busy_targets = 0;                             // with an active action
  std::size_t arriving = 0;                                 // submitted, being journaled
  std::size_t proposed = 0;
  std::size_t running = 0;
  std::size_t trials = 0;  // of them experiments, which keep a worker for their windows
  std::uint64_t arrivals = 0;
  std::uint64_t generation = 0;  // of what activity() shows
  mutable std::shared_ptr<const Activity> shown;
  mutable std::uint64_t shown_generation = 0;
  std::vector<plan::Action> unsaved;  // ended, but the journal could not be told
  bool started = false;
  bool stopping = false;             // nothing new starts
  std::atomic<bool> abandon{false};  // what runs is to end now
  std::vector<std::thread> workers;
  WallTime last_prune{};

  // queue.cpp
  [[nodiscard]] std::shared_ptr<const config::Config> settings() const;
  [[nodiscard]] StepContext context() const;
  [[nodiscard]] Step* step_of(const plan::Action& action) const;
  [[nodiscard]] std::optional<plan::Refusal> refused(const plan::Action& action) const;
  void count_state(const plan::Action& action, int by);  // lock held
  void add(EntryPtr entry);                              // lock held
  void publish(Entry& entry, plan::Action action);       // lock held: replaces the action
  void show_queue();                                     // lock held
  /// What cannot be made now is made by a later tick: fewer threads do the work meanwhile.
  void spawn_workers();                          // lock held
  [[nodiscard]] EntryPtr next_runnable() const;  // lock held
  [[nodiscard]] EntryPtr take(std::size_t worker);
  [[nodiscard]] Status reserve_place(const plan::Action& action);
  /// Claims the entries that `wanted` accepts and that nobody has claimed; queued ones leave the
  /// queue.
  [[nodiscard]] std::vector<EntryPtr> claim(const std::function<bool(const plan::Action&)>& wanted);
  [[nodiscard]] EntryPtr claim_one(std::string_view id,
                                   std::optional<plan::ActionState> state = std::nullopt);
  [[nodiscard]] std::vector<EntryPtr> claim_cause(std::string_view fingerprint);
  [[nodiscard]] bool claim_entry(const EntryPtr& entry);  // lock held
  void end_early(const Entry& entry, plan::ActionState state, std::string why,
                 std::string_view code = {});

  // kept.cpp
  [[nodiscard]] std::set<std::string, std::less<>> being_set() const;

  // run.cpp
  void work(std::size_t worker);
  void run_one(Entry& entry);
  void run_dry(Entry& entry, Step& step, plan::Action action);
  void call_off(plan::Action action, std::string_view code, std::string why);  // before it started
  /// What holds it back although it is allowed: its condition, another run of its target.
  [[nodiscard]] std::optional<plan::Refusal> unfit(const plan::Action& action) const;
  /// A place among the hosts; null: none is needed.
  [[nodiscard]] Result<std::unique_ptr<FleetPlace>> place_for(const plan::Action& action) const;
  [[nodiscard]] Status begin(Entry& entry, Step& step, plan::Action& action);
  void perform(Entry& entry, Step& step, plan::Action action);
  void note_begun(plan::Action& action);
  /// Whether the kill switch leaves what is under way of it to its end.
  [[nodiscard]] static bool goes_on(const plan::Action& action);
  [[nodiscard]] bool is_halted() const;    // the kill switch
  void leave(const plan::Action& action);  // it goes on without the agent
  void settle_failure(plan::Action action, const Error& error, const Entry& entry);
  void give_place_back(std::string_view id);  // of the fleet
  /// Final state: journal, metrics, callback, and only then out of flight.
  void finish(plan::Action action, plan::ActionState state);
  void save_final(const plan::Action& action);
  void forget(const plan::Action& action);
  void count_finished(const plan::Action& action);

  // verify.cpp
  enum class Verification { kHolds, kDoesNotHold, kNothingToVerify, kCancelled, kStopping };
  [[nodiscard]] Verification verify(const Entry& entry, Step& step, const plan::Action& action,
                                    std::string& detail);
  void conclude(Entry& entry, Step& step, plan::Action action);
  void undo_again(Entry& entry, Step& step, plan::Action action);
  /// Takes back what did not help, where that can be; journaled before. False: the agent stops
  /// before it was done, and it is found again.
  [[nodiscard]] bool undo(Entry& entry, Step& step, plan::Action& action, UndoWish wish = {});
  /// Waits while operations are stopped, however long that is and whoever cancels it meanwhile: the
  /// undo is owed. Apart from that, and until it is cancelled, it waits kUndoWaits for who is away
  /// and the action's time limit for a place among the hosts; the limits stand still while it is
  /// stopped, and a place that is held is given back. Nothing: the agent stops before it was done.
  [[nodiscard]] std::optional<Result<std::string>> take_back(Entry& entry, Step& step,
                                                             const plan::Action& action,
                                                             UndoWish wish);
  void note_undone(plan::Action& action, Result<std::string> undone) const;
  [[nodiscard]] std::string show_verify_value(const plan::Action& action) const;

  // experiment.cpp
  /// Waits for the window after the action and tests it against the one before; absent: not to be
  /// waited for any longer. The record goes into the outcome.
  [[nodiscard]] std::optional<bool> has_improved(const Entry& entry, plan::Action& action);

  // ladder.cpp
  [[nodiscard]] Status validate_rungs(const plan::Action& ladder, const StepContext& context) const;
  [[nodiscard]] Result<std::string> would_climb(const plan::Action& ladder);
  void tell_started(const plan::Action& action);
  /// The ladder is allowed and taken: it leaves its worker, and its first rung is submitted.
  void climb(Entry& entry, Step& step, plan::Action ladder);
  void park(Entry& entry);
  void begin_rung(plan::Action ladder, std::size_t index);
  void rung_ended(const plan::Action& rung);
  void end_ladder(plan::Action ladder, plan::ActionState state, std::string result);
  /// Nothing: the agent stops before it was done.
  [[nodiscard]] std::optional<std::string> undo_rungs(const plan::Action& ladder,
                                                      std::size_t before);
  [[nodiscard]] std::string account_for(const plan::Action& action) const;
  /// On a worker: its last rung has ended, in vain, before the agent did.
  void end_recovered_ladder(const plan::Action& ladder);
  void take_up_ladders();  // recover(): those whose rung has ended, or never came to be

  // recover.cpp
  void recover_one(plan::Action action);
  /// Hands what was begun before a restart to a worker, in this state.
  void take_up(plan::Action action, plan::ActionState state);
  void settle_recovered(plan::Action action, Step& step, Recovered became, std::string_view what);
  void follow(Entry& entry, Step& step, plan::Action action);
  void expire_proposals(const config::Config& now);
  void retry_unsaved();
  void refresh_names();
};

}  // namespace nexus::execute
