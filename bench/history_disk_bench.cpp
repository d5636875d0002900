// A day of a host on disk: a recording (NEXUS_RECORDING, as history_bench reads it) three times
// over as three devices, repeated until 24 hours are full. The first run writes the day into
// NEXUS_DISK (a directory) and says what it takes; the next ones open it and read all of it, and
// say what that takes of memory. Resident memory is the whole process's.

#include <benchmark/benchmark.h>
#include <malloc.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>

#include "nexus/host/file.hpp"
#include "nexus/knowledge/history.hpp"
#include "recording.hpp"

namespace nexus::knowledge {
namespace {

constexpr std::int64_t kStart = 1'700'000'000'000 / 3'600'000 * 3'600'000;
constexpr int kRows = 86'400;
constexpr int kCopies = 3;

/// `name{labels}` as a metric with one label that holds them, and the copy.
Labels labels_of(const std::string& name, int copy) {
  const std::size_t brace = name.find('{');
  const std::string number = std::to_string(copy);
  return Labels(name.substr(0, brace),
                {{"of", brace == std::string::npos ? "" : std::string_view(name).substr(brace)},
                 {"device", number}});
}

/// A collector for each second word: node_cpu_..., node_disk_...
std::uint32_t group_of(const std::string& name, std::map<std::string, std::uint32_t>& groups) {
  const std::size_t first = name.find('_');
  const std::size_t second = name.find_first_of("_{ ", first + 1);
  return groups.try_emplace(name.substr(0, second), groups.size()).first->second;
}

double resident_mib(const char* field) {
  const auto status = host::read_file("/proc/self/status");
  if (!status) return 0;
  const std::size_t at = status->find(field);
  return at == std::string::npos ? 0 : std::atof(status->c_str() + at + 7) / 1024;
}

HistoryDisk disk() {
  const char* directory = std::getenv("NEXUS_DISK");
  HistoryDisk disk{.directory = directory == nullptr ? "/tmp/nexus-disk-bench" : directory};
  disk.tiers = {{Millis(60'000), Millis(30LL * 24 * 3'600'000)},
                {Millis(3'600'000), Millis(365LL * 24 * 3'600'000)}};
  return disk;
}

constexpr HistoryLimits kLimits{.bytes = 32ULL << 20};

void write_a_day(benchmark::State& state) {
  const char* path = std::getenv("NEXUS_RECORDING");
  if (path == nullptr) return state.SkipWithError("NEXUS_RECORDING is not set");
  if (std::filesystem::exists(disk().directory)) return state.SkipWithError("written already");
  const bench::Recording recording = bench::load_recording(path);
  SeriesRegistry registry(100'000);
  History history(registry, kLimits);
  base::ManualClock clock(base::from_unix_millis(kStart));
  if (!history.open_disk(clock, disk())) return state.SkipWithError("not opened");
  std::map<std::string, std::uint32_t> numbers;
  std::vector<std::uint32_t> groups;
  std::vector<SeriesId> ids;
  for (const std::string& name : recording.names) {
    groups.push_back(group_of(name, numbers));
    for (int copy = 0; copy < kCopies; ++copy) {
      ids.push_back(registry.intern(labels_of(name, copy)).value());
    }
  }
  std::vector<std::vector<SeriesId>> batch_ids(numbers.size());
  std::vector<std::vector<double>> batch_values(numbers.size());
  for (auto _ : state) {
    for (int row = 1; row <= kRows; ++row) {
      for (auto& some : batch_ids) some.clear();
      for (auto& some : batch_values) some.clear();
      for (std::size_t copy = 0; copy < kCopies; ++copy) {
        // Not the same at the same time: a column that another one predicts costs nothing.
        const std::size_t place = static_cast<std::size_t>(row) + copy * 701;
        const bench::Scrape& scrape = recording.scrapes[place % recording.scrapes.size()];
        for (std::size_t i = 0; i < scrape.names.size(); ++i) {
          const std::uint32_t group = groups[scrape.names[i]];
          batch_ids[group].push_back(ids[scrape.names[i] * kCopies + copy]);
          batch_values[group].push_back(scrape.values[i]);
        }
      }
      const std::int64_t time = kStart + row * 1000LL;
      for (std::uint32_t group = 0; group < batch_ids.size(); ++group) {
        history.append({group, time, batch_ids[group], batch_values[group]});
      }
      clock.advance(Millis(1000));
      if (row % 10 == 0 && !history.checkpoint()) state.SkipWithError("not written");
      if (row % 10 == 0) history.maintain(time);
    }
    history.close_disk();
  }
  const HistoryStats stats = history.stats();
  const std::uint64_t samples = stats.appended;
  state.SetItemsProcessed(static_cast<std::int64_t>(samples));
  state.counters["series"] = static_cast<double>(registry.size());
  state.counters["samples"] = static_cast<double>(samples);
  state.counters["disk_MiB"] = static_cast<double>(stats.disk_bytes) / (1 << 20);
  state.counters["B_sample"] = static_cast<double>(stats.disk_bytes) / static_cast<double>(samples);
  state.counters["rss_MiB"] = resident_mib("VmRSS:");
  state.counters["rss_peak_MiB"] = resident_mib("VmHWM:");
}
BENCHMARK(write_a_day)->Iterations(1)->Unit(benchmark::kMillisecond);

struct Opened {
  Opened() : history(registry, kLimits), clock(base::from_unix_millis(kStart + kRows * 1000LL)) {
    good = history.open_disk(clock, disk()).has_value();
    ids = registry.select({});
  }
  SeriesRegistry registry{100'000};
  History history;
  base::ManualClock clock;
  std::vector<SeriesId> ids;
  bool good = false;
};

void open_a_day(benchmark::State& state) {
  double resident = 0;
  for (auto _ : state) {
    Opened opened;
    if (!opened.good) return state.SkipWithError("not opened");
    malloc_trim(0);
    resident = resident_mib("VmRSS:");
    state.counters["series"] = static_cast<double>(opened.ids.size());
  }
  state.counters["rss_MiB"] = resident;
}
BENCHMARK(open_a_day)->Iterations(1)->Unit(benchmark::kMillisecond);

void read_a_day(benchmark::State& state) {
  Opened opened;
  if (!opened.good) return state.SkipWithError("not opened");
  std::uint64_t samples = 0;
  Column column;
  for (auto _ : state) {
    for (const SeriesId id : opened.ids) {
      column.clear();
      opened.history.read(id, kStart, kStart + kRows * 1000LL, column);
      samples += column.size();
    }
  }
  malloc_trim(0);
  state.SetItemsProcessed(static_cast<std::int64_t>(samples));
  state.counters["samples"] = static_cast<double>(samples);
  state.counters["rss_MiB"] = resident_mib("VmRSS:");
  state.counters["rss_peak_MiB"] = resident_mib("VmHWM:");
}
BENCHMARK(read_a_day)->Iterations(1)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace nexus::knowledge
