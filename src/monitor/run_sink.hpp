// RunSink: turns what a collector adds into one batch of samples.
//
// A collector adds the same series in the same order run after run, so the sink keeps what the last
// run was given: an add() that repeats it at the same place costs a comparison of the words and a
// value; nothing else is touched until a run differs. Series of the last run that are absent in
// this one end with a stale marker, again and again until a batch with it was accepted; a series
// added twice counts once; what is over the budget is dropped and counted. What the registry has
// forgotten since the last run is looked up anew.
//
// A source's sink takes its series from the Allowance, as many as its largest run between two
// finish() has, and gives back at finish() what the run did not have.
// cut_off(): from then on add() does nothing, and no add() is still touching the registry when it
// returns. That is how a run that is left behind is kept from a registry that may be gone when it
// wakes up. Thread safety: one thread at a time, handed on with synchronisation; cut_off() from any
// thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "monitor/allowance.hpp"
#include "nexus/monitor/collector.hpp"

namespace nexus::monitor {

/// A series of the scheduler about a collector.
struct MetaSeries {
  FamilyId family = 0;
  knowledge::SeriesId id = 0;
};

class RunSink final : public Sink {
 public:
  using Sink::add;
  /// `allowance`: of a source; it must outlive the sink. Null: a collector of the host's.
  RunSink(knowledge::SeriesRegistry& registry, std::size_t budget, Allowance* allowance = nullptr);
  ~RunSink();
  RunSink(const RunSink&) = delete;
  RunSink& operator=(const RunSink&) = delete;

  void begin();
  void add(FamilyId family, std::span<const LabelView> labels, double value) override;
  void add_named(FamilyId family, std::string_view metric, std::span<const LabelView> labels,
                 double value) override;
  /// How many samples this run has so far.
  [[nodiscard]] std::size_t size() const noexcept { return values_.size(); }
  /// Before finish(): another value for the sample at `place`, below size().
  void correct(std::size_t place, double value) { values_[place] = value; }
  /// Adds the stale markers of vanished series. Returns whether the set or order of series differs
  /// from the last run.
  bool finish();
  /// After finish(): one more sample that is no business of the budget and the stale markers (the
  /// meta metrics). The id is renewed when the registry has forgotten it.
  void append(MetaSeries& series, std::string_view collector, double value);
  /// The batch is on its way: its stale markers are not owed any more.
  void accepted() noexcept { owed_.clear(); }
  /// These series had samples, from another sink, and end unless a run has them.
  void owe(std::span<const knowledge::SeriesId> ids);
  [[nodiscard]] std::span<const knowledge::SeriesId> owed() const noexcept { return owed_; }
  void cut_off() noexcept;

  /// Of the finished run: its own series first, then stale markers, then what was appended.
  [[nodiscard]] std::span<const knowledge::SeriesId> ids() const noexcept { return ids_; }
  [[nodiscard]] std::span<const double> values() const noexcept { return values_; }
  /// The series that the collector itself added.
  [[nodiscard]] std::span<const knowledge::SeriesId> live() const noexcept {
    return std::span(ids_).first(live_);
  }
  [[nodiscard]] std::uint64_t dropped() const noexcept { return dropped_; }

 private:
  /// A series, and what it was added as.
  struct Key {
    FamilyId family;
    bool is_known;      // the registry has not forgotten it
    std::string words;  // see write_words(); empty when they are too long to be compared
  };

  [[nodiscard]] bool enter() noexcept;
  void leave() noexcept { inside_.store(false, std::memory_order_release); }
  void renew_forgotten();
  [[nodiscard]] bool may_hold_one_more();
  void take(FamilyId family, std::string_view metric, std::span<const LabelView> labels,
            double value);
  /// The run differs from the last from this place on.
  void diverge(std::size_t place);
  [[nodiscard]] bool repeats(std::size_t place, FamilyId family, std::string_view metric,
                             std::span<const LabelView> labels) const;
  void drop_doubles();
  void mark_vanished();

  knowledge::SeriesRegistry& registry_;
  const std::size_t budget_;
  Allowance* const allowance_;
  std::size_t held_ = 0;  // taken from the allowance
  // While repeats_, the ids and keys are those of the last run; from diverge() on they are this
  // run's, and the last run's are in last_*.
  bool repeats_ = false;
  std::vector<knowledge::SeriesId> ids_;
  std::vector<double> values_;
  std::vector<Key> keys_;
  std::vector<knowledge::SeriesId> last_ids_;
  std::vector<Key> last_keys_;
  std::vector<knowledge::SeriesId> sorted_;       // scratch
  std::vector<knowledge::SeriesId> last_sorted_;  // scratch
  std::vector<knowledge::SeriesId> owed_;  // end with the next batch that is accepted; ascending
  std::uint64_t forgotten_ = 0;            // by the registry, when the present run began
  std::size_t live_ = 0;
  std::uint64_t dropped_ = 0;
  bool differs_ = false;
  std::atomic<bool> inside_{false};
  std::atomic<bool> cut_off_{false};
};

}  // namespace nexus::monitor
