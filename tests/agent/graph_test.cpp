#include "agent/commands/graph.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <sstream>

using namespace nexus;
using namespace nexus::agent;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

std::vector<std::string> lines_of(const std::vector<GraphSeries>& series, double start, double end,
                                  GraphSize size = {40, 8, false}) {
  std::istringstream text(draw(series, start, end, size));
  std::vector<std::string> out;
  for (std::string line; std::getline(text, line);) out.push_back(line);
  return out;
}

/// The dots of a line, cell by cell: the low byte of U+2800 to U+28FF.
std::vector<unsigned> cells(const std::string& line) {
  std::vector<unsigned> out;
  for (std::size_t i = 0; i + 2 < line.size(); ++i) {
    const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(line[at]); };
    if (byte(i) == 0xE2 && byte(i + 1) >= 0xA0 && byte(i + 1) <= 0xA3)
      out.push_back((byte(i + 1) & 0x3U) << 6U | (byte(i + 2) & 0x3FU));
  }
  return out;
}

std::size_t inked(const std::vector<std::string>& lines) {
  std::size_t out = 0;
  for (const auto& line : lines) {
    for (const auto cell : cells(line)) out += cell != 0 ? 1 : 0;
  }
  return out;
}

}  // namespace

TEST_CASE("graph: a rising line goes from the lower left to the upper right") {
  const auto lines = lines_of({{"up", {{0, 0}, {30, 5}, {60, 10}}}}, 0, 60);
  REQUIRE(lines.size() == 8 + 3);
  CHECK(lines[0].starts_with("10 ┤"));
  CHECK(lines[4].starts_with(" 5 ┤"));
  CHECK(lines[7].starts_with(" 0 ┤"));
  CHECK(cells(lines[0]).size() == 40 - 2 - 2);
  CHECK((cells(lines[0]).back() & 0x08U) != 0);   // the uppermost dot on the right
  CHECK((cells(lines[7]).front() & 0x40U) != 0);  // the lowest on the left
  CHECK(cells(lines[0]).front() == 0);
  CHECK(cells(lines[7]).back() == 0);
  CHECK(lines[9].find("00:00:00") != std::string::npos);
  CHECK(lines[9].ends_with("00:01:00 UTC"));
  CHECK(lines[10] == "- up  10");
}

TEST_CASE("graph: a missing value and a long pause leave a gap, marks are crosses") {
  const std::vector<std::pair<double, double>> whole = {{0, 1}, {10, 1}, {20, 1}, {30, 1}, {40, 1}};
  auto holed = whole;
  holed[2].second = std::nan("");
  auto paused = whole;
  paused.erase(paused.begin() + 2);
  const auto full = inked(lines_of({{"v", whole}}, 0, 40));
  CHECK(full == 40 - 3 - 2);  // "0.9" and "1.1" at the scale
  CHECK(inked(lines_of({{"v", holed}}, 0, 40)) < full);
  CHECK(inked(lines_of({{"v", paused}}, 0, 40)) < full);
  const auto marked = lines_of({{"flagged", {{20, 1}}, true}}, 0, 40);
  CHECK(inked(marked) > 1);  // five dots
  CHECK(marked.back() == "- flagged  1 marked");
}

TEST_CASE("graph: what cannot be drawn to scale is drawn all the same") {
  CHECK(draw({}, 0, 60, {}) == "no series\n");
  CHECK(inked(lines_of({{"none", {}}}, 0, 60)) == 0);
  CHECK(inked(lines_of({{"v", {{0, kInf}, {30, -kInf}}}}, 0, 60)) == 0);
  CHECK(inked(lines_of({{"now", {{60, 1}}}}, 60, 60)) == 1);
  // The greatest numbers: their distance is no number any more.
  constexpr double kMost = std::numeric_limits<double>::max();
  const auto wide = lines_of({{"v", {{0, -kMost}, {60, kMost}}}}, 0, 60, {60, 8, false});
  CHECK(cells(wide[7]).front() != 0);
  CHECK(cells(wide[0]).back() != 0);
  CHECK(wide[4].find(" 0 ┤") != std::string::npos);
  // The least: a tenth of it is zero.
  constexpr double kLeast = std::numeric_limits<double>::denorm_min();
  const auto least = lines_of({{"v", {{0, kLeast}, {60, kLeast}}}}, 0, 60, {60, 8, false});
  CHECK(cells(least[4]).front() != 0);
  // Or two, whose halves are the same.
  const auto two = lines_of({{"v", {{0, 0}, {60, kLeast}}}}, 0, 60, {60, 8, false});
  CHECK(cells(two[4]).front() != 0);
}

TEST_CASE("graph: twelve series, the others by number") {
  std::vector<GraphSeries> many(kMaxGraphSeries + 2);
  for (auto& one : many) one = {"v", {{0, 1}, {60, 2}}, false};
  CHECK(lines_of(many, 0, 60).back() == "and 2 more, which are not drawn");
}
