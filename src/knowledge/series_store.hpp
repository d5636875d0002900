// SeriesStore: the series that are known, each in a place of its own, and what was forgotten of
// late.
//
// An id is a place (low bits) and the generation of its use (high bits), so an id that was kept too
// long is known for what it is instead of naming the place's next series. Places are reused in the
// order in which they became free, so a generation comes again as late as possible.
//
// Forgotten series stay in memory for as long as anybody holds a pin() from before, and to the end
// of the next round in any case: each epoch owns what was forgotten in it, and the epoch after it.
// Thread safety: find() and size() by any thread, pin() and share() under the registry's lock,
// shared or not, everything else under the lock alone.
#pragma once

#include <atomic>
#include <bit>
#include <deque>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "knowledge/chunked.hpp"
#include "nexus/knowledge/series.hpp"

namespace nexus::knowledge {

struct Series {
  Labels labels;
  std::uint64_t hash = 0;
  FamilyId family = 0;
  SeriesId id = 0;
  mutable std::atomic<std::uint32_t> asked{0};  // the round in which it was interned last
};

class SeriesStore {
 public:
  explicit SeriesStore(std::size_t max)
      : places_bits_(static_cast<int>(std::bit_width(max))),
        slots_(max),
        epoch_(std::make_shared<Epoch>()) {}

  [[nodiscard]] std::size_t place(SeriesId id) const noexcept {
    return id & ((SeriesId{1} << places_bits_) - 1);
  }
  /// nullptr when the id names no series (any more).
  [[nodiscard]] const Series* find(SeriesId id) const noexcept {
    const Series* series = in(place(id));
    return series != nullptr && series->id == id ? series : nullptr;
  }
  /// The series that has this place now.
  [[nodiscard]] const Series* in(std::size_t place) const noexcept {
    const Slot* slot = slots_.find(place);
    return slot == nullptr ? nullptr : slot->series.load(std::memory_order_acquire);
  }
  [[nodiscard]] std::size_t size() const noexcept { return size_.load(std::memory_order_acquire); }
  /// All places ever used are below.
  [[nodiscard]] std::size_t places() const noexcept {
    return places_.load(std::memory_order_acquire);
  }

  const Series& add(Labels labels, std::uint64_t hash, FamilyId family, std::uint32_t round) {
    auto series = std::make_shared<Series>();
    series->labels = std::move(labels);
    series->hash = hash;
    series->family = family;
    series->id = next_id();
    series->asked.store(round, std::memory_order_relaxed);
    Slot& slot = slots_.make(place(series->id));
    slot.series.store(series.get(), std::memory_order_release);
    slot.owner = std::move(series);
    size_.fetch_add(1, std::memory_order_release);
    return *slot.owner;
  }

  void remove(SeriesId id) {
    Slot& slot = slots_.at(place(id));
    slot.series.store(nullptr, std::memory_order_release);
    epoch_->forgotten.push_back(std::move(slot.owner));
    free_.push_back(id + (SeriesId{1} << places_bits_));
    size_.fetch_sub(1, std::memory_order_release);
  }

  [[nodiscard]] std::shared_ptr<const Labels> share(SeriesId id) const {
    if (find(id) == nullptr) return nullptr;
    const std::shared_ptr<const Series>& owner = slots_.at(place(id)).owner;
    return {owner, &owner->labels};
  }
  [[nodiscard]] std::shared_ptr<const void> pin() const { return epoch_; }
  /// Returns what the caller is to drop outside the lock.
  [[nodiscard]] std::shared_ptr<const void> end_epoch() {
    auto next = std::make_shared<Epoch>();
    epoch_->next = next;
    std::shared_ptr<Epoch> ended = std::exchange(epoch_, std::move(next));
    return std::exchange(last_epoch_, std::move(ended));
  }

 private:
  struct Slot {
    std::atomic<const Series*> series{nullptr};
    std::shared_ptr<const Series> owner;
  };
  struct Epoch {
    std::vector<std::shared_ptr<const Series>> forgotten;
    std::shared_ptr<Epoch> next;
  };

  SeriesId next_id() {
    if (free_.empty()) return static_cast<SeriesId>(places_.fetch_add(1));
    const SeriesId id = free_.front();
    free_.pop_front();
    return id;
  }

  const int places_bits_;  // never all ones in an id, so id + 1 is never 0
  ChunkedArray<Slot> slots_;
  std::atomic<std::size_t> size_{0};
  std::atomic<std::size_t> places_{0};
  std::deque<SeriesId> free_;  // the ids that their places have next
  std::shared_ptr<Epoch> epoch_;
  std::shared_ptr<Epoch> last_epoch_;
};

}  // namespace nexus::knowledge
