// MinuteMean: what the detectors of rows see of a vital: the mean of each minute, told when the
// first value of a later minute comes. A minute's row costs the same however often vitals are
// evaluated, and a model means the same at any interval.
//
// Thread safety: one thread.
#pragma once

#include <cstdint>
#include <optional>

namespace nexus::analyze {

class MinuteMean {
 public:
  struct Row {
    std::int64_t time = 0;  // the minute's end, milliseconds
    double value = 0;
  };
  /// A value of a minute that is over is left out: the clock was set back.
  std::optional<Row> push(std::int64_t time, double value) noexcept {
    constexpr std::int64_t kMinute = 60'000;
    const std::int64_t minute = time / kMinute;
    std::optional<Row> out;
    if (count_ > 0 && minute != minute_) {
      out = Row{(minute_ + 1) * kMinute, mean_};
      count_ = 0;
    }
    if (count_ == 0) mean_ = 0;
    minute_ = minute;
    ++count_;
    mean_ += value / count_ - mean_ / count_;
    return out;
  }

 private:
  std::int64_t minute_ = 0;
  double mean_ = 0;
  double count_ = 0;
};

}  // namespace nexus::analyze
