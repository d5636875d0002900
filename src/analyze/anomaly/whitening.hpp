// Whitening: a slowly learning covariance of standardised features, shrunk towards independence,
// and rows decorrelated by it.
//
// The covariance is learnt with a weight a row (rows that are strange themselves get none) and a
// memory of `rows`; its Cholesky factor is made anew by refresh(). Whitened rows have unit
// covariance: y with L y = z. Single precision, rows padded to eight: O(size^2) a row, 0 for
// features that are not known.
//
// Thread safety: one thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace nexus::analyze {

class Whitening {
 public:
  static constexpr double kShrink = 0.1;

  explicit Whitening(std::size_t size);

  void learn(std::span<const float> z, double rate) noexcept;
  void refresh();
  [[nodiscard]] bool ready() const noexcept { return ready_; }
  /// `y` and `z` hold padded() values, 0 from size() on.
  void whiten(std::span<const float> z, std::span<float> y) const noexcept;
  /// The inverse covariance times z, from the whitened row: for shares of single features.
  void back(std::span<const float> y, std::span<float> out) const noexcept;

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::size_t padded() const noexcept { return (size_ + 7) / 8 * 8; }
  [[nodiscard]] std::size_t bytes() const noexcept {
    return (covariance_.capacity() + factor_.capacity() + inverse_.capacity()) * sizeof(float);
  }

  /// The factor is not kept: it follows from the covariance. Call refresh() after loading.
  template <class A>
  void visit(A& archive) {
    archive(covariance_, ready_);
  }
  [[nodiscard]] bool sound() const noexcept { return covariance_.size() == cells_; }

 private:
  [[nodiscard]] static std::size_t row_at(std::size_t row) noexcept {
    // Rows 8k to 8k+7 take 8 (k + 1) places each.
    const std::size_t k = row / 8;
    return 8 * (8 * (k * (k + 1) / 2)) + (row % 8) * 8 * (k + 1);
  }

  std::size_t size_;
  std::size_t cells_;
  std::vector<float> covariance_;  // lower triangle, by padded rows
  std::vector<float> factor_;      // below the diagonal; 0 on it and in the padding
  std::vector<float> inverse_;     // of its diagonal
  bool ready_ = false;
};

}  // namespace nexus::analyze
