// RunSink: turns what a collector adds into one batch of samples.
//
// A collector adds the same series in the same order run after run, so the sink remembers the last
// run: an add() that repeats it at the same position costs a comparison and no look-up. Series of
// the last run that are absent in this one end with a stale marker; a series added twice counts
// once; what is over the budget is dropped and counted.
//
// Life of a run: begin(), any number of add(), finish(), read ids() and values(), again begin().
// cut_off(): from then on add() does nothing, and no add() is still touching the registry when it
// returns. That is how a run that is left behind is kept from a registry that may be gone when it
// wakes up. Thread safety: one thread at a time, handed on with synchronisation; cut_off() from any
// thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "nexus/monitor/collector.hpp"

namespace nexus::monitor {

class RunSink final : public Sink {
 public:
  using Sink::add;
  RunSink(knowledge::SeriesRegistry& registry, std::size_t budget);

  void begin();
  void add(FamilyId family, std::span<const LabelView> labels, double value) override;
  /// Adds the stale markers of vanished series. Returns whether the set or order of series differs
  /// from the last run.
  bool finish();
  /// After finish(): one more sample that is no business of the budget and the stale markers (the
  /// meta metrics).
  void append(knowledge::SeriesId id, double value);
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
  struct Key {
    FamilyId family;
    const knowledge::Labels* labels;  // owned by the registry for ever
  };

  void take(FamilyId family, std::span<const LabelView> labels, double value);
  void drop_doubles();
  void mark_vanished();

  knowledge::SeriesRegistry& registry_;
  const std::size_t budget_;
  std::vector<knowledge::SeriesId> ids_;
  std::vector<double> values_;
  std::vector<Key> keys_;
  std::vector<knowledge::SeriesId> last_ids_;
  std::vector<Key> last_keys_;
  std::vector<knowledge::SeriesId> sorted_;       // scratch
  std::vector<knowledge::SeriesId> last_sorted_;  // scratch
  std::size_t live_ = 0;
  std::uint64_t dropped_ = 0;
  bool differs_ = false;
  std::atomic<bool> inside_{false};
  std::atomic<bool> cut_off_{false};
};

}  // namespace nexus::monitor
