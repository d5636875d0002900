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
    while (count_ > 0 && front().row + kHold < row_) {
      ++first_;
      --count_;
    }
    const bool fresh = count_ == 0 || score > front().score;
    while (count_ > 0 && back().score <= score) --count_;
    queue_[(first_ + count_) % kPlaces] = {score, row_};
    ++count_;
    ++row_;
    return fresh;
  }
  template <class A>
  void visit(A& archive) {
    archive(queue_, first_, count_, row_);
  }
  [[nodiscard]] bool sound() const noexcept { return count_ <= kHold + 1; }

 private:
  static constexpr std::size_t kPlaces = kHold + 2;
  struct Entry {
    double score = 0;
    std::uint64_t row = 0;
  };
  [[nodiscard]] const Entry& front() const noexcept { return queue_[first_ % kPlaces]; }
  [[nodiscard]] const Entry& back() const noexcept {
    return queue_[(first_ + count_ - 1) % kPlaces];
  }
  std::array<Entry, kPlaces> queue_{};
  std::uint64_t first_ = 0;
  std::uint64_t count_ = 0;
  std::uint64_t row_ = 0;
};

}  // namespace nexus::analyze
