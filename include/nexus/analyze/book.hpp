// Book: all findings of every kind, and their life cycle.
//
// Analyzers report what they see; the book turns it into findings: pending until `for` has passed,
// firing as long as it is seen (and `keep_firing_for` longer), resolved after that, forgotten
// kKeepResolved later. A pending finding that is not seen any more is forgotten at once. The
// severity of a finding may change while it fires; that is no transition. Bounded: at
// `max_findings` the oldest resolved finding makes room, else the newcomer is refused and counted.
//
// Listeners come first, the disk later: a transition is told to the listeners before the reporting
// call returns (unless another thread is just telling; then that one tells it next), and is written
// by the following tick() in one transaction. A finding is seen again after a crash anyway, and
// waiting for a synchronous commit would cost an event-driven finding tens of milliseconds.
//
// A finding that fires and ends, or changes its severity, again and again is flapping: a share of
// state changes of the last hour, the newer ones weighing more (Nagios's way), of more than
// kFlapping. It is then held firing with its worst severity until the share is below kSteady. A
// finding without values is `missing`; what becomes of it is its rule's affair (`on_missing`).
//
// Before a transition is told, and by tick(), what fires is related: findings of things that depend
// on each other (Graph), or that began together, have the most upstream of them as their cause;
// changes of the host shortly before are attached to each. snapshot() only reads.
//
// Beside the findings stand the last changes of the host (at most 500, kept in the database too):
// what was done to it, to explain what is seen.
//
// Firing findings and `for` timers survive a restart; after an hour away `for` timers do not. What
// the database brought back is not missed for a minute, nor is a vital or alert by who looks within
// a minute after the wall clock was set (by over a minute). Timers run on the steady clock.
//
// Thread safety: all members, any thread. Listeners are called without a lock, one at a time and in
// the order of transitions; they must not block or throw and may call the book.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "nexus/analyze/change.hpp"
#include "nexus/analyze/finding.hpp"
#include "nexus/knowledge/self_metrics.hpp"
#include "nexus/knowledge/state.hpp"

namespace nexus::analyze {

using Findings = std::vector<Finding>;

/// What needs what, by the subjects of findings. Immutable.
struct Graph {
  struct Edge {
    std::string dependent;
    std::string upstream;
    std::string link;  // depends_on, connection
  };
  static constexpr std::size_t kMostEdges = 10'000;
  std::vector<Edge> edges;
};

class Book {
 public:
  using Listener = std::function<void(const Finding&)>;
  static constexpr Millis kKeepResolved{15 * 60'000};
  static constexpr Millis kFlapWindow{60 * 60'000};
  static constexpr double kFlapping = 0.2;
  static constexpr double kSteady = 0.05;

  /// Reads what was pending or firing from `db`.
  [[nodiscard]] static Result<std::unique_ptr<Book>> open(Clock& clock, knowledge::StateDb& db,
                                                          knowledge::SelfMetrics& self,
                                                          std::size_t max_findings = 10'000);
  ~Book();

  /// Everything that `source` (one rule, one detector, ...) sees now. What it saw before and does
  /// not see any more goes on to be resolved, unless `held` has its fingerprint: that fires on as
  /// it is, unseen (hysteresis, or no data).
  struct Held {
    std::string fingerprint;
    bool missing = false;
  };
  void observe(std::string_view source, const std::vector<Observation>& seen,
               const std::vector<Held>& held = {});
  /// What of `source` is pending or firing.
  [[nodiscard]] Findings of(std::string_view source) const;
  /// One more observation of an event-driven source, leaving its others alone.
  void report(std::string_view source, const Observation& seen);
  /// One thing an event-driven source does not see any more.
  void clear(std::string_view source, std::string_view fingerprint);
  /// `source` could not look: what it saw stays, but is not seen now.
  void doubt(std::string_view source);
  /// Sources whose rule is gone after a reload: their findings are resolved.
  void retire(const std::function<bool(std::string_view source)>& is_gone);
  /// Moves timers on (pending to firing, keep_firing_for, forgetting) and writes what has changed.
  /// Called every check interval.
  void tick();

  /// What needs what from now on; null: nothing is known.
  void set_graph(std::shared_ptr<const Graph> graph);
  /// What an action that was taken for a finding has come to; one of the same id is replaced.
  void note_action(std::string_view fingerprint, FindingAction action);

  /// Something changed on the host; what is known already is passed over. Written by the next
  /// tick().
  void note(Change change);
  /// The last changes, newest first; an immutable snapshot.
  [[nodiscard]] std::shared_ptr<const Changes> changes() const;

  /// Called on every transition to firing or resolved.
  void subscribe(Listener listener);

  /// All findings, newest transition first; an immutable snapshot.
  [[nodiscard]] std::shared_ptr<const Findings> snapshot() const;
  /// One of them, as it is now. Absent: never seen, or forgotten.
  [[nodiscard]] std::optional<Finding> find(std::string_view fingerprint) const;

 private:
  struct Impl;
  explicit Book(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace nexus::analyze
