#include "analyze/anomaly/half_space_trees.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "analyze/anomaly/random.hpp"

namespace nexus::analyze {
namespace {

constexpr int kTrees = 50;
constexpr int kDepth = 7;
constexpr std::size_t kInner = (1U << kDepth) - 1;
constexpr std::size_t kLeaves = 1U << kDepth;
constexpr std::size_t kSums = kLeaves + 1;
constexpr double kFew = 0.1 * HalfSpaceTrees::kWindow;  // a node with no more rows ends the walk

struct Cut {
  float at = 0;
  std::uint32_t dimension = 0;
};
using Cuts = std::array<std::array<Cut, kInner>, kTrees>;

/// A work space a tree as in the paper: around a random point, wide enough to hold 0..1; each node
/// halves it along a random dimension.
Cuts draw_cuts() {
  struct Box {
    std::array<double, HalfSpaceTrees::kShingle> low{};
    std::array<double, HalfSpaceTrees::kShingle> high{};
  };
  Cuts cuts{};
  Random random(1);
  for (auto& tree : cuts) {
    std::array<Box, kInner> boxes{};
    for (std::size_t d = 0; d < HalfSpaceTrees::kShingle; ++d) {
      const double point = random.uniform();
      const double half = 2 * std::max(point, 1 - point);
      boxes[0].low[d] = point - half;
      boxes[0].high[d] = point + half;
    }
    for (std::size_t node = 0; node < kInner; ++node) {
      const Box& box = boxes[node];
      const std::uint32_t d = random.below(HalfSpaceTrees::kShingle);
      const double middle = (box.low[d] + box.high[d]) / 2;
      tree[node] = {static_cast<float>(middle), d};
      for (std::size_t side = 0; side < 2; ++side) {
        const std::size_t child = 2 * node + 1 + side;
        if (child >= kInner) continue;
        boxes[child] = box;
        (side == 0 ? boxes[child].high : boxes[child].low)[d] = middle;
      }
    }
  }
  return cuts;
}

const Cuts& shared_cuts() {
  static const Cuts cuts = draw_cuts();
  return cuts;
}

/// Which of the nodes one deeper a row goes to.
std::size_t below_of(const std::array<Cut, kInner>& tree, int depth, std::size_t place,
                     const HalfSpaceTrees::Shingle& row) noexcept {
  const Cut& cut = tree[(std::size_t{1} << depth) - 1 + place];
  return 2 * place + (row[cut.dimension] > cut.at ? 1 : 0);
}

}  // namespace

HalfSpaceTrees::HalfSpaceTrees() : reference_(kTrees * kSums, 0) {}

bool HalfSpaceTrees::sound() const noexcept {
  if (reference_.size() != kTrees * kSums) return false;
  for (std::size_t t = 0; t < kTrees; ++t) {
    const auto sums = std::span(reference_).subspan(t * kSums, kSums);
    if (sums.front() != 0 || !std::ranges::is_sorted(sums)) return false;
  }
  return true;
}

double HalfSpaceTrees::score(const Shingle& row) const noexcept {
  // The mass of a row that all windows of this size could hold at most, as a logarithm.
  constexpr double kMost = 13.8;
  if (!ready_) return 0;
  const Cuts& cuts = shared_cuts();
  double sum = 0;
  for (std::size_t t = 0; t < kTrees; ++t) {
    const std::uint8_t* const sums = &reference_[t * kSums];
    std::size_t place = 0;  // of the node among those of its depth
    for (int depth = 0;; ++depth) {
      const int below = kDepth - depth;
      const int mass = sums[(place + 1) << below] - sums[place << below];
      if (mass <= kFew || depth == kDepth) {
        sum += mass * static_cast<double>(1U << depth);
        break;
      }
      place = below_of(cuts[t], depth, place, row);
    }
  }
  return std::max(kMost - std::log1p(sum / kTrees), 0.0);
}

void HalfSpaceTrees::learn(std::span<const Shingle> window) {
  const Cuts& cuts = shared_cuts();
  for (std::size_t t = 0; t < kTrees; ++t) {
    std::array<std::uint8_t, kLeaves> counts{};
    for (const Shingle& row : window.first(std::min<std::size_t>(window.size(), kWindow))) {
      std::size_t place = 0;
      for (int depth = 0; depth < kDepth; ++depth) place = below_of(cuts[t], depth, place, row);
      ++counts[place];
    }
    std::inclusive_scan(counts.begin(), counts.end(), &reference_[t * kSums + 1]);
  }
  ready_ = true;
}

}  // namespace nexus::analyze
