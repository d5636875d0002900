// MemoryBudget: the bytes that jobs which run beside each other may hold together.
//
// Each job has a MemoryHold, tells it how much more it is about to hold, and gives all back when it
// is destroyed. What would be too much is refused (kUnavailable), so that the process stays within
// what it may have; the job says so to whoever asked. A part of the budget is for holds that are
// small: large ones never keep those out.
//
// Thread safety: a budget, any thread, without locks; a hold, one thread at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "nexus/base/result.hpp"

namespace nexus::base {

class MemoryBudget {
 public:
  /// Of `most` bytes, `for_small` are for holds of at most `small` bytes.
  MemoryBudget(std::uint64_t most, std::uint64_t for_small, std::uint64_t small) noexcept
      : most_(most), for_large_(most - for_small), small_(small) {}
  [[nodiscard]] std::uint64_t held() const noexcept {
    return held_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t most() const noexcept { return most_; }

 private:
  friend class MemoryHold;
  [[nodiscard]] bool take(std::uint64_t bytes, std::uint64_t of_hold) noexcept {
    const std::uint64_t limit = of_hold <= small_ ? most_ : for_large_;
    std::uint64_t before = held();
    do {
      if (before + bytes > limit) return false;
    } while (!held_.compare_exchange_weak(before, before + bytes, std::memory_order_relaxed));
    return true;
  }
  void give_back(std::uint64_t bytes) noexcept {
    held_.fetch_sub(bytes, std::memory_order_relaxed);
  }

  const std::uint64_t most_;
  const std::uint64_t for_large_;
  const std::uint64_t small_;
  std::atomic<std::uint64_t> held_{0};
};

class MemoryHold {
 public:
  explicit MemoryHold(std::shared_ptr<MemoryBudget> budget) noexcept : budget_(std::move(budget)) {}
  MemoryHold(const MemoryHold&) = delete;
  MemoryHold& operator=(const MemoryHold&) = delete;
  ~MemoryHold() { budget_->give_back(bytes_); }

  /// Before `bytes` more are taken; nothing changes when they are refused.
  [[nodiscard]] Status grow(std::uint64_t bytes) {
    if (!budget_->take(bytes, bytes_ + bytes)) {
      return fail(Errc::kUnavailable,
                  "{} KiB more are too much beside the {} KiB that other queries and answers that "
                  "were not read yet hold: try again, or ask for fewer series or steps",
                  (bytes + 1023) / 1024, budget_->held() / 1024);
    }
    bytes_ += bytes;
    return {};
  }
  /// From now on it holds no more than that.
  void shrink_to(std::uint64_t bytes) noexcept {
    if (bytes >= bytes_) return;
    budget_->give_back(bytes_ - bytes);
    bytes_ = bytes;
  }
  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }

 private:
  const std::shared_ptr<MemoryBudget> budget_;
  std::uint64_t bytes_ = 0;
};

}  // namespace nexus::base
