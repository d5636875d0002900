#include "knowledge/values.hpp"

#include <algorithm>
#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "knowledge/ans.hpp"
#include "knowledge/bits.hpp"
#include "knowledge/limits.hpp"
#include "knowledge/near.hpp"
#include "knowledge/rice.hpp"
#include "nexus/knowledge/queryable.hpp"

namespace nexus::knowledge {
namespace {

using Limits = std::numeric_limits<double>;

bool same_bits(std::span<const double> a, std::span<const double> b) {
  return std::ranges::equal(a, b, {}, std::bit_cast<std::uint64_t, double>,
                            std::bit_cast<std::uint64_t, double>);
}

/// One encoded column, with the padding that a block gives it and a guard behind.
struct Encoded {
  std::vector<std::uint8_t> bytes;
  std::size_t size = 0;

  [[nodiscard]] Bytes view() const { return {bytes.data(), size}; }
};

Encoded encode(const std::vector<double>& values, std::uint32_t column, References& references) {
  std::vector<std::uint8_t> buffer(values_bound(values.size()) + kBitPadding, 0xa5);
  const std::uint8_t* end = encode_values(values, column, references, buffer.data());
  Encoded encoded;
  encoded.size = static_cast<std::size_t>(end - buffer.data());
  encoded.bytes.assign(buffer.begin(), buffer.begin() + (end - buffer.data()));
  encoded.bytes.resize(encoded.size + kBitPadding, 0x5a);
  return encoded;
}

/// What for_each value add() makes of it.
Aggregate added(std::span<const double> values) {
  Aggregate sum;
  for (const double value : values) sum.add(value);
  return sum;
}

bool same_number(double a, double b) {
  return a == b || (std::isnan(a) && std::isnan(b));
}

bool near(double a, double b) {
  return same_number(a, b) || std::fabs(a - b) <= 1e-12 * std::max(std::fabs(a), std::fabs(b));
}

bool agree(const Aggregate& a, const Aggregate& b) {
  return a.count() == b.count() && same_number(a.min(), b.min()) && same_number(a.max(), b.max()) &&
         same_number(a.last(), b.last());
}

/// Whether all of it, a front of it and an aggregate of a part of it come back.
bool comes_back(const Encoded& encoded, Bytes base, const std::vector<double>& values) {
  std::vector<double> back(values.size(), -1);
  if (!decode_values(encoded.view(), base, back) || !same_bits(back, values)) return false;
  const std::size_t part = values.size() - values.size() / 3;
  std::vector<double> front(part, -1);
  if (!decode_values(encoded.view(), base, front)) return false;
  if (!same_bits(front, std::span(values).first(part))) return false;
  const std::size_t first = part / 4;
  Aggregate sum;
  if (!aggregate_values(encoded.view(), base, first, part, sum)) return false;
  return agree(sum, added(std::span(values).subspan(first, part - first)));
}

/// The encoded size when every bit came back, 0 otherwise.
std::size_t round_trip(const std::vector<double>& values) {
  References references;
  const Encoded encoded = encode(values, 0, references);
  return comes_back(encoded, {}, values) ? encoded.size : 0;
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
    const std::size_t count = 1 + random() % (round % 10 == 0 ? kMaxBlockRows : kMaxRows);
    const std::uint64_t kind = random() % 7;
    const double unit = std::pow(10.0, static_cast<double>(random() % 13) - 6);
    double level = static_cast<double>(random() % 1'000'000);
    const auto values = generate(count, [&]() -> double {
      if (random() % 50 == 0) return stale_marker();
      if (kind == 0 || random() % 97 == 0) return any_bits();
      if (kind == 1) return std::bit_cast<double>(random() >> (random() % 64));
      if (kind == 2) return level += static_cast<double>(random() % 100) * unit;
      if (kind == 3) return std::round(level += static_cast<double>(random() % 7)) / 100;
      if (kind == 5) return level += static_cast<double>(random() % 100'000) / 1e9;
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

TEST_CASE("the arithmetic that made a column is found") {
  std::mt19937_64 random(kSeed);
  double count = 1e7;
  const auto next = [&] { return count += static_cast<double>(random() % 32); };
  const auto bytes_of = [&](auto made) { return round_trip(generate(kMaxRows, made)); };
  const std::size_t whole = bytes_of(next);
  CHECK(bytes_of([&] { return next() / 1e3; }) < whole + 16);
  CHECK(bytes_of([&] { return next() * 0.001; }) < whole + 16);
  CHECK(bytes_of([&] { return next() * 1e-6; }) < whole + 16);
  CHECK(bytes_of([&] { return next() * 1e-9; }) < whole + 16);
  CHECK(bytes_of([&] { return next() / 1000 / 1000; }) < whole + 16);
  CHECK(bytes_of([&] { return random() % 100 == 0 ? stale_marker() : next() * 0.001; }) <
        whole + 200);
}

TEST_CASE("a running sum of decimals takes little more than its addends") {
  std::mt19937_64 random(kSeed);
  // Nanoseconds of some tens of microseconds, as seconds: 13 bits a step, and the rounding.
  const auto duration = [&] { return static_cast<double>(40'000 + random() % 8192) / 1e9; };
  for (const double start : {0.0, 0.1, 90.7, 1e4}) {
    double sum = start;
    const auto values = generate(480, [&] { return sum += duration(); });
    const std::size_t size = round_trip(values);
    CHECK(size > 0);
    CHECK(size < 480 * 5 / 2);  // 5.4 bytes each without
    sum = -start;
    CHECK(round_trip(generate(480, [&] { return sum -= duration(); })) < 480 * 5 / 2);
  }
  // With what is no decimal at all among it, a reset, and ends of its reach.
  double sum = 3;
  const auto odd = generate(480, [&]() -> double {
    if (random() % 50 == 0) return stale_marker();
    if (random() % 100 == 0) sum = 0;
    if (random() % 90 == 0) return std::bit_cast<double>(random());
    return sum += duration();
  });
  CHECK(round_trip(odd) > 0);
  for (std::size_t count : {1, 2, 7, 8, 9, 30}) {
    sum = 5;
    CHECK(round_trip(generate(count, [&] { return sum += duration(); })) > 0);
  }
}

TEST_CASE("percentages of what does not change take little more than what they are of") {
  std::mt19937_64 random(kSeed);
  const auto bytes_of = [&](double total, double unit, auto percent) {
    double used = std::floor(total / unit / 3);
    return round_trip(generate(480, [&] {
      used += static_cast<double>(random() % 256) - 127;
      return percent(used * unit, total);
    }));
  };
  const auto share = [](double used, double total) { return 100 * used / total; };
  const auto rest = [](double used, double total) { return 100 * (1 - used / total); };
  for (const double total : {8'326'897'664.0, 211'116'445'696.0, 12'582'912.0 * 4096}) {
    CHECK(bytes_of(total, 4096, share) > 0);
    CHECK(bytes_of(total, 4096, share) < 480 * 7 / 4);  // 6 bytes each without
    CHECK(bytes_of(total, 4096, rest) < 480 * 7 / 4);
  }
  CHECK(bytes_of(1'048'576 - 7, 1, share) < 480 * 7 / 4);
  // What is said of the step.
  std::vector<double> values;
  for (int i = 0; i < 200; ++i) values.push_back(17.25 + double(random() % 5000) / 37);
  CHECK(std::fabs(common_step(values) * 37 - 1) < 1e-12);
  for (double& value : values) value = std::sqrt(value);
  CHECK(common_step(values) == 0);
  CHECK(common_step(std::vector<double>(7, 3.5)) == 0);
  CHECK(common_step(std::vector<double>{1, Limits::infinity(), 3}) == 0);
  CHECK(common_step(std::vector<double>{1, Limits::quiet_NaN(), 3, 5.5}) >= 0);
}

TEST_CASE("any front of a column decodes to its front") {
  std::mt19937_64 random(kSeed);
  for (const std::uint64_t rarity : {1U, 3U, 20U, 100U}) {
    double level = 0;
    const auto values = generate(
        kMaxRows, [&] { return level += random() % rarity == 0 ? double(random() % 1000) : 0; });
    References references;
    const Encoded encoded = encode(values, 0, references);
    for (std::size_t size = 0; size <= values.size(); ++size) {
      std::vector<double> front(size);
      REQUIRE(decode_values(encoded.view(), {}, front));
      REQUIRE(same_bits(front, std::span(values).first(size)));
    }
  }
}

TEST_CASE("a column that follows another one costs next to nothing") {
  std::mt19937_64 random(kSeed);
  double level = 1e12;
  const auto first = generate(1000, [&] { return level += double(random() % 100'000) * 512; });
  const auto unlike = generate(1000, [&] { return double(random() % 100'000); });
  std::vector<std::vector<double>> columns{unlike, first, first, first, first};
  for (double& value : columns[2]) value -= 7e11;            // differs by a constant
  for (double& value : columns[3]) value = 3e15 - value;     // goes the other way
  for (double& value : columns[4]) value = value / 512 * 8;  // in another unit
  columns[4][500] = stale_marker();
  References references;
  std::vector<Encoded> encoded;
  for (std::uint32_t i = 0; i < columns.size(); ++i) {
    encoded.push_back(encode(columns[i], i, references));
    const std::uint64_t distance = reference_of(encoded[i].view());
    CHECK(distance == (i < 2 ? 0 : i - 1));
    CHECK((encoded[i].size < 60) == (i >= 2));
    const Bytes base = distance == 0 ? Bytes() : encoded[i - distance].view();
    CHECK(comes_back(encoded[i], base, columns[i]));
    std::vector<double> back(1000);
    CHECK((distance == 0 || !decode_values(encoded[i].view(), {}, back)));
    CHECK((distance == 0 || !decode_values(encoded[i].view(), encoded[i].view(), back)));
  }
}

TEST_CASE("aggregates are those of the decoded values") {
  std::mt19937_64 random(kSeed);
  const auto check = [](const std::vector<double>& values) {
    References references;
    const Encoded encoded = encode(values, 0, references);
    for (std::size_t first = 0; first < values.size(); first += 31) {
      for (std::size_t end = first; end <= values.size(); end += 47) {
        Aggregate sum;
        REQUIRE(aggregate_values(encoded.view(), {}, first, end, sum));
        const Aggregate expected = added(std::span(values).subspan(first, end - first));
        REQUIRE(agree(sum, expected));
        REQUIRE(near(sum.sum(), expected.sum()));
      }
    }
  };
  double level = -1e6;
  check(std::vector<double>(480, 0.1));
  check(std::vector<double>(480, stale_marker()));
  check(
      generate(480, [&] { return random() % 100 == 0 ? level = M_PI * double(random()) : level; }));
  check(generate(480, [&] { return (level += double(random() % 9999)) / 100; }));
  check(generate(480, [&] { return random() % 40 == 0 ? stale_marker() : level -= 12; }));
  check(generate(480, [&] { return std::sin(level += 0.1) * 1e9; }));
  check(generate(480, [&] { return level += double(random() % 9999) / 1e9; }));
  check(generate(480, [&] { return random() % 9 == 0 ? Limits::quiet_NaN() : M_E; }));
}

TEST_CASE("an aggregate keeps what small samples add to a large sum") {
  Aggregate sum;
  sum.add(1e16);
  sum.add(1, 10);
  sum.add(-1e16);
  CHECK(sum.sum() == 10);
  sum.add(Limits::infinity());
  sum.add(1);
  CHECK(sum.sum() == Limits::infinity());
  CHECK(sum.count() == 14);
  CHECK(std::isnan(Aggregate().max()));
}

TEST_CASE("all integers survive, the extreme ones too") {
  std::mt19937_64 random(kSeed);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::int64_t> values(1 + random() % (round % 10 == 0 ? kMaxBlockRows : kMaxRows));
    for (auto& value : values) {
      const std::uint64_t bits = random() >> (random() % 64);
      value = static_cast<std::int64_t>(random() % 2 == 0 ? bits : ~bits);
      if (random() % 5 == 0) value = random() % 2 == 0 ? INT64_MIN : INT64_MAX;
      if (round % 4 == 0 && random() % 20 != 0) value = 0;
    }
    std::vector<std::int64_t> steps(values.rbegin(), values.rend());
    for (const Steps& used : {Steps(), Steps(steps)}) {
      std::vector<std::uint8_t> bytes(integers_bound(values.size()) + kBitPadding);
      const std::uint8_t* end = encode_integers(values, used, bytes.data());
      std::vector<std::int64_t> back(values.size());
      REQUIRE(decode_integers({bytes.data(), end}, used, back));
      REQUIRE(back == values);
    }
  }
}

TEST_CASE("both codes of whole numbers give every number back") {
  std::mt19937_64 random(kSeed);
  for (int round = 0; round < 200; ++round) {
    const std::uint64_t spread = random() % 64;
    std::vector<std::uint64_t> values(1 + random() % 2000);
    for (auto& value : values) value = random() >> (spread + random() % (64 - spread));
    if (round % 5 == 0) values.assign(values.size(), values[0]);
    std::vector<std::uint64_t> back(values.size());
    std::vector<std::uint8_t> bytes(8192 + 13 * values.size() + kBitPadding);
    const unsigned parameter = rice_parameter(values);
    const std::uint8_t* end = encode_rice(values, parameter, bytes.data());
    CHECK(decode_rice({bytes.data(), end}, parameter, back) == std::size_t(end - bytes.data()));
    REQUIRE(back == values);
    unsigned precision = 0;
    const double cost = ans_cost(values, precision);
    end = encode_ans(values, precision, bytes.data());
    CHECK(double(end - bytes.data()) < 40 + cost / 8 * 1.1);
    REQUIRE(decode_ans({bytes.data(), end}, back));
    REQUIRE(back == values);
  }
}

}  // namespace
}  // namespace nexus::knowledge
