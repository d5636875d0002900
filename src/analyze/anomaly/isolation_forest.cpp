#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <numbers>
#include <unordered_map>

#include "analyze/anomaly/quantile.hpp"
#include "analyze/anomaly/random.hpp"
#include "nexus/analyze/anomaly.hpp"

namespace nexus::analyze {
namespace {

constexpr std::uint32_t kQuietNan = 0x7fc00000U;
constexpr std::uint32_t kPayload = 0x003fffffU;
constexpr std::size_t kTogether =
    10;  // trees walked side by side, to hide the latency of each step

float to_feature(double value) {
  constexpr double kMost = std::numeric_limits<float>::max();
  return static_cast<float>(std::clamp(value, -kMost, kMost));
}

/// The largest float that is not above `threshold`: x <= threshold stays the same for every float
/// x.
float round_down(double threshold) {
  const float nearest = to_feature(threshold);
  if (static_cast<double>(nearest) <= threshold) return nearest;
  return std::nextafter(nearest, -std::numeric_limits<float>::infinity());
}

std::uint32_t subsample_of(std::size_t count, const IsolationForest::Options& options) {
  return static_cast<std::uint32_t>(std::min<std::size_t>(options.subsample, count));
}

std::uint32_t depth_limit(std::uint32_t subsample) {
  return static_cast<std::uint32_t>(std::bit_width(subsample - 1));  // ceil(log2(subsample))
}

}  // namespace

double average_path_length(double n) noexcept {
  if (n <= 1) return 0;
  if (n <= 2) return 1;
  return 2 * (std::log(n - 1) + std::numbers::egamma) - 2 * (n - 1) / n;
}

/// Lays one tree out after another: children side by side, leaves with their path length.
class IsolationForest::Flattener {
 public:
  explicit Flattener(IsolationForest& forest) : forest_(forest) {}

  void begin_tree() {
    forest_.trees_.push_back({static_cast<std::uint32_t>(forest_.nodes_.size()), 0});
    forest_.nodes_.emplace_back();
  }
  /// Makes the node at `at` (within the tree) an inner one; returns its left child, the right one
  /// is the next.
  std::uint32_t split(std::uint32_t at, std::uint32_t feature, float cut) {
    const std::size_t root = forest_.trees_.back().root;
    const auto child = static_cast<std::uint16_t>(forest_.nodes_.size() - root);
    forest_.nodes_[root + at] = {cut, child, static_cast<std::uint16_t>(feature)};
    forest_.nodes_.resize(forest_.nodes_.size() + 2);
    return child;
  }
  void leaf(std::uint32_t at, std::uint32_t depth, std::uint32_t samples) {
    Tree& tree = forest_.trees_.back();
    tree.depth = std::max(tree.depth, depth);
    const std::uint32_t path = path_index(depth + average_path_length(samples));
    forest_.nodes_[tree.root + at] = {std::bit_cast<float>(kQuietNan | path),
                                      static_cast<std::uint16_t>(at), 0};
  }

 private:
  std::uint32_t path_index(double path) {
    std::vector<double>& paths = forest_.leaf_paths_;
    const auto [known, is_new] = index_.try_emplace(path, static_cast<std::uint32_t>(paths.size()));
    if (is_new) paths.push_back(path);
    return known->second;
  }

  IsolationForest& forest_;
  std::unordered_map<double, std::uint32_t> index_;  // of each distinct path in leaf_paths_
};

/// Grows trees on subsamples of the rows.
///
/// The random numbers of a node depend on the seed, its tree and its place in the tree alone, so
/// that the way of one row can be grown without the branches it does not take.
class IsolationForest::Grower {
 public:
  Grower(std::vector<float> rows, std::size_t dimensions, std::uint32_t subsample,
         std::uint64_t seed)
      : rows_(std::move(rows)),
        dimensions_(dimensions),
        subsample_(subsample),
        limit_(depth_limit(subsample)),
        trees_(seed),
        order_(rows_.size() / dimensions),
        sample_(subsample),
        right_(subsample),
        features_(dimensions) {
    for (std::size_t i = 0; i < order_.size(); ++i) order_[i] = static_cast<std::uint32_t>(i);
  }

