// Fading histograms of signed scores, one a lead, for quantiles: 40 bins a side that grow by a
// quarter each from 0.01 to about 60, and one for what is nearer to zero.
//
// Fading costs nothing: what comes later weighs more, and all is halved when a bin is full. A bin
// has 16 bits: with scores that fade over 1,500 a score weighs 20 at least, so that rounding is
// below a fortieth of one.
//
// Thread safety: none.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace nexus::analyze {

class Histograms {
 public:
  static constexpr int kSide = 40;
  static constexpr int kBins = 2 * kSide + 1;

  explicit Histograms(std::size_t leads) : bins_(leads * kBins), weight_(leads, kHeaviest) {}

  void add(std::size_t lead, float score, double fade);
  /// What was learnt weighs `share` of what it did, against what comes.
  void forget(std::size_t lead, double share) { weight_[lead] /= static_cast<float>(share); }
  /// Quantiles of the scores of `lead` and of its neighbours up to `reach` leads away; 0 without
  /// any. A p outside (0, 1) gives one bin more than was seen.
  [[nodiscard]] std::array<float, 4> quantiles(std::size_t lead, std::size_t reach,
                                               const std::array<double, 4>& p) const;

  template <typename Archive>
  void archive(Archive& a) {
    a.values(bins_);
    a.values(weight_);
  }
  [[nodiscard]] std::size_t bytes() const noexcept {
    return bins_.size() * sizeof(std::uint16_t) + weight_.size() * sizeof(float);
  }

 private:
  static constexpr float kHeaviest = 4096;  // weight of a score

  struct Pooled {
    std::array<float, static_cast<std::size_t>(kBins)> bins{};
    float total = 0;
    int least = -1;
    int most = -1;
  };
  [[nodiscard]] static float quantile(const Pooled& pooled, double p);

  void halve(std::size_t lead);

  std::vector<std::uint16_t> bins_;
  std::vector<float> weight_;  // of the next score, a lead
};

}  // namespace nexus::analyze
