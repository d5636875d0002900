#include "agent/commands/graph.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "nexus/base/clock.hpp"
#include "nexus/base/go_text.hpp"

namespace nexus::agent {
namespace {

constexpr std::array<int, 6> kColours = {32, 33, 34, 35, 36, 31};
constexpr std::size_t kLeast = 30;  // columns

/// Cells of 2 x 4 dots; U+2800 and up.
class Canvas {
 public:
  Canvas(std::size_t columns, std::size_t rows)
      : columns_(columns), rows_(rows), dots_(columns * rows, 0), owner_(columns * rows, 0) {}

  [[nodiscard]] std::size_t width() const { return columns_ * 2; }
  [[nodiscard]] std::size_t height() const { return rows_ * 4; }

  void set(std::size_t x, std::size_t y, std::size_t series) {
    constexpr std::array<std::array<std::uint8_t, 2>, 4> kBits = {
        {{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}}};
    const std::size_t cell = y / 4 * columns_ + x / 2;
    dots_[cell] |= kBits[y % 4][x % 2];
    owner_[cell] = series;
  }

  /// A cross of five dots.
  void mark(std::size_t x, std::size_t y, std::size_t series) {
    set(x, y, series);
    for (const int dx : {-1, 1}) {
      for (const int dy : {-1, 1}) {
        const auto at_x = static_cast<std::ptrdiff_t>(x) + dx;
        const auto at_y = static_cast<std::ptrdiff_t>(y) + dy;
        if (at_x < 0 || at_y < 0 || std::cmp_greater_equal(at_x, width()) ||
            std::cmp_greater_equal(at_y, height()))
          continue;
        set(static_cast<std::size_t>(at_x), static_cast<std::size_t>(at_y), series);
      }
    }
  }

  /// From dot to dot, every column once.
  void line(std::pair<std::size_t, std::size_t> from, std::pair<std::size_t, std::size_t> to,
            std::size_t series) {
    const auto dx = static_cast<double>(to.first) - static_cast<double>(from.first);
    const auto dy = static_cast<double>(to.second) - static_cast<double>(from.second);
    const auto steps = static_cast<int>(std::max({std::abs(dx), std::abs(dy), 1.0}));
    for (int i = 0; i <= steps; ++i) {
      const double share = static_cast<double>(i) / steps;
      set(static_cast<std::size_t>(std::lround(static_cast<double>(from.first) + dx * share)),
          static_cast<std::size_t>(std::lround(static_cast<double>(from.second) + dy * share)),
          series);
    }
  }

  [[nodiscard]] std::string row(std::size_t y, bool colours) const {
    std::string out;
    for (std::size_t x = 0; x < columns_; ++x) {
      const auto cell = y * columns_ + x;
      const auto code = static_cast<unsigned>(0x2800 + dots_[cell]);
      const bool paints = colours && dots_[cell] != 0;
      if (paints) out += fmt::format("\x1b[{}m", kColours[owner_[cell] % kColours.size()]);
      out += static_cast<char>(0xE0 | (code >> 12));
      out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
      out += static_cast<char>(0x80 | (code & 0x3F));
      if (paints) out += "\x1b[0m";
    }
    return out;
  }

