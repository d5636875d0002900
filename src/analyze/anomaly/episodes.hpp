// The list of anomalies: one entry an episode, however long it lasts; newest first, bounded by
// number and by the time since it was last seen. Episodes are told apart by their number alone: two
// may begin at the same time, and a wall clock may step.
//
// Thread safety: one thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "nexus/analyze/anomaly.hpp"

namespace nexus::analyze {

class Episodes {
 public:
  struct Entry {
    std::uint64_t id;
    SteadyTime seen;  // the last time
    Anomaly anomaly;
    double moved = 0;  // by its verdict: what is asked for before there is an alarm
  };
  static constexpr std::size_t kMost = 1000;
  static constexpr Millis kKept{60 * 60'000};

  std::uint64_t begin(Anomaly anomaly, SteadyTime now) {
    anomaly.id = ++last_id_;
    list_.push_front({last_id_, now, std::move(anomaly), 0});
    if (list_.size() > kMost) {
      list_.erase(std::ranges::min_element(
          list_, {}, [](const Entry& entry) { return std::pair(entry.seen, entry.id); }));
    }
    changed_ = true;
    return last_id_;
  }
  /// When it began; nothing when it is not listed.
  [[nodiscard]] std::optional<WallTime> begun(std::uint64_t id) const {
    const auto entry = std::ranges::find(list_, id, &Entry::id);
    return entry == list_.end() ? std::nullopt : std::optional(entry->anomaly.time);
  }
  /// The episode is shown as it was when it was strangest.
  void update(std::uint64_t id, Anomaly anomaly, SteadyTime now) {
    const auto entry = std::ranges::find(list_, id, &Entry::id);
    if (entry == list_.end()) return;
    entry->seen = now;
    if (anomaly.anomaly_score >= entry->anomaly.anomaly_score &&
        anomaly.severity <= entry->anomaly.severity) {
      return;
    }
    anomaly.time = entry->anomaly.time;
    anomaly.id = id;
    anomaly.real = entry->anomaly.real;
    if (!anomaly.probability) anomaly.probability = entry->anomaly.probability;
    entry->anomaly = std::move(anomaly);
    changed_ = true;
  }
  /// Numbers from here on: those of an earlier process are not used again.
  void number_from(std::uint64_t first) noexcept { last_id_ = std::max(last_id_, first); }
  /// One that is listed, or was and was called noise; nullptr when there is none.
  [[nodiscard]] Entry* entry(std::uint64_t id) {
    const auto entry = std::ranges::find(list_, id, &Entry::id);
    return entry == list_.end() ? nullptr : &*entry;
  }
  /// What people said of it: noise is not listed, as if it had not been, unless they change their
  /// mind.
  void judged(Entry& entry, bool real) {
    entry.anomaly.real = real;
    changed_ = true;
  }
  void forget(SteadyTime now) {
    const auto gone = std::erase_if(list_, [&](const Entry& e) { return now - e.seen > kKept; });
    changed_ = changed_ || gone > 0;
  }
  /// Whether the list differs from the last snapshot.
  [[nodiscard]] bool changed() const noexcept { return changed_; }
  [[nodiscard]] std::shared_ptr<const std::vector<Anomaly>> snapshot() {
    auto all = std::make_shared<std::vector<Anomaly>>();
    all->reserve(list_.size());
    for (const Entry& entry : list_)
      if (entry.anomaly.real.value_or(true)) all->push_back(entry.anomaly);
    changed_ = false;
    return all;
  }
  /// Those that were called noise.
  [[nodiscard]] std::vector<std::uint64_t> withdrawn() const {
    std::vector<std::uint64_t> out;
    for (const Entry& entry : list_)
      if (!entry.anomaly.real.value_or(true)) out.push_back(entry.id);
    return out;
  }

 private:
  std::deque<Entry> list_;
  std::uint64_t last_id_ = 0;
  bool changed_ = false;
};

}  // namespace nexus::analyze
