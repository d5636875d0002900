// Fills a data directory's history with OpenMetrics text from standard input, as if collectors had
// sampled it: lines of one time are one row, families of one second word (node_cpu_...,
// node_disk_...) one collector. For bench/versus/promql.py, which gives the same text to promtool.
//
// The directory (DATA_DIR/history) is in NEXUS_DISK.

#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/knowledge/history.hpp"
#include "nexus/knowledge/open_metrics.hpp"

namespace {

using namespace nexus;
using namespace nexus::knowledge;

constexpr HistoryLimits kLimits{.retention = Millis(48LL * 3'600'000), .bytes = 32ULL << 20};

struct Row {
  std::vector<SeriesId> ids;
  std::vector<double> values;
};

class Filler {
 public:
  explicit Filler(const char* directory) {
    HistoryDisk disk{.directory = directory, .retention = kLimits.retention};
    disk.tiers = {{Millis(60'000), Millis(30LL * 24 * 3'600'000)},
                  {Millis(3'600'000), Millis(365LL * 24 * 3'600'000)}};
    if (const Status opened = history_.open_disk(clock_, disk); !opened) {
      fmt::print(stderr, "{}\n", opened.error().message());
      std::exit(1);
    }
  }

  Status add(const Labels& labels, std::int64_t time, double value) {
    if (time != time_) flush();
    time_ = time;
    if (flushed_ == 0) {
      first_[group_of(labels.metric())].emplace_back(labels, value);
      return {};
    }
    const auto id = registry_.intern(labels);
    if (!id) return std::unexpected(id.error());
    Row& row = rows_[group_of(labels.metric())];
    row.ids.push_back(*id);
    row.values.push_back(value);
    return {};
  }

  void finish() {
    flush();
    history_.close_disk();
    const HistoryStats stats = history_.stats();
    fmt::print("{} samples of {} series, {:.3f} bytes a sample on disk\n", stats.appended,
               registry_.size(),
               static_cast<double>(stats.disk_bytes) / static_cast<double>(stats.appended));
  }

 private:
  std::uint32_t group_of(std::string_view name) {
    const std::size_t first = name.find('_');
    const std::string_view head = name.substr(0, name.find('_', first + 1));
    return groups_.try_emplace(std::string(head), groups_.size()).first->second;
  }

  void flush() {
    // Each collector gives its own series their ids, one after the other.
    for (const auto& [group, samples] : first_) {
      for (const auto& [labels, value] : samples) {
        rows_[group].ids.push_back(registry_.intern(labels).value());
        rows_[group].values.push_back(value);
      }
    }
    if (time_ == 0) return;
    first_.clear();
    for (auto& [group, row] : rows_) {
      if (!row.ids.empty()) history_.append({group, time_, row.ids, row.values});
      row.ids.clear();
      row.values.clear();
    }
    if (++flushed_ % 10 != 0) return;
    clock_.step_wall(base::from_unix_millis(time_) - clock_.wall());
    if (const Status written = history_.checkpoint(); !written) {
      fmt::print(stderr, "{}\n", written.error().message());
      std::exit(1);
    }
    history_.maintain(time_);
  }

  base::ManualClock clock_{WallTime{}};
  SeriesRegistry registry_{100'000};
  History history_{registry_, kLimits};
  std::map<std::string, std::uint32_t> groups_;
  std::map<std::uint32_t, Row> rows_;
  std::map<std::uint32_t, std::vector<std::pair<Labels, double>>> first_;  // row
  std::int64_t time_ = 0;
  std::uint64_t flushed_ = 0;
};

void fill_from_standard_input(benchmark::State& state) {
  const char* directory = std::getenv("NEXUS_DISK");
  if (directory == nullptr) return state.SkipWithError("NEXUS_DISK is not set");
  std::uint64_t mistakes = 0;
  std::uint64_t samples = 0;
  for (auto _ : state) {
    Filler filler(directory);
    OpenMetricsReader reader(
        [&](const Labels& labels, std::uint64_t, std::int64_t time, double value) {
          ++samples;
          return filler.add(labels, time, value);
        },
        [&](std::uint64_t line, const std::string& message) {
          if (mistakes++ < 5) fmt::print(stderr, "line {}: {}\n", line, message);
        });
    std::array<char, 1U << 16> buffer;
    for (ssize_t size = 0; (size = ::read(0, buffer.data(), buffer.size())) > 0;) {
      reader.feed({buffer.data(), static_cast<std::size_t>(size)});
    }
    reader.finish();
    filler.finish();
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(samples));
  if (mistakes > 0) state.SkipWithError("lines were refused");
}
BENCHMARK(fill_from_standard_input)->Iterations(1)->Unit(benchmark::kMillisecond);

}  // namespace
