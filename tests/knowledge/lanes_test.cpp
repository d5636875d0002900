// Windows side by side against one after the other: the same bits, from every build of the loops.
#include "knowledge/promql/lanes.hpp"

#include <array>
#include <bit>
#include <catch2/catch.hpp>
#include <limits>
#include <random>
#include <vector>

#include "knowledge/promql/summation.hpp"

namespace nexus::knowledge::promql {
namespace {

using Values = std::span<const double>;

/// Of each build that this processor runs.
std::vector<const LaneKernels*> tables() {
  std::vector<const LaneKernels*> out = {&plain_kernels()};
  if (&lane_kernels() != out[0]) out.push_back(&lane_kernels());
  return out;
}

CompensatedSum sum_of(Values values) {
  CompensatedSum sum;
  for (const double value : values) sum.add(value);
  return sum;
}
CompensatedSum product_of(Values values, Values factors) {
  CompensatedSum sum;
  for (std::size_t i = 0; i < values.size(); ++i) sum.add(factors[i] * values[i]);
  return sum;
}
struct Variance {
  CompensatedSum mean;
  CompensatedSum squares;
};
Variance variance_of(Values values) {
  Variance out;
  double count = 0;
  for (const double value : values) {
    count += 1;
    const double distance = value - out.mean.value();
    out.mean.add(distance / count);
    out.squares.add(distance * (value - out.mean.value()));
  }
  return out;
}

/// A lane that is not finite is left to the loop that it is compared with.
void compare(const LaneSum& lanes, std::size_t lane, const CompensatedSum& alone) {
  if (!lanes.is_finite(lane)) {
    const bool is_large = !std::isfinite(alone.sum) || std::fabs(alone.sum) > 1e300;
    REQUIRE(is_large);
    return;
  }
  REQUIRE(std::bit_cast<std::uint64_t>(lanes.value(lane)) ==
          std::bit_cast<std::uint64_t>(alone.value()));
}

/// After so many of the samples none is larger than the sum before it, in any of the windows.
std::uint32_t settled_of(const std::vector<Values>& windows, const auto& factor) {
  std::uint32_t settled = 0;
  for (const Values values : windows) {
    double sum = 0;
    for (std::uint32_t i = 0; i < values.size(); ++i) {
      const double value = factor(i) * values[i];
      if (!(std::fabs(value) <= std::fabs(sum))) settled = std::max(settled, i + 1);
      sum += value;
    }
  }
  return settled;
}

/// Of a line, times in seconds from an origin.
struct LineSums {
  CompensatedSum x;
  CompensatedSum y;
  CompensatedSum xy;
  CompensatedSum xx;
};
LineSums line_of(Values values, const std::int64_t* times, std::int64_t origin) {
  LineSums out;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double x = static_cast<double>(times[i] - origin) / 1000.0;
    out.x.add(x);
    out.y.add(values[i]);
    out.xy.add(x * values[i]);
    out.xx.add(x * x);
  }
  return out;
}

std::uint32_t below(std::mt19937& random, std::uint32_t most) {
  return static_cast<std::uint32_t>(random() % most);
}

/// Samples of one kind, by its number.
std::vector<double> samples(std::mt19937& random, int kind, std::size_t count) {
  constexpr double kOdd[] = {0.0,
                             -0.0,
                             std::numeric_limits<double>::quiet_NaN(),
                             std::numeric_limits<double>::infinity(),
                             -std::numeric_limits<double>::infinity(),
                             std::numeric_limits<double>::denorm_min(),
                             1e308,
                             -1e308};
  std::uniform_real_distribution<double> exponent(0, 3.0 * (kind % 4));  // spreads of 1 to 1e9
  std::uniform_real_distribution<double> any(-1, 1);
  std::vector<double> out;
  for (std::size_t i = 0; i < count; ++i) {
    double value = std::pow(10, exponent(random)) * (1 + 0.1 * any(random));
    if (kind >= 4) value *= any(random) < 0 ? -1 : 1;
    if (kind >= 8 && below(random, 16) == 0) value = kOdd[below(random, std::size(kOdd))];
    out.push_back(value);
  }
  return out;
}

TEST_CASE("lanes: sums, variances and products have the bits of windows taken one by one") {
  std::mt19937 random(17);
  for (int round = 0; round < 3000; ++round) {
    const std::uint32_t size = 1 + below(random, 20);
    const std::uint32_t step = 1 + below(random, 3);
    const std::vector<double> values = samples(random, round % 12, size + step * kLanes);
    std::vector<Window> windows;
    std::vector<Values> each;
    for (std::uint32_t lane = 0; lane < kLanes; ++lane) {
      windows.push_back({lane * step, lane * step + size});
      each.push_back(Values(values).subspan(lane * step, size));
    }
    std::vector<double> factors;
    for (std::uint32_t i = 0; i < size; ++i)
      factors.push_back((static_cast<double>(i) - (round % 2 == 0 ? 0 : 7)) * 1.037);
    const auto begins = begins_of(values, windows, 0);
    const std::uint32_t settled = settled_after(spread_of(values, windows), size);
    const auto factor = [&](std::uint32_t i) { return factors[i]; };
    const std::uint32_t both =
        std::max(settled_of(each, factor), settled_of(each, [](std::uint32_t) { return 1.0; }));
    for (const LaneKernels* table : tables()) {
      LaneSum sums;
      LaneSum mean;
      LaneSum squares;
      LaneSum y;
      LaneSum xy;
      LaneSum only_xy;
      table->sums(begins.data(), size, settled, sums);
      table->variances(begins.data(), size, mean, squares);
      table->products(begins.data(), size, both, factors.data(), y, xy);
      table->only_products(begins.data(), size, settled_of(each, factor), factors.data(), only_xy);
      for (std::size_t lane = 0; lane < kLanes; ++lane) {
        INFO("round " << round << ", lane " << lane << ", size " << size);
        compare(sums, lane, sum_of(each[lane]));
        const Variance variance = variance_of(each[lane]);
        if (mean.is_finite(lane) && squares.is_finite(lane)) {
          compare(mean, lane, variance.mean);
          compare(squares, lane, variance.squares);
        }
        compare(y, lane, sum_of(each[lane]));
        compare(xy, lane, product_of(each[lane], factors));
        compare(only_xy, lane, product_of(each[lane], factors));
      }
    }
  }
}

TEST_CASE("lanes: lines through windows of any times have the bits of windows taken one by one") {
  std::mt19937 random(18);
  for (int round = 0; round < 3000; ++round) {
    const std::uint32_t size = 2 + below(random, 40);
    const bool is_past = round % 2 == 0;
    std::vector<std::vector<double>> values;
    std::vector<std::vector<std::int64_t>> times(kLanes);
    std::array<const double*, kLanes> begins{};
    std::array<const std::int64_t*, kLanes> begins_of_times{};
    std::array<std::int64_t, kLanes> origins{};
    double spread = 1;
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      values.push_back(samples(random, round % 12, size));
      std::int64_t time = 1'700'000'000'000 + below(random, 100'000);
      for (std::uint32_t i = 0; i < size; ++i)
        times[lane].push_back(time += 1 + (below(random, 8) == 0 ? below(random, 900'000) : 999));
      origins[lane] =
          is_past ? time + below(random, 60'000) : times[lane].front() + below(random, 60'000);
      begins[lane] = values[lane].data();
      begins_of_times[lane] = times[lane].data();
      const Window all{0, size};
      spread = std::max(spread, spread_of(values[lane], {&all, 1}));
    }
    const bool settles = is_past && std::isfinite(spread);
    for (const LaneKernels* table : tables()) {
      LaneLines lines;
      table->lines(begins.data(), begins_of_times.data(), origins.data(), size,
                   settles ? settled_after(spread, size) : size, lines);
      for (std::size_t lane = 0; lane < kLanes; ++lane) {
        INFO("round " << round << ", lane " << lane << ", size " << size);
        const LineSums alone = line_of(values[lane], times[lane].data(), origins[lane]);
        compare({lines.x}, lane, alone.x);
        compare({lines.y}, lane, alone.y);
        compare({lines.xy}, lane, alone.xy);
        compare({lines.xx}, lane, alone.xx);
      }
    }
  }
}

}  // namespace
}  // namespace nexus::knowledge::promql
