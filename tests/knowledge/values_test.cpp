#include "knowledge/values.hpp"

#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "knowledge/bits.hpp"
#include "knowledge/limits.hpp"
#include "nexus/knowledge/queryable.hpp"

namespace nexus::knowledge {
namespace {

using Limits = std::numeric_limits<double>;

/// The encoded size when every bit came back, 0 otherwise.
std::size_t round_trip(const std::vector<double>& values) {
  std::vector<std::uint8_t> bytes(values_bound(values.size()) + kBitPadding, 0xa5);
  const std::uint8_t* end = encode_values(values, bytes.data());
  const auto size = static_cast<std::size_t>(end - bytes.data());
  std::vector<std::uint8_t> exact(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
  exact.resize(size + kBitPadding, 0x5a);
  std::vector<double> back(values.size(), -1);
  decode_values(exact.data(), back);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::bit_cast<std::uint64_t>(values[i]) != std::bit_cast<std::uint64_t>(back[i])) {
      UNSCOPED_INFO("row " << i << " of " << values.size() << ": " << values[i] << " became "
                           << back[i]);
      return 0;
    }
  }
  return size;
}

std::vector<double> generate(std::size_t count, auto next) {
  std::vector<double> values(count);
  for (double& value : values) value = next();
  return values;
}

constexpr std::uint64_t kSeed = 20261123;

TEST_CASE("constants take a few bytes") {
  CHECK(round_trip(std::vector<double>(480, 0)) == 3);
  CHECK(round_trip(std::vector<double>(480, 1449984)) < 8);
  CHECK(round_trip(std::vector<double>(480, 0.25)) < 8);
  CHECK(round_trip(std::vector<double>(480, M_PI)) == 10);
  CHECK(round_trip(std::vector<double>(480, -0.0)) == 10);
  CHECK(round_trip(std::vector<double>(480, stale_marker())) == 10);
  CHECK(round_trip({42.5}) > 0);
}

TEST_CASE("every special value survives among ordinary ones") {
  const std::vector<double> special{0.0,
                                    -0.0,
                                    1.0,
                                    -1.0,
                                    stale_marker(),
                                    Limits::quiet_NaN(),
                                    -Limits::quiet_NaN(),
                                    std::bit_cast<double>(0x7ff8dead0000beefULL),
                                    std::bit_cast<double>(0xfff0000000000001ULL),
                                    Limits::infinity(),
                                    -Limits::infinity(),
                                    Limits::denorm_min(),
                                    -Limits::denorm_min(),
                                    Limits::min(),
                                    Limits::max(),
                                    -Limits::max(),
                                    0x1p53,
                                    0x1p53 + 2,
                                    0x1p63,
                                    -0x1p63,
                                    0x1p64,
                                    1e300,
                                    1e-300,
                                    0.1 + 0.2,
                                    123456789.123};
  CHECK(round_trip(special) > 0);
  for (const double odd : special) {
    for (const double usual : special) {
      std::vector<double> values(70, usual);
      values[33] = odd;
      CHECK(round_trip(values) > 0);
      values[0] = odd;
      values[69] = odd;
      CHECK(round_trip(values) > 0);
    }
  }
}

TEST_CASE("random bit patterns and mixtures of everything survive") {
  std::mt19937_64 random(kSeed);
  const auto any_bits = [&] { return std::bit_cast<double>(random()); };
  for (int round = 0; round < 300; ++round) {
    const std::size_t count = 1 + random() % kMaxRows;
    const std::uint64_t kind = random() % 6;
    const double unit = std::pow(10.0, static_cast<double>(random() % 13) - 6);
    double level = static_cast<double>(random() % 1'000'000);
    const auto values = generate(count, [&]() -> double {
      if (random() % 50 == 0) return stale_marker();
      if (kind == 0 || random() % 97 == 0) return any_bits();
      if (kind == 1) return std::bit_cast<double>(random() >> (random() % 64));
      if (kind == 2) return level += static_cast<double>(random() % 100) * unit;
      if (kind == 3) return std::round(level += static_cast<double>(random() % 7)) / 100;
      if (kind == 4) return random() % 40 == 0 ? level = any_bits() : level;
      return std::sin(level += 0.1) * unit;
    });
    REQUIRE(round_trip(values) > 0);
  }
}

TEST_CASE("what hosts measure takes few bytes") {
  std::mt19937_64 random(kSeed);
  const auto below = [&](std::uint64_t limit) { return static_cast<double>(random() % limit); };
  constexpr std::size_t kRows = 480;
  double total = 1e9;
  CHECK(round_trip(generate(kRows, [&] { return total += 1000 + below(64); })) < kRows * 9 / 8);
  double ticks = 123456;
  CHECK(round_trip(generate(kRows, [&] { return (ticks += below(4)) / 100; })) < kRows / 2);
  double kib = 8e6;
  CHECK(round_trip(generate(kRows, [&] { return (kib += below(32) - 16) * 4096; })) < kRows);
  int row = 0;
  CHECK(round_trip(generate(kRows, [&] { return ++row % 100 == 0 ? ++total : total; })) < 40);
  const double odd[2] = {M_PI, M_E};
  CHECK(round_trip(generate(kRows, [&] { return odd[++row / 100 % 2]; })) < 80);
}

TEST_CASE("full-mantissa values never take more than they do raw") {
  std::mt19937_64 random(kSeed);
  CHECK(round_trip(generate(480, [&] { return std::bit_cast<double>(random()); })) <= 1 + 480 * 8);
  std::uniform_real_distribution<double> around(40, 60);
  CHECK(round_trip(generate(480, [&] { return around(random); })) < 480 * 7);
}

TEST_CASE("all integers survive, the extreme ones too") {
  std::mt19937_64 random(kSeed);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::int64_t> values(1 + random() % kMaxRows);
    for (auto& value : values) {
      const std::uint64_t bits = random() >> (random() % 64);
      value = static_cast<std::int64_t>(random() % 2 == 0 ? bits : ~bits);
      if (random() % 5 == 0) value = random() % 2 == 0 ? INT64_MIN : INT64_MAX;
      if (round % 4 == 0 && random() % 20 != 0) value = 0;
    }
    std::vector<std::uint8_t> bytes(integers_bound(values.size()) + kBitPadding);
    encode_integers(values, bytes.data());
    std::vector<std::int64_t> back(values.size());
    decode_integers(bytes.data(), back);
    REQUIRE(back == values);
  }
}

}  // namespace
}  // namespace nexus::knowledge
