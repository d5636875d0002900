// The last values of a series in little more than two bytes each: blocks of kBlock rows, each with
// its first value as a float and the distance of the others from it as short floats. The newest
// value is exact, older ones to a 500th of how far they were from their block's first.
//
// Thread safety: none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "analyze/forecast/experts/short_float.hpp"

namespace nexus::analyze {

class ValueRing {
 public:
  /// Keeps `rows` values at least.
  explicit ValueRing(std::size_t rows)
      : keeps_(rows), firsts_((rows + kBlock - 1) / kBlock + 1), rests_(firsts_.size() * kBlock) {}

  void push(float value) {
    const std::size_t place = static_cast<std::size_t>(count_++ % rests_.size());
    float& first = firsts_[place / kBlock];
    if (place % kBlock == 0) first = value;
    rests_[place] = shorten(value - first);
    last_ = value;
  }
  /// `ago` rows before the last one, below keeps(); 0 before the first.
  [[nodiscard]] float at(std::size_t ago) const {
    if (ago >= count_) return 0;
    if (ago == 0) return last_;
    const std::size_t place = static_cast<std::size_t>((count_ - 1 - ago) % rests_.size());
    return firsts_[place / kBlock] + lengthen(rests_[place]);
  }
  [[nodiscard]] std::size_t keeps() const noexcept { return keeps_; }
  [[nodiscard]] std::size_t bytes() const noexcept {
    return firsts_.size() * sizeof(float) + rests_.size() * sizeof(ShortFloat);
  }

  template <typename Archive>
  void archive(Archive& a) {
    a.value(count_);
    a.value(last_);
    a.values(firsts_);
    a.values(rests_);
  }

 private:
  static constexpr std::size_t kBlock = 16;

  std::size_t keeps_;
  std::uint64_t count_ = 0;
  float last_ = 0;
  std::vector<float> firsts_;
  std::vector<ShortFloat> rests_;
};

}  // namespace nexus::analyze
