#include "nexus/knowledge/ring.hpp"

#include <catch2/catch.hpp>
#include <condition_variable>
#include <mutex>
#include <numeric>
#include <thread>

namespace nexus::knowledge {
namespace {

struct Batch {
  std::vector<SeriesId> ids;
  std::vector<double> values;
  [[nodiscard]] BatchView view(std::uint32_t group, std::int64_t time) const {
    return {group, time, ids, values};
  }
};

Batch make_batch(std::size_t count, double first) {
  Batch batch{std::vector<SeriesId>(count), std::vector<double>(count)};
  std::iota(batch.ids.begin(), batch.ids.end(), SeriesId{7});
  std::iota(batch.values.begin(), batch.values.end(), first);
  return batch;
}

bool push(SampleRing& ring, std::size_t count, std::int64_t time) {
  return ring.push(make_batch(count, static_cast<double>(time)).view(1, time));
}

TEST_CASE("a batch comes out as it went in") {
  SampleRing ring(16);
  const Batch batch = make_batch(5, 0.5);
  REQUIRE(ring.push(batch.view(3, 1234)));
  CHECK_FALSE(ring.empty());
  int calls = 0;
  CHECK(ring.drain([&](const BatchView& view) {
    ++calls;
    CHECK(view.group == 3);
    CHECK(view.time == 1234);
    CHECK(std::ranges::equal(view.ids, batch.ids));
    CHECK(std::ranges::equal(view.values, batch.values));
  }) == 5);
  CHECK(calls == 1);
  CHECK(ring.empty());
}

TEST_CASE("a batch of the ring's capacity fits wherever the ring stands") {
  SampleRing ring(8);
  std::int64_t time = 0;
  for (std::size_t offset = 1; offset < 40; ++offset) {
    REQUIRE(push(ring, offset % 8 + 1, ++time));
    ring.drain([](const BatchView&) {});
    REQUIRE(push(ring, 8, ++time));
    ring.drain([&](const BatchView& view) {
      CHECK(view.values.size() == 8);
      CHECK(view.values.back() == static_cast<double>(time) + 7);
      CHECK(view.ids.back() == 14);
    });
  }
  CHECK(ring.refused_batches() == 0);
}

TEST_CASE("what does not fit is refused whole and counted") {
  SampleRing ring(8);
  CHECK_FALSE(push(ring, 9, 1));
  CHECK(ring.refused_batches() == 1);
  CHECK(ring.refused_samples() == 9);
  std::int64_t time = 0;
  while (push(ring, 4, ++time)) {
  }
  CHECK(ring.refused_batches() == 2);
  CHECK(ring.refused_samples() == 13);
  std::int64_t seen = 0;
  ring.drain([&](const BatchView& view) { CHECK(view.time == ++seen); });
  CHECK(seen == time - 1);
  CHECK(push(ring, 4, time));
}

TEST_CASE("an empty batch is no batch") {
  SampleRing ring(8);
  CHECK(ring.push({1, 1, {}, {}}));
  CHECK(ring.empty());
}

TEST_CASE("a ring whose producer left is drained, removed, and its refusals stay counted") {
  Rings rings(8);
  auto ring = rings.add();
  CHECK(push(*ring, 3, 1));
  CHECK_FALSE(push(*ring, 20, 2));
  ring.reset();
  CHECK(rings.size() == 1);
  CHECK(rings.drain([](const BatchView&) {}) == 3);
  CHECK(rings.size() == 0);
  CHECK(rings.refused_batches() == 1);
  CHECK(rings.refused_samples() == 20);
}

TEST_CASE("concurrent producers: nothing lost, nothing reordered, nothing torn") {
  constexpr std::uint32_t kProducers = 3;
  constexpr std::int64_t kBatches = 4000;
  Rings rings(64);
  std::vector<std::jthread> producers;
  for (std::uint32_t p = 0; p < kProducers; ++p) {
    producers.emplace_back([p, ring = rings.add()] {
      for (std::int64_t i = 1; i <= kBatches; ++i) {
        const Batch batch = make_batch(static_cast<std::size_t>(i) % 23 + 1, double(i));
        while (!ring->push(batch.view(p, i))) std::this_thread::yield();
      }
    });
  }
  std::vector<std::int64_t> last(kProducers, 0);
  std::int64_t wrong = 0;
  std::int64_t batches = 0;
  while (batches < kProducers * kBatches) {
    const std::size_t samples = rings.drain([&](const BatchView& view) {
      ++batches;
      if (view.time != ++last[view.group]) ++wrong;
      if (view.values.size() != static_cast<std::size_t>(view.time) % 23 + 1) ++wrong;
      for (std::size_t i = 0; i < view.values.size(); ++i) {
        if (view.values[i] != static_cast<double>(view.time) + static_cast<double>(i)) ++wrong;
        if (view.ids[i] != i + 7) ++wrong;
      }
    });
    if (samples == 0) std::this_thread::yield();
  }
  CHECK(wrong == 0);
  CHECK(last == std::vector<std::int64_t>(kProducers, kBatches));
}

TEST_CASE("a consumer that sleeps is woken once, one that is awake is not") {
  Rings rings(64);
  const auto first = rings.add();
  const auto second = rings.add();
  int woken = 0;
  rings.on_push([&] { ++woken; });
  const auto drop = [](const BatchView&) {};
  CHECK(push(*first, 3, 1));
  CHECK(woken == 0);
  CHECK_FALSE(rings.may_sleep());  // there is something
  CHECK(push(*first, 3, 2));
  CHECK(woken == 0);
  rings.drain(drop);
  CHECK(rings.may_sleep());
  CHECK(push(*second, 3, 3));
  CHECK(push(*first, 3, 4));
  CHECK(woken == 1);
  CHECK(rings.drain(drop) == 6);
  CHECK(rings.may_sleep());
  rings.on_push(nullptr);
  CHECK(push(*first, 3, 5));
  CHECK(woken == 1);
}

TEST_CASE("concurrent producers: no wake-up is lost") {
  constexpr std::size_t kProducers = 2;
  constexpr std::size_t kBatches = 20'000;
  Rings rings(1024);
  std::mutex mutex;
  std::condition_variable changed;
  bool woken = false;
  rings.on_push([&] {
    const std::lock_guard guard(mutex);
    woken = true;
    changed.notify_one();
  });
  std::vector<std::jthread> producers;
  for (std::size_t p = 0; p < kProducers; ++p) {
    producers.emplace_back([ring = rings.add()] {
      for (std::size_t i = 1; i <= kBatches; ++i) {
        while (!push(*ring, 1, static_cast<std::int64_t>(i))) std::this_thread::yield();
        if (i % 64 == 0) std::this_thread::yield();  // let the consumer fall asleep
      }
    });
  }
  std::size_t samples = 0;
  bool lost = false;
  while (samples < kProducers * kBatches && !lost) {
    samples += rings.drain([](const BatchView&) {});
    if (samples == kProducers * kBatches || !rings.may_sleep()) continue;
    std::unique_lock lock(mutex);
    lost = !changed.wait_for(lock, std::chrono::seconds(20), [&] { return woken; });
    woken = false;
  }
  CHECK_FALSE(lost);
  CHECK(samples == kProducers * kBatches);
}

}  // namespace
}  // namespace nexus::knowledge
