// AlarmBudget: what probability raises an alarm, so that alarms stay at a rate a day.
//
// The level asked for (-log10 of a probability) begins at what the budget says if probabilities
// were true, and moves with what happens, as in adaptive conformal inference (Gibbs, Candes 2021):
// every alarm raises it, every alarm-free share of a day lowers it, to a floor. So
// the rate holds under drift, whatever the series. A verdict moves it as well.
//
// Thread safety: one thread.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace nexus::analyze {

class AlarmBudget {
 public:
  /// `least` is how far below its beginning quiet time may lower the level.
  explicit AlarmBudget(double least = 0) : least_(least) {}

  /// Moves time on; `a_day` is the budget.
  void advance(std::int64_t time, double a_day) noexcept {
    if (last_ != 0 && time > last_) {
      const double days = std::min(static_cast<double>(time - last_) / 86'400'000, 7.0);
      extra_ = std::max(extra_ - kStep * days * a_day, least_);
    }
    last_ = time;
  }
  [[nodiscard]] double extra() const noexcept { return extra_ + verdict_; }
  void alarmed() noexcept { extra_ = std::min(extra_ + kStep, 6.0); }
  /// `before`: what an earlier verdict on the same alarm moved, which does not count any more.
  /// Returns what this one moved.
  double judged(bool real, double before) noexcept {
    const double without = verdict_ - before;
    verdict_ = std::clamp(without + (real ? -0.5 : 0.5), -1.0, 3.0);
    return verdict_ - without;
  }
  template <class A>
  void visit(A& archive) {
    archive(extra_, verdict_, last_);
  }

 private:
  static constexpr double kStep = 0.15;
  double least_;
  double extra_ = 0;
  double verdict_ = 0;  // by people; stays
  std::int64_t last_ = 0;
};

}  // namespace nexus::analyze