  void grow_tree(Flattener& flat) {
    begin_tree();
    flat.begin_tree();
    grow(flat, 0, {kRoot, 0, sample_});
  }

  /// The path length of a row in the next tree.
  double walk_tree(std::span<const float> row) {
    begin_tree();
    Branch branch{kRoot, 0, sample_};
    while (const auto split = choose(branch)) {
      const bool left = row[split->feature] <= split->cut;
      branch = {2 * branch.place + (left ? 0 : 1), branch.depth + 1,
                branch.rows.first(keep(branch.rows, *split, left))};
    }
    return branch.depth + average_path_length(static_cast<double>(branch.rows.size()));
  }

 private:
  static constexpr std::uint32_t kRoot = 1;  // the children of place p are 2p and 2p + 1

  struct Split {
    std::uint32_t feature = 0;
    float cut = 0;
  };
  struct Branch {
    std::uint32_t place = kRoot;
    std::uint32_t depth = 0;
    std::span<std::uint32_t> rows;
  };

  [[nodiscard]] float value(std::uint32_t row, std::uint32_t feature) const {
    return rows_[row * dimensions_ + feature];
  }

  void begin_tree() {
    tree_ = trees_.next();
    Random random(tree_);
    const auto count = static_cast<std::uint32_t>(order_.size());
    for (std::uint32_t i = 0; i < subsample_; ++i) {  // the first steps of a shuffle
      std::swap(order_[i], order_[i + random.below(count - i)]);
    }
    std::copy_n(order_.begin(), subsample_, sample_.begin());
  }

  void grow(Flattener& flat, std::uint32_t at, const Branch& branch) {
    const auto split = choose(branch);
    if (!split) {
      flat.leaf(at, branch.depth, static_cast<std::uint32_t>(branch.rows.size()));
      return;
    }
    const std::size_t left = partition(branch.rows, *split);
    const std::uint32_t child = flat.split(at, split->feature, split->cut);
    grow(flat, child, {2 * branch.place, branch.depth + 1, branch.rows.first(left)});
    grow(flat, child + 1, {2 * branch.place + 1, branch.depth + 1, branch.rows.subspan(left)});
  }

  /// Puts the rows of the left side first. Each row is written to both sides and one of the ends
  /// moves: which one is a coin toss, and a branch on it would be mispredicted half the time.
  std::size_t partition(std::span<std::uint32_t> rows, const Split& split) {
    std::size_t left = 0;
    std::size_t right = 0;
    for (const std::uint32_t row : rows) {
      const bool goes_left = value(row, split.feature) <= split.cut;
      rows[left] = row;
      right_[right] = row;
      left += goes_left ? 1 : 0;
      right += goes_left ? 0 : 1;
    }
    std::copy_n(right_.begin(), right, rows.begin() + static_cast<std::ptrdiff_t>(left));
    return left;
  }

  /// Puts the rows of one side first, in their order, as partition() does; the others are lost.
  std::size_t keep(std::span<std::uint32_t> rows, const Split& split, bool left) const {
    std::size_t kept = 0;
    for (const std::uint32_t row : rows) {
      const bool stays = (value(row, split.feature) <= split.cut) == left;
      rows[kept] = row;
      kept += stays ? 1 : 0;
    }
    return kept;
  }

  /// None for a leaf. Else a feature drawn among those that are not constant in these rows.
  std::optional<Split> choose(const Branch& branch) {
    if (branch.rows.size() < 2 || branch.depth >= limit_) return std::nullopt;
    Random random(tree_ ^ Random(branch.place).next());
    for (std::size_t i = 0; i < dimensions_; ++i) features_[i] = static_cast<std::uint16_t>(i);
    for (auto left = static_cast<std::uint32_t>(dimensions_); left > 0; --left) {
      std::swap(features_[random.below(left)], features_[left - 1]);
      const std::uint32_t feature = features_[left - 1];
      float low = value(branch.rows[0], feature);
      float high = low;
      for (const std::uint32_t row : branch.rows) {
        low = std::min(low, value(row, feature));
        high = std::max(high, value(row, feature));
      }
      if (low < high) return Split{feature, cut_between(low, high, random)};
    }
    return std::nullopt;
  }

