#include "knowledge/integers.hpp"

#include <algorithm>
#include <array>
#include <bit>

#include "knowledge/bits.hpp"
#include "knowledge/limits.hpp"

namespace nexus::knowledge {
namespace {

using Residuals = std::array<std::uint64_t, kMaxRows>;

constexpr unsigned kFraction = 3;  // adaptive parameters have 3 fractional bits
constexpr unsigned kEscape = 24;   // that many ones announce a value in full
constexpr unsigned kMaxRice = 63U << kFraction;
constexpr unsigned kMaxRun = 9U << kFraction;

unsigned bit_length(std::uint64_t value) noexcept {
  return static_cast<unsigned>(std::bit_width(value));
}

/// The Golomb-Rice parameter of the residuals and the length of expected runs of zeros, both
/// learning as they go. Encoder and decoder run the same steps.
struct Model {
  explicit Model(unsigned first) noexcept
      : rice(first << kFraction), run(first < 2 ? 1U << kFraction : 0) {}

  void saw_quotient(std::uint64_t quotient) noexcept {
    if (quotient == 0) {
      rice = rice > 2 ? rice - 2 : 0;
    } else if (quotient > 1) {
      rice =
          std::min(kMaxRice, rice + static_cast<unsigned>(std::min<std::uint64_t>(quotient, 16)));
    }
  }
  void saw_full_run() noexcept { run = std::min(kMaxRun, run + 4); }
  void saw_broken_run() noexcept { run = run > 6 ? run - 6 : 0; }
  void saw_single(bool zero) noexcept {
    if (zero) {
      run += 3;
    } else {
      run = run > 3 ? run - 3 : 0;
    }
  }

  unsigned rice;
  unsigned run;
};

class Encoder {
 public:
  Encoder(std::uint8_t* to, unsigned first) noexcept : bits_(to), model_(first) {}

  std::uint8_t* encode(std::span<const std::uint64_t> residuals) noexcept {
    std::size_t i = 0;
    while (i < residuals.size()) {
      if (model_.run >> kFraction == 0) {
        const std::uint64_t value = residuals[i++];
        put_value(value);
        model_.saw_single(value == 0);
      } else {
        i = put_run(residuals, i);
      }
    }
    return bits_.end();
  }

 private:
  void put_value(std::uint64_t value) noexcept {
    const unsigned shift = model_.rice >> kFraction;
    const std::uint64_t quotient = value >> shift;
    if (quotient < kEscape) {
      const auto ones = static_cast<unsigned>(quotient);
      bits_.put((1ULL << ones) - 1, ones + 1);
      bits_.put_wide(value & ((1ULL << shift) - 1), shift);
    } else {
      const unsigned length = bit_length(value);
      bits_.put((1ULL << kEscape) - 1, kEscape);
      bits_.put(length - 1, 6);
      bits_.put_wide(value, length);
    }
    model_.saw_quotient(quotient);
  }

  std::size_t put_run(std::span<const std::uint64_t> residuals, std::size_t i) noexcept {
    std::size_t zeros = 0;
    while (i + zeros < residuals.size() && residuals[i + zeros] == 0) ++zeros;
    i += zeros;
    while (zeros >= (1ULL << (model_.run >> kFraction))) {
      bits_.put(0, 1);
      zeros -= 1ULL << (model_.run >> kFraction);
      model_.saw_full_run();
    }
    if (i == residuals.size()) {
      if (zeros > 0) bits_.put(0, 1);  // the decoder knows where the column ends
      return i;
    }
    bits_.put(1 | (zeros << 1), 1 + (model_.run >> kFraction));
    put_value(residuals[i] - 1);
    model_.saw_broken_run();
    return i + 1;
  }

  BitWriter bits_;
  Model model_;
};

class Decoder {
 public:
  Decoder(const std::uint8_t* from, unsigned first) noexcept : bits_(from), model_(first) {}

