// HalfSpaceTrees: streaming half-space trees (Tan, Ting, Liu: Fast Anomaly Detection for Streaming
// Data, IJCAI 2011) over the last kShingle values, scaled to 0..1 by the caller.
//
// 50 trees of depth 7; the cuts are drawn once and shared by all detectors, a detector holds the
// masses of leaves of the last whole window alone, as running sums of 8 bits, so that the mass of
// any node is a difference of two (6 KiB). Every kWindow rows the caller, who has them, gives the
// window that is the reference from then on. O(trees * depth) a row.
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

  /// Strangeness of a row, 0 and up; 0 before there is a reference.
  [[nodiscard]] double score(const Shingle& row) const noexcept;
  /// The reference anew; at most kWindow rows.
  void learn(std::span<const Shingle> window);
  [[nodiscard]] bool ready() const noexcept { return ready_; }
  [[nodiscard]] std::size_t bytes() const noexcept { return reference_.capacity(); }

  template <class A>
  void visit(A& archive) {
    archive(reference_, ready_);
  }
  /// Whether what was loaded is of the right size and order.
  [[nodiscard]] bool sound() const noexcept;

 private:
  std::vector<std::uint8_t> reference_;  // a tree: 0, then the rows in the leaves up to each
  bool ready_ = false;
};

}  // namespace nexus::analyze