  /// Uniform in [low, high), so that both sides get a row.
  static float cut_between(float low, float high, Random& random) {
    const double l = low;
    const double cut = l + random.uniform() * (static_cast<double>(high) - l);
    const float rounded = round_down(cut);
    return rounded >= low && rounded < high ? rounded : low;
  }

  std::vector<float> rows_;
  std::size_t dimensions_;
  std::uint32_t subsample_;
  std::uint32_t limit_;
  Random trees_;            // a seed a tree
  std::uint64_t tree_ = 0;  // the seed of the present one
  std::vector<std::uint32_t> order_;
  std::vector<std::uint32_t> sample_;
  std::vector<std::uint32_t> right_;
  std::vector<std::uint16_t> features_;
};

Result<IsolationForest::Grower> IsolationForest::grower(std::span<const double> rows,
                                                        std::size_t dimensions,
                                                        const Options& options) {
  if (dimensions == 0 || dimensions > kMaxDimensions || rows.size() % dimensions != 0) {
    return fail(Errc::kInvalidArgument,
                "isolation forest: {} values are no rows of {} dimensions (1 to {})", rows.size(),
                dimensions, kMaxDimensions);
  }
  const std::size_t count = rows.size() / dimensions;
  if (count < 2 || count > std::numeric_limits<std::uint32_t>::max()) {
    return fail(Errc::kInvalidArgument, "isolation forest: {} rows, at least 2 are needed", count);
  }
  if (options.trees == 0 || options.subsample < 2 || options.subsample > kMaxSubsample ||
      !(options.contamination >= 0 && options.contamination <= 0.5)) {
    return fail(Errc::kInvalidArgument,
                "isolation forest: {} trees of {} with contamination {}: expected at least 1 tree, "
                "2 to {} rows, 0 to 0.5",
                options.trees, options.subsample, options.contamination, kMaxSubsample);
  }
  std::vector<float> features(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (!std::isfinite(rows[i])) {
      return fail(Errc::kInvalidArgument, "isolation forest: row {} is not finite", i / dimensions);
    }
    features[i] = to_feature(rows[i]);
  }
  return Grower(std::move(features), dimensions, subsample_of(count, options), options.seed);
}

Result<IsolationForest> IsolationForest::fit(std::span<const double> rows, std::size_t dimensions,
                                             const Options& options) {
  auto grower = IsolationForest::grower(rows, dimensions, options);
  if (!grower) return std::unexpected(std::move(grower).error());
  const std::size_t count = rows.size() / dimensions;
  IsolationForest forest;
  forest.dimensions_ = dimensions;
  forest.normalizer_ = average_path_length(subsample_of(count, options));
  Flattener flat(forest);
  for (std::uint32_t i = 0; i < options.trees; ++i) grower->grow_tree(flat);
  forest.nodes_.shrink_to_fit();

  std::vector<double> scores(count);
  for (std::size_t i = 0; i < count; ++i) {
    scores[i] = forest.score_samples(rows.subspan(i * dimensions, dimensions));
  }
  forest.lowest_score_ = *std::min_element(scores.begin(), scores.end());
  if (options.contamination > 0) forest.offset_ = quantile(scores, options.contamination);
  return forest;
}

Result<double> IsolationForest::score_samples_of(std::span<const double> row,
                                                 std::span<const double> rows,
                                                 const Options& options) {
  auto grower = IsolationForest::grower(rows, row.size(), options);
  if (!grower) return std::unexpected(std::move(grower).error());
  std::array<float, kMaxDimensions> features;
  std::ranges::transform(row, features.begin(), to_feature);
  double sum = 0;
  for (std::uint32_t i = 0; i < options.trees; ++i)
    sum += grower->walk_tree(std::span(features).first(row.size()));
  const double normalizer = average_path_length(subsample_of(rows.size() / row.size(), options));
  return -std::exp2(-(sum / options.trees) / normalizer);
}

IsolationForest IsolationForest::from_trees(const std::vector<std::vector<Node>>& trees,
                                            std::size_t dimensions, std::uint32_t subsample,
                                            double offset) {
  NEXUS_CHECK(dimensions > 0 && dimensions <= kMaxDimensions);
  IsolationForest forest;
  forest.dimensions_ = dimensions;
  forest.normalizer_ = average_path_length(subsample);
  forest.offset_ = offset;
  Flattener flat(forest);
  struct Pending {
    std::size_t node;
    std::uint32_t at;
    std::uint32_t depth;
  };
  for (const std::vector<Node>& tree : trees) {
    NEXUS_CHECK(!tree.empty() && tree.size() < 2 * kMaxSubsample);
    flat.begin_tree();
    std::vector<Pending> open = {{0, 0, 0}};
    while (!open.empty()) {
      const Pending next = open.back();
      open.pop_back();
      const Node& node = tree.at(next.node);
      if (node.left < 0) {
        flat.leaf(next.at, next.depth, node.samples);
        continue;
      }
      NEXUS_CHECK(node.feature >= 0 && static_cast<std::size_t>(node.feature) < dimensions);
      NEXUS_CHECK(next.depth < tree.size());  // else the "tree" has a cycle
      const std::uint32_t child =
          flat.split(next.at, static_cast<std::uint32_t>(node.feature), round_down(node.threshold));
      open.push_back({static_cast<std::size_t>(node.left), child, next.depth + 1});
      open.push_back({static_cast<std::size_t>(node.right), child + 1, next.depth + 1});
    }
  }
  return forest;
}

// Trees are walked kTogether at a time and each for the depth of the deepest of them: no branch
// depends on the data, so nothing is mispredicted and the steps of different trees overlap. A leaf
// compares with NaN, which is false: it stays.
double IsolationForest::path_length(const float* row) const noexcept {
  double sum = 0;
  std::size_t tree = 0;
  for (; tree + kTogether <= trees_.size(); tree += kTogether) {
    std::array<const FlatNode*, kTogether> root;
    std::array<std::uint32_t, kTogether> at{};
    std::uint32_t depth = 0;
    for (std::size_t k = 0; k < kTogether; ++k) {
      root[k] = nodes_.data() + trees_[tree + k].root;
      depth = std::max(depth, trees_[tree + k].depth);
    }
    for (; depth > 0; --depth) {
#pragma GCC unroll 10
      for (std::size_t k = 0; k < kTogether; ++k) {
        const FlatNode& node = root[k][at[k]];
        at[k] = node.child + static_cast<std::uint32_t>(row[node.feature] > node.cut);
      }
    }
    for (std::size_t k = 0; k < kTogether; ++k) {
      sum += leaf_paths_[std::bit_cast<std::uint32_t>(root[k][at[k]].cut) & kPayload];
    }
  }
  for (; tree < trees_.size(); ++tree) {
    const FlatNode* const root = nodes_.data() + trees_[tree].root;
    std::uint32_t at = 0;
    for (std::uint32_t depth = trees_[tree].depth; depth > 0; --depth) {
      at = root[at].child + static_cast<std::uint32_t>(row[root[at].feature] > root[at].cut);
    }
    sum += leaf_paths_[std::bit_cast<std::uint32_t>(root[at].cut) & kPayload];
  }
  return trees_.empty() ? 0 : sum / static_cast<double>(trees_.size());
}

double IsolationForest::path_length(std::span<const double> row) const {
  NEXUS_CHECK(row.size() == dimensions_);
  std::array<float, kMaxDimensions> features;
  for (std::size_t i = 0; i < row.size(); ++i) features[i] = to_feature(row[i]);
  return path_length(features.data());
}

double IsolationForest::anomaly_score(std::span<const double> row) const {
  return std::exp2(-path_length(row) / normalizer_);
}

std::size_t IsolationForest::bytes() const noexcept {
  return sizeof(*this) + nodes_.capacity() * sizeof(FlatNode) + trees_.capacity() * sizeof(Tree) +
         leaf_paths_.capacity() * sizeof(double);
}

}  // namespace nexus::analyze
