// What the blocks in golden/blocks-v1.bin hold. That file was written by the last writer of blocks
// of version 1 (the commit before "Blocks of version 2") from what this header gives, so its bytes
// are what agents of that time left on disks. Thread safety: pure functions.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace nexus::knowledge::test {

struct GoldenColumn {
  std::uint32_t id = 0;
  std::vector<std::uint16_t> rows;
  std::vector<double> values;
};
struct GoldenBlock {
  std::vector<std::int64_t> times;
  std::vector<GoldenColumn> columns;
};

class GoldenNoise {
 public:
  std::uint64_t operator()() noexcept {
    state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
    return state_ >> 33U;
  }

 private:
  std::uint64_t state_ = 1;
};

/// Every encoding that version 1 had, by 256 rows at regular times.
inline GoldenBlock golden_of_all_encodings() {
  constexpr int kRows = 256;
  GoldenBlock block;
  for (int row = 0; row < kRows; ++row) block.times.push_back(1'700'000'000'000 + row * 1000);
  GoldenNoise noise;
  std::uint32_t id = 3;
  const auto add = [&](auto value_of) -> const std::vector<double>& {
    GoldenColumn column{id, {}, {}};
    id += id % 5 == 0 ? 7 : 1;
    for (int row = 0; row < kRows; ++row) {
      column.rows.push_back(static_cast<std::uint16_t>(row));
      column.values.push_back(value_of(row));
    }
    return block.columns.emplace_back(std::move(column)).values;
  };
  add([](int) { return 12.5; });                               // constant, a decimal
  add([](int) { return 1.0 / 3; });                            // constant, bits
  add([](int row) { return row < 100 ? 1.0 / 3 : 2.0 / 7; });  // runs
  double count = 1e9;
  const auto pages = add([&](int) { return count += static_cast<double>(noise() % 900); });
  add([&](int row) { return pages[static_cast<std::size_t>(row)] * 4096; });  // predicted
  add([&](int row) { return 4e9 - pages[static_cast<std::size_t>(row)]; });   // and negated
  add([&](int) { return static_cast<double>(noise() % 200) / 100; });         // n / 10^2
  add([&](int) { return static_cast<double>(noise() % 5000) * 0.001; });      // n * 10^-3
  add([&](int) { return static_cast<double>(noise() % 50'000'000) / 1000 / 1000; });
  add([&](int) { return noise() % 4 == 0 ? 500.0 + static_cast<double>(noise() % 2) : 0; });
  add([&](int row) {  // exceptions
    if (row == 7) return std::numeric_limits<double>::quiet_NaN();
    if (row == 9) return -0.0;
    if (row == 11) return -std::numeric_limits<double>::infinity();
    if (row == 13) return std::bit_cast<double>(0x7ff0000000000002ULL);
    return static_cast<double>(noise() % 1000);
  });
  add([&](int) { return std::ldexp(static_cast<double>(noise() % 4096), -40); });  // binary
  std::uint64_t bits = 0x3ff3333333333333ULL;
  add([&](int row) {  // xor: too far from each other for one exponent
    if (row == 128) bits = 0x41f3333333333333ULL;
    return std::bit_cast<double>(bits ^= (noise() % 8) << 20U);
  });
  add([&](int) { return std::bit_cast<double>(noise() << 33U ^ noise() << 2U); });  // raw
  GoldenColumn some{id, {}, {}};  // not in every row
  for (std::uint16_t row = 0; row < kRows; row = static_cast<std::uint16_t>(row + 1 + row % 3)) {
    some.rows.push_back(row);
    some.values.push_back(static_cast<double>(row % 11));
  }
  block.columns.push_back(std::move(some));
  return block;
}

/// That one, and five rows whose times need each width of deviations.
inline std::vector<GoldenBlock> golden_blocks() {
  std::vector<GoldenBlock> blocks = {golden_of_all_encodings()};
  for (const std::int64_t late : {100LL, 30'000LL, 1'000'000'000LL, 1LL << 40U}) {
    GoldenBlock block;
    for (std::int64_t row = 0; row < 5; ++row) {
      block.times.push_back(1'700'000'000'000 + row * late * 4 + (row == 2 ? late : 0));
    }
    block.columns = {{1, {0, 1, 2, 3, 4}, {1, 2, 3, 4.5, -6}}, {4'000'000'000, {1, 3}, {7, 8}}};
    blocks.push_back(std::move(block));
  }
  return blocks;
}

}  // namespace nexus::knowledge::test
