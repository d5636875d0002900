#include "nexus/serve/chart.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "nexus/base/clock.hpp"
#include "serve/canvas.hpp"

namespace nexus::serve {
namespace {

constexpr std::array kPalette = {
    Rgb{255, 255, 255}, Rgb{40, 40, 48},    Rgb{226, 228, 233}, Rgb{31, 96, 180},
    Rgb{220, 120, 20},  Rgb{40, 140, 70},   Rgb{200, 40, 50},   Rgb{120, 70, 160},
    Rgb{250, 232, 210}, Rgb{245, 210, 165},
};
constexpr int kLeft = 64;
constexpr int kRight = 12;
constexpr int kTop = 24;
constexpr int kBottom = 30;
constexpr int kRows = 5;  // of the grid, about

std::uint8_t place(ChartColour colour) {
  return static_cast<std::uint8_t>(colour);
}

struct Range {
  double least = std::numeric_limits<double>::infinity();
  double most = -std::numeric_limits<double>::infinity();
  void take(double value) {
    if (!std::isfinite(value)) return;
    least = std::min(least, value);
    most = std::max(most, value);
  }
  [[nodiscard]] bool empty() const { return !(least <= most); }
};

/// 1, 2 or 5 times a power of ten, so that about kRows fit; times from a list of their own.
double round_step(double span) {
  const double raw = span / kRows;
  const double power = std::pow(10, std::floor(std::log10(raw)));
  for (const double m : {1.0, 2.0, 5.0})
    if (m * power >= raw) return m * power;
  return 10 * power;
}

double time_step(double span) {
  constexpr std::array kSteps = {10.0,   60.0,    300.0,   600.0,   1800.0,   3600.0,
                                 7200.0, 14400.0, 21600.0, 43200.0, 86'400.0, 604'800.0};
  for (const double step : kSteps)
    if (span / step <= 8) return step;
  return 604'800.0 * std::ceil(span / 604'800.0 / 8);
}

std::string value_text(double value) {
  constexpr std::array<std::string_view, 5> kSizes = {"", "K", "M", "G", "T"};
  std::size_t size = 0;
  while (std::abs(value) >= 10'000 && size + 1 < kSizes.size()) {
    value /= 1000;
    ++size;
  }
  return fmt::format("{:.4g}{}", value == 0 ? 0 : value, kSizes[size]);
}

std::string time_text(double seconds, double step) {
  const std::string text = base::to_rfc3339(base::from_unix_millis(std::llround(seconds * 1000)));
  return step < 86'400 ? text.substr(11, step < 60 ? 8 : 5) : text.substr(5, 5);
}

class Drawing {
 public:
  explicit Drawing(const Chart& chart)
      : chart_(chart),
        canvas_(static_cast<int>(std::clamp<std::size_t>(chart.width, 200, Chart::kMostWidth)),
                static_cast<int>(std::clamp<std::size_t>(chart.height, 120, Chart::kMostHeight))) {}

  std::string draw() {
    canvas_.text(kLeft, 8, chart_.title, place(ChartColour::kInk));
    if (!measure()) {
      canvas_.text(canvas_.width() / 2 - 24, canvas_.height() / 2, "NO VALUES",
                   place(ChartColour::kInk));
    } else {
      for (const ChartBand& band : chart_.bands) fill(band);
      grid();
      levels();
      for (const ChartLine& line : chart_.lines) draw_line(line);
      legend();
    }
    return canvas_.png({kPalette.begin(), kPalette.end()});
  }

