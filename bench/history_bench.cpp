// Ring to history, reading back, and bytes per sample: on host-like data made here, and, when
// NEXUS_RECORDING names a text file ("@MILLISECONDS" starts a scrape, then `name{labels} value` a
// line), on that recording. One group, as if one collector had made all of it. For a compressed
// recording: NEXUS_RECORDING=<(zcat FILE.gz) history_bench

#include <benchmark/benchmark.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <unordered_map>

#include "knowledge/block.hpp"
#include "nexus/base/text.hpp"
#include "nexus/knowledge/history.hpp"

namespace nexus::knowledge {
namespace {

struct Scrape {
  std::int64_t time = 0;
  std::vector<SeriesId> ids;
  std::vector<double> values;
};

struct Data {
  SeriesRegistry registry{20'000};
  std::vector<Scrape> scrapes;
  std::size_t samples = 0;

  SeriesId id(const std::string& name) { return registry.intern(Labels(name, {})).value(); }
};

constexpr int kScrapes = 2400;

/// 1,500 series with the proportions of a host: most never change.
void make_synthetic(Data& data) {
  std::mt19937_64 random(42);
  constexpr std::size_t kSeries = 1500;
  std::vector<SeriesId> ids;
  for (std::size_t i = 0; i < kSeries; ++i) ids.push_back(data.id("series_" + std::to_string(i)));
  std::vector<double> state(kSeries);
  for (double& value : state) value = static_cast<double>(random() % 1'000'000);
  std::normal_distribution<double> noise(50, 10);
  for (int row = 0; row < kScrapes; ++row) {
    std::vector<double> values(kSeries);
    for (std::size_t i = 0; i < kSeries; ++i) {
      const std::size_t kind = i % 20;
      if (kind == 12 && random() % 50 == 0) state[i] += 1;  // rare events
      if (kind == 13 || kind == 14) state[i] += static_cast<double>(random() % 2000);  // bytes
      if (kind == 15 || kind == 16) state[i] += static_cast<double>(random() % 5);     // ticks
      if (kind == 17 || kind == 18) state[i] += static_cast<double>(random() % 64) - 32;
      values[i] = kind == 15 || kind == 16   ? state[i] / 100
                  : kind == 17 || kind == 18 ? state[i] * 4096
                  : kind == 19 && i % 3 == 0 ? noise(random)
                                             : state[i];
    }
    data.scrapes.push_back(
        {1'700'000'000'000 + row * 1000 + static_cast<int>(random() % 3), ids, values});
    data.samples += kSeries;
  }
}

bool load_recording(Data& data, const char* path) {
  std::ifstream in(path);
  std::unordered_map<std::string, SeriesId> known;
  std::string line;
  while (std::getline(in, line)) {
    if (line.starts_with('@')) {
      data.scrapes.push_back(
          {base::parse_int(std::string_view(line).substr(1)).value_or(0), {}, {}});
      continue;
    }
    const std::size_t space = line.rfind(' ');
    if (space == std::string::npos || data.scrapes.empty()) continue;
    std::string name = line.substr(0, space);
    auto found = known.find(name);
    if (found == known.end()) found = known.emplace(name, data.id(name)).first;
    data.scrapes.back().ids.push_back(found->second);
    data.scrapes.back().values.push_back(
        base::parse_double(std::string_view(line).substr(space + 1)).value_or(0));
    ++data.samples;
  }
  return data.samples > 0;
}

Data& data_set(bool recorded) {
  static Data synthetic;
  static Data recording;
  if (synthetic.scrapes.empty()) {
    make_synthetic(synthetic);
    if (const char* path = std::getenv("NEXUS_RECORDING")) load_recording(recording, path);
  }
  return recorded ? recording : synthetic;
}

constexpr std::int64_t kSpan = 10'000'000;

void push_all(const Data& data, SampleRing& ring, History& history, std::int64_t shift) {
  for (const Scrape& scrape : data.scrapes) {
    const bool pushed = ring.push({1, scrape.time + shift, scrape.ids, scrape.values});
    if (!pushed) std::abort();
    ring.drain([&](const BatchView& batch) { history.append(batch); });
  }
}

bool skip_missing(benchmark::State& state, const Data& data) {
  if (!data.scrapes.empty()) return false;
  state.SkipWithError("NEXUS_RECORDING is not set or not readable");
  return true;
}

/// From push() to the history, sealing and retention included.
void ring_to_history(benchmark::State& state) {
  Data& data = data_set(state.range(0) != 0);
  if (skip_missing(state, data)) return;
  History history(data.registry, {Millis(kSpan), 1ULL << 30});
  SampleRing ring(8192);
  std::int64_t shift = 0;
  for (auto _ : state) {
    push_all(data, ring, history, shift);
    shift += kSpan;
    history.maintain(data.scrapes.back().time + shift);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(data.samples));
}
BENCHMARK(ring_to_history)->ArgName("recorded")->Arg(0)->Arg(1)->Unit(benchmark::kMillisecond);

void bytes_per_sample(benchmark::State& state) {
  Data& data = data_set(state.range(0) != 0);
  if (skip_missing(state, data)) return;
  HistoryStats stats;
  for (auto _ : state) {
    History history(data.registry, {Millis(24 * 3'600'000), 1ULL << 30});
    SampleRing ring(8192);
    push_all(data, ring, history, 0);
    history.maintain(data.scrapes.back().time + 3'600'000);  // seals what is still open
    stats = history.stats();
  }
  const auto sealed = static_cast<double>(stats.bytes - stats.open_bytes);
  state.counters["samples"] = static_cast<double>(stats.samples);
  state.counters["bytes"] = sealed;
  state.counters["bytes_per_sample"] = sealed / static_cast<double>(stats.samples);
}
BENCHMARK(bytes_per_sample)
    ->ArgName("recorded")
    ->Arg(0)
    ->Arg(1)
    ->Iterations(1)
    ->Unit(benchmark::kMillisecond);

using BlockBytes = std::vector<std::vector<std::uint8_t>>;

/// The data as full blocks of kMaxRows rows, as the history seals them.
BlockBytes blocks_of(const Data& data) {
  BlockBuilder builder;
  BlockBytes blocks;
  for (std::size_t first = 0; first < data.scrapes.size(); first += kMaxRows) {
    const std::size_t rows = std::min(kMaxRows, data.scrapes.size() - first);
    const std::span<const Scrape> scrapes(data.scrapes.data() + first, rows);
    std::map<SeriesId, std::pair<std::vector<std::uint16_t>, std::vector<double>>> columns;
    std::vector<std::int64_t> times;
    for (const Scrape& scrape : scrapes) {
      for (std::size_t i = 0; i < scrape.ids.size(); ++i) {
        auto& [at, values] = columns[scrape.ids[i]];
        at.push_back(static_cast<std::uint16_t>(times.size()));
        values.push_back(scrape.values[i]);
      }
      times.push_back(scrape.time);
    }
    builder.begin(times);
    for (const auto& [id, column] : columns) builder.add(id, column.first, column.second);
    blocks.push_back(builder.finish());
  }
  return blocks;
}

std::vector<BlockView> views_of(const BlockBytes& blocks) {
  std::vector<BlockView> views;
  for (const auto& block : blocks) views.push_back(BlockView::parse(block).value());
  return views;
}

/// Blocks of 480 rows as one: what is kept on disk for an hour or so.
void merge(benchmark::State& state) {
  const Data& data = data_set(state.range(0) != 0);
  if (skip_missing(state, data)) return;
  const BlockBytes blocks = blocks_of(data);
  const std::vector<BlockView> views = views_of(blocks);
  BlockBuilder builder;
  std::vector<std::uint8_t> merged;
  for (auto _ : state) merged = merge_blocks(views, builder).value();
  BlockHeader header;
  std::memcpy(&header, merged.data(), sizeof header);
  const auto per_sample = [&](double bytes) { return bytes / static_cast<double>(data.samples); };
  const double times = header.rows * header.time_width;
  const double directory = header.ids_size + header.lengths_size +
                           static_cast<double>(stride_count(header.columns) * sizeof(Stride));
  state.counters["bytes_per_sample"] = per_sample(static_cast<double>(merged.size()));
  state.counters["of_times"] = per_sample(times);
  state.counters["of_directory"] = per_sample(directory + sizeof header + kBitPadding);
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(data.samples));
}
BENCHMARK(merge)->ArgName("recorded")->Arg(0)->Arg(1)->Unit(benchmark::kMillisecond);

/// Every compressed sample into min, max, sum, count and last of its column; of blocks of 480 rows,
/// or of these merged.
void scan_blocks(benchmark::State& state) {
  const Data& data = data_set(state.range(0) != 0);
  if (skip_missing(state, data)) return;
  BlockBytes blocks = blocks_of(data);
  BlockBuilder builder;
  if (state.range(1) != 0) blocks = {merge_blocks(views_of(blocks), builder).value()};
  const std::vector<BlockView> views = views_of(blocks);
  std::int64_t samples = 0;
  for (auto _ : state) {
    for (const BlockView& view : views) {
      for (std::uint32_t column = 0; column < view.columns(); ++column) {
        Aggregate sum;
        if (!view.aggregate(column, INT64_MIN, INT64_MAX, sum)) std::abort();
        benchmark::DoNotOptimize(sum);
        samples += static_cast<std::int64_t>(sum.count());
      }
    }
  }
  state.SetItemsProcessed(samples);
}
BENCHMARK(scan_blocks)
    ->ArgNames({"recorded", "merged"})
    ->ArgsProduct({{0, 1}, {0, 1}})
    ->Unit(benchmark::kMillisecond);

/// Every sample of every series, with its time, as a query reads it.
void scan_all(benchmark::State& state) {
  Data& data = data_set(state.range(0) != 0);
  if (skip_missing(state, data)) return;
  History history(data.registry, {Millis(24 * 3'600'000), 1ULL << 30});
  SampleRing ring(8192);
  push_all(data, ring, history, 0);
  Column column;
  std::int64_t samples = 0;
  for (auto _ : state) {
    for (SeriesId id = 0; id < data.registry.size(); ++id) {
      column.clear();
      history.read(id, 0, INT64_MAX, column);
      benchmark::DoNotOptimize(column.values.data());
      samples += static_cast<std::int64_t>(column.size());
    }
  }
  state.SetItemsProcessed(samples);
}
BENCHMARK(scan_all)->ArgName("recorded")->Arg(0)->Arg(1)->Unit(benchmark::kMillisecond);

/// What rate(...[5m]) over every series reads.
void read_five_minutes(benchmark::State& state) {
  Data& data = data_set(state.range(0) != 0);
  if (skip_missing(state, data)) return;
  History history(data.registry, {Millis(24 * 3'600'000), 1ULL << 30});
  SampleRing ring(8192);
  push_all(data, ring, history, 0);
  const std::int64_t end = data.scrapes[data.scrapes.size() / 2].time;
  Column column;
  std::int64_t reads = 0;
  for (auto _ : state) {
    for (SeriesId id = 0; id < data.registry.size(); ++id, ++reads) {
      column.clear();
      history.read(id, end - 300'000, end, column);
      benchmark::DoNotOptimize(column.values.data());
    }
  }
  state.SetItemsProcessed(reads);
}
BENCHMARK(read_five_minutes)->ArgName("recorded")->Arg(0)->Arg(1)->Unit(benchmark::kMicrosecond);

/// Interning a known series with three labels.
void intern_known(benchmark::State& state) {
  SeriesRegistry registry(10'000);
  const FamilyId family =
      registry.family("node_network_receive_bytes_total", MetricType::kCounter, "");
  std::vector<std::string> devices;
  for (int i = 0; i < 1000; ++i) devices.push_back("device" + std::to_string(i));
  std::size_t i = 0;
  for (auto _ : state) {
    const LabelView labels[] = {
        {"device", devices[i++ % devices.size()]}, {"mode", "idle"}, {"cpu", "0"}};
    benchmark::DoNotOptimize(registry.intern(family, labels));
  }
}
BENCHMARK(intern_known);

void for_each_latest(benchmark::State& state) {
  Data& data = data_set(false);
  History history(data.registry, {});
  history.append({1, 1, data.scrapes[0].ids, data.scrapes[0].values});
  double sum = 0;
  for (auto _ : state) {
    history.for_each_latest(0, [&](SeriesId, Sample sample) { sum += sample.value; });
  }
  benchmark::DoNotOptimize(sum);
  state.SetItemsProcessed(state.iterations() *
                          static_cast<std::int64_t>(data.scrapes[0].ids.size()));
}
BENCHMARK(for_each_latest);

}  // namespace
}  // namespace nexus::knowledge
