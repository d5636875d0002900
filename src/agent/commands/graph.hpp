// Series drawn in a terminal: one canvas of braille dots, a scale on the left, times below, a
// legend. Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace nexus::agent {

struct GraphSeries {
  std::string name;
  std::vector<std::pair<double, double>> points;  // Unix seconds, value; ascending
  bool marks = false;                             // a cross at each point instead of a line
};

struct GraphSize {
  std::size_t width = 80;  // columns, of the scale too
  std::size_t height = 16;
  bool colours = false;
};

/// The size of the terminal that standard output is, or 80 columns without colours.
[[nodiscard]] GraphSize terminal_size();

/// What is not finite leaves a gap. At most kMaxGraphSeries are drawn; the legend says how many are
/// not.
inline constexpr std::size_t kMaxGraphSeries = 12;
[[nodiscard]] std::string draw(std::span<const GraphSeries> series, double start, double end,
                               const GraphSize& size);

}  // namespace nexus::agent
