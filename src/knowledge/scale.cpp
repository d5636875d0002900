#include "knowledge/scale.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace nexus::knowledge {
namespace {

constexpr unsigned kMaxDecimals = 12;
constexpr std::array<double, kMaxDecimals + 1> kPowers{1,   1e1, 1e2, 1e3,  1e4,  1e5, 1e6,
                                                       1e7, 1e8, 1e9, 1e10, 1e11, 1e12};
constexpr std::array<double, kMaxDecimals + 1> kInverses{1,    1e-1, 1e-2, 1e-3,  1e-4,  1e-5, 1e-6,
                                                         1e-7, 1e-8, 1e-9, 1e-10, 1e-11, 1e-12};
constexpr std::uint8_t kMultiplied = 0x10;
constexpr std::uint8_t kThousandTwice = 0x20;

/// What is tried when division by one power of ten does not do. Go programs write x * 0.001 for
/// milliseconds and x / 1000 / 1000 for microseconds.
constexpr std::array<std::uint8_t, 4> kOtherScales{kMultiplied | 3, kThousandTwice, kMultiplied | 6,
                                                   kMultiplied | 9};

std::uint64_t bits_of(double value) noexcept {
  return std::bit_cast<std::uint64_t>(value);
}

std::size_t allowed_exceptions(std::size_t rows) noexcept {
  return 1 + rows / 16;
}

double power_of(std::uint8_t decimal) noexcept {
  return kPowers[decimal == kThousandTwice ? 6 : decimal & 0x0f];
}

double decimal_value(double integer, std::uint8_t decimal) noexcept {
  if (decimal == kThousandTwice) return integer / 1000 / 1000;
  if ((decimal & kMultiplied) != 0) return integer * kInverses[decimal & 0x0f];
  return integer / kPowers[decimal];
}

/// The number of decimals with which all but a few values are exact.
bool find_decimals(std::span<const double> values, std::uint8_t& decimals) noexcept {
  std::size_t odd = 0;
  std::int64_t ignored = 0;
  decimals = 0;
  for (const double value : values) {
    unsigned wanted = decimals;
    while (wanted <= kMaxDecimals && !as_decimal(value, static_cast<std::uint8_t>(wanted), ignored))
      ++wanted;
    if (wanted <= kMaxDecimals) {
      decimals = static_cast<std::uint8_t>(wanted);
    } else if (++odd > allowed_exceptions(values.size())) {
      return false;
    }
  }
  return true;
}

// An exception's integer is its predecessor's, which costs next to nothing.
bool except(std::size_t row, std::size_t rows, Scaled& out) noexcept {
  out.integers[row] = row == 0 ? 0 : out.integers[row - 1];
  if (out.exception_count == allowed_exceptions(rows)) return false;
  out.exceptions[out.exception_count++] = static_cast<std::uint16_t>(row);
  return true;
}

bool scale_by(std::uint8_t decimal, std::span<const double> values, Scaled& out) noexcept {
  out.scale = {decimal, false, 0};
  out.exception_count = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!as_decimal(values[i], decimal, out.integers[i]) && !except(i, values.size(), out)) {
      return false;
    }
  }
  return true;
}

bool all_are(std::uint8_t decimal, std::span<const double> values) noexcept {
  std::int64_t ignored = 0;
  return std::ranges::all_of(values,
                             [&](double value) { return as_decimal(value, decimal, ignored); });
}

constexpr int kMaxBinary = 900;  // keeps 2^exponent and 2^-exponent normal

bool is_scalable(double value) noexcept {
  return value != 0 && std::fabs(value) > 0x1p-800 && std::fabs(value) < 0x1p800;
}

/// Of integers below 2^51, as those of decimals are: two at a time.
void each_of_small(std::span<const std::int64_t> integers, std::span<double> values,
                   const auto& value_from) noexcept {
  using Integers =
      std::uint64_t __attribute__((vector_size(16)));  // those of a damaged block may overflow
  using Doubles = double __attribute__((vector_size(16)));
  // Added to it, an integer is in the lowest bits of a double.
  constexpr double kAnchor = 0x1.8p52;
  constexpr auto kAnchorBits = std::bit_cast<std::uint64_t>(kAnchor);
  std::size_t i = 0;
  for (; i + 2 <= values.size(); i += 2) {
    Integers two;
    std::memcpy(&two, &integers[i], sizeof two);
    two += kAnchorBits;
    const auto made = value_from(std::bit_cast<Doubles>(two) - kAnchor);
    std::memcpy(&values[i], &made, sizeof made);
  }
  if (i < values.size()) values[i] = value_from(static_cast<double>(integers[i]));
}

