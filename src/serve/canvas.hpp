// Canvas: pixels of a palette, lines and a small alphabet drawn into them, and the PNG of it.
//
// Everything outside is cut off. Letters are five pixels wide and seven high, upper case only
// (lower case is drawn as that). Thread safety: one thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace nexus::serve {

struct Rgb {
  std::uint8_t red, green, blue;
};

class Canvas {
 public:
  static constexpr int kLetterWidth = 6;  // with the space beside it
  static constexpr int kLetterHeight = 7;

  Canvas(int width, int height)
      : width_(width),
        height_(height),
        pixels_(static_cast<std::size_t>(width) * static_cast<std::size_t>(height)) {}

  [[nodiscard]] int width() const noexcept { return width_; }
  [[nodiscard]] int height() const noexcept { return height_; }
  [[nodiscard]] std::uint8_t at(int x, int y) const {
    return pixels_[static_cast<std::size_t>(y) * static_cast<std::size_t>(width_) +
                   static_cast<std::size_t>(x)];
  }
  void set(int x, int y, std::uint8_t colour) {
    if (x < 0 || y < 0 || x >= width_ || y >= height_) return;
    pixels_[static_cast<std::size_t>(y) * static_cast<std::size_t>(width_) +
            static_cast<std::size_t>(x)] = colour;
  }
  void fill(int x, int y, int width, int height, std::uint8_t colour);
  /// Bresenham's, `thick` pixels high.
  void line(int x0, int y0, int x1, int y1, std::uint8_t colour, int thick = 1);
  void text(int x, int y, std::string_view text, std::uint8_t colour);
  [[nodiscard]] std::string png(const std::vector<Rgb>& palette) const;

 private:
  int width_;
  int height_;
  std::vector<std::uint8_t> pixels_;
};

}  // namespace nexus::serve
