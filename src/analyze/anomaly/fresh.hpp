// Fresh: alarms once. A score counts only while it beats every score of the last kHold rows; what
// follows in the same burst counts as nothing. By a queue of falling scores: amortised O(1).
//
// Thread safety: one thread.
#pragma once

#include <array>
#include <cstdint>

namespace nexus::analyze {

class Fresh {
 public:
  static constexpr std::uint64_t kHold = 100;

  [[nodiscard]] bool push(double score) noexcept {
    while (count_ > 0 && row_ - rows_[front()] > kHold) {
      ++first_;
      --count_;
    }
    const bool fresh = count_ == 0 || score > scores_[front()];
    while (count_ > 0 && scores_[back()] <= score) --count_;
    ++count_;
    scores_[back()] = score;
    rows_[back()] = row_;
    ++row_;
    return fresh;
  }
  template <class A>
  void visit(A& archive) {
    archive(scores_, rows_, first_, count_, row_);
  }
  [[nodiscard]] bool sound() const noexcept { return count_ <= kHold + 1; }

 private:
  static constexpr std::size_t kPlaces = kHold + 2;
  [[nodiscard]] std::size_t front() const noexcept { return first_ % kPlaces; }
  [[nodiscard]] std::size_t back() const noexcept { return (first_ + count_ - 1) % kPlaces; }
  std::array<double, kPlaces> scores_{};
  std::array<std::uint32_t, kPlaces> rows_{};
  std::uint64_t first_ = 0;
  std::uint64_t count_ = 0;
  std::uint32_t row_ = 0;  // may begin anew: distances are taken modulo
};

}  // namespace nexus::analyze