 private:
  std::size_t columns_;
  std::size_t rows_;
  std::vector<std::uint8_t> dots_;
  std::vector<std::size_t> owner_;  // the series that was drawn there last
};

struct Scale {
  double low = 0;
  double high = 1;
};

Scale scale_of(std::span<const GraphSeries> series) {
  double low = std::numeric_limits<double>::infinity();
  double high = -low;
  for (const auto& one : series) {
    for (const auto& [time, value] : one.points) {
      if (!std::isfinite(value)) continue;
      low = std::min(low, value);
      high = std::max(high, value);
    }
  }
  if (low > high) return {};
  if (low / 2 == high / 2) {  // also where the halves of the least numbers are the same
    // A tenth of the least numbers is zero, and beyond the greatest there is none.
    constexpr double kMost = std::numeric_limits<double>::max();
    const double tenth = std::abs(low) * 0.1;
    const double room = tenth < std::numeric_limits<double>::min() ? 1 : tenth;
    return {std::max(low - room, -kMost), std::min(high + room, kMost)};
  }
  return {low, high};
}

std::string clock_text(double time, double span) {
  const auto text =
      base::to_rfc3339(base::from_unix_millis(static_cast<std::int64_t>(time * 1000)));
  // Within a day the time is enough, beyond it the date matters more than the seconds.
  return span > 86'400 ? text.substr(0, 10) + " " + text.substr(11, 5) : text.substr(11, 8);
}

std::size_t to_dot(double share, std::size_t dots) {
  const auto place = std::lround(share * static_cast<double>(dots - 1));
  return static_cast<std::size_t>(std::clamp<long>(place, 0, static_cast<long>(dots) - 1));
}

/// A gap is longer than this many steps between points.
constexpr double kGap = 1.5;

/// The median distance of points; those that are not later than the one before count for nothing.
double usual_step(const GraphSeries& series) {
  std::vector<double> steps;
  for (std::size_t i = 1; i < series.points.size(); ++i) {
    const double step = series.points[i].first - series.points[i - 1].first;
    if (step > 0) steps.push_back(step);
  }
  if (steps.empty()) return 0;
  const auto middle = steps.begin() + static_cast<std::ptrdiff_t>(steps.size() / 2);
  std::ranges::nth_element(steps, middle);
  return *middle;
}

void plot(Canvas& canvas, const GraphSeries& series, std::size_t index, Scale scale, double start,
          double end) {
  const double step = usual_step(series);
  bool joined = false;
  double before = 0;
  std::pair<std::size_t, std::size_t> last;
  for (const auto& [time, value] : series.points) {
    if (!std::isfinite(value)) {
      joined = false;
      continue;
    }
    const double span = std::max(end - start, 1e-3);
    const std::pair dot = {
        to_dot((time - start) / span, canvas.width()),
        // Halves: the distance of two of the greatest numbers is infinite.
        to_dot((scale.high / 2 - value / 2) / (scale.high / 2 - scale.low / 2), canvas.height())};
    if (series.marks) {
      canvas.mark(dot.first, dot.second, index);
      continue;
    }
    const bool adjacent = joined && time - before <= step * kGap;
    canvas.line(adjacent ? last : dot, dot, index);
    last = dot;
    before = time;
    joined = true;
  }
}

std::string legend(std::span<const GraphSeries> series, std::size_t drawn, bool colours) {
  std::string out;
  for (std::size_t i = 0; i < drawn; ++i) {
    const auto& points = series[i].points;
    const auto mark = colours ? fmt::format("\x1b[{}m━━\x1b[0m ", kColours[i % kColours.size()])
                              : std::string("- ");
    out += fmt::format("{}{}  {}\n", mark, series[i].name,
                       points.empty()    ? "-"
                       : series[i].marks ? fmt::format("{} marked", points.size())
                                         : base::go_general(points.back().second, 6));
  }
  if (drawn < series.size())
    out += fmt::format("and {} more, which are not drawn\n", series.size() - drawn);
  return out;
}

}  // namespace

GraphSize terminal_size() {
  GraphSize out;
  winsize window{};
  if (::isatty(STDOUT_FILENO) == 0) return out;
  out.colours = true;
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 0) {
    out.width = window.ws_col;
    out.height = std::clamp<std::size_t>(window.ws_row / 2, 8, 24);
  }
  return out;
}

std::string draw(std::span<const GraphSeries> series, double start, double end,
                 const GraphSize& size) {
  if (series.empty()) return "no series\n";
  const auto drawn = std::min(series.size(), kMaxGraphSeries);
  const auto scale = scale_of(series.first(drawn));
  std::vector<std::string> marks(size.height);
  marks.front() = base::go_general(scale.high, 5);
  marks[size.height / 2] = base::go_general(scale.low / 2 + scale.high / 2, 5);
  marks.back() = base::go_general(scale.low, 5);
  std::size_t margin = 0;
  for (const auto& mark : marks) margin = std::max(margin, mark.size());
  const auto columns = std::max(size.width, kLeast) - margin - 2;
  Canvas canvas(columns, size.height);
  for (std::size_t i = 0; i < drawn; ++i) plot(canvas, series[i], i, scale, start, end);
  std::string out;
  for (std::size_t y = 0; y < size.height; ++y) {
    out += fmt::format("{:>{}} {}{}\n", marks[y], margin, marks[y].empty() ? "│" : "┤",
                       canvas.row(y, size.colours));
  }
  std::string rule;
  for (std::size_t i = 0; i < columns; ++i) rule += "─";
  out += fmt::format("{:>{}} └{}\n", "", margin, rule);
  const auto from = clock_text(start, end - start);
  const auto to = clock_text(end, end - start) + " UTC";
  const auto blank = columns > from.size() + to.size() ? columns - from.size() - to.size() : 1;
  out += fmt::format("{:>{}}  {}{}{}\n", "", margin, from, std::string(blank, ' '), to);
  return out + legend(series, drawn, size.colours);
}

}  // namespace nexus::agent
