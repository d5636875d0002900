#include "serve/canvas.hpp"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>

namespace nexus::serve {
namespace {

struct Letter {
  char letter;
  // Seven rows of five pixels, the leftmost the highest bit, two octal digits a row.
  std::array<std::uint8_t, 7> rows;
};

constexpr std::array kLetters = {
    Letter{'0', {016, 021, 023, 025, 031, 021, 016}},
    Letter{'1', {004, 014, 004, 004, 004, 004, 016}},
    Letter{'2', {016, 021, 001, 006, 010, 020, 037}},
    Letter{'3', {036, 001, 001, 016, 001, 001, 036}},
    Letter{'4', {002, 006, 012, 022, 037, 002, 002}},
    Letter{'5', {037, 020, 036, 001, 001, 021, 016}},
    Letter{'6', {016, 020, 020, 036, 021, 021, 016}},
    Letter{'7', {037, 001, 002, 004, 004, 010, 010}},
    Letter{'8', {016, 021, 021, 016, 021, 021, 016}},
    Letter{'9', {016, 021, 021, 017, 001, 001, 016}},
    Letter{'A', {016, 021, 021, 037, 021, 021, 021}},
    Letter{'B', {036, 021, 021, 036, 021, 021, 036}},
    Letter{'C', {016, 021, 020, 020, 020, 021, 016}},
    Letter{'D', {036, 021, 021, 021, 021, 021, 036}},
    Letter{'E', {037, 020, 020, 036, 020, 020, 037}},
    Letter{'F', {037, 020, 020, 036, 020, 020, 020}},
    Letter{'G', {016, 021, 020, 027, 021, 021, 016}},
    Letter{'H', {021, 021, 021, 037, 021, 021, 021}},
    Letter{'I', {016, 004, 004, 004, 004, 004, 016}},
    Letter{'J', {007, 002, 002, 002, 002, 022, 014}},
    Letter{'K', {021, 022, 024, 030, 024, 022, 021}},
    Letter{'L', {020, 020, 020, 020, 020, 020, 037}},
    Letter{'M', {021, 033, 025, 025, 021, 021, 021}},
    Letter{'N', {021, 031, 025, 023, 021, 021, 021}},
    Letter{'O', {016, 021, 021, 021, 021, 021, 016}},
    Letter{'P', {036, 021, 021, 036, 020, 020, 020}},
    Letter{'Q', {016, 021, 021, 021, 025, 022, 015}},
    Letter{'R', {036, 021, 021, 036, 024, 022, 021}},
    Letter{'S', {017, 020, 020, 016, 001, 001, 036}},
    Letter{'T', {037, 004, 004, 004, 004, 004, 004}},
    Letter{'U', {021, 021, 021, 021, 021, 021, 016}},
    Letter{'V', {021, 021, 021, 021, 012, 012, 004}},
    Letter{'W', {021, 021, 021, 025, 025, 033, 021}},
    Letter{'X', {021, 012, 004, 004, 004, 012, 021}},
    Letter{'Y', {021, 012, 004, 004, 004, 004, 004}},
    Letter{'Z', {037, 001, 002, 004, 010, 020, 037}},
    Letter{'.', {000, 000, 000, 000, 000, 014, 014}},
    Letter{',', {000, 000, 000, 000, 014, 004, 010}},
    Letter{':', {000, 014, 014, 000, 014, 014, 000}},
    Letter{'-', {000, 000, 000, 037, 000, 000, 000}},
    Letter{'+', {000, 004, 004, 037, 004, 004, 000}},
    Letter{'_', {000, 000, 000, 000, 000, 000, 037}},
    Letter{'/', {001, 001, 002, 004, 010, 020, 020}},
    Letter{'%', {031, 031, 002, 004, 010, 023, 023}},
    Letter{'(', {002, 004, 010, 010, 010, 004, 002}},
    Letter{')', {010, 004, 002, 002, 002, 004, 010}},
    Letter{'{', {003, 004, 004, 010, 004, 004, 003}},
    Letter{'}', {030, 004, 004, 002, 004, 004, 030}},
    Letter{'=', {000, 000, 037, 000, 037, 000, 000}},
    Letter{'"', {012, 012, 012, 000, 000, 000, 000}},
    Letter{'?', {016, 021, 001, 006, 004, 000, 004}},
    Letter{'*', {000, 025, 016, 037, 016, 025, 000}},
};

const Letter* letter_of(char c) {
  const char upper = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  const auto found = std::ranges::find(kLetters, upper, &Letter::letter);
  return found == kLetters.end() ? letter_of('?') : found;
}

void put_number(std::string& out, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>((value >> shift) & 0xFF);
}

void put_chunk(std::string& out, std::string_view type, std::string_view data) {
  put_number(out, static_cast<std::uint32_t>(data.size()));
  const std::size_t begin = out.size();
  out += type;
  out += data;
  put_number(out,
             static_cast<std::uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(out.data() + begin),
                                              static_cast<uInt>(out.size() - begin))));
}

}  // namespace

