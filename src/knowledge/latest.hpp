// Latest: per series its newest sample and the groups it was seen in, readable without a lock. The
// record of a forgotten series is later that of another, so it says whose it is.
//
// The newest sample is a seqlock: the writer makes the sequence odd, stores, makes it even. Release
// stores and acquire loads of the data instead of fences, so that ThreadSanitizer can follow.
// Thread safety: one writer, any readers.
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <limits>
#include <optional>

#include "knowledge/group.hpp"
#include "nexus/knowledge/queryable.hpp"

namespace nexus::knowledge {

/// A group that has samples of the series; most series have one. Series of the same groups share
/// it, so there are few, and they are never freed.
struct Membership {
  const Group* group = nullptr;
  const Membership* next = nullptr;
};

class SeriesRecord {
 public:
  struct Newest {
    SeriesId id = 0;
    Sample sample;
  };

  /// The record is for that series from now on, which has no sample yet.
  void assign(SeriesId id) noexcept {
    write(id, {kNoSample, 0});
    set_groups(nullptr);
    held = 0;
  }
  /// It is for no series.
  void clear() noexcept { assign(kNobody); }
  void store(Sample sample) noexcept { write(id(), sample); }
  /// The writer's view of whose record it is.
  [[nodiscard]] SeriesId id() const noexcept { return id_.load(std::memory_order_relaxed); }

  /// The series that has this record, with its newest sample; nothing before the first store().
  [[nodiscard]] std::optional<Newest> load() const noexcept {
    for (;;) {
      const std::uint32_t before = sequence_.load(std::memory_order_acquire);
      const SeriesId id = id_.load(std::memory_order_acquire);
      const std::int64_t time = time_.load(std::memory_order_acquire);
      const std::uint64_t bits = bits_.load(std::memory_order_acquire);
      if (before % 2 == 0 && before == sequence_.load(std::memory_order_relaxed)) {
        if (time == kNoSample) return std::nullopt;
        return Newest{id, {time, std::bit_cast<double>(bits)}};
      }
    }
  }
  [[nodiscard]] std::optional<Sample> load(SeriesId id) const noexcept {
    const std::optional<Newest> newest = load();
    return newest && newest->id == id ? std::optional(newest->sample) : std::nullopt;
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
  static constexpr SeriesId kNobody = std::numeric_limits<SeriesId>::max();  // never an id
  static constexpr std::int64_t kNoSample = std::numeric_limits<std::int64_t>::min();

  void write(SeriesId id, Sample sample) noexcept {
    const std::uint32_t sequence = sequence_.load(std::memory_order_relaxed);
    sequence_.store(sequence + 1, std::memory_order_relaxed);
    id_.store(id, std::memory_order_release);
    time_.store(sample.time, std::memory_order_release);
    bits_.store(std::bit_cast<std::uint64_t>(sample.value), std::memory_order_release);
    sequence_.store(sequence + 2, std::memory_order_release);
  }

  std::atomic<std::uint32_t> sequence_{0};
  std::atomic<SeriesId> id_{kNobody};
  std::atomic<std::int64_t> time_{kNoSample};
  std::atomic<std::uint64_t> bits_{0};
  std::atomic<const Membership*> groups_{nullptr};
};

}  // namespace nexus::knowledge
