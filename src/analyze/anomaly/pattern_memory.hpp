// PatternMemory: what has been strange before and is no news: nightly and weekly jobs, and what
// people called noise.
//
// An episode of strangeness is kept as its band of values and its time of the week. A strange value
// is known when an earlier episode
//   - of the same time of the day, give or take an hour, on another day of the last fifteen, had
//     it in its band; or
//   - was called noise and had it in its band, at whatever time.
// An episode called real is never a reason to keep silent. At most kMost, the oldest goes first,
// verdicts last.
//
// Thread safety: one thread.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>

namespace nexus::analyze {

class PatternMemory {
 public:
  /// `tolerance` is added to both sides of a band; times in milliseconds.
  [[nodiscard]] bool knows(double value, std::int64_t time, double tolerance) const noexcept {
    for (std::size_t i = 0; i < count_; ++i) {
      const Episode& e = episodes_[i];
      if (e.verdict > 0 || value < e.low - tolerance || value > e.high + tolerance) continue;
      if (e.verdict < 0) return true;
      const std::int64_t age = time - e.last;
      if (age < 12 * kHour || age > 15 * kDay) continue;
      const std::int64_t apart = ((time - e.begin) % kDay + kDay) % kDay;
      const std::int64_t length = std::min(e.last - e.begin, kDay);
      if (apart <= length + kHour || apart >= kDay - kHour) return true;
    }
    return false;
  }
  /// A strange value: goes on with the episode of the last two hours or begins one.
  void note(double value, std::int64_t time) noexcept {
    if (Episode* e = latest(time)) {
      e->low = std::min(e->low, value);
      e->high = std::max(e->high, value);
      e->last = std::max(e->last, time);
      return;
    }
    Episode* place = &episodes_[count_ < kMost ? count_++ : 0];
    if (count_ == kMost) {
      place = std::ranges::min_element(
          episodes_, {}, [](const Episode& e) { return std::pair(e.verdict != 0, e.last); });
    }
    *place = {value, value, time, time, 0};
  }
  /// What people said of the episode that `time` falls into; false when there is none.
  bool judge(std::int64_t time, double value, bool real) noexcept {
    Episode* nearest = nullptr;
    std::int64_t least = 0;
    for (std::size_t i = 0; i < count_; ++i) {
      Episode& e = episodes_[i];
      if (time + kHour < e.begin || time > e.last + 2 * kHour) continue;
      const std::int64_t apart = std::max({e.begin - time, time - e.last, std::int64_t{0}});
      if (nearest != nullptr && apart >= least) continue;
      nearest = &e;
      least = apart;
    }
    if (nearest == nullptr) return false;
    nearest->low = std::min(nearest->low, value);
    nearest->high = std::max(nearest->high, value);
    nearest->verdict = real ? 1 : -1;
    return true;
  }
  template <class A>
  void visit(A& archive) {
    archive(episodes_, count_);
  }
  [[nodiscard]] bool sound() const noexcept { return count_ <= kMost; }

 private:
  static constexpr std::int64_t kHour = 3'600'000;
  static constexpr std::int64_t kDay = 24 * kHour;
  static constexpr std::size_t kMost = 32;
  struct Episode {
    double low = 0;
    double high = 0;
    std::int64_t begin = 0;
    std::int64_t last = 0;
    std::int64_t verdict = 0;  // 1: real, -1: noise
  };
  Episode* latest(std::int64_t time) noexcept {
    for (std::size_t i = 0; i < count_; ++i) {
      Episode& e = episodes_[i];
      if (time >= e.begin && time - e.last <= 2 * kHour && e.verdict == 0) return &e;
    }
    return nullptr;
  }
  std::array<Episode, kMost> episodes_{};
  std::uint64_t count_ = 0;
};

}  // namespace nexus::analyze