void Canvas::fill(int x, int y, int width, int height, std::uint8_t colour) {
  for (int j = std::max(y, 0); j < std::min(y + height, height_); ++j)
    for (int i = std::max(x, 0); i < std::min(x + width, width_); ++i) set(i, j, colour);
}

void Canvas::line(int x0, int y0, int x1, int y1, std::uint8_t colour, int thick) {
  const int dx = std::abs(x1 - x0);
  const int dy = -std::abs(y1 - y0);
  const int step_x = x0 < x1 ? 1 : -1;
  const int step_y = y0 < y1 ? 1 : -1;
  int error = dx + dy;
  while (true) {
    for (int k = 0; k < thick; ++k) set(x0, y0 + k, colour);
    if (x0 == x1 && y0 == y1) return;
    const int twice = 2 * error;
    if (twice >= dy) {
      error += dy;
      x0 += step_x;
    }
    if (twice <= dx) {
      error += dx;
      y0 += step_y;
    }
  }
}

void Canvas::text(int x, int y, std::string_view text, std::uint8_t colour) {
  for (const char c : text) {
    // Of a character of several bytes the first alone is shown, as "?".
    if ((static_cast<unsigned char>(c) & 0xC0) == 0x80) continue;
    if (c != ' ') {
      const Letter& letter = *letter_of(c);
      for (int row = 0; row < kLetterHeight; ++row)
        for (int column = 0; column < 5; ++column)
          if ((letter.rows[static_cast<std::size_t>(row)] >> (4 - column) & 1) != 0)
            set(x + column, y + row, colour);
    }
    x += kLetterWidth;
  }
}

std::string Canvas::png(const std::vector<Rgb>& palette) const {
  std::string out = "\x89PNG\r\n\x1a\n";
  std::string head;
  put_number(head, static_cast<std::uint32_t>(width_));
  put_number(head, static_cast<std::uint32_t>(height_));
  head += std::string("\x08\x03\x00\x00\x00", 5);  // 8 bits, palette, deflate, no interlacing
  put_chunk(out, "IHDR", head);
  std::string colours;
  for (const Rgb& c : palette) {
    colours += static_cast<char>(c.red);
    colours += static_cast<char>(c.green);
    colours += static_cast<char>(c.blue);
  }
  put_chunk(out, "PLTE", colours);
  std::string rows;
  rows.reserve((static_cast<std::size_t>(width_) + 1) * static_cast<std::size_t>(height_));
  for (int y = 0; y < height_; ++y) {
    rows += '\0';  // no filter: flat colours are runs already
    rows.append(reinterpret_cast<const char*>(
                    &pixels_[static_cast<std::size_t>(y) * static_cast<std::size_t>(width_)]),
                static_cast<std::size_t>(width_));
  }
  uLongf size = compressBound(static_cast<uLong>(rows.size()));
  std::string packed(size, '\0');
  // Cannot fail: the room is the bound's, and the level is a valid one.
  (void)compress2(reinterpret_cast<Bytef*>(packed.data()), &size,
                  reinterpret_cast<const Bytef*>(rows.data()), static_cast<uLong>(rows.size()), 6);
  packed.resize(size);
  put_chunk(out, "IDAT", packed);
  put_chunk(out, "IEND", "");
  return out;
}

}  // namespace nexus::serve
