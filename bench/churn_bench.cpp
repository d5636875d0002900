// Series that come and go: a hundred thousand an hour, as on a host that starts short-lived
// containers, through registry, history and disk on a clock of its own. 2,000 series stay, 28 begin
// a second, live a minute and end with a stale marker. Every NEXUS_CHURN_SHOW hours (6) it prints
// what is held, for NEXUS_CHURN_HOURS (48). The history is on disk, in the directory NEXUS_DISK.

#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <malloc.h>

#include <cstdlib>
#include <filesystem>
#include <random>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/host/file.hpp"
#include "nexus/knowledge/history.hpp"

namespace nexus::knowledge {
namespace {

constexpr std::int64_t kStart = 1'700'000'000'000 / 3'600'000 * 3'600'000;
constexpr std::int64_t kHour = 3600;           // seconds
constexpr std::size_t kStay = 2000;            // series
constexpr std::size_t kBegin = 28;             // a second: 100,800 an hour
constexpr std::size_t kLive = 60;              // seconds
constexpr std::size_t kLimit = 100'000;        // [collect] max_series
constexpr std::uint64_t kBytes = 32ULL << 20;  // [history] memory

std::int64_t from_environment(const char* name, std::int64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::atoll(text);
}

double resident_mib() {
  ::malloc_trim(0);
  const auto status = host::read_file("/proc/self/status").value_or("");
  const std::size_t at = status.find("RssAnon:");
  return at == std::string::npos ? 0 : std::atof(status.c_str() + at + 8) / 1024;
}

void churn(benchmark::State& state) {
  const char* directory = std::getenv("NEXUS_DISK");
  if (directory == nullptr) return state.SkipWithError("NEXUS_DISK is not set");
  const std::int64_t hours = from_environment("NEXUS_CHURN_HOURS", 48);
  const std::int64_t show = from_environment("NEXUS_CHURN_SHOW", 6);
  base::ManualClock clock(base::from_unix_millis(kStart));
  SeriesRegistry registry(kLimit);
  History history(registry, {.bytes = kBytes});
  HistoryDisk disk{.directory = directory};
  disk.tiers = {{Millis(60'000), Millis(30LL * 24 * 3'600'000)},
                {Millis(3'600'000), Millis(365LL * 24 * 3'600'000)}};
  if (!history.open_disk(clock, disk)) return state.SkipWithError("not opened");
  const FamilyId family = registry.family("container_bytes", MetricType::kGauge, "Bytes.");
  const auto intern = [&](std::string_view kind, std::uint64_t number) {
    const std::string name = fmt::format("{}-{:016x}", kind, number * 0x9e3779b97f4a7c15ULL);
    const std::vector<LabelView> labels{{"container", name}, {"kind", kind}};
    return registry.intern(family, labels);
  };
  std::mt19937_64 random(1);
  std::vector<SeriesId> staying;
  for (std::size_t i = 0; i < kStay; ++i) staying.push_back(intern("stays", i).value());
  std::vector<std::vector<SeriesId>> living(kLive);  // by the second in which they began
  std::vector<double> values;
  std::uint64_t refused = 0;
  for (auto _ : state) {
    for (std::int64_t second = 1; second <= hours * kHour; ++second) {
      clock.advance(Millis(1000));
      const std::int64_t now = kStart + second * 1000;
      std::vector<SeriesId>& slot = living[static_cast<std::size_t>(second) % kLive];
      if (!slot.empty()) {
        values.assign(slot.size(), stale_marker());
        history.append({2, now, slot, values});
      }
      slot.clear();
      for (std::size_t i = 0; i < kBegin; ++i) {
        const auto id = intern("goes", static_cast<std::uint64_t>(second) * kBegin + i);
        if (id) slot.push_back(*id);
        if (!id) ++refused;
      }
      values.clear();
      for (std::size_t i = 0; i < kStay; ++i) values.push_back(static_cast<double>(random() % 100));
      history.append({1, now, staying, values});
      // Collectors of containers run every ten seconds; each of these has six samples.
      for (std::size_t age = 0; age < kLive; age += 10) {
        const std::vector<SeriesId>& some =
            living[(static_cast<std::size_t>(second) + kLive - age) % kLive];
        if (some.empty()) continue;
        values.clear();
        for (std::size_t i = 0; i < some.size(); ++i)
          values.push_back(static_cast<double>(random() % 1'000'000));
        history.append({3 + static_cast<std::uint32_t>(age), now, some, values});
      }
      if (second % 10 == 0) {
        (void)history.checkpoint();
        history.maintain(now);
      }
      if (second % (show * kHour) != 0) continue;
      const HistoryStats stats = history.stats();
      fmt::print(
          "{:3} h: {:6.1f} MiB anonymous; {} series registered, {} forgotten, {} refused; history "
          "{:.1f} MiB in memory, {:.1f} MiB on disk\n",
          second / kHour, resident_mib(), stats.registered, stats.series_forgotten, refused,
          static_cast<double>(stats.bytes) / (1 << 20),
          static_cast<double>(stats.disk_bytes) / (1 << 20));
      std::fflush(stdout);
    }
  }
  state.counters["anonymous_MiB"] = resident_mib();
  history.close_disk();
}
BENCHMARK(churn)->Iterations(1)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace nexus::knowledge
