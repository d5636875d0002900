// PlannerStore: what the planner must not forget: counters and breakers, the actions of the last
// hour, the kill switch and the decisions.
//
// Tables (owner "plan" in the state database): planner_pair, planner_recent, planner_switch,
// planner_clock, planner_hold, planner_shadow, decision. Decisions are bounded to the newest
// `kKeepDecisions`. Thread safety: all members, any thread; a pair carries a version, and an older
// one never overwrites a newer one.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "nexus/knowledge/state.hpp"
#include "nexus/plan/action.hpp"
#include "plan/guardrails.hpp"

namespace nexus::plan {

struct PairKey {
  std::string remedy;
  std::string target;
  auto operator<=>(const PairKey&) const = default;
};

struct StoredPair {
  PairKey key;
  PairState state;
};

/// One action, or proposal, that counts against the hourly rates.
enum class Counts { kAction, kProposal, kRequest };  // a remedy's, a remedy's, a person's
struct RecentAction {
  WallTime time{};
  std::string target;  // its account
  Counts counts = Counts::kAction;
};

/// By how much the wall clock is ahead of the steady one, in this boot of the machine.
struct StoredClock {
  std::string boot;
  Millis ahead{};
};

struct StoredSwitch {
  bool running = true;
  std::string who;
  WallTime time{};
};

class PlannerStore {
 public:
  static constexpr std::int64_t kKeepDecisions = 10'000;

  [[nodiscard]] static Result<std::unique_ptr<PlannerStore>> open(knowledge::StateDb& db);

  [[nodiscard]] Result<std::vector<StoredPair>> pairs();
  [[nodiscard]] Result<std::vector<RecentAction>> recent(WallTime since);
  [[nodiscard]] Result<StoredSwitch> load_switch();

  [[nodiscard]] Status save(const StoredSwitch& state);
  [[nodiscard]] Status save(const StoredPair& pair);
  /// Both at once: what is left of the one, which the other has now.
  [[nodiscard]] Status move(const StoredPair& emptied, const StoredPair& filled);
  [[nodiscard]] Result<std::optional<StoredClock>> load_clock();
  [[nodiscard]] Status save(const StoredClock& clock);
  /// Moves every kept time with a wall clock that was set, and keeps how it is set now.
  [[nodiscard]] Status shift(Millis by, const StoredClock& clock);
  /// Counters, rate and decision of one action, in one transaction, before it is handed on; with
  /// what was refused before it. Fills in the decision's id; it is open until close(). `pair` is
  /// null for a person's action.
  [[nodiscard]] Status intend(const StoredPair* pair, Counts counts, const std::string& account,
                              Decision& decision, const std::vector<Decision>& refused);
  /// The action of an open decision is in the journal.
  [[nodiscard]] Status close(std::int64_t decision);
  /// Decisions whose action may not have reached the journal, oldest first.
  [[nodiscard]] Result<std::vector<Decision>> open_decisions();
  [[nodiscard]] Status record(const std::vector<Decision>& decisions);
  /// Replaces verdict, code and reason of a recorded decision, which has no action any more: what
  /// it counted against the rates is taken back, and it is not open.
  [[nodiscard]] Status correct(const Decision& decision, const std::string& account);
  /// Takes back what an action, not a proposal, that was made then counted against the rates.
  [[nodiscard]] Status uncount(WallTime made, const std::string& account);
  [[nodiscard]] Result<std::vector<Decision>> decisions(std::size_t limit, std::int64_t before);
  /// A pair that made room for another.
  [[nodiscard]] Status forget(const PairKey& key);
  /// Those about one finding, newest first.
  [[nodiscard]] Result<std::vector<Decision>> decisions_about(const std::string& fingerprint,
                                                              std::size_t limit);
  /// Drops old decisions, rates before `since` and pairs that hold nothing back at `now`.
  [[nodiscard]] Status prune(WallTime since, WallTime now);
  /// For the holds and the shadow ledger, whose tables are here too.
  [[nodiscard]] knowledge::StateDb& db() noexcept { return db_; }

 private:
  explicit PlannerStore(knowledge::StateDb& db) : db_(db) {}
  [[nodiscard]] Result<std::int64_t> insert(const Decision& decision, bool open);

  knowledge::StateDb& db_;
};

}  // namespace nexus::plan
