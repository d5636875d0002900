// A small deterministic generator for subsamples and thresholds: SplitMix64 (Steele, Lea, Flood,
// OOPSLA 2014).
//
// The standard's engines are portable but its distributions are not; a forest must be the same
// everywhere for a seed.
//
// Thread safety: one thread.
#pragma once

#include <cstdint>

namespace nexus::analyze {

class Random {
 public:
  explicit Random(std::uint64_t seed) noexcept : state_(seed) {}

  std::uint64_t next() noexcept {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  /// In [0, 1).
  double uniform() noexcept { return static_cast<double>(next() >> 11) * 0x1p-53; }
  /// In [0, limit), limit > 0; the bias of the multiplication is below limit / 2^32.
  std::uint32_t below(std::uint32_t limit) noexcept {
    return static_cast<std::uint32_t>(((next() >> 32) * limit) >> 32);
  }

 private:
  std::uint64_t state_;
};

}  // namespace nexus::analyze
