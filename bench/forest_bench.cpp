// The isolation forest of a table, for bench/versus/isolation_forest.py:
//
//   forest_bench FILE.csv TRAINING_ROWS SEED...
//
// prints score_samples of every row, a column a seed; each forest is grown from the first
// TRAINING_ROWS rows with the shipped 100 trees of 256. CPU time of growing one forest and of one
// score goes to the standard error, as "fit MILLISECONDS" and "score MICROSECONDS".
#include <fmt/format.h>

#include <cstdio>
#include <ctime>
#include <vector>

#include "nexus/analyze/anomaly.hpp"
#include "nexus/analyze/csv.hpp"
#include "nexus/base/text.hpp"

namespace {

using namespace nexus;

double cpu_seconds() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

int fail(const std::string& message) {
  fmt::print(stderr, "forest_bench: {}\n", message);
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return fail("usage: forest_bench FILE.csv TRAINING_ROWS SEED...");
  const auto table = analyze::read_csv(argv[1], {});
  if (!table) return fail(table.error().message());
  const std::size_t columns = table->columns.size();
  std::vector<double> rows;
  for (std::size_t i = 0; i < table->rows(); ++i)
    for (const auto& column : table->columns) rows.push_back(column[i]);
  const auto training = base::parse_uint(argv[2]);
  if (!training || *training < 2 || *training > table->rows())
    return fail(fmt::format("TRAINING_ROWS {}: expected 2 to {}", argv[2], table->rows()));
  std::vector<std::vector<double>> scores;
  double fit = 0;
  double score = 0;
  for (int i = 3; i < argc; ++i) {
    const auto seed = base::parse_uint(argv[i]);
    if (!seed) return fail(fmt::format("SEED {}: expected a whole number", argv[i]));
    const double begin = cpu_seconds();
    const auto forest =
        analyze::IsolationForest::fit(std::span(rows).first(*training * columns), columns,
                                      {.trees = 100, .subsample = 256, .seed = *seed});
    if (!forest) return fail(forest.error().message());
    const double grown = cpu_seconds();
    auto& mine = scores.emplace_back();
    for (std::size_t row = 0; row < table->rows(); ++row)
      mine.push_back(forest->score_samples(std::span(rows).subspan(row * columns, columns)));
    fit += grown - begin;
    score += cpu_seconds() - grown;
  }
  const auto forests = static_cast<double>(scores.size());
  for (std::size_t row = 0; row < table->rows(); ++row) {
    for (std::size_t i = 0; i < scores.size(); ++i)
      fmt::print("{}{:.17g}", i == 0 ? "" : ",", scores[i][row]);
    fmt::print("\n");
  }
  fmt::print(stderr, "fit {:.3f}\nscore {:.3f}\n", 1e3 * fit / forests,
             1e6 * score / forests / static_cast<double>(table->rows()));
  return 0;
}
