#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "analyze/anomaly/quantile.hpp"
#include "analyze/anomaly/random.hpp"
#include "nexus/analyze/anomaly.hpp"

using namespace nexus;
using namespace nexus::analyze;

namespace {

struct Vectors {
  std::vector<std::vector<IsolationForest::Node>> trees;
  std::uint32_t subsample = 0;
  std::size_t dimensions = 0;
  double offset = 0;
  struct Row {
    std::vector<double> values;
    double score = 0;
    double decision = 0;
  };
  std::vector<Row> rows;
};

Vectors load_vectors() {
  std::ifstream file(std::string(NEXUS_TEST_DATA) + "/analyze/isolation_forest_vectors.txt");
  REQUIRE(file.is_open());
  Vectors out;
  std::string line;
  std::size_t nodes = 0;
  std::size_t rows = 0;
  while (std::getline(file, line)) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    std::string word;
    if (nodes > 0) {
      IsolationForest::Node node;
      words >> node.feature >> node.threshold >> node.left >> node.right >> node.samples;
      out.trees.back().push_back(node);
      --nodes;
    } else if (rows > 0) {
      Vectors::Row row;
      row.values.resize(out.dimensions);
      for (double& v : row.values) words >> v;
      words >> row.score >> row.decision;
      out.rows.push_back(row);
      --rows;
    } else if (words >> word; word == "forest") {
      std::size_t trees = 0;
      words >> trees >> out.subsample >> out.dimensions >> out.offset;
    } else if (word == "tree") {
      words >> nodes;
      out.trees.emplace_back();
    } else if (word == "rows") {
      words >> rows;
    }
    REQUIRE_FALSE(words.fail());
  }
  return out;
}

/// Two clumps and a few far points, two dimensions.
std::vector<double> clumps(std::size_t count, std::uint64_t seed) {
  Random random(seed);
  std::vector<double> rows;
  for (std::size_t i = 0; i < count; ++i) {
    const double centre = i % 2 == 0 ? 0 : 10;
    for (int d = 0; d < 2; ++d) {
      double noise = -6;
      for (int k = 0; k < 12; ++k) noise += random.uniform();
      rows.push_back(centre + noise);
    }
  }
  return rows;
}

}  // namespace

TEST_CASE("average path length: c(n) of the paper") {
  CHECK(average_path_length(0) == 0);
  CHECK(average_path_length(1) == 0);
  CHECK(average_path_length(2) == 1);
  CHECK(average_path_length(3) == Approx(1.207392357589623).epsilon(1e-14));
  CHECK(average_path_length(10) == Approx(3.748880484475504).epsilon(1e-14));
  CHECK(average_path_length(64) == Approx(7.471950782586131).epsilon(1e-14));
  CHECK(average_path_length(256) == Approx(10.244770920119917).epsilon(1e-14));
}

TEST_CASE("the same trees give scikit-learn's scores to 1e-9") {
  const Vectors known = load_vectors();
  REQUIRE(known.trees.size() == 20);
  REQUIRE(known.rows.size() == 600);
  const IsolationForest forest =
      IsolationForest::from_trees(known.trees, known.dimensions, known.subsample, known.offset);
  double worst = 0;
  std::vector<double> training;
  for (const Vectors::Row& row : known.rows) {
    const double score = forest.score_samples(row.values);
    worst = std::max(worst, std::abs(score - row.score));
    worst = std::max(worst, std::abs(forest.decision_function(row.values) - row.decision));
    if (training.size() < 300) training.push_back(score);
  }
  CHECK(worst < 1e-12);
  CHECK(quantile(training, 0.1) == Approx(known.offset).epsilon(1e-12));
}

TEST_CASE("a tree worked out by hand") {
  // x <= 5: one row at depth 1; else y <= 1: three rows at depth 2, else two rows at depth 2.
  std::vector<IsolationForest::Node> tree(5);
  tree[0] = {0, 5, 1, 2, 6};
  tree[1] = {-1, 0, -1, -1, 1};
  tree[2] = {1, 1, 3, 4, 5};
  tree[3] = {-1, 0, -1, -1, 3};
  tree[4] = {-1, 0, -1, -1, 2};
  const auto forest = IsolationForest::from_trees({tree}, 2, 6, -0.5);
  const auto path = [&](double x, double y) {
    return forest.path_length(std::vector<double>{x, y});
  };
  CHECK(path(5, 9) == 1);  // x <= threshold goes left
  CHECK(path(6, 1) == Approx(2 + average_path_length(3)));
  CHECK(path(6, 2) == Approx(2 + average_path_length(2)));
  CHECK(forest.anomaly_score(std::vector<double>{0, 0}) ==
        Approx(std::exp2(-1 / average_path_length(6))));
  CHECK(forest.decision_function(std::vector<double>{0, 0}) ==
        Approx(0.5 - std::exp2(-1 / average_path_length(6))));
}

TEST_CASE("grown forests: outliers score lower, the share below the offset is the contamination") {
  const std::vector<double> rows = clumps(1000, 7);
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    INFO(seed);
    const auto forest = IsolationForest::fit(rows, 2, {.seed = seed});
    REQUIRE(forest);
    const auto decide = [&](double x, double y) {
      return forest->decision_function(std::vector<double>{x, y});
    };
    CHECK(decide(0, 0) > 0);
    CHECK(decide(10, 10) > 0);
    CHECK(decide(30, -20) < -0.1);
    CHECK(decide(5, 5) < decide(0, 0));  // between the clumps
    int below = 0;
    for (std::size_t i = 0; i < rows.size(); i += 2)
      below += decide(rows[i], rows[i + 1]) < 0 ? 1 : 0;
    CHECK(below == 100);
    CHECK(forest->anomaly_score(std::vector<double>{30, -20}) > 0.65);
    CHECK(forest->anomaly_score(std::vector<double>{0, 0}) < 0.5);
  }
}

