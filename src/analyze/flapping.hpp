// Flapping: whether something changes its state so often that its changes say nothing any more.
//
// As Nagios has it: each change of the last Book::kFlapWindow counts, the newest 1.2, the oldest
// 0.8, of kFull that there could be. Times are steady. Thread safety: none.
#pragma once

#include <deque>

#include "nexus/analyze/book.hpp"

namespace nexus::analyze {

class Flapping {
 public:
  static constexpr double kFull = 20;

  void note(SteadyTime at) {
    changes_.push_back(at);
    if (changes_.size() > kMost) changes_.pop_front();
  }
  /// 0 to 1.
  [[nodiscard]] double share(SteadyTime now) {
    while (!changes_.empty() && now - changes_.front() >= Book::kFlapWindow) changes_.pop_front();
    double sum = 0;
    for (const SteadyTime at : changes_) {
      const double age = std::chrono::duration<double>(now - at) / Book::kFlapWindow;
      sum += 1.2 - 0.4 * age;
    }
    return sum < kFull ? sum / kFull : 1;
  }

 private:
  static constexpr std::size_t kMost = 32;
  std::deque<SteadyTime> changes_;
};

}  // namespace nexus::analyze
