// Extremes: the range of the last kBlocks * kRows rows (11 days of minutes), by the extremes of
// blocks; and how far a value lies beyond it.
//
// Thread safety: one thread.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

namespace nexus::analyze {

class Extremes {
 public:
  static constexpr std::uint32_t kMinimum = 20;  // rows before anything is a new extreme

  [[nodiscard]] double low() const noexcept { return low_; }
  [[nodiscard]] double high() const noexcept { return high_; }
  /// Half of the range, so that it does not overflow.
  [[nodiscard]] double span() const noexcept { return high_ / 2 - low_ / 2; }

  /// How far `value` lies beyond the range, as a share of the range; 0 inside. Then learns it.
  [[nodiscard]] double push(double value) noexcept {
    double beyond = 0;
    if (rows_ == 0) {
      low_ = high_ = value;
    } else if (rows_ >= kMinimum) {
      const double far = std::max(value / 2 - high_ / 2, low_ / 2 - value / 2);
      // Rounding is no news.
      if (far > 1e-10 * std::max(std::abs(low_), std::abs(high_)))
        beyond = std::min(far / std::max(span(), 1e-300), 1e6);
    }
    Block& block = blocks_[(rows_ / kRows) % kBlocks];
    if (rows_ % kRows == 0) {
      block = {value, value};
      const std::uint64_t count = std::min<std::uint64_t>(rows_ / kRows + 1, kBlocks);
      low_ = high_ = value;
      for (std::size_t i = 0; i < count; ++i) {
        low_ = std::min(low_, blocks_[i].low);
        high_ = std::max(high_, blocks_[i].high);
      }
    }
    block.low = std::min(block.low, value);
    block.high = std::max(block.high, value);
    low_ = std::min(low_, value);
    high_ = std::max(high_, value);
    ++rows_;
    return beyond;
  }

  template <class A>
  void visit(A& archive) {
    archive(blocks_, low_, high_, rows_);
  }

 private:
  static constexpr std::uint64_t kRows = 1024;
  static constexpr std::size_t kBlocks = 16;
  struct Block {
    double low = 0;
    double high = 0;
  };
  std::array<Block, kBlocks> blocks_{};
  double low_ = 0;
  double high_ = 0;
  std::uint64_t rows_ = 0;
};

}  // namespace nexus::analyze
