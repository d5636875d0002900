// Chart: lines, bands and marks over time as a PNG file (W3C PNG, third edition): 8 bits a pixel
// from a fixed palette, one zlib stream, nothing but zlib needed.
//
// The scale is round numbers, times are UTC. What is not finite leaves a gap; a chart without any
// value says so. Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace nexus::serve {

enum class ChartColour : std::uint8_t {
  kPaper,
  kInk,
  kGrid,
  kBlue,
  kOrange,
  kGreen,
  kRed,
  kPurple,
  kWideBand,    // pale: 95 %
  kNarrowBand,  // 80 %
};

struct ChartLine {
  std::string name;  // in the legend; empty: not there
  ChartColour colour = ChartColour::kBlue;
  bool dots = false;                              // single marks instead of a line
  std::vector<std::pair<double, double>> points;  // Unix seconds, value; ascending
};
struct ChartBand {
  struct Point {
    double time, low, high;
  };
  ChartColour colour = ChartColour::kWideBand;
  std::vector<Point> points;
};
struct ChartLevel {
  std::string name;
  double value = 0;
};

struct Chart {
  static constexpr std::size_t kMostWidth = 4000;
  static constexpr std::size_t kMostHeight = 2000;
  std::string title;  // what is beyond ASCII is shown as "?"
  std::size_t width = 900;
  std::size_t height = 360;
  std::vector<ChartBand> bands;    // below the lines, in this order
  std::vector<ChartLine> lines;    // in this order
  std::vector<ChartLevel> levels;  // thresholds; drawn only where the values come near them
};

/// Width and height are held between 200 x 120 and the most.
[[nodiscard]] std::string to_png(const Chart& chart);

}  // namespace nexus::serve
