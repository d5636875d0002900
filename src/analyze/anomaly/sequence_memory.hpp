// SequenceMemory: what symbol comes after what. A context model: counts of the symbol after the
// last 0 to kOrders symbols, blended from short to long contexts as
//   p = (count(context, symbol) + p_shorter) / (count(context) + 1).
// A change that has been seen often enough in its context is expected, however large; one that
// never came this way is strange, within the range of the usual values as well.
//
// Counts are in two tables, addressed by a hash; when a context's count is full both its counts are
// halved as they are met, so that old ways fade (a table whose counts grow large all over halves
// them all, see small_counts.hpp). O(orders) a row, 8 KiB, 12 at most.
//
// Thread safety: one thread.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "analyze/anomaly/small_counts.hpp"

namespace nexus::analyze {

class SequenceMemory {
 public:
  static constexpr std::uint32_t kSymbols = 16;
  static constexpr std::size_t kOrders = 4;

  /// Bits of surprise at `symbol`, then learns it.
  [[nodiscard]] double push(std::uint32_t symbol) {
    double p = 1.0 / kSymbols;
    for (std::size_t order = 0; order <= kOrders; ++order) {
      std::uint64_t context = order + 1;
      for (std::size_t i = 0; i < order; ++i) context = context * 1'000'003 + last_[i] + 1;
      const std::size_t all_at = slot(context);
      const std::size_t same_at = slot(context * 31 + symbol + 77);
      std::uint16_t all = contexts_.at(all_at);
      std::uint16_t same = pairs_.at(same_at);
      const double n = all;
      p = (std::min<double>(same, n) + p) / (n + 1);
      if (all == kFull) {
        all = kFull / 2;
        same = static_cast<std::uint16_t>(same / 2);
      }
      contexts_.set(all_at, static_cast<std::uint16_t>(all + 1));
      pairs_.set(same_at, static_cast<std::uint16_t>(std::min<int>(same + 1, kFull)));
    }
    std::shift_right(last_.begin(), last_.end(), 1);
    last_.front() = static_cast<std::uint8_t>(symbol);
    return -std::log2(p);
  }

  [[nodiscard]] std::size_t bytes() const noexcept { return contexts_.bytes() + pairs_.bytes(); }
  template <class A>
  void visit(A& archive) {
    archive(contexts_, pairs_, last_);
  }
  [[nodiscard]] bool sound() const noexcept { return contexts_.sound() && pairs_.sound(); }

 private:
  static constexpr std::uint16_t kFull = 60'000;

  static std::size_t slot(std::uint64_t key) noexcept {
    key ^= key >> 33;
    key *= 0xff51afd7ed558ccdULL;
    key ^= key >> 33;
    key *= 0xc4ceb9fe1a85ec53ULL;
    return (key ^ (key >> 33)) % SmallCounts::kSlots;
  }

  SmallCounts contexts_;  // how often a context was met
  SmallCounts pairs_;     // and followed by this symbol
  std::array<std::uint8_t, kOrders> last_{};
};

}  // namespace nexus::analyze
