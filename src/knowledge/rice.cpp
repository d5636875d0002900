#include "knowledge/rice.hpp"

#include <algorithm>
#include <bit>

namespace nexus::knowledge {
namespace {

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
  Decoder(Bytes from, unsigned first) noexcept : bits_(from), model_(first) {}

  std::size_t decode(std::span<std::uint64_t> residuals) noexcept {
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
    return bits_.used();
  }

 private:
  std::uint64_t get_value() noexcept {
    const unsigned shift = model_.rice >> kFraction;
    const std::uint64_t word = bits_.peek();
    const auto ones = static_cast<unsigned>(std::countr_one(word));
    std::uint64_t value = 0;
    if (ones + 1 + shift <= 56 && ones < kEscape) {
      value = (std::uint64_t{ones} << shift) | ((word >> (ones + 1)) & ((1ULL << shift) - 1));
      bits_.skip(ones + 1 + shift);
      model_.saw_quotient(ones);
    } else if (ones < kEscape) {
      bits_.skip(ones + 1);
      value = (std::uint64_t{ones} << shift) | bits_.get_wide(shift);
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
    const bool broken = bits_.get(1) != 0;
    const std::size_t zeros = broken ? bits_.get(run) : 1ULL << run;
    std::fill_n(residuals.begin() + static_cast<std::ptrdiff_t>(i), std::min(left, zeros), 0);
    if (!broken) {
      model_.saw_full_run();
      return i + std::min(left, zeros);
    }
    if (zeros >= left) return residuals.size();  // only the front of the column was wanted
    residuals[i + zeros] = get_value() + 1;
    model_.saw_broken_run();
    return i + zeros + 1;
  }

  BitReader bits_;
  Model model_;
};

}  // namespace

unsigned rice_parameter(std::span<const std::uint64_t> values) noexcept {
  double sum = 0;  // log2 of the mean is the best first guess
  for (const std::uint64_t value : values) sum += static_cast<double>(value);
  const double mean = sum / static_cast<double>(values.size());
  return mean >= 0x1p62 ? 62 : std::max(bit_length(static_cast<std::uint64_t>(mean)), 1U) - 1;
}

std::uint8_t* encode_rice(std::span<const std::uint64_t> values, unsigned parameter,
                          std::uint8_t* to) noexcept {
  return Encoder(to, parameter).encode(values);
}

std::size_t decode_rice(Bytes from, unsigned parameter, std::span<std::uint64_t> values) noexcept {
  return Decoder(from, parameter).decode(values);
}

}  // namespace nexus::knowledge
