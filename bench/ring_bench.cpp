// The sample ring against boost::lockfree in the same run: two producers, one consumer, batches of
// 64 samples.
//
// - ours: one SampleRing a producer, a batch is one publication;
// - spsc_queue: one queue a producer, pushed and popped in batches of 64 elements {series, group,
// time, value};
// - queue: one queue for both, pushed and popped one element at a time, which is all that it can.

#include <benchmark/benchmark.h>

#include <boost/lockfree/queue.hpp>
#include <boost/lockfree/spsc_queue.hpp>
#include <memory>
#include <thread>
#include <vector>

#include "nexus/knowledge/ring.hpp"

namespace nexus::knowledge {
namespace {

constexpr std::size_t kBatch = 64;
constexpr std::size_t kCapacity = 16'384;
constexpr std::int64_t kBatches = 20'000;  // a producer and iteration
constexpr std::int64_t kProducers = 2;
constexpr std::int64_t kTotal = kBatches * kProducers * static_cast<std::int64_t>(kBatch);

struct Element {
  std::int64_t time;
  double value;
  SeriesId id;
  std::uint32_t group;
};

struct Input {
  Input() {
    for (std::size_t i = 0; i < kBatch; ++i) {
      ids.push_back(static_cast<SeriesId>(i));
      values.push_back(static_cast<double>(i));
      elements.push_back({1, static_cast<double>(i), static_cast<SeriesId>(i), 1});
    }
  }
  std::vector<SeriesId> ids;
  std::vector<double> values;
  std::vector<Element> elements;
};

/// Runs `produce(p)` on two threads and `consume()`, which returns how many elements it took, on
/// this one.
template <typename Produce, typename Consume>
void race(const Produce& produce, const Consume& consume) {
  std::vector<std::jthread> producers;
  for (std::int64_t p = 0; p < kProducers; ++p)
    producers.emplace_back([&produce, p] { produce(p); });
  for (std::int64_t taken = 0; taken < kTotal;) {
    const auto now = static_cast<std::int64_t>(consume());
    if (now == 0) std::this_thread::yield();
    taken += now;
  }
}

void ours(benchmark::State& state) {
  const Input input;
  Rings rings(kCapacity);
  const std::vector<std::shared_ptr<SampleRing>> ring{rings.add(), rings.add()};
  double sum = 0;
  for (auto _ : state) {
    race(
        [&](std::int64_t p) {
          for (std::int64_t i = 0; i < kBatches; ++i) {
            while (!ring[static_cast<std::size_t>(p)]->push({1, i, input.ids, input.values})) {
              std::this_thread::yield();
            }
          }
        },
        [&] {
          return rings.drain([&](const BatchView& batch) {
            for (const double value : batch.values) sum += value;
          });
        });
  }
  benchmark::DoNotOptimize(sum);
  state.SetItemsProcessed(state.iterations() * kTotal);
}
BENCHMARK(ours)->UseRealTime()->Unit(benchmark::kMillisecond);

void boost_spsc_queue(benchmark::State& state) {
  const Input input;
  using Queue = boost::lockfree::spsc_queue<Element>;
  Queue first(kCapacity);
  Queue second(kCapacity);
  Queue* const queues[] = {&first, &second};
  std::vector<Element> taken(kBatch);
  double sum = 0;
  for (auto _ : state) {
    race(
        [&](std::int64_t p) {
          for (std::int64_t i = 0; i < kBatches; ++i) {
            for (std::size_t done = 0; done < kBatch;) {
              const std::size_t now = queues[p]->push(input.elements.data() + done, kBatch - done);
              if (now == 0) std::this_thread::yield();
              done += now;
            }
          }
        },
        [&] {
          std::size_t count = 0;
          for (Queue* queue : queues) {
            while (const std::size_t now = queue->pop(taken.data(), taken.size())) {
              for (std::size_t i = 0; i < now; ++i) sum += taken[i].value;
              count += now;
            }
          }
          return count;
        });
  }
  benchmark::DoNotOptimize(sum);
  state.SetItemsProcessed(state.iterations() * kTotal);
}
BENCHMARK(boost_spsc_queue)->UseRealTime()->Unit(benchmark::kMillisecond);

void boost_queue(benchmark::State& state) {
  const Input input;
  const auto queue = std::make_unique<boost::lockfree::queue<Element>>(kCapacity);
  double sum = 0;
  for (auto _ : state) {
    race(
        [&](std::int64_t) {
          for (std::int64_t i = 0; i < kBatches; ++i) {
            for (const Element& element : input.elements) {
              while (!queue->bounded_push(element)) std::this_thread::yield();
            }
          }
        },
        [&] {
          std::size_t count = 0;
          for (Element element{}; queue->pop(element); ++count) sum += element.value;
          return count;
        });
  }
  benchmark::DoNotOptimize(sum);
  state.SetItemsProcessed(state.iterations() * kTotal);
}
BENCHMARK(boost_queue)->UseRealTime()->Unit(benchmark::kMillisecond);

/// One thread, push and drain by turns: the cost of the code itself.
void ours_one_thread(benchmark::State& state) {
  const Input input;
  SampleRing ring(kCapacity);
  double sum = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(ring.push({1, 1, input.ids, input.values}));
    ring.drain([&](const BatchView& batch) { sum += batch.values.front(); });
  }
  benchmark::DoNotOptimize(sum);
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kBatch));
}
BENCHMARK(ours_one_thread);

}  // namespace
}  // namespace nexus::knowledge
