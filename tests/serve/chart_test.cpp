#include "nexus/serve/chart.hpp"

#include <zlib.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <string>

using namespace nexus::serve;

namespace {

std::uint32_t number(const std::string& text, std::size_t at) {
  std::uint32_t out = 0;
  for (std::size_t i = 0; i < 4; ++i) out = out << 8 | static_cast<unsigned char>(text.at(at + i));
  return out;
}

/// Reads a PNG back: every chunk's checksum, the one stream, the size of its rows.
struct Picture {
  explicit Picture(const std::string& png) {
    REQUIRE(png.substr(0, 8) == "\x89PNG\r\n\x1a\n");
    std::string packed;
    std::string order;
    for (std::size_t at = 8; at < png.size();) {
      const std::uint32_t size = number(png, at);
      const std::string type = png.substr(at + 4, 4);
      const std::string data = png.substr(at + 8, size);
      REQUIRE(number(png, at + 8 + size) ==
              crc32(0, reinterpret_cast<const Bytef*>(png.data() + at + 4), size + 4));
      order += type + " ";
      if (type == "IHDR") {
        width = number(data, 0);
        height = number(data, 4);
        CHECK(data.substr(8) == std::string("\x08\x03\x00\x00\x00", 5));
      }
      if (type == "PLTE") colours = size / 3;
      if (type == "IDAT") packed += data;
      at += 12 + size;
    }
    CHECK(order == "IHDR PLTE IDAT IEND ");
    rows.resize((width + 1) * height);
    uLongf got = static_cast<uLongf>(rows.size());
    REQUIRE(uncompress(reinterpret_cast<Bytef*>(rows.data()), &got,
                       reinterpret_cast<const Bytef*>(packed.data()),
                       static_cast<uLong>(packed.size())) == Z_OK);
    REQUIRE(got == rows.size());
    for (std::size_t y = 0; y < height; ++y) {
      REQUIRE(rows[y * (width + 1)] == 0);
      for (std::size_t x = 0; x < width; ++x) ++count[at(x, y)];
    }
    for (const auto& [colour, n] : count) REQUIRE(static_cast<std::size_t>(colour) < colours);
  }
  [[nodiscard]] ChartColour at(std::size_t x, std::size_t y) const {
    return static_cast<ChartColour>(rows[y * (width + 1) + 1 + x]);
  }

  std::size_t width = 0;
  std::size_t height = 0;
  std::size_t colours = 0;
  std::string rows;
  std::map<ChartColour, std::size_t> count;
};

}  // namespace

TEST_CASE("chart: lines, bands, marks and thresholds are in the picture, where they belong") {
  Chart chart;
  chart.title = "disk_usage_percent{mountpoint=\"/\"} \xC3\xA4";
  chart.width = 640;
  chart.height = 240;
  ChartLine history{"history", ChartColour::kBlue, false, {}};
  ChartLine forecast{"forecast", ChartColour::kOrange, false, {}};
  ChartLine strange{"anomalies", ChartColour::kRed, true, {{1'600'000'000 + 600, 80}}};
  ChartBand band;
  for (int i = 0; i <= 60; ++i) {
    const double time = 1'600'000'000 + 60 * i;
    if (i <= 30) history.points.emplace_back(time, i);
    if (i < 30) continue;
    forecast.points.emplace_back(time, i);
    band.points.push_back({time, i - 10.0, i + 10.0});
  }
  chart.lines = {history, forecast, strange};
  chart.bands = {band};
  chart.levels = {{"warning", 75}, {"far away", 1e6}};
  const Picture picture(to_png(chart));
  CHECK(picture.width == 640);
  CHECK(picture.height == 240);
  for (const auto colour : {ChartColour::kInk, ChartColour::kGrid, ChartColour::kBlue,
                            ChartColour::kOrange, ChartColour::kRed, ChartColour::kWideBand})
    CHECK(picture.count.contains(colour));
  // History on the left, the band on the right, and nothing of it on the left.
  std::size_t band_left = 0;
  std::size_t line_right = 0;
  for (std::size_t y = 0; y < 220; ++y) {
    for (std::size_t x = 70; x < 330; ++x) band_left += picture.at(x, y) == ChartColour::kWideBand;
    for (std::size_t x = 370; x < 640; ++x) line_right += picture.at(x, y) == ChartColour::kBlue;
  }
  CHECK(band_left == 0);
  CHECK(line_right == 0);
}

TEST_CASE("chart: nothing, one value, gaps and what is not finite") {
  Chart chart;
  chart.width = 1;  // held at the least
  chart.height = 1'000'000;
  Picture empty(to_png(chart));
  CHECK(empty.width == 200);
  CHECK(empty.height == Chart::kMostHeight);
  CHECK(empty.count.at(ChartColour::kInk) > 20);  // it says so
  chart.height = 200;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinite = std::numeric_limits<double>::infinity();
  chart.lines = {
      {"x", ChartColour::kBlue, false, {{0, 5}, {1, nan}, {2, infinite}, {3, -infinite}}}};
  chart.bands = {{ChartColour::kWideBand, {{0, nan, 3}, {1, -infinite, infinite}}}};
  chart.levels = {{"w", nan}};
  CHECK(Picture(to_png(chart)).count.contains(ChartColour::kBlue));
  chart.lines = {{"x", ChartColour::kBlue, false, {{0, -1e308}, {1, 1e308}}}};
  CHECK(Picture(to_png(chart)).count.contains(ChartColour::kInk));
  chart.lines = {{"x", ChartColour::kBlue, false, {{0, 7}, {1e9, 7}}}};
  CHECK(Picture(to_png(chart)).count.contains(ChartColour::kBlue));
}