TEST_CASE("the forest is the same for a seed and another for another") {
  const std::vector<double> rows = clumps(500, 3);
  const auto a = IsolationForest::fit(rows, 2, {.seed = 11});
  const auto b = IsolationForest::fit(rows, 2, {.seed = 11});
  const auto c = IsolationForest::fit(rows, 2, {.seed = 12});
  REQUIRE((a && b && c));
  const std::vector<double> row = {1, 2};
  CHECK(a->score_samples(row) == b->score_samples(row));
  CHECK(a->score_samples(row) != c->score_samples(row));
}

TEST_CASE("one row's way alone gives the score of the whole forest, bit by bit") {
  Random random(9);
  for (const std::size_t dimensions : {1U, 2U, 7U}) {
    for (const std::size_t count : {2U, 40U, 900U}) {
      INFO(dimensions << " dimensions, " << count << " rows");
      std::vector<double> rows;
      for (std::size_t i = 0; i < count * dimensions; ++i) {
        const double value = std::round(20 * random.uniform()) / 10;  // ties
        rows.push_back(i % 5 == 3 ? value : 100 * value);
      }
      const IsolationForest::Options options{.trees = 60, .seed = count};
      const auto forest = IsolationForest::fit(rows, dimensions, options);
      REQUIRE(forest);
      for (int i = 0; i < 30; ++i) {
        std::vector<double> row;
        for (std::size_t d = 0; d < dimensions; ++d) row.push_back(300 * random.uniform() - 50);
        const auto score = IsolationForest::score_samples_of(row, rows, options);
        REQUIRE(score);
        CHECK(*score == forest->score_samples(row));
      }
    }
  }
  CHECK_FALSE(IsolationForest::score_samples_of({}, std::vector<double>{1, 2}, {}));
  CHECK_FALSE(IsolationForest::score_samples_of(std::vector<double>{1, 2, 3},
                                                std::vector<double>{1, 2}, {}));
}

TEST_CASE("mean path length of ordinary rows lies near c(psi), as the theory says") {
  Random random(5);
  std::vector<double> rows;
  for (int i = 0; i < 2000; ++i) rows.push_back(random.uniform());
  const auto forest = IsolationForest::fit(rows, 1, {.contamination = 0});
  REQUIRE(forest);
  CHECK(forest->offset() == -0.5);
  double sum = 0;
  for (const double v : rows) sum += forest->path_length(std::vector<double>{v});
  CHECK(sum / 2000 == Approx(average_path_length(256)).epsilon(0.1));
}

TEST_CASE("hostile training data: an error or a forest that stays finite") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK_FALSE(IsolationForest::fit({}, 1, {}));
  CHECK_FALSE(IsolationForest::fit(std::vector<double>{1}, 1, {}));
  CHECK_FALSE(IsolationForest::fit(std::vector<double>{1, 2, 3}, 2, {}));
  CHECK_FALSE(IsolationForest::fit(std::vector<double>{1, 2}, 0, {}));
  CHECK_FALSE(IsolationForest::fit(std::vector<double>{1, nan}, 1, {}));
  CHECK_FALSE(IsolationForest::fit(std::vector<double>{1, 2}, 1, {.trees = 0}));
  CHECK_FALSE(IsolationForest::fit(std::vector<double>{1, 2}, 1, {.subsample = 1}));
  CHECK_FALSE(IsolationForest::fit(std::vector<double>{1, 2}, 1, {.subsample = 100'000}));
  CHECK_FALSE(IsolationForest::fit(std::vector<double>{1, 2}, 1, {.contamination = 0.6}));

  const std::vector<double> constant(300, 4.0);
  const auto flat = IsolationForest::fit(constant, 1, {});
  REQUIRE(flat);
  CHECK(flat->decision_function(std::vector<double>{4}) == Approx(0));
  CHECK(flat->decision_function(std::vector<double>{1e9}) == Approx(0));  // nothing to split on
  CHECK(flat->path_length(std::vector<double>{4}) == Approx(average_path_length(256)));

  const std::vector<double> huge = {-1e308, 1e308, 1e300, -1e300, 0, 1};
  const auto extreme = IsolationForest::fit(huge, 1, {});
  REQUIRE(extreme);
  CHECK(std::isfinite(extreme->score_samples(std::vector<double>{1e308})));
  CHECK(std::isfinite(
      extreme->score_samples(std::vector<double>{std::numeric_limits<double>::infinity()})));
  CHECK(std::isfinite(
      extreme->score_samples(std::vector<double>{nan})));  // counts as least, never out of bounds
}

TEST_CASE("quantiles interpolate as numpy's percentile does") {
  std::vector<double> v = {4, 1, 3, 2};
  CHECK(quantile(v, 0) == 1);
  CHECK(quantile(v, 1) == 4);
  CHECK(quantile(v, 0.5) == 2.5);
  CHECK(quantile(v, 0.1) == Approx(1.3));
  std::vector<double> one = {7};
  CHECK(quantile(one, 0.3) == 7);
}