  void decode(std::span<std::uint64_t> residuals) noexcept {
    std::size_t i = 0;
    while (i < residuals.size()) {
      const unsigned run = model_.run >> kFraction;
      if (run == 0) {
        residuals[i] = get_value();
        model_.saw_single(residuals[i] == 0);
        ++i;
      } else {
        i = get_run(residuals, i, run);
      }
    }
  }

 private:
  std::uint64_t get_value() noexcept {
    const unsigned shift = model_.rice >> kFraction;
    const auto ones = static_cast<unsigned>(std::countr_one(bits_.peek()));
    std::uint64_t value = 0;
    if (ones < kEscape) {
      bits_.skip(ones + 1);
      value = (static_cast<std::uint64_t>(ones) << shift) | bits_.get_wide(shift);
      model_.saw_quotient(ones);
    } else {
      bits_.skip(kEscape);
      const auto length = static_cast<unsigned>(bits_.get(6)) + 1;
      value = bits_.get_wide(length);
      model_.saw_quotient(value >> shift);
    }
    return value;
  }

  std::size_t get_run(std::span<std::uint64_t> residuals, std::size_t i, unsigned run) noexcept {
    const std::size_t left = residuals.size() - i;
    if (bits_.get(1) == 0) {
      const std::size_t zeros = std::min<std::size_t>(left, 1ULL << run);
      std::fill_n(residuals.begin() + static_cast<std::ptrdiff_t>(i), zeros, 0);
      model_.saw_full_run();
      return i + zeros;
    }
    const std::size_t zeros = std::min<std::size_t>(left - 1, bits_.get(run));
    std::fill_n(residuals.begin() + static_cast<std::ptrdiff_t>(i), zeros, 0);
    residuals[i + zeros] = get_value() + 1;
    model_.saw_broken_run();
    return i + zeros + 1;
  }

