// Fading histograms of signed scores, one a lead, for quantiles: 40 bins a side that grow by a
// quarter each from 0.01 to about 60, and one for what is nearer to zero.
//
// Fading costs nothing: what comes later weighs more, and all is scaled down now and then.
// Thread safety: none.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

namespace nexus::analyze {

class Histograms {
 public:
  static constexpr int kSide = 40;
  static constexpr int kBins = 2 * kSide + 1;

  explicit Histograms(std::size_t leads) : bins_(leads * kBins), total_(leads), weight_(leads, 1) {}

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
    a.values(total_);
    a.values(weight_);
  }
  [[nodiscard]] std::size_t bytes() const noexcept {
    return (bins_.size() + total_.size() + weight_.size()) * sizeof(float);
  }

 private:
  struct Pooled {
    std::array<float, static_cast<std::size_t>(kBins)> bins{};
    float total = 0;
    int least = -1;
    int most = -1;
  };
  [[nodiscard]] static float quantile(const Pooled& pooled, double p);

  std::vector<float> bins_;
  std::vector<float> total_;   // of the bins, a lead
  std::vector<float> weight_;  // of the next score, a lead
};

}  // namespace nexus::analyze
