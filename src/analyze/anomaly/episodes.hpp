// The list of anomalies: one entry an episode, however long it lasts; newest first, bounded by
// number and age.
//
// Thread safety: one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "nexus/analyze/anomaly.hpp"

namespace nexus::analyze {

class Episodes {
 public:
  static constexpr std::size_t kMost = 1000;
  static constexpr Millis kKept{60 * 60'000};

  std::uint64_t begin(Anomaly anomaly) {
    list_.push_front({++last_id_, std::move(anomaly)});
    if (list_.size() > kMost) list_.pop_back();
    return last_id_;
  }
  /// The episode is shown as it was when it was strangest.
  void update(std::uint64_t id, Anomaly anomaly) {
    for (Entry& entry : list_) {
      if (entry.id != id) continue;
      if (anomaly.anomaly_score >= entry.anomaly.anomaly_score &&
          anomaly.severity <= entry.anomaly.severity) {
        return;
      }
      anomaly.time = entry.anomaly.time;
      entry.anomaly = std::move(anomaly);
      return;
    }
  }
  void forget(WallTime now) {
    while (!list_.empty() && now - list_.back().anomaly.time > kKept) list_.pop_back();
  }
  [[nodiscard]] std::shared_ptr<const std::vector<Anomaly>> snapshot() const {
    auto all = std::make_shared<std::vector<Anomaly>>();
    all->reserve(list_.size());
    for (const Entry& entry : list_) all->push_back(entry.anomaly);
    return all;
  }

 private:
  struct Entry {
    std::uint64_t id;
    Anomaly anomaly;
  };
  std::deque<Entry> list_;
  std::uint64_t last_id_ = 0;
};

}  // namespace nexus::analyze
