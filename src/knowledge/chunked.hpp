// ChunkedArray: an array that grows without moving its elements, so that readers need no lock.
//
// The directory of chunks has a fixed size; chunks are made on demand. Thread safety: make() by one
// thread at a time, find() by any thread at any time. What an element's fields need beyond that is
// the element's own business.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <vector>

#include "nexus/base/result.hpp"

namespace nexus::knowledge {

template <typename T, std::size_t kChunk = 1024>
class ChunkedArray {
 public:
  explicit ChunkedArray(std::size_t max) : chunks_((max + kChunk - 1) / kChunk) {}
  ~ChunkedArray() {
    for (auto& chunk : chunks_) delete chunk.load(std::memory_order_relaxed);
  }
  ChunkedArray(const ChunkedArray&) = delete;
  ChunkedArray& operator=(const ChunkedArray&) = delete;

  /// nullptr when the chunk of that element was never made.
  [[nodiscard]] T* find(std::size_t index) const noexcept {
    if (index / kChunk >= chunks_.size()) return nullptr;
    Chunk* chunk = chunks_[index / kChunk].load(std::memory_order_acquire);
    return chunk == nullptr ? nullptr : &(*chunk)[index % kChunk];
  }

  /// An element whose chunk was made.
  [[nodiscard]] T& at(std::size_t index) const {
    T* element = find(index);
    NEXUS_CHECK(element != nullptr);
    return *element;
  }

  T& make(std::size_t index) {
    NEXUS_CHECK(index / kChunk < chunks_.size());
    auto& slot = chunks_[index / kChunk];
    if (slot.load(std::memory_order_relaxed) == nullptr) {
      slot.store(new Chunk(), std::memory_order_release);
    }
    return (*slot.load(std::memory_order_relaxed))[index % kChunk];
  }

 private:
  using Chunk = std::array<T, kChunk>;
  std::vector<std::atomic<Chunk*>> chunks_;
};

}  // namespace nexus::knowledge
