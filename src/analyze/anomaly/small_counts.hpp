// SmallCounts: counters of which most are small, a byte each; those from 255 on stand in a list.
//
// When kMostLarge of them are large all are halved: old ways fade, and memory is bounded by kSlots
// + 4 * kMostLarge bytes (6 KiB).
//
// Thread safety: one thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <vector>

namespace nexus::analyze {

class SmallCounts {
 public:
  static constexpr std::size_t kSlots = 4096;
  static constexpr std::size_t kMostLarge = 512;

  SmallCounts() : small_(kSlots, 0) {}

  [[nodiscard]] std::uint16_t at(std::size_t slot) const noexcept {
    return small_[slot] < kLarge ? small_[slot] : find(slot)->count;
  }
  void set(std::size_t slot, std::uint16_t count) {
    const bool was_large = small_[slot] == kLarge;
    while (count >= kLarge && !was_large && large_.size() >= kMostLarge) {
      halve();
      count /= 2;
    }
    small_[slot] = static_cast<std::uint8_t>(std::min<std::uint16_t>(count, kLarge));
    if (count >= kLarge && was_large) {
      find(slot)->count = count;
    } else if (count >= kLarge) {
      if (large_.size() == large_.capacity()) large_.reserve(large_.size() + kMore);
      large_.insert(find(slot), {static_cast<std::uint16_t>(slot), count});
    } else if (was_large) {
      large_.erase(find(slot));
    }
  }
  [[nodiscard]] std::size_t bytes() const noexcept {
    return small_.capacity() + large_.capacity() * sizeof(Large);
  }

  template <class A>
  void visit(A& archive) {
    archive(small_, large_);
  }
  /// Whether what was loaded fits together: every large one in its place, and no other.
  [[nodiscard]] bool sound() const noexcept {
    const auto marked = std::ranges::count(small_, kLarge);
    const auto good = [this](const Large& l) {
      return l.slot < kSlots && l.count >= kLarge && small_[l.slot] == kLarge;
    };
    return small_.size() == kSlots && static_cast<std::size_t>(marked) == large_.size() &&
           large_.size() <= kMostLarge && std::ranges::all_of(large_, good) &&
           std::ranges::adjacent_find(large_, std::greater_equal{}, &Large::slot) == large_.end();
  }

 private:
  struct Large {
    std::uint16_t slot = 0;
    std::uint16_t count = 0;
  };
  static constexpr std::uint8_t kLarge = 255;
  static constexpr std::size_t kMore = 32;  // room for that many at a time

  [[nodiscard]] std::vector<Large>::iterator find(std::size_t slot) noexcept {
    return std::ranges::lower_bound(large_, slot, {}, &Large::slot);
  }
  [[nodiscard]] std::vector<Large>::const_iterator find(std::size_t slot) const noexcept {
    return std::ranges::lower_bound(large_, slot, {}, &Large::slot);
  }
  void halve() {
    for (std::uint8_t& count : small_)
      count = static_cast<std::uint8_t>(count < kLarge ? count / 2 : count);
    std::erase_if(large_, [this](Large& large) {
      large.count /= 2;
      if (large.count < kLarge) small_[large.slot] = static_cast<std::uint8_t>(large.count);
      return large.count < kLarge;
    });
  }

  std::vector<std::uint8_t> small_;
  std::vector<Large> large_;  // by slot
};

}  // namespace nexus::analyze
