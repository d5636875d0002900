// A table through the detectors: the same as live, row by row.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

#include "analyze/anomaly/random.hpp"
#include "nexus/analyze/replay.hpp"

using namespace nexus::analyze;

namespace {

/// Minutes of noise in so many columns; `spike` is far out in all of them.
CsvTable noise(std::size_t columns, std::size_t rows, std::size_t spike) {
  CsvTable out;
  Random random(11);
  out.columns.resize(columns);
  for (std::size_t c = 0; c < columns; ++c) out.names.push_back("c" + std::to_string(c));
  for (std::size_t i = 0; i < rows; ++i) {
    out.times.push_back(static_cast<std::int64_t>(i) * 60'000);
    out.lines.push_back(i + 2);
    for (auto& column : out.columns)
      column.push_back((i == spike ? 100 : 50) + 3 * random.uniform());
  }
  return out;
}

std::vector<std::size_t> flagged(const CsvTable& table, const ReplayOptions& options) {
  std::vector<std::size_t> out;
  const auto summary = replay(table, options, [&](const ReplayRow& row) {
    if (row.score && row.score->flag) out.push_back(row.row);
  });
  REQUIRE(summary);
  CHECK(summary->flagged == out.size());
  CHECK(summary->rows == table.rows());
  return out;
}

}  // namespace

TEST_CASE(
    "replay: one column has the whole share of a vital, many columns share the alarms a day") {
  const std::size_t columns = GENERATE(1U, 40U);
  const CsvTable table = noise(columns, 1200, 900);
  const double share = std::max(1.0, static_cast<double>(columns) * kVitalShare);
  std::vector<VitalDetector> detectors;
  for (std::size_t c = 0; c < columns; ++c) detectors.emplace_back(1 / share);
  std::vector<std::size_t> expected;
  for (std::size_t i = 0; i < table.rows(); ++i) {
    bool flag = false;
    for (std::size_t c = 0; c < columns; ++c) {
      const auto score = detectors[c].push(table.times[i], table.columns[c][i]);
      flag = (score && score->flag) || flag;
    }
    if (flag) expected.push_back(i);
  }
  const auto found = flagged(table, {});
  CHECK(found == expected);
  CHECK(std::ranges::find(found, std::size_t{900}) != found.end());
}

TEST_CASE("replay: rows that do not go forward and rows without a value are left out") {
  CsvTable table = noise(1, 300, 999);
  table.times[200] = table.times[100];
  table.columns[0][210] = std::nan("");
  std::vector<std::size_t> left_out;
  const auto summary = replay(table, {}, [&](const ReplayRow& row) {
    if (!row.score) left_out.push_back(row.row);
  });
  REQUIRE(summary);
  CHECK(left_out == std::vector<std::size_t>{200, 210});
  CHECK(summary->left_out == 2);
  CHECK_FALSE(replay(CsvTable{}, {}, [](const ReplayRow&) {}));
}

TEST_CASE("replay: together, a strange row names the columns that made it") {
  CsvTable table = noise(5, 1500, 9999);
  for (std::size_t i = 1300; i < 1310; ++i) table.columns[3][i] = 90;
  ReplayOptions options;
  options.together = true;
  std::size_t named = 99;
  const auto summary = replay(table, options, [&](const ReplayRow& row) {
    if (row.row >= 1300 && row.row < 1310 && !row.columns.empty()) named = row.columns[0].column;
  });
  REQUIRE(summary);
  CHECK(named == 3);
}
