// Ridge regressions of the change until a lead on a few features, one a lead, from fading normal
// equations: for the leading features alone and for all of them.
//
// The equations are kept as floats in a unit of their own, a power of two about as large as the
// first feature: the penalty is a hundredth of the diagonal, so rounding is far below it.
// Coefficients have no unit, so that only squares need one, for a float to hold them.
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
    a.value(unit_);
    a.values(normal_);
    a.values(right_);
    a.values(count_);
    a.values(weight_);
    a.values(short_);
    a.values(long_);
  }
  [[nodiscard]] std::size_t bytes() const noexcept {
    return weight_.size() * sizeof(double) +
           (normal_.size() + right_.size() + count_.size() + short_.size() + long_.size()) *
               sizeof(float);
  }

 private:
  static constexpr std::size_t kTriangle = kFeatures * (kFeatures + 1) / 2;

  void measure(float feature);

  double unit_ = 0;            // 0: nothing has moved yet
  std::vector<float> normal_;  // lower triangles, row by row, in squares of the unit
  std::vector<float> right_;
  std::vector<float> count_;    // rows learnt: [lead * 2], with the season [lead * 2 + 1]
  std::vector<double> weight_;  // of the next row
  std::vector<float> short_;    // coefficients
  std::vector<float> long_;
};

}  // namespace nexus::analyze
