// HalfSpaceTrees: streaming half-space trees (Tan, Ting, Liu: Fast Anomaly Detection for Streaming
// Data, IJCAI 2011) over the last kShingle values, scaled to 0..1 by the caller.
//
// 50 trees of depth 7; the cuts are drawn once and shared by all detectors, a detector holds the
// masses of leaves alone, 8 bits each: counts for the present window, running sums for the
// reference, so that the mass of any node is a difference of two (13 KiB). Every kWindow rows the
// present masses become the reference. O(trees * depth) a row.
//
// Thread safety: one thread a detector; the shared cuts are immutable.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace nexus::analyze {

class HalfSpaceTrees {
 public:
  static constexpr std::size_t kShingle = 5;
  static constexpr std::uint32_t kWindow = 250;
  using Shingle = std::array<float, kShingle>;

  HalfSpaceTrees();

  /// Strangeness of a row, 0 and up; 0 before the first window is full. Learns the row.
  [[nodiscard]] double push(const Shingle& row) noexcept;
  [[nodiscard]] bool ready() const noexcept { return windows_ > 0; }
  /// Forgets everything.
  void clear();
  [[nodiscard]] std::size_t bytes() const noexcept {
    return reference_.capacity() + present_.capacity();
  }

  template <class A>
  void visit(A& archive) {
    archive(reference_, present_, rows_, windows_);
  }
  /// Whether what was loaded is of the right size and order.
  [[nodiscard]] bool sound() const noexcept;

 private:
  std::vector<std::uint8_t> reference_;  // a tree: 0, then the rows in the leaves up to each
  std::vector<std::uint8_t> present_;    // a tree: the rows in each leaf
  std::uint32_t rows_ = 0;
  std::uint32_t windows_ = 0;
};

}  // namespace nexus::analyze
