#include "analyze/anomaly/whitening.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace nexus::analyze {
namespace {

// Four at a time, spelt out: the compiler may not reorder sums of floats by itself.
using Four = float __attribute__((vector_size(16)));

Four load(const float* from) noexcept {
  Four out;
  std::memcpy(&out, from, sizeof out);
  return out;
}

void store(float* to, const Four& value) noexcept {
  std::memcpy(to, &value, sizeof value);
}

float sum(const Four& v) noexcept {
  return (v[0] + v[2]) + (v[1] + v[3]);
}

}  // namespace

Whitening::Whitening(std::size_t size)
    : size_(size),
      cells_(row_at((size + 7) / 8 * 8)),
      covariance_(cells_, 0.0F),
      factor_(cells_, 0.0F),
      inverse_(size, 1.0F) {}

void Whitening::learn(std::span<const float> z, double rate) noexcept {
  const auto keep = static_cast<float>(1 - rate);
  for (std::size_t i = 0; i < size_; ++i) {
    const float by = z[i] * static_cast<float>(rate);
    float* const row = &covariance_[row_at(i)];
    for (std::size_t j = 0; j <= i; j += 4) store(row + j, load(row + j) * keep + load(&z[j]) * by);
  }
}

void Whitening::refresh() {
  constexpr double kLeast = 1e-9;
  std::vector<double> factor(size_ * size_, 0);
  for (std::size_t i = 0; i < size_; ++i) {
    double* const row = &factor[i * size_];
    const float* const from = &covariance_[row_at(i)];
    for (std::size_t j = 0; j <= i; ++j) {
      const double* const other = &factor[j * size_];
      double rest = (1 - kShrink) * static_cast<double>(from[j]) + (i == j ? kShrink : 0);
      for (std::size_t k = 0; k < j; ++k) rest -= row[k] * other[k];
      row[j] = i == j ? std::sqrt(std::max(rest, kLeast)) : rest / other[j];
    }
  }
  for (std::size_t i = 0; i < size_; ++i) {
    float* const row = &factor_[row_at(i)];
    for (std::size_t j = 0; j < i; ++j) row[j] = static_cast<float>(factor[i * size_ + j]);
    inverse_[i] = static_cast<float>(1 / factor[i * size_ + i]);
  }
  ready_ = true;
}

void Whitening::whiten(std::span<const float> z, std::span<float> y) const noexcept {
  std::ranges::fill(y, 0.0F);
  for (std::size_t i = 0; i < size_; ++i) {
    const float* const row = &factor_[row_at(i)];
    Four even{};
    Four odd{};
    for (std::size_t j = 0; j < i; j += 8) {
      even += load(row + j) * load(&y[j]);
      odd += load(row + j + 4) * load(&y[j + 4]);
    }
    y[i] = (z[i] - sum(even + odd)) * inverse_[i];
  }
}

void Whitening::back(std::span<const float> y, std::span<float> out) const noexcept {
  std::ranges::copy(y, out.begin());
  for (std::size_t i = size_; i-- > 0;) {
    out[i] *= inverse_[i];
    const float* const row = &factor_[row_at(i)];
    for (std::size_t j = 0; j < i; ++j) out[j] -= row[j] * out[i];
  }
}

}  // namespace nexus::analyze
