// The planner's state, shared by planner.cpp (its face), decide.cpp (from a finding to an action)
// and pairs.cpp (counters and breakers).
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
#include "plan/guardrails.hpp"
#include "plan/planner_store.hpp"
#include "plan/remedies.hpp"

namespace nexus::plan {

/// Settings of one moment, immutable.
struct Settings {
  std::shared_ptr<const config::Config> config;
  std::shared_ptr<const RemedySet> remedies;
};

struct PairEntry {
  PairState state;
  WallTime last_trouble{};  // when its finding was last seen firing
  bool announced = false;   // an open breaker's finding is in the book
};

struct Planner::Impl {
  /// Targets are bounded: a pair costs memory, disk and, when its breaker is open, a finding.
  static constexpr std::size_t kMaxPairs = 1000;

  Impl(Clock& the_clock, knowledge::SelfMetrics& metrics, analyze::Book& the_book,
       ActionSink& the_sink, std::string file, std::unique_ptr<PlannerStore> the_store,
       std::uint64_t seed)
      : clock(the_clock),
        self(metrics),
        book(the_book),
        sink(the_sink),
        stop_file(std::move(file)),
        store(std::move(the_store)),
        random(seed) {}

  Clock& clock;
  knowledge::SelfMetrics& self;
  analyze::Book& book;
  ActionSink& sink;
  const std::string stop_file;
  const std::unique_ptr<PlannerStore> store;

  mutable std::mutex mutex;
  Settings settings;
  StoredSwitch kill_switch;
  std::uint64_t stops = 0;  // how often set_running(false) was asked for
  std::map<PairKey, PairEntry> pairs;
  std::uint64_t version = 0;        // of the newest change of any pair
  std::deque<RecentAction> recent;  // oldest first
  std::set<std::string, std::less<>> reserved;
  /// The last reason code recorded for (fingerprint, remedy), so that it is recorded once.
  std::map<std::pair<std::string, std::string>, std::string> last_reason;
  struct Pending {
    std::string fingerprint;
    std::string remedy;
    bool proposed = false;
    bool withdrawn = false;
  };
  std::map<std::string, Pending, std::less<>> pending;  // our own actions under way, by action id
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

  // decide.cpp (the two that end in a person's action: planner.cpp)
  /// Everything one decision is about.
  struct Case {
    const Settings* settings;
    const Remedy* remedy;  // null for a person's action
    Action action;
    std::string named;  // the target as it was called, which may be an alias
    Asker asker = Asker::kRemedy;
    WallTime fired{};
    std::optional<std::string> stopped;
  };
  [[nodiscard]] std::optional<std::string> too_many_unhealthy(const config::Config& config,
                                                              const Action& action) const;
  void consider(const analyze::Finding& finding, const Settings& now,
                const std::optional<std::string>& stop);
  void decide(const analyze::Finding& finding, const Settings& now, const Remedy& remedy,
              const std::optional<std::string>& stop);
  [[nodiscard]] Result<Action> draft(const analyze::Finding& finding, const Settings& now,
                                     const Remedy& remedy) const;
  [[nodiscard]] std::optional<std::string> dependency_down(const config::Config& config,
                                                           const Action& action) const;
  /// The one name of the unit that an action on `name` touches; of other actions the name itself.
  [[nodiscard]] std::string unit_of(std::string_view action_type, std::string_view name) const;
  [[nodiscard]] Ruling judge_case(const Case& c);
  /// Writes the intention down and hands the action on. Returns what was submitted.
  [[nodiscard]] Result<Action> act(Case c, Verdict verdict);
  [[nodiscard]] Result<Action> act_for_person(const Action& action, const std::string& named,
                                              const Settings& now);
  /// A dry run asked for by a person.
  [[nodiscard]] Result<Action> try_out(Action action, const Settings& now);
  /// The journal has it: it cannot be lost any more.
  void handed_on(const Decision& decision);
  /// Takes back what a decision counted against the hourly rates, in memory;
  /// PlannerStore::correct() does on disk. Lock held.
  void uncount(const Decision& decision);
  /// Undoes what was counted for an action that could not be handed on, and records why.
  [[nodiscard]] std::unexpected<Error> give_back(const Action& action, const PairKey& key,
                                                 Decision decision, Error error);
  /// Once per finding and remedy until the reason changes.
  void note_skip(const Action& action, std::string_view code, std::string reason);
  void record_skip(const Action& action, std::string_view code, std::string reason);
  void count(std::string_view verdict, std::string_view code);
  [[nodiscard]] bool own_action_under_way(const std::string& fingerprint,
                                          const std::string& remedy) const;
  [[nodiscard]] Decision decision_of(const Action& action, std::string_view verdict,
                                     std::string_view code, std::string reason) const;

  // approve.cpp
  [[nodiscard]] Status approve(const Action& action, const Settings& now, std::string_view who);
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
  [[nodiscard]] bool make_room();

  // aliases.cpp
  /// Pairs kept under an alias go over to the unit, once it is known.
  void move_aliases(const Settings& now);
  /// Lock held. The emptied pair of the alias and the unit's.
  [[nodiscard]] std::optional<std::pair<StoredPair, StoredPair>> move_pair(const PairKey& from,
                                                                           const PairKey& to);
  /// The remedy's pairs whose target is, or stands for, this one.
  [[nodiscard]] std::vector<PairKey> pairs_of(std::string_view remedy, std::string_view target);
};

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
