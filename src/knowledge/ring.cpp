#include "nexus/knowledge/ring.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>

namespace nexus::knowledge {
namespace {

constexpr std::size_t kCacheLine = 64;
constexpr std::size_t kWord = 8;

/// What stands in front of the values and ids of a batch.
struct Header {
  std::uint32_t group;
  std::uint32_t count;
  std::int64_t time;
};
static_assert(sizeof(Header) == 2 * kWord);

std::size_t words_for(std::size_t samples) noexcept {
  return sizeof(Header) / kWord + samples + (samples + 1) / 2;
}

}  // namespace

// Positions count words and only grow; position modulo size is the place. A batch is always
// contiguous: the last one before the end of the ring runs on into a tail behind it, and the words
// that it covers by position stay unused.
struct SampleRing::State {
  State(std::size_t samples, std::shared_ptr<Bell> bell_)
      : bell(std::move(bell_)),
        capacity(std::bit_ceil(std::max<std::size_t>(samples, 8))),
        size(2 * capacity),
        bytes(std::make_unique_for_overwrite<std::byte[]>((size + words_for(capacity)) * kWord)) {}

  [[nodiscard]] std::byte* place(std::uint64_t position) const noexcept {
    return bytes.get() + (position & (size - 1)) * kWord;
  }
  [[nodiscard]] bool has_room(std::size_t words) noexcept {
    const std::uint64_t tail = written.load(std::memory_order_relaxed);
    if (tail + words - read_seen <= size) return true;
    read_seen = read.load(std::memory_order_acquire);
    return tail + words - read_seen <= size;
  }

  const std::shared_ptr<Bell> bell;
  const std::size_t capacity;
  const std::size_t size;
  const std::unique_ptr<std::byte[]> bytes;

  alignas(kCacheLine) std::atomic<std::uint64_t> written{0};  // the producer's line
  std::uint64_t read_seen = 0;
  std::atomic<std::uint64_t> refused_batches{0};
  std::atomic<std::uint64_t> refused_samples{0};

  alignas(kCacheLine) std::atomic<std::uint64_t> read{0};  // the consumer's line
};

SampleRing::SampleRing(std::size_t capacity, std::shared_ptr<Bell> bell)
    : state_(std::make_unique<State>(capacity, std::move(bell))) {}
SampleRing::~SampleRing() = default;

bool SampleRing::push(const BatchView& batch) noexcept {
  State& s = *state_;
  const std::size_t count = batch.ids.size();
  NEXUS_CHECK(count == batch.values.size());
  if (count == 0) return true;
  const std::size_t words = words_for(count);
  if (count > s.capacity || !s.has_room(words)) {
    s.refused_batches.fetch_add(1, std::memory_order_relaxed);
    s.refused_samples.fetch_add(count, std::memory_order_relaxed);
    return false;
  }
  const std::uint64_t tail = s.written.load(std::memory_order_relaxed);
  std::byte* to = s.place(tail);
  const Header header{batch.group, static_cast<std::uint32_t>(count), batch.time};
  std::memcpy(to, &header, sizeof header);
  to += sizeof header;
  std::memcpy(to, batch.values.data(), count * sizeof(double));
  to += count * sizeof(double);
  std::memcpy(to, batch.ids.data(), count * sizeof(SeriesId));
  if (s.bell == nullptr) {
    s.written.store(tail + words, std::memory_order_release);
    return true;
  }
  // Both sequentially consistent, as in may_sleep(): either the consumer sees the batch before it
  // sleeps, or this sees that it sleeps.
  s.written.store(tail + words);
  s.bell->ring();
  return true;
}

std::size_t SampleRing::drain(const std::function<void(const BatchView&)>& sink) {
  State& s = *state_;
  const std::uint64_t end = s.written.load(std::memory_order_acquire);
  std::uint64_t at = s.read.load(std::memory_order_relaxed);
  std::size_t samples = 0;
  while (at != end) {
    const std::byte* from = s.place(at);
    Header header{};
    std::memcpy(&header, from, sizeof header);
    // memcpy into a byte array has made these doubles and ids there.
    const auto* values = std::launder(reinterpret_cast<const double*>(from + sizeof header));
    const auto* ids = std::launder(
        reinterpret_cast<const SeriesId*>(from + sizeof header + header.count * sizeof(double)));
    sink({header.group, header.time, {ids, header.count}, {values, header.count}});
    samples += header.count;
    at += words_for(header.count);
    s.read.store(at, std::memory_order_release);
  }
  return samples;
}

std::uint64_t SampleRing::refused_batches() const noexcept {
  return state_->refused_batches.load(std::memory_order_relaxed);
}

std::uint64_t SampleRing::refused_samples() const noexcept {
  return state_->refused_samples.load(std::memory_order_relaxed);
}

bool SampleRing::empty() const noexcept {
  return state_->read.load(std::memory_order_acquire) == state_->written.load();
}

std::shared_ptr<SampleRing> Rings::add() {
  auto entry = std::make_shared<Entry>(capacity_, bell_);
  {
    const std::lock_guard guard(mutex_);
    rings_.push_back(entry);
  }
  SampleRing* ring = &entry->ring;
  return {ring, [entry = std::move(entry)](SampleRing*) {
            entry->retired.store(true, std::memory_order_release);
          }};
}

std::size_t Rings::drain(const std::function<void(const BatchView&)>& sink) {
  {
    const std::lock_guard guard(mutex_);
    draining_.assign(rings_.begin(), rings_.end());
  }
  std::size_t samples = 0;
  bool retired = false;
  for (const auto& entry : draining_) {
    retired = retired || entry->retired.load(std::memory_order_acquire);
    samples += entry->ring.drain(sink);
  }
  draining_.clear();
  if (!retired) return samples;
  const std::lock_guard guard(mutex_);
  std::erase_if(rings_, [this](const std::shared_ptr<Entry>& entry) {
    // Nothing is pushed once the producer let go, so an empty ring stays empty.
    if (!entry->retired.load(std::memory_order_acquire) || !entry->ring.empty()) return false;
    retired_batches_ += entry->ring.refused_batches();
    retired_samples_ += entry->ring.refused_samples();
    return true;
  });
  return samples;
}

bool Rings::may_sleep() {
  bell_->arm();
  const std::lock_guard guard(mutex_);
  const bool empty =
      std::ranges::all_of(rings_, [](const auto& entry) { return entry->ring.empty(); });
  if (!empty) bell_->disarm();
  return empty;
}

std::uint64_t Rings::refused_batches() const {
  const std::lock_guard guard(mutex_);
  std::uint64_t sum = retired_batches_;
  for (const auto& entry : rings_) sum += entry->ring.refused_batches();
  return sum;
}

std::uint64_t Rings::refused_samples() const {
  const std::lock_guard guard(mutex_);
  std::uint64_t sum = retired_samples_;
  for (const auto& entry : rings_) sum += entry->ring.refused_samples();
  return sum;
}

std::size_t Rings::size() const {
  const std::lock_guard guard(mutex_);
  return rings_.size();
}

}  // namespace nexus::knowledge
