// The last values of a series in little more than two bytes each: blocks of kBlock rows, each with
// its median as a float and the distance of the others from it as short floats. The newest block is
// exact, older values to a 500th of how far they are from their block's median: one outlier costs
// no other value its digits.
//
// Thread safety: none.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "analyze/forecast/experts/short_float.hpp"

namespace nexus::analyze {

class ValueRing {
 public:
  /// Keeps `rows` values at least.
  explicit ValueRing(std::size_t rows)
      : keeps_(rows), middles_((rows + kBlock - 1) / kBlock), rests_(middles_.size() * kBlock) {}

  void push(float value) {
    newest_[count_ % kBlock] = value;
    if (++count_ % kBlock == 0) pack();
  }
  /// `ago` rows before the last one, below keeps(); 0 before the first.
  [[nodiscard]] float at(std::size_t ago) const {
    if (ago >= count_) return 0;
    const std::uint64_t row = count_ - 1 - ago;
    const std::uint64_t block = row / kBlock;
    if (block == (count_ - 1) / kBlock) return newest_[row % kBlock];
    const auto place = static_cast<std::size_t>(block % middles_.size());
    return middles_[place] + lengthen(rests_[place * kBlock + row % kBlock]);
  }
  [[nodiscard]] std::size_t keeps() const noexcept { return keeps_; }
  [[nodiscard]] std::size_t bytes() const noexcept {
    return middles_.size() * sizeof(float) + rests_.size() * sizeof(ShortFloat);
  }

  template <typename Archive>
  void archive(Archive& a) {
    a.value(count_);
    a.value(newest_);
    a.values(middles_);
    a.values(rests_);
  }

 private:
  static constexpr std::size_t kBlock = 16;

  void pack() {
    auto sorted = newest_;
    std::ranges::nth_element(sorted, sorted.begin() + kBlock / 2);
    const float middle = sorted[kBlock / 2];
    const auto place = static_cast<std::size_t>((count_ / kBlock - 1) % middles_.size());
    middles_[place] = middle;
    for (std::size_t i = 0; i < kBlock; ++i)
      rests_[place * kBlock + i] = shorten(newest_[i] - middle);
  }

  std::size_t keeps_;
  std::uint64_t count_ = 0;
  std::array<float, kBlock> newest_{};
  std::vector<float> middles_;
  std::vector<ShortFloat> rests_;
};

}  // namespace nexus::analyze
