// Latest: per series its newest sample and the groups it was seen in, readable without a lock.
//
// The newest sample is a seqlock: the writer makes the sequence odd, stores, makes it even. Release
// stores and acquire loads of the data instead of fences, so that ThreadSanitizer can follow.
// Thread safety: one writer, any readers.
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <optional>

#include "knowledge/group.hpp"
#include "nexus/knowledge/queryable.hpp"

namespace nexus::knowledge {

/// A group that has samples of the series; most series have one.
struct Membership {
  const Group* group = nullptr;
  const Membership* next = nullptr;
};

class SeriesRecord {
 public:
  void store(Sample sample) noexcept {
    const std::uint32_t sequence = sequence_.load(std::memory_order_relaxed);
    sequence_.store(sequence + 1, std::memory_order_relaxed);
    time_.store(sample.time, std::memory_order_release);
    bits_.store(std::bit_cast<std::uint64_t>(sample.value), std::memory_order_release);
    sequence_.store(sequence + 2, std::memory_order_release);
  }
  /// Nothing before the first store().
  [[nodiscard]] std::optional<Sample> load() const noexcept {
    for (;;) {
      const std::uint32_t before = sequence_.load(std::memory_order_acquire);
      const std::int64_t time = time_.load(std::memory_order_acquire);
      const std::uint64_t bits = bits_.load(std::memory_order_acquire);
      if (before % 2 == 0 && before == sequence_.load(std::memory_order_relaxed)) {
        if (before == 0) return std::nullopt;
        return Sample{time, std::bit_cast<double>(bits)};
      }
    }
  }

  /// nullptr when the series never had a sample.
  [[nodiscard]] const Membership* groups() const noexcept {
    return groups_.load(std::memory_order_acquire);
  }
  void set_groups(const Membership* first) noexcept {
    groups_.store(first, std::memory_order_release);
  }

  std::uint32_t held = 0;  // samples held; the writer's

 private:
  std::atomic<std::uint32_t> sequence_{0};
  std::atomic<std::int64_t> time_{0};
  std::atomic<std::uint64_t> bits_{0};
  std::atomic<const Membership*> groups_{nullptr};
};

}  // namespace nexus::knowledge
