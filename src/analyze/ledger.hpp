// Ledger: the life cycle of findings, without locks, listeners and disk (those are the Book's).
//
// Transitions queue up until they are taken with next_transition(), changes to be written until
// take_changes(). Timers run on the steady clock: a wall clock that jumps fires and resolves
// nothing.
//
// Thread safety: one thread at a time (the book's lock).
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "analyze/book_store.hpp"
#include "analyze/flapping.hpp"
#include "analyze/relations.hpp"
#include "nexus/analyze/book.hpp"

namespace nexus::analyze {

class Ledger {
 public:
  /// Of one source (a rule, a detector), resolved ones that are not forgotten yet among them; more
  /// are refused and counted, so that one rule cannot take the places of all others.
  static constexpr std::size_t kMostOfOneSource = 2500;

  struct Changes {
    std::vector<StoredFinding> changed;
    std::vector<std::string> forgotten;
    [[nodiscard]] bool empty() const { return changed.empty() && forgotten.empty(); }
  };

  Ledger(Clock& clock, knowledge::SelfMetrics& self, std::size_t max_findings);

  void restore(BookStore::Loaded loaded);

  // As in Book.
  void observe(std::string_view source, const std::vector<Observation>& seen,
               const std::vector<Book::Held>& held);
  [[nodiscard]] Findings of(std::string_view source) const;
  void report(std::string_view source, const Observation& seen);
  void clear(std::string_view source, std::string_view fingerprint);
  void doubt(std::string_view source);
  void retire(const std::string& source);
  void tick();
  /// What relate() is to be asked, when anything is new since it was asked last.
  [[nodiscard]] std::optional<Question> ask(
      const std::shared_ptr<const Dependencies>& needs,
      const std::shared_ptr<const nexus::analyze::Changes>& happened);
  /// Writes causes, symptoms and what changed beside what still fires.
  void heed(const Question& question, Answer answer);
  void note_action(std::string_view fingerprint, FindingAction action);

  [[nodiscard]] std::vector<std::string> sources() const;
  [[nodiscard]] bool empty() const noexcept { return entries_.empty(); }
  [[nodiscard]] std::optional<Finding> next_transition();
  /// That findings were refused, at most once an hour a source; to be told without the lock.
  [[nodiscard]] std::vector<std::string> take_complaints() {
    return std::exchange(complaints_, {});
  }
  [[nodiscard]] Changes take_changes();
  /// Changes that could not be written.
  void put_back(const Changes& changes);
  [[nodiscard]] std::shared_ptr<const Findings> snapshot();
  [[nodiscard]] std::optional<Finding> find(std::string_view fingerprint) const;

 private:
  struct Entry {
    Finding finding;
    const std::string* source = nullptr;  // key of sources_
    Millis pending{0};
    Millis keep_firing_for{0};
    SteadyTime since{};  // first seen in this episode
    std::optional<SteadyTime> missing_since;
    std::optional<SteadyTime> restored_until;  // came from the database and nobody has seen it yet
    std::optional<SteadyTime> excused_until;   // the wall clock was set: not missed before
    bool missed = false;                       // an observe() did not see it meanwhile
    SteadyTime ended{};                        // when it was resolved
    std::uint64_t transition = 0;              // ascending over all findings
    std::uint64_t pass = 0;                    // the last observe() or report() that saw it
    Flapping flaps;
    bool evaluated = false;  // seen by observe(): looked at again and again
  };
  enum class Told { kOnce, kAgainAndAgain };
  enum class Full { kBook, kSource };

  void see(std::string_view source, const Observation& seen, Told told);
  Entry* enter(std::string_view source, const Observation& seen, std::string print);
  void begin_episode(Entry& entry, const Observation& seen);
  void refresh(Entry& entry, const Observation& seen);
  void unsee(Entry& entry);
  void lose_sight(Entry& entry);
  void settle(Entry& entry);
  void change(Entry& entry, FindingState state);
  /// One more change of state, of which too many are flapping.
  void count_change(Entry& entry);
  void end_flapping(Entry& entry);
  void set_missing(Entry& entry, bool missing);
  void set_severity(Entry& entry, Severity severity);
  void set_members(Entry& entry, const Members& members);
  void write_down(Entry& entry, std::string_view what);
  /// The record, to be changed: a copy, for snapshots have the old one.
  FindingRecord& edit(Entry& entry);
  void fire(Entry& entry);
  void resolve(Entry& entry);
  void erase(Entry& entry);
  void move_to(Entry& entry, std::string_view source);
  void leave_source(Entry& entry);
  bool make_room();
  void forget_resolved();
  void heed_clock();
  void refuse(std::string_view source, Full full);
  void count(const Finding& finding, double by) const;  // nexus_findings{state,severity}

  Clock& clock_;
  const std::size_t max_findings_;
  std::unordered_map<std::string, std::unique_ptr<Entry>> entries_;  // by fingerprint
  std::unordered_map<std::string, std::unordered_set<Entry*>> sources_;
  std::deque<std::pair<std::string, std::uint64_t>> resolved_order_;  // fingerprint, transition
  std::deque<Finding> outbox_;
  std::unordered_set<std::string> dirty_;  // fingerprints to be written, or deleted when gone
  std::uint64_t transitions_ = 0;
  std::uint64_t passes_ = 0;
  std::uint64_t related_ = 0;  // transitions_ when it was related
  std::shared_ptr<const Dependencies> needs_;
  std::shared_ptr<const nexus::analyze::Changes> happened_;
  std::shared_ptr<const Findings> snapshot_;
  bool changed_ = true;  // since snapshot_ was made
  std::vector<std::string> complaints_;
  std::unordered_map<std::string, SteadyTime> complained_;  // by source; empty: of the whole book
  std::optional<Nanos> clock_offset_;                       // of the wall clock from the steady one

  std::vector<knowledge::Gauge> gauges_;
  std::vector<knowledge::Gauge> firing_;  // by kind
  knowledge::Gauge flapping_;
  knowledge::Gauge missing_;
  knowledge::Counter refused_;
  knowledge::Counter fired_;
  knowledge::Counter resolved_;
};

}  // namespace nexus::analyze
