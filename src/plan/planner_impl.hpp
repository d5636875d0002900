// The planner's state, shared by planner.cpp (its face), decide.cpp (from a finding to an action),
// situation.cpp (what the rails are asked about), approve.cpp, person.cpp, pairs.cpp (counters and
// breakers), aliases.cpp, clock_step.cpp and record.cpp (refusals, holds, the shadow ledger).
//
// `mutex` guards what stands under it and is never held while the database, the book or the sink is
// called. What keeps two threads from acting on one target at once is a reservation: whoever
// decides about a target has it in `reserved`, and the others take it for in flight.
#pragma once

#include <deque>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <tuple>

#include "nexus/config/config.hpp"
#include "nexus/plan/planner.hpp"
#include "plan/failed_services.hpp"
#include "plan/guardrails.hpp"
#include "plan/holds.hpp"
#include "plan/planner_store.hpp"
#include "plan/remedies.hpp"
#include "plan/shadow_ledger.hpp"
#include "plan/shadow_rails.hpp"

namespace nexus::plan {

/// Settings of one moment, immutable.
struct Settings {
  std::shared_ptr<const config::Config> config;
  std::shared_ptr<const RemedySet> remedies;
};

/// Two names that are one key, to be looked for without a copy.
struct BothNames {
  using is_transparent = void;
  using View = std::pair<std::string_view, std::string_view>;
  static View view(const auto& names) { return {names.first, names.second}; }
  bool operator()(const auto& a, const auto& b) const { return view(a) < view(b); }
};

/// The watched services, by the one name of each: made for many decisions at once.
struct Watched {
  std::shared_ptr<const config::Config> config;  // of which it was made
  std::multimap<std::string, std::string, std::less<>> depends_on;
  std::size_t down = 0;  // that have failed, symptoms left out
};

struct PairEntry {
  PairState state;
  WallTime last_trouble{};  // when its finding was last seen firing
  bool announced = false;   // an open breaker's finding is in the book
};

struct Planner::Impl {
  /// Targets are bounded: a pair costs memory, disk and, when its breaker is open, a finding.
  static constexpr std::size_t kMaxPairs = 1000;
  /// Refusals that wait for the next tick to be written; the oldest go beyond it, and are counted.
  static constexpr std::size_t kMaxRefused = 10'000;

  Impl(Clock& the_clock, knowledge::SelfMetrics& metrics, analyze::Book& the_book,
       ActionSink& the_sink, std::string file, std::unique_ptr<PlannerStore> the_store,
       std::uint64_t seed, std::string the_boot)
      : clock(the_clock),
        self(metrics),
        book(the_book),
        sink(the_sink),
        stop_file(std::move(file)),
        store(std::move(the_store)),
        boot(std::move(the_boot)),
        random(seed) {}

  Clock& clock;
  knowledge::SelfMetrics& self;
  analyze::Book& book;
  ActionSink& sink;
  const std::string stop_file;
  const std::unique_ptr<PlannerStore> store;
  const std::string boot;  // of the machine

  mutable std::mutex mutex;
  Settings settings;
  std::shared_ptr<const Surroundings> surroundings;
  Millis ahead{};  // of the wall clock, of the steady one
  FailedServices failed;
  mutable std::shared_ptr<const Watched> watched;  // null: what it was made of has changed
  std::uint64_t failures = 0;                      // changes of `failed`
  Holds holds;
  ShadowLedger shadow;
  ShadowRails shadow_rails;
  std::deque<Decision> refused;  // not written yet, oldest first
  StoredSwitch kill_switch;
  std::uint64_t stops = 0;  // how often set_running(false) was asked for
  std::map<PairKey, PairEntry> pairs;
  std::uint64_t version = 0;        // of the newest change of any pair
  std::deque<RecentAction> recent;  // oldest first
  std::set<std::string, std::less<>> reserved;
  /// The last reason code recorded for (fingerprint, remedy), so that it is recorded once.
  std::map<std::pair<std::string, std::string>, std::string, BothNames> last_reason;
  struct Pending {
    std::string fingerprint;
    std::string remedy;
    bool proposed = false;
    bool withdrawn = false;
  };
  std::map<std::string, Pending, std::less<>> pending;  // our own actions under way, by action id
  std::set<std::pair<std::string, std::string>, BothNames> causes;  // their fingerprint and remedy
  std::mt19937_64 random;
  WallTime last_check{};
  WallTime last_prune{};

