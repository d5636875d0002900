// RowClock: the usual distance of a series' rows, from their times, and which rows to leave out:
// those that are not newer than the last one. A clock that was set back for good is followed after
// kPatience rows.
//
// Thread safety: one thread.
#pragma once

#include <algorithm>
#include <cstdint>

namespace nexus::analyze {

class RowClock {
 public:
  enum class Row { kOld, kNext, kAfterGap };

  [[nodiscard]] Row push(std::int64_t time) noexcept {
    if (!begun_) {
      begun_ = true;
      last_ = time;
      return Row::kNext;
    }
    if (time <= last_) {
      if (++old_ < kPatience) return Row::kOld;
      old_ = 0;
      last_ = time;
      return Row::kAfterGap;
    }
    old_ = 0;
    const double distance = static_cast<double>(time - last_);
    last_ = time;
    if (step_ <= 0) step_ = distance;
    const bool gap = distance > 10 * step_;
    // A step towards the median: robust against gaps, quick at first.
    const double rate = std::max(0.01, 0.5 / static_cast<double>(++rows_));
    step_ += std::clamp(distance - step_, -step_, step_) * rate;
    step_ = std::max(step_, 1.0);
    return gap ? Row::kAfterGap : Row::kNext;
  }
  [[nodiscard]] double step() const noexcept { return step_ > 0 ? step_ : 60'000; }  // milliseconds
  [[nodiscard]] double rows_a_day() const noexcept {
    return std::clamp(86'400'000 / step(), 1.0, 86'400.0);
  }
  [[nodiscard]] std::int64_t last() const noexcept { return last_; }
  [[nodiscard]] std::uint64_t rows() const noexcept { return rows_; }

  template <class A>
  void visit(A& archive) {
    archive(last_, step_, rows_, old_, begun_);
  }

 private:
  static constexpr std::uint32_t kPatience = 60;
  std::int64_t last_ = 0;
  double step_ = 0;
  std::uint64_t rows_ = 0;
  std::uint32_t old_ = 0;
  bool begun_ = false;
};

}  // namespace nexus::analyze
