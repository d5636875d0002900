#include "analyze/anomaly/half_space_trees.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "analyze/anomaly/random.hpp"

namespace nexus::analyze {
namespace {

constexpr int kTrees = 50;
constexpr int kDepth = 7;
constexpr std::size_t kLeaves = 1U << kDepth;
constexpr std::size_t kSums = kLeaves + 1;
constexpr int kFew = HalfSpaceTrees::kWindow / 10;  // a node with no more rows ends the walk
// Walked side by side, to hide the latency of each step.
constexpr std::size_t kTreesTogether = 10;
constexpr std::size_t kRowsTogether = 8;
static_assert(kTrees % kTreesTogether == 0);

/// Nodes are numbered from 1, the children of n are 2 n and 2 n + 1.
struct Cuts {
  std::array<float, kLeaves> at{};
  std::array<std::uint8_t, kLeaves> dimension{};
};
using Forest = std::array<Cuts, kTrees>;

/// A work space a tree as in the paper: around a random point, wide enough to hold 0..1; each node
/// halves it along a random dimension.
Forest draw_cuts() {
  struct Box {
    std::array<double, HalfSpaceTrees::kShingle> low{};
    std::array<double, HalfSpaceTrees::kShingle> high{};
  };
  Forest forest{};
  Random random(1);
  for (Cuts& tree : forest) {
    std::array<Box, kLeaves> boxes{};
    for (std::size_t d = 0; d < HalfSpaceTrees::kShingle; ++d) {
      const double point = random.uniform();
      const double half = 2 * std::max(point, 1 - point);
      boxes[1].low[d] = point - half;
      boxes[1].high[d] = point + half;
    }
    for (std::size_t node = 1; node < kLeaves; ++node) {
      const Box& box = boxes[node];
      const std::uint32_t d = random.below(HalfSpaceTrees::kShingle);
      const double middle = (box.low[d] + box.high[d]) / 2;
      tree.at[node] = static_cast<float>(middle);
      tree.dimension[node] = static_cast<std::uint8_t>(d);
      for (std::size_t side = 0; side < 2; ++side) {
        const std::size_t child = 2 * node + side;
        if (child >= kLeaves) continue;
        boxes[child] = box;
        (side == 0 ? boxes[child].high : boxes[child].low)[d] = middle;
      }
    }
  }
  return forest;
}

const Forest& shared_forest() {
  static const Forest forest = draw_cuts();
  return forest;
}

std::size_t below_of(const Cuts& tree, std::size_t node,
                     const HalfSpaceTrees::Shingle& row) noexcept {
  return 2 * node + static_cast<std::size_t>(row[tree.dimension[node]] > tree.at[node]);
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
  const Forest& forest = shared_forest();
  int sum = 0;
  for (std::size_t first = 0; first < kTrees; first += kTreesTogether) {
    std::array<std::size_t, kTreesTogether> node;
    node.fill(1);
    for (int depth = 0; depth < kDepth; ++depth) {
#pragma GCC unroll 10
      for (std::size_t k = 0; k < kTreesTogether; ++k)
        node[k] = below_of(forest[first + k], node[k], row);
    }
    for (std::size_t k = 0; k < kTreesTogether; ++k) {
      // Masses only fall on the way: where it ends is how many of them are not few yet. Counted
      // without a branch, which would be mispredicted at every tree.
      const std::uint8_t* const sums = &reference_[(first + k) * kSums];
      const std::size_t leaf = node[k] - kLeaves;
      const auto mass_at = [&](int depth) {
        const auto below = static_cast<unsigned>(kDepth - depth);
        const std::size_t place = leaf >> below;
        return sums[(place + 1) << below] - sums[place << below];
      };
      int end = 0;
#pragma GCC unroll 7
      for (int depth = 0; depth < kDepth; ++depth) end += mass_at(depth) > kFew ? 1 : 0;
      sum += mass_at(end) << end;
    }
  }
  return std::max(kMost - std::log1p(static_cast<double>(sum) / kTrees), 0.0);
}

void HalfSpaceTrees::learn(std::span<const Shingle> window) {
  const Forest& forest = shared_forest();
  window = window.first(std::min<std::size_t>(window.size(), kWindow));
  for (std::size_t t = 0; t < kTrees; ++t) {
    std::array<std::uint8_t, kLeaves> counts{};
    const auto count = [&]<std::size_t kRows>(std::span<const Shingle, kRows> rows) {
      std::array<std::size_t, kRows> node;
      node.fill(1);
      for (int depth = 0; depth < kDepth; ++depth) {
#pragma GCC unroll 8
        for (std::size_t k = 0; k < kRows; ++k) node[k] = below_of(forest[t], node[k], rows[k]);
      }
      for (const std::size_t leaf : node) ++counts[leaf - kLeaves];
    };
    auto rest = window;
    for (; rest.size() >= kRowsTogether; rest = rest.subspan(kRowsTogether))
      count(rest.first<kRowsTogether>());
    for (; !rest.empty(); rest = rest.subspan(1)) count(rest.first<1>());
    std::inclusive_scan(counts.begin(), counts.end(), &reference_[t * kSums + 1]);
  }
  ready_ = true;
}

}  // namespace nexus::analyze