  // planner.cpp
  [[nodiscard]] Settings current() const;
  /// Why nothing may be done now; looks at the stop file.
  [[nodiscard]] std::optional<std::string> stopped() const;
  [[nodiscard]] std::size_t reserved_targets() const;
  void reconsider();
  void forget_resolved(const std::set<std::string>& firing);
  void prune(WallTime now);

  // clock_step.cpp
  /// Notices that the wall clock was set, and moves what is remembered with it.
  void follow_clock();
  /// When the finding's present episode began, whatever was done to the wall clock since.
  [[nodiscard]] WallTime fired_at(const analyze::Finding& finding) const;

  // situation.cpp
  /// Everything one decision is about.
  struct Case {
    const Settings* settings;
    const Remedy* remedy;  // null for a person's action
    Action action;
    std::string named;  // the target as it was called, which may be an alias
    Asker asker = Asker::kRemedy;
    WallTime fired{};
    std::optional<std::string> stopped;
    std::optional<std::string> not_seen;
    std::optional<std::string> flaps;
    std::optional<std::string> missing_data;
  };
  [[nodiscard]] Situation situation_of(const Case& c);
  [[nodiscard]] Ruling judge_case(const Case& c);
  /// What of the situation the last hour says. Lock held.
  void count_hour(Situation& situation);
  [[nodiscard]] std::optional<std::string> too_many_unhealthy(
      const std::shared_ptr<const config::Config>& config, const Action& action) const;
  /// What an action's target depends on and is down: "db.service, which is inactive".
  [[nodiscard]] std::optional<std::string> dependency_down(
      const std::shared_ptr<const config::Config>& config, const Action& action) const;
  /// Why a service is not there, in a word: one for both that ask, by any of its names. `stopped`:
  /// whether one that is stopped cleanly is meant too.
  [[nodiscard]] std::optional<std::string> is_down(std::string_view service, bool stopped) const;
  [[nodiscard]] std::optional<std::string> held(const Action& action, WallTime now) const;
  [[nodiscard]] std::optional<std::string> protected_from(const config::Config& config,
                                                          const Action& action,
                                                          const std::string& named) const;
  [[nodiscard]] std::shared_ptr<const Watched> look_at_watched(
      const std::shared_ptr<const config::Config>& config) const;
  /// The one name of a service.
  [[nodiscard]] std::string service_name(std::string_view name) const;
  void note_failed(const analyze::Finding& finding);
  void look_for_failed(const analyze::Findings& findings);
  void consider(const analyze::Finding& finding, const Settings& now,
                const std::optional<std::string>& stop);
  void decide(const analyze::Finding& finding, const Settings& now, const Remedy& remedy,
              const std::optional<std::string>& stop);
  /// What the rails have to know of an action: all of a ladder, else type, target, parameters and
  /// cause.
  [[nodiscard]] Result<Action> outline(const analyze::Finding& finding, const Settings& now,
                                       const Remedy& remedy) const;
  /// The rest of it, but for its rungs, once it is to be taken.
  [[nodiscard]] Status complete(Action& action, const analyze::Finding& finding,
                                const Settings& now, const Remedy& remedy) const;
  /// The one name of the unit that an action on `name` touches; of other actions the name itself.
  [[nodiscard]] std::string unit_of(std::string_view action_type, std::string_view name) const;
  void add_pending(const Action& action, bool proposed);  // lock held
  bool erase_pending(const std::string& id);              // lock held
  /// Writes the intention down and hands the action on. Returns what was submitted.
  [[nodiscard]] Result<Action> act(Case c, Verdict verdict);
  // person.cpp
  [[nodiscard]] Result<Action> act_for_person(const Action& action, const std::string& named,
                                              const Settings& now);
  /// A dry run asked for by a person.
  [[nodiscard]] Result<Action> try_out(Action action, const Settings& now);
  // decide.cpp
  /// The journal has it: it cannot be lost any more.
  void handed_on(const Decision& decision);
  /// Takes back what a decision counted against the hourly rates, in memory;
  /// PlannerStore::correct() does on disk. Lock held.
  void uncount(const Decision& decision, const std::string& account);
  // pairs.cpp
  /// The same of an action that ended before it had begun: it has used up no rate. Of a proposal
  /// the rate of proposals stays, which keeps people from being flooded.
  void uncount_unbegun(const Action& action);
  // decide.cpp
  /// Undoes what was counted for an action that could not be handed on, and records why.
  [[nodiscard]] std::unexpected<Error> give_back(const Action& action, const PairKey& key,
                                                 Decision decision, Error error);
  /// Once per finding and remedy until the reason changes.
  void note_skip(const Action& action, std::string_view code, std::string reason);
  void record_skip(const Action& action, std::string_view code, std::string reason);
  void count(std::string_view verdict, std::string_view code);
  // record.cpp
  /// Writes what was refused since the last time, and the shadow ledger.
  void write_records();
  [[nodiscard]] std::vector<Decision> take_refused();
  /// Would it have acted, were it not for the mode?
  void follow_shadow(const Case& c, Situation situation, const Rails& rails);
  [[nodiscard]] bool own_action_under_way(std::string_view fingerprint,
                                          std::string_view remedy) const;
  [[nodiscard]] Decision decision_of(const Action& action, std::string_view verdict,
                                     std::string_view code, std::string reason) const;

