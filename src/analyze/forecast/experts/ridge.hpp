// Ridge regressions of the change until a lead on a few features, one a lead, from fading normal
// equations: for the leading features alone and for all of them.
//
// Thread safety: none.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace nexus::analyze {

class Ridges {
 public:
  static constexpr std::size_t kFeatures = 13;
  static constexpr std::size_t kLeading = 8;  // of these, without the season

  explicit Ridges(std::size_t leads);

  /// That features `x` were followed by `change`, with a weight. `seasonal`: all of x is known.
  void learn(std::size_t lead, std::span<const float> x, float change, float weight, double fade,
             bool seasonal);
  /// Finds the coefficients of a lead anew.
  void solve(std::size_t lead, double ridge);
  void forget(std::size_t lead, double share);

  /// The change to expect; NaN before there are rows enough.
  [[nodiscard]] float leading(std::size_t lead, std::span<const float> x) const;
  [[nodiscard]] float all(std::size_t lead, std::span<const float> x) const;

  template <typename Archive>
  void archive(Archive& a) {
    a.values(normal_);
    a.values(right_);
    a.values(count_);
    a.values(weight_);
    a.values(short_);
    a.values(long_);
  }
  [[nodiscard]] std::size_t bytes() const noexcept {
    return (normal_.size() + right_.size() + weight_.size()) * sizeof(double) +
           (count_.size() + short_.size() + long_.size()) * sizeof(float);
  }

 private:
  static constexpr std::size_t kTriangle = kFeatures * (kFeatures + 1) / 2;

  std::vector<double> normal_;  // lower triangles, row by row
  std::vector<double> right_;
  std::vector<float> count_;    // rows learnt: [lead * 2], with the season [lead * 2 + 1]
  std::vector<double> weight_;  // of the next row
  std::vector<float> short_;    // coefficients
  std::vector<float> long_;
};

}  // namespace nexus::analyze