 private:
  bool measure() {
    for (const ChartLine& line : chart_.lines) {
      for (const auto& [time, value] : line.points) {
        if (!std::isfinite(value)) continue;
        times_.take(time);
        values_.take(value);
      }
    }
    for (const ChartBand& band : chart_.bands) {
      for (const auto& p : band.points) {
        if (!std::isfinite(p.low) || !std::isfinite(p.high)) continue;
        times_.take(p.time);
        values_.take(p.low);
        values_.take(p.high);
      }
    }
    if (times_.empty() || values_.empty()) return false;
    const double span = values_.most - values_.least;
    // A threshold is shown when it is no farther off than the values span.
    for (const ChartLevel& level : chart_.levels) {
      if (level.value > values_.least - span && level.value < values_.most + span)
        values_.take(level.value);
    }
    double margin = 0.05 * (values_.most - values_.least);
    if (!(margin > 0)) margin = std::max(std::abs(values_.most) * 0.1, 1e-9);
    values_.least -= margin;
    values_.most += margin;
    if (!(times_.most > times_.least)) times_.most = times_.least + 1;
    return std::isfinite(values_.most - values_.least);
  }
  [[nodiscard]] int x(double time) const {
    const double share = (time - times_.least) / (times_.most - times_.least);
    return kLeft + static_cast<int>(std::lround(share * (canvas_.width() - kLeft - kRight)));
  }
  [[nodiscard]] int y(double value) const {
    const double share = (values_.most - value) / (values_.most - values_.least);
    return kTop + static_cast<int>(std::lround(std::clamp(share, -1.0, 2.0) *
                                               (canvas_.height() - kTop - kBottom)));
  }
  void grid() {
    const int bottom = canvas_.height() - kBottom;
    const double step = round_step(values_.most - values_.least);
    for (int i = 0; i <= 2 * kRows + 2; ++i) {
      const double value = (std::ceil(values_.least / step) + i) * step;
      if (value > values_.most) break;
      canvas_.line(kLeft, y(value), canvas_.width() - kRight, y(value), place(ChartColour::kGrid));
      const std::string text = value_text(value);
      canvas_.text(kLeft - 6 - static_cast<int>(text.size()) * Canvas::kLetterWidth, y(value) - 3,
                   text, place(ChartColour::kInk));
    }
    const double apart = time_step(times_.most - times_.least);
    for (int i = 0; i <= 9; ++i) {
      const double time = (std::ceil(times_.least / apart) + i) * apart;
      if (time > times_.most) break;
      canvas_.line(x(time), kTop, x(time), bottom, place(ChartColour::kGrid));
      canvas_.text(x(time) - 14, bottom + 5, time_text(time, apart), place(ChartColour::kInk));
    }
    canvas_.line(kLeft, bottom, canvas_.width() - kRight, bottom, place(ChartColour::kInk));
    canvas_.line(kLeft, kTop, kLeft, bottom, place(ChartColour::kInk));
  }
  void levels() {
    for (const ChartLevel& level : chart_.levels) {
      if (!(level.value >= values_.least && level.value <= values_.most)) continue;
      for (int i = kLeft; i < canvas_.width() - kRight; i += 8)
        canvas_.line(i, y(level.value), i + 4, y(level.value), place(ChartColour::kRed));
      canvas_.text(kLeft + 4, y(level.value) - 9, level.name, place(ChartColour::kRed));
    }
  }
  /// Column by column, between the points.
  void fill(const ChartBand& band) {
    for (std::size_t i = 1; i < band.points.size(); ++i) {
      const auto& a = band.points[i - 1];
      const auto& b = band.points[i];
      if (!std::isfinite(a.low + a.high + b.low + b.high)) continue;
      const int from = x(a.time);
      const int to = std::max(x(b.time), from);
      for (int column = from; column <= to; ++column) {
        const double share = to == from ? 1 : static_cast<double>(column - from) / (to - from);
        const int top = y(std::lerp(a.high, b.high, share));
        const int low = y(std::lerp(a.low, b.low, share));
        canvas_.fill(column, top, 1, low - top + 1, place(band.colour));
      }
    }
  }
  void draw_line(const ChartLine& line) {
    const std::pair<double, double>* before = nullptr;
    for (const auto& point : line.points) {
      if (!std::isfinite(point.second)) {
        before = nullptr;
        continue;
      }
      const int px = x(point.first);
      const int py = y(point.second);
      if (line.dots) {
        canvas_.fill(px - 3, py - 3, 7, 7, place(line.colour));
      } else if (before == nullptr) {
        canvas_.set(px, py, place(line.colour));
      } else {
        canvas_.line(x(before->first), y(before->second), px, py, place(line.colour), 2);
      }
      before = &point;
    }
  }
  void legend() {
    int at = kLeft;
    const int row = canvas_.height() - 11;
    for (const ChartLine& line : chart_.lines) {
      if (line.name.empty()) continue;
      canvas_.fill(at, row, 8, 7, place(line.colour));
      canvas_.text(at + 12, row, line.name, place(ChartColour::kInk));
      at += 12 + (static_cast<int>(line.name.size()) + 3) * Canvas::kLetterWidth;
      if (at > canvas_.width()) break;
    }
  }

  const Chart& chart_;
  Canvas canvas_;
  Range times_;
  Range values_;
};

}  // namespace

std::string to_png(const Chart& chart) {
  return Drawing(chart).draw();
}

}  // namespace nexus::serve