  // approve.cpp
  [[nodiscard]] Status approve(const Action& action, const Settings& now, std::string_view who,
                               std::string_view why);
  [[nodiscard]] Status refuse(const Action& action, std::string_view code, std::string_view why);
  /// Undoes what was counted for an action that the journal never got.
  void settle_lost(Decision decision);
  void note_lost(Decision& decision, std::string what);
  /// An approval that the journal never got: its action waits on as a proposal.
  void settle_lost_approval(Decision decision);

  // pairs.cpp
  [[nodiscard]] Rails rails_of(const Settings& now, std::string_view remedy) const;
  /// The pair as it stands; notes that its trouble is still there. Lock held.
  [[nodiscard]] PairState look(const PairKey& key, WallTime now);
  /// Counts one more attempt; nothing when there are too many pairs. Lock held.
  [[nodiscard]] std::optional<PairState> attempt(const PairKey& key, const Rails& rails,
                                                 WallTime now);
  void forget_on_disk(const std::optional<PairKey>& key);
  std::optional<PairKey> forgotten;  // by attempt(), to be forgotten on disk too; lock held
  void open_breaker(const PairKey& key, std::string why);
  void announce(const PairKey& key, const PairState& state);
  /// The finding of a breaker that is not open any more.
  void withdraw_breaker(const PairKey& key);
  /// Brings all pairs (or one) up to the present and the book's breaker findings with them.
  void settle_pairs(const Settings& now, const PairKey* only = nullptr);
  void finished(const Action& action);
  void save(const PairKey& key, const PairState& state);
  void show_breakers();
  /// Forgets pairs of remedies that are not configured any more.
  void drop_unknown_pairs(const RemedySet& remedies);
  [[nodiscard]] bool make_room(std::optional<PairKey>& forgotten);

  // aliases.cpp
  /// Pairs kept under an alias go over to the unit, once it is known.
  void move_aliases(const Settings& now);
  /// Lock held. The emptied pair of the alias and the unit's.
  [[nodiscard]] std::optional<std::pair<StoredPair, StoredPair>> move_pair(const PairKey& from,
                                                                           const PairKey& to);
  /// The remedy's pairs whose target is, or stands for, this one.
  [[nodiscard]] std::vector<PairKey> pairs_of(std::string_view remedy, std::string_view target);
};

/// Whether a finding is what is so now, rather than what was.
[[nodiscard]] bool is_seen(const analyze::Finding& finding, WallTime now);

/// At the start: how the clock is set, and whether it was set while the agent was away.
[[nodiscard]] Status open_clock(Planner::Impl& planner);

/// Holds a target while it is decided about; false when another thread has it.
class Reservation {
 public:
  Reservation(Planner::Impl& planner, std::string target);
  ~Reservation();
  Reservation(const Reservation&) = delete;
  Reservation& operator=(const Reservation&) = delete;
  [[nodiscard]] bool held() const noexcept { return held_; }

 private:
  Planner::Impl& planner_;
  const std::string target_;
  bool held_;
};

}  // namespace nexus::plan
