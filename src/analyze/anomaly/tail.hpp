// TailProbability: how improbable a score is against its own past.
//
// A histogram over eight bins an octave whose old entries decay (memory of `rows`), and above its
// 98 % quantile an exponential tail fitted to the excesses: peaks over threshold with zero shape.
// So scores of any scale become comparable, and no rate of alarms depends on the series. O(bins).
//
// Thread safety: one thread.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

namespace nexus::analyze {

class TailProbability {
 public:
  static constexpr std::uint32_t kMinimum = 100;  // scores before it says anything

  explicit TailProbability(double rows = 4000) : memory_(rows) {}

  /// -log10 of the probability of a score of at least `score`, which is not negative; 0 before
  /// kMinimum scores.
  [[nodiscard]] double surprise(double score) const noexcept {
    if (seen_ < kMinimum) return 0;
    const int bin = bin_of(score);
    if (score > threshold_) {
      const double mean_excess = excess_weight_ > 0 ? excess_ / excess_weight_ : 0;
      const double scale = std::max(mean_excess, 1e-9 + 0.02 * threshold_);
      return -std::log10(kLevel) + (score - threshold_) / scale / std::log(10.0);
    }
    double above = 0;
    for (int i = kBins - 1; i > bin; --i)
      above += static_cast<double>(mass_[static_cast<std::size_t>(i)]);
    const double low = lower(bin);
    const double high = lower(bin + 1);
    above += static_cast<double>(mass_[static_cast<std::size_t>(bin)]) *
             std::clamp((high - score) / (high - low), 0.0, 1.0);
    return -std::log10(std::clamp((above + 1e-9) / total_, 1e-12, 1.0));
  }

  void learn(double score) noexcept {
    ++seen_;
    weight_ /= 1 - 1 / std::min(memory_, seen_ + 1.0);  // newer scores weigh more
    mass_[static_cast<std::size_t>(bin_of(score))] += static_cast<float>(weight_);
    total_ += weight_;
    if (weight_ > 1e6) {
      for (float& m : mass_) m = static_cast<float>(static_cast<double>(m) / weight_);
      total_ /= weight_;
      weight_ = 1;
    }
    threshold_ = quantile();
    if (score > threshold_) {
      const double keep = 1 - 1 / std::max(10.0, kLevel * memory_);
      excess_ = excess_ * keep + (score - threshold_);
      excess_weight_ = excess_weight_ * keep + 1;
    }
  }

  template <class A>
  void visit(A& archive) {
    archive(mass_, total_, weight_, threshold_, excess_, excess_weight_, seen_);
  }

 private:
  static constexpr int kBins = 160;
  static constexpr double kLevel = 0.02;
  static constexpr double kLeast = 1e-4;  // below it all scores are one

  static int bin_of(double score) noexcept {
    if (!(score > kLeast)) return 0;
    return static_cast<int>(std::min(1 + 8 * std::log2(score / kLeast), kBins - 1.0));
  }
  static double lower(int bin) noexcept {
    return bin == 0 ? 0 : std::exp2((bin - 1) / 8.0) * kLeast;
  }
  /// The score that a share of kLevel lies above, linear within its bin.
  [[nodiscard]] double quantile() const noexcept {
    double above = 0;
    int bin = kBins - 1;
    for (; bin > 0; --bin) {
      above += static_cast<double>(mass_[static_cast<std::size_t>(bin)]);
      if (above > kLevel * total_) break;
    }
    const auto mass = static_cast<double>(mass_[static_cast<std::size_t>(bin)]);
    const double share = mass > 0 ? std::min(1.0, (above - kLevel * total_) / mass) : 1;
    return std::lerp(lower(bin), lower(bin + 1), share);
  }

  double memory_;
  std::array<float, kBins> mass_{};
  double total_ = 0;
  double weight_ = 1;
  double threshold_ = 0;
  double excess_ = 0;
  double excess_weight_ = 0;
  std::uint32_t seen_ = 0;
};

}  // namespace nexus::analyze
