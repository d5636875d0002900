// Vitals: evaluates them, records their series, reports thresholds.
//
// All samples of a tick go to the ring as one batch of group kVitalsGroup. A series that a vital
// does not give any more gets one stale marker; a NaN counts as not given; a vital whose evaluation
// failed keeps its series as they were.
//
// Thread safety: one thread, but snapshot() and status() any.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "analyze/rules/evaluator.hpp"
#include "analyze/rules/presence.hpp"
#include "nexus/analyze/rules.hpp"

namespace nexus::analyze {

inline constexpr std::uint32_t kVitalsGroup = 1'000'000;

/// A vital as it is compared, shown and kept: seven significant digits of what has more than
/// twelve, the nearest. The rest of a quotient's digits is noise that takes three quarters of the
/// bytes of its history. What is before the point stays whole, and so do counts, prices and the
/// like.
[[nodiscard]] double told(double value) noexcept;

/// Of the threshold that `value` has reached, the higher one first; reaching it counts as crossing.
[[nodiscard]] std::optional<Severity> severity_of(const config::VitalConfig& vital, double value);

class Vitals {
 public:
  Vitals(Clock& clock, const knowledge::Queryable& data, knowledge::SeriesRegistry& registry,
         std::shared_ptr<knowledge::SampleRing> ring, Book& book, knowledge::SelfMetrics& self);

  void adopt(std::shared_ptr<const RuleSet> rules);
  void tick();

  [[nodiscard]] std::shared_ptr<const VitalsSnapshot> snapshot() const;
  [[nodiscard]] std::vector<RuleStatus> status() const;

 private:
  struct Live {
    knowledge::FamilyId family = 0;
    std::vector<knowledge::SeriesId> series;  // ascending, of the last good evaluation
    Presence presence;                        // with on_missing = "fire"
    RuleStatus status;
  };

  void evaluate(std::uint32_t index, WallTime now, std::vector<VitalValue>& out);
  void record(const std::vector<VitalValue>& values, std::size_t first, Live& live);
  void report(const RuleSet::CompiledVital& vital, std::span<const VitalValue> values, Live& live);
  /// What fires on although no threshold is reached: between `clear` and the threshold, or without
  /// data; and what fires because there is no data.
  void report_gaps(const config::VitalConfig& vital, std::span<const VitalValue> values, Live& live,
                   std::vector<Observation>& seen, std::vector<Book::Held>& held);
  void push(WallTime now);

  Clock& clock_;
  knowledge::SeriesRegistry& registry_;
  std::shared_ptr<knowledge::SampleRing> ring_;
  Book& book_;
  Evaluator evaluator_;
  knowledge::Counter refused_;

  std::shared_ptr<const RuleSet> rules_;
  std::vector<Live> live_;                // by vital
  std::vector<knowledge::SeriesId> ids_;  // the batch
  std::vector<double> values_;

  mutable std::mutex mutex_;  // guards the two below
  std::shared_ptr<const VitalsSnapshot> snapshot_;
  std::vector<RuleStatus> status_;
};

}  // namespace nexus::analyze