  BitReader bits_;
  Model model_;
};

/// How residuals come from values: the difference of that order, less `bias`, with or without a
/// sign.
struct Shape {
  unsigned order =
      0;  // 0: from the first value, 1: from the previous, 2: from the line through two
  bool unsigned_ = false;  // residuals are not negative
  std::uint64_t bias = 0;
};

struct Candidate {
  Shape shape;
  std::uint64_t cost = 0;  // in bits, roughly
};

void differences(std::span<const std::int64_t> values, unsigned order, Residuals& out) noexcept {
  const auto at = [&](std::size_t i) { return static_cast<std::uint64_t>(values[i]); };
  for (std::size_t i = 1; i < values.size(); ++i) {
    if (order == 0) {
      out[i] = at(i) - at(0);
    } else if (order == 1 || i == 1) {
      out[i] = at(i) - at(i - 1);
    } else {
      out[i] = at(i) - 2 * at(i - 1) + at(i - 2);
    }
  }
}

std::uint64_t residual(std::uint64_t difference, const Shape& shape) noexcept {
  const std::uint64_t value = difference - shape.bias;
  return shape.unsigned_ ? value : zigzag(static_cast<std::int64_t>(value));
}

// The sum of the residuals' lengths in bits: close to what the Rice code spends on them, up to a
// constant a row that is the same for all shapes.
std::uint64_t cost_of(std::span<const std::uint64_t> differences_, const Shape& shape) noexcept {
  std::uint64_t lengths = 0;
  for (const std::uint64_t difference : differences_) {
    lengths += bit_length(residual(difference, shape));
  }
  return lengths;
}

Shape choose_shape(std::span<const std::int64_t> values) noexcept {
  Residuals scratch;
  Candidate best{{}, ~0ULL};
  const auto consider = [&](const Shape& shape) {
    const std::uint64_t cost = cost_of({scratch.data() + 1, values.size() - 1}, shape);
    if (cost < best.cost) best = {shape, cost};
  };
  differences(values, 1, scratch);
  consider({1, false, 0});
  const auto signed_less = [](std::uint64_t a, std::uint64_t b) {
    return static_cast<std::int64_t>(a) < static_cast<std::int64_t>(b);
  };
  const std::uint64_t least =
      *std::min_element(scratch.begin() + 1,
                        scratch.begin() + static_cast<std::ptrdiff_t>(values.size()), signed_less);
  consider({1, true, least});
  const std::uint64_t span =
      static_cast<std::uint64_t>(values.back()) - static_cast<std::uint64_t>(values.front());
  const auto mean = static_cast<std::uint64_t>(static_cast<std::int64_t>(span) /
                                               static_cast<std::int64_t>(values.size() - 1));
  if (mean != 0) consider({1, false, mean});
  differences(values, 2, scratch);
  consider({2, false, 0});
  differences(values, 0, scratch);
  const std::uint64_t lowest =
      *std::min_element(scratch.begin() + 1,
                        scratch.begin() + static_cast<std::ptrdiff_t>(values.size()), signed_less);
  consider({0, true, lowest});
  return best.shape;
}

/// log2 of the mean, which is the best first guess of the Rice parameter.
unsigned first_parameter(std::span<const std::uint64_t> residuals) noexcept {
  double sum = 0;
  for (const std::uint64_t value : residuals) sum += static_cast<double>(value);
  const double mean = sum / static_cast<double>(residuals.size());
  return mean >= 0x1p62 ? 62 : std::max(bit_length(static_cast<std::uint64_t>(mean)), 1U) - 1;
}

constexpr unsigned kShiftAt = 10;
constexpr unsigned kParameterAt = 4;

}  // namespace

std::uint8_t* encode_integers(std::span<const std::int64_t> values, std::uint8_t* to) noexcept {
  if (values.size() == 1) {
    to = put_fixed<std::uint16_t>(to, 0);
    return put_varint(to, zigzag(values[0]));
  }
  const Shape shape = choose_shape(values);
  Residuals residuals;
  differences(values, shape.order, residuals);
  const std::span<std::uint64_t> used(residuals.data() + 1, values.size() - 1);
  std::uint64_t any = 0;
  for (std::uint64_t& difference : used) any |= (difference -= shape.bias);
  const unsigned shift = any == 0 ? 0 : static_cast<unsigned>(std::countr_zero(any));
  for (std::uint64_t& value : used) {
    value = shape.unsigned_ ? value >> shift : zigzag(static_cast<std::int64_t>(value) >> shift);
  }
  const unsigned first = first_parameter(used);
  to = put_fixed(to, static_cast<std::uint16_t>(shape.order | (shape.unsigned_ ? 4U : 0U) |
                                                (shape.bias != 0 ? 8U : 0U) |
                                                (first << kParameterAt) | (shift << kShiftAt)));
  to = put_varint(to, zigzag(values[0]));
  if (shape.bias != 0) to = put_varint(to, zigzag(static_cast<std::int64_t>(shape.bias)));
  return Encoder(to, first).encode(used);
}

void decode_integers(const std::uint8_t* from, std::span<std::int64_t> values) noexcept {
  const unsigned head = get_fixed<std::uint16_t>(from);
  const unsigned order = head & 3;
  const bool has_sign = (head & 4) == 0;
  const unsigned shift = head >> kShiftAt;
  auto value = static_cast<std::uint64_t>(unzigzag(get_varint(from)));
  values[0] = static_cast<std::int64_t>(value);
  if (values.size() == 1) return;
  const std::uint64_t bias =
      (head & 8) != 0 ? static_cast<std::uint64_t>(unzigzag(get_varint(from))) : 0;
  Residuals residuals;
  const std::span<std::uint64_t> used(residuals.data() + 1, values.size() - 1);
  Decoder(from, (head >> kParameterAt) & 63).decode(used);
  const std::uint64_t origin = value;
  std::uint64_t slope = 0;
  for (std::size_t i = 1; i < values.size(); ++i) {
    const std::uint64_t raw = residuals[i];
    const std::uint64_t step =
        ((has_sign ? static_cast<std::uint64_t>(unzigzag(raw)) : raw) << shift) + bias;
    if (order == 0) {
      value = origin + step;
    } else {
      slope = order == 2 ? slope + step : step;
      value += slope;
    }
    values[i] = static_cast<std::int64_t>(value);
  }
}

}  // namespace nexus::knowledge
