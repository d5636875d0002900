// A table through the detectors: the same as live, row by row.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

#include "analyze/anomaly/random.hpp"
#include "nexus/analyze/anomaly.hpp"
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

TEST_CASE("replay: an isolation forest alone scores rows by the rows before them") {
  const CsvTable table = noise(3, 1200, 900);
  ReplayOptions options;
  options.together = true;
  options.contamination = 0.01;
  std::vector<ReplayRow> rows;
  const auto summary = replay(table, options, [&](const ReplayRow& row) { rows.push_back(row); });
  REQUIRE(summary);
  CHECK_FALSE(rows[255].score->ready);
  CHECK(rows[127].score->progress == Approx(127.0 / 256));
  std::vector<double> before;
  for (std::size_t i = 0; i < 256; ++i) {
    for (const auto& column : table.columns) before.push_back(column[i]);
  }
  const auto forest = IsolationForest::fit(before, 3, {.contamination = 0.01});
  REQUIRE(forest);
  const double row[] = {table.columns[0][256], table.columns[1][256], table.columns[2][256]};
  REQUIRE(rows[256].score->ready);
  CHECK(rows[256].score->score == Approx(forest->anomaly_score(row)).margin(1e-3));
  // Nothing is known of the row itself when it is judged; what made it is named.
  CHECK(rows[900].score->flag);
  CHECK(rows[900].score->probability < 0.01);
  REQUIRE(rows[900].columns.size() == 3);
  double all = 0;
  for (const Contribution& one : rows[900].columns) {
    CHECK(one.share > 0.15);
    CHECK(one.present == table.columns[one.column][900]);
    CHECK(one.usual == Approx(51.5).margin(0.5));
    all += one.share;
  }
  CHECK(all == Approx(1));
  CHECK(summary->flagged > 4);  // about a hundredth of rows that are all alike
  CHECK(summary->flagged < 40);
  // Each column by itself: the strangest one speaks.
  options.together = false;
  rows.clear();
  REQUIRE(replay(table, options, [&](const ReplayRow& one) { rows.push_back(one); }));
  CHECK(rows[900].score->flag);
  REQUIRE_FALSE(rows[900].columns.empty());
  CHECK(rows[900].columns.front().column == 1);
}

TEST_CASE(
    "replay: an isolation forest takes what detectors take, and no more columns than it has") {
  CsvTable table = noise(2, 600, 5000);
  table.columns[0][300] = std::nan("");
  table.columns[1].assign(600, 7);  // constant
  table.columns[1][500] = 1e300;
  ReplayOptions options;
  options.together = true;
  options.contamination = 0;
  std::vector<ReplayRow> rows;
  const auto summary = replay(table, options, [&](const ReplayRow& row) { rows.push_back(row); });
  REQUIRE(summary);
  CHECK(summary->left_out == 1);
  CHECK_FALSE(rows[300].score.has_value());
  for (const ReplayRow& row : rows) {
    if (!row.score) continue;
    CHECK(std::isfinite(row.score->score));
    for (const Contribution& one : row.columns) CHECK(std::isfinite(one.share));
  }
  const auto many = replay(noise(300, 2, 5000), options, [](const ReplayRow&) {});
  REQUIRE_FALSE(many);
  CHECK(many.error().message() == "300 columns: an isolation forest takes 256 at most");
}