double two_to(int exponent) noexcept {
  return std::bit_cast<double>(static_cast<std::uint64_t>(1023 + exponent) << 52);
}

/// 2^exponent is the lowest bit that any value has; integers then have at most 61 bits.
bool find_exponent(std::span<const double> values, int& exponent) noexcept {
  int lowest = kMaxBinary;
  int highest = -kMaxBinary;
  for (const double value : values) {
    if (!is_scalable(value)) continue;
    const std::uint64_t bits = bits_of(value);
    const int power = static_cast<int>((bits >> 52) & 0x7ff) - 1023;
    const std::uint64_t mantissa = (bits & ((1ULL << 52) - 1)) | (1ULL << 52);
    lowest = std::min(lowest, power - 52 + std::countr_zero(mantissa));
    highest = std::max(highest, power);
  }
  exponent = lowest;
  return lowest < kMaxBinary && highest - lowest <= 60;
}

}  // namespace

bool is_valid(const Scale& scale) noexcept {
  if (scale.is_binary) return std::abs(scale.exponent) <= kMaxBinary;
  return scale.decimal == kThousandTwice ||
         (scale.decimal < kThousandTwice && (scale.decimal & 0x0f) <= kMaxDecimals);
}

bool as_decimal(double value, std::uint8_t decimal, std::int64_t& integer) noexcept {
  constexpr double kRound = 0x1.8p52;  // adding and subtracting it rounds to an integer
  const double scaled = value * power_of(decimal);
  if (!(std::fabs(scaled) < 0x1p51)) return false;
  const double rounded = (scaled + kRound) - kRound;
  integer = static_cast<std::int64_t>(rounded);
  return bits_of(decimal_value(static_cast<double>(integer), decimal)) == bits_of(value);
}

bool scale_decimal(std::span<const double> values, Scaled& out) noexcept {
  std::uint8_t decimals = 0;
  const bool found = find_decimals(values, decimals) && scale_by(decimals, values, out);
  if (found && out.exception_count == 0) return true;
  const std::span<const double> few = values.first(std::min<std::size_t>(values.size(), 8));
  for (const std::uint8_t other : kOtherScales) {
    // Only a scale without exceptions is better than one with few.
    if (all_are(other, few) && all_are(other, values)) return scale_by(other, values, out);
  }
  for (const std::uint8_t other : kOtherScales) {
    if (!found && scale_by(other, values, out)) return true;
  }
  return found && scale_by(decimals, values, out);
}

bool scale_binary(std::span<const double> values, Scaled& out) noexcept {
  int exponent = 0;
  if (!find_exponent(values, exponent)) return false;
  out.scale = {0, true, static_cast<std::int16_t>(exponent)};
  out.exception_count = 0;
  const double factor = two_to(-exponent);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (is_scalable(values[i]) || bits_of(values[i]) == 0) {
      out.integers[i] = static_cast<std::int64_t>(values[i] * factor);
    } else if (!except(i, values.size(), out)) {
      return false;
    }
  }
  return true;
}

double value_of(std::int64_t integer, const Scale& scale) noexcept {
  return scale_number(static_cast<double>(integer), scale);
}

double scale_number(double number, const Scale& scale) noexcept {
  return scale.is_binary ? number * two_to(scale.exponent) : decimal_value(number, scale.decimal);
}

void values_of(std::span<const std::int64_t> integers, const Scale& scale,
               std::span<double> values) noexcept {
  if (scale.is_binary) {
    const double factor = two_to(scale.exponent);
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<double>(integers[i]) * factor;
    }
  } else if ((scale.decimal & kMultiplied) != 0) {
    const double factor = kInverses[scale.decimal & 0x0f];
    each_of_small(integers, values, [factor](auto some) { return some * factor; });
  } else if (scale.decimal == kThousandTwice) {
    each_of_small(integers, values, [](auto some) { return some / 1000.0 / 1000.0; });
  } else if (scale.decimal == 0) {
    each_of_small(integers, values, [](auto some) { return some; });
  } else {
    const double divisor = kPowers[scale.decimal];
    each_of_small(integers, values, [divisor](auto some) { return some / divisor; });
  }
}

}  // namespace nexus::knowledge
