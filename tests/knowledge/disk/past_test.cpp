// Samples of the past: imported into a history that has rows already, in memory, on disk, in tiers.
#include <atomic>
#include <cmath>
#include <random>
#include <thread>

#include "knowledge/disk/history_fixture.hpp"
#include "nexus/knowledge/backfill.hpp"
#include "nexus/knowledge/importer.hpp"
#include "nexus/knowledge/promql.hpp"
#include "nexus/knowledge/tier_watch.hpp"

namespace nexus::knowledge::disk {
namespace {

constexpr std::int64_t kMinute = 60'000;
constexpr std::int64_t kHour = 60 * kMinute;
constexpr std::int64_t kBegin = kStart / kHour * kHour;

std::uint64_t samples_in(const Process& process) {
  std::uint64_t sum = 0;
  for (const SeriesId id : process.history.select({}, 0, kStart * 2))
    sum += process.read(id).size();
  return sum;
}

/// What series should have, by time.
using Held = std::map<std::int64_t, double>;

void require_held(const Process& process, SeriesId id, const Held& held, std::int64_t start = 0,
                  std::int64_t end = kStart * 2) {
  const Column column = process.read(id, start, end);
  std::vector<std::int64_t> times;
  std::vector<double> values;
  Aggregate all;
  for (const auto& [time, value] : held) {
    if (time <= start || time > end) continue;
    times.push_back(time);
    values.push_back(value);
    all.add(value);
  }
  REQUIRE(column.times == times);
  REQUIRE(column.values == values);
  const Aggregate read = process.history.aggregate(id, start, end);
  REQUIRE(read.count() == all.count());
  REQUIRE(read.sum() == Approx(all.sum()));
  if (all.count() > 0) REQUIRE(read.last() == all.last());
}

TEST_CASE("imported samples join those that a series has; at the same time what is held stays") {
  const test::TemporaryDirectory folder;
  const HistoryDisk disk{.directory = folder.file("history")};
  std::map<std::string, Held> expected;
  std::mt19937 random(5);
  {
    Process process(disk, kBegin, {.bytes = 1 << 20});
    std::vector<SeriesId> ids;
    for (int i = 0; i < 10; ++i) ids.push_back(process.series("s" + std::to_string(i)));
    for (int row = 4000; row < 12'000; ++row) {
      if (row > 7000 && row < 8000) continue;  // the agent was away
      const std::int64_t time = kBegin + row * 1000;
      std::vector<double> values;
      for (std::size_t i = 0; i < ids.size(); ++i) {
        values.push_back(static_cast<double>(row) * static_cast<double>(i));
        expected["s" + std::to_string(i)][time] = values.back();
      }
      process.append(1, time, ids, values);
      if (row % 1000 == 0) must(process.history.checkpoint());
    }
    Backfill backfill(process.registry, process.history, 1 << 18);
    std::uint64_t held = 0;
    std::uint64_t added = 0;
    std::uint64_t number = 0;  // the first has none
    for (const std::string name : {"s1", "s2", "s3", "s4", "new"}) {
      const Labels labels(name, {});
      std::vector<int> rows(9000);
      for (int row = 0; row < 9000; ++row) rows[static_cast<std::size_t>(row)] = row;
      if (name == "s4") std::shuffle(rows.begin(), rows.end(), random);  // in any order
      for (const int row : rows) {
        const std::int64_t time = kBegin + row * 1000;
        must(backfill.add(labels, number, time, row * 0.25));
        const bool is_new = expected[name].try_emplace(time, row * 0.25).second;
        (is_new ? added : held) += 1;
      }
      ++number;
    }
    must(backfill.flush());
    CHECK(backfill.stored() == added);
    CHECK(backfill.held() == held);
    process.history.adopt_past();
    for (const auto& [name, samples] : expected)
      require_held(process, process.series(name), samples);
    // The newest sample stays the newest.
    CHECK(process.history.latest(ids[1])->time == kBegin + 11'999 * 1000);
  }
  Process process(disk, kBegin + 12'000 * 1000, {.bytes = 1 << 20});
  for (const auto& [name, samples] : expected) {
    INFO(name);
    const SeriesId id = process.series(name);
    require_held(process, id, samples);
    require_held(process, id, samples, kBegin + 3'500'500, kBegin + 9'000'000);
    CHECK(process.read(name).size() == samples.size());  // found by its name
  }
  // A second import of the same is held, all of it.
  Backfill again(process.registry, process.history, 1 << 20);
  for (const auto& [time, value] : expected["s2"]) {
    must(again.add(Labels("s2", {}), 2, time, value + 1));
  }
  must(again.flush());
  CHECK(again.stored() == 0);
  CHECK(again.held() == expected["s2"].size());
}

TEST_CASE(
    "series of a scrape share their times on disk, series after series or scrape after scrape") {
  constexpr int kSeries = 60;
  constexpr int kRows = 3000;
  std::array<std::uint64_t, 2> bytes{};
  for (const bool by_scrape : {false, true}) {
    const test::TemporaryDirectory folder;
    Process process({.directory = folder.file("history")}, kBegin);
    Backfill backfill(process.registry, process.history, 64 << 20);
    std::mt19937 random(3);
    std::vector<std::int64_t> times;
    for (int row = 0; row < kRows; ++row) {
      times.push_back(kBegin + row * 1000 + static_cast<std::int64_t>(random() % 200));
    }
    const auto add = [&](int series, int row) {
      must(backfill.add(Labels("s" + std::to_string(series), {}),
                        by_scrape ? 0 : 1 + static_cast<std::uint64_t>(series),
                        times[static_cast<std::size_t>(row)], row / (series + 1)));
    };
    for (int outer = 0; outer < (by_scrape ? kRows : kSeries); ++outer) {
      for (int inner = 0; inner < (by_scrape ? kSeries : kRows); ++inner) {
        by_scrape ? add(inner, outer) : add(outer, inner);
      }
    }
    must(backfill.flush());
    bytes.at(by_scrape ? 1 : 0) = process.history.stats().disk_bytes;
    CHECK(process.read(process.series("s7")).times == times);
  }
  // A byte for each row's time in each series would be 180,000.
  CHECK(bytes[0] < 60'000);
  CHECK(bytes[1] < 60'000);
}

TEST_CASE("a running agent's import goes to disk, in parts, also of series that it records") {
  const test::TemporaryDirectory folder;
  const std::int64_t now = kBegin + 5 * kHour;
  Process process({.directory = folder.file("history")}, now);
  SelfMetrics self;
  Rings rings(64);
  Importer importer(process.clock, process.registry, process.history, rings, self);
  const std::vector<SeriesId> recorded = {process.series("recorded")};
  for (int i = 0; i < 100; ++i) process.append(1, now + i * 1000, recorded, {-1});
  std::string text = "late 1 1\n";  // long before what is kept
  std::string more;
  Held expected;
  for (int i = 0; i < 5000; ++i) {
    (i < 2500 ? text : more) += fmt::format("recorded {} {}\n", i, now / 1000 - 4900 + i);
    if (i < 4900) expected[now - 4'900'000 + i * 1000] = i;
  }
  for (int i = 0; i < 100; ++i) expected[now + i * 1000] = -1;
  const auto first = importer.import(text, Millis(24 * kHour), Importer::Rest::kFollows);
  CHECK(first.accepted == 0);  // it waits
  REQUIRE(first.mistakes.size() == 1);
  CHECK(first.mistakes[0].message == "older than the history keeps (1d)");
  const auto second = importer.import(more, Millis(24 * kHour), Importer::Rest::kNone);
  CHECK(second.accepted == 5000);
  CHECK(first.held + second.held == 100);  // of the present
  require_held(process, recorded[0], expected);
  // What waits for a rest that never comes is written at the end.
  (void)importer.import("waits 1 " + std::to_string(now / 1000), Millis(24 * kHour),
                        Importer::Rest::kFollows);
  CHECK(process.read(process.series("waits")).size() == 0);
  importer.finish();
  CHECK(process.read(process.series("waits")).size() == 1);
}

TEST_CASE("series of an import that takes its time are not forgotten before they are written") {
  const test::TemporaryDirectory folder;
  Process process({.directory = folder.file("history")}, kBegin);
  SelfMetrics self;
  Rings rings(64);
  Importer importer(process.clock, process.registry, process.history, rings, self);
  const auto part = [&](int number, Importer::Rest rest) {
    const std::int64_t now = base::to_unix_millis(process.clock.wall());
    return importer.import(fmt::format("slow{{part=\"{}\"}} 1 {}\n", number, now / 1000),
                           Millis(24 * kHour), rest);
  };
  const auto pass = [&](int seconds) {
    process.clock.advance(Millis(seconds * 1000));
    process.history.maintain(base::to_unix_millis(process.clock.wall()));
  };
  std::uint64_t accepted = 0;
  for (int i = 0; i < 20; ++i) {
    accepted += part(i, i < 19 ? Importer::Rest::kFollows : Importer::Rest::kNone).accepted;
    pass(20);
  }
  CHECK(accepted == 20);
  CHECK(samples_in(process) == 20);
  // Of who sends nothing for longer nothing is lost either: the series is made again.
  CHECK(part(20, Importer::Rest::kFollows).refused == 0);
  for (int i = 0; i < 5; ++i) pass(61);
  const std::uint64_t forgotten = process.registry.forgotten();
  CHECK(forgotten > 0);
  const auto last = part(21, Importer::Rest::kNone);
  CHECK(last.accepted == 2);
  CHECK(last.refused == 0);
  pass(1);
  CHECK(samples_in(process) == 22);
  // But where others took its place.
  CHECK(part(22, Importer::Rest::kFollows).refused == 0);
  for (int i = 0; i < 5; ++i) pass(61);
  CHECK(process.registry.forgotten() > forgotten);
  for (int i = 0; process.registry.size() < process.registry.limit(); ++i)
    process.series("other" + std::to_string(i));
  importer.finish();
  CHECK(samples_in(process) == 22);
  CHECK(self.counter("nexus_import_lost_samples_total", "").value() == 1);
}

TEST_CASE("series that are forgotten while what they have is collected or written are not lost") {
  const test::TemporaryDirectory folder;
  Process process({.directory = folder.file("history")}, kBegin);
  Backfill backfill(process.registry, process.history, 64 << 20);
  const auto name = [](int series) { return "s" + std::to_string(series); };
  constexpr int kSeries = 1000;
  std::atomic<bool> stop = false;
  std::int64_t now = kBegin;
  const auto forget = [&] { process.history.maintain(now += 61'000); };
  const auto add = [&](int series, std::int64_t time, double value) {
    must(backfill.add(Labels(name(series), {}), 1 + static_cast<std::uint64_t>(series), time,
                      value));
  };
  // Times of its own for each: so many sets are written, one after the other.
  for (int i = 0; i < kSeries; ++i) add(i, kBegin - kHour + i, i);
  for (int i = 0; i < 4; ++i) forget();
  CHECK(process.registry.forgotten() >= kSeries);
  for (int i = 0; i < kSeries; ++i) add(i, kBegin - kHour + kMinute + i, -i);
  {
    std::jthread others([&] {
      while (!stop) forget();
    });
    const Status written = backfill.flush();
    stop = true;
    others.join();
    must(written);
  }
  CHECK(backfill.stored() == 2 * kSeries);
  CHECK(backfill.lost() == 0);
  for (int i = 0; i < kSeries; ++i) {
    const Column column = process.read(process.series(name(i)));
    REQUIRE(column.times == std::vector{kBegin - kHour + i, kBegin - kHour + kMinute + i});
    REQUIRE(column.values == std::vector<double>{1.0 * i, -1.0 * i});
  }
}

TEST_CASE("what is held stays, also for a series that was forgotten before it was written again") {
  const test::TemporaryDirectory folder;
  Process process({.directory = folder.file("history")}, kBegin);
  Backfill first(process.registry, process.history, 1 << 20);
  must(first.add(Labels("s", {}), 1, kBegin - kMinute, 1));
  Backfill second(process.registry, process.history, 1 << 20);
  must(second.add(Labels("s", {}), 1, kBegin - kMinute, 2));
  for (int i = 1; i < 5; ++i) process.history.maintain(kBegin + i * 61'000);
  CHECK(process.registry.forgotten() == 1);
  must(first.flush());
  must(second.flush());
  CHECK(first.stored() == 1);
  CHECK(second.held() == 1);
  CHECK(second.stored() == 0);
  CHECK(process.read(process.series("s")).values == std::vector<double>{1});
}

/// What became of samples for which a disk has no room, at first or at all.
struct Cramped {
  std::uint64_t refused = 0;  // by add()
  std::string refusal;
  std::string end;  // what flush() said
  std::uint64_t stored = 0;
  std::uint64_t lost = 0;
  std::uint64_t there = 0;     // in all series, after it
  std::uint64_t reopened = 0;  // and after a restart
};

constexpr int kCramped = 400'000;  // samples

Cramped fill_small_disk(bool room_comes) {
  const test::TemporaryDirectory folder;
  constexpr int kRows = 20'000;
  Cramped out;
  std::mt19937_64 random(1);
  must(on_small_disk(folder, 6 << 20, [&] {
    const HistoryDisk disk{.directory = folder.file("history")};
    const std::string ballast = folder.file("ballast");
    std::filesystem::create_directory(disk.directory);
    write_bytes(ballast, std::vector<std::uint8_t>(5 << 20, 1));
    {
      Process process(disk, kBegin + 20 * kHour);
      Backfill backfill(process.registry, process.history, 1 << 20);
      for (int series = 0; series < kCramped / kRows; ++series) {
        const Labels labels("s" + std::to_string(series), {});
        for (int row = 0; row < kRows; ++row) {
          const auto value = static_cast<double>(random() >> 11U);
          const Status added = backfill.add(labels, 1 + static_cast<std::uint64_t>(series),
                                            kBegin + row * 1000, value);
          if (added) continue;
          ++out.refused;
          out.refusal = added.error().message();
        }
      }
      if (room_comes) std::filesystem::remove(ballast);
      if (const Status end = backfill.flush(); !end) out.end = end.error().message();
      out.stored = backfill.stored();
      out.lost = backfill.lost();
      process.history.adopt_past();
      out.there = samples_in(process);
    }
    const Process next(disk, kBegin + 20 * kHour);
    out.reopened = samples_in(next);
  }));
  return out;
}

TEST_CASE("a full disk: what was imported, what was refused and what is lost is all there was") {
  const Quiet quiet;
  const Cramped none = fill_small_disk(false);
  CHECK(none.refused > 0);
  CHECK_THAT(none.refusal, Catch::Contains("wait to be written") && Catch::Contains("No space"));
  CHECK_THAT(none.end, Catch::Contains("No space"));
  CHECK(none.stored > 0);
  CHECK(none.lost > 0);
  CHECK(none.stored + none.lost + none.refused == kCramped);
  // Of rows that were written in part some may be there that count as lost.
  CHECK(none.there >= none.stored);
  CHECK(none.reopened >= none.stored);
}

TEST_CASE("a full disk that gets room: what waited is written") {
  const Quiet quiet;
  const Cramped some = fill_small_disk(true);
  CHECK(some.refused > 0);
  CHECK(some.end.empty());
  CHECK(some.lost == 0);
  CHECK(some.stored + some.refused == kCramped);
  CHECK(some.there == some.stored);
  CHECK(some.reopened == some.stored);
}

HistoryDisk tiered(const test::TemporaryDirectory& folder) {
  HistoryDisk disk{.directory = folder.file("history"), .retention = Millis(2 * kHour)};
  disk.tiers = {{Millis(kMinute), Millis(24 * kHour)}, {Millis(kHour), Millis(365 * 24 * kHour)}};
  return disk;
}

TEST_CASE("imported rows that are old become buckets like all others") {
  const test::TemporaryDirectory folder;
  const std::int64_t now = kBegin + 12 * kHour;
  Process process(tiered(folder), now, {.retention = Millis(2 * kHour)});
  Backfill backfill(process.registry, process.history, 1 << 20);
  for (int row = 1; row <= 3 * 3600; ++row) {
    must(backfill.add(Labels("old_total", {}), 1, kBegin + row * 1000, row));
  }
  must(backfill.flush());
  process.history.adopt_past();
  const SeriesId id = process.series("old_total");
  process.clock.advance(Millis(61'000));
  must(process.history.checkpoint());  // its upkeep drops what is older than two hours
  const Column minutes = process.read(id);
  REQUIRE(minutes.size() == 180);
  for (std::size_t i = 0; i < minutes.size(); ++i) {
    REQUIRE(minutes.times[i] == kBegin + static_cast<std::int64_t>(i + 1) * kMinute);
    REQUIRE(minutes.values[i] == static_cast<double>((i + 1) * 60));
  }
  CHECK(process.history.stats().disk_dropped == 1);
}

/// Two days of a gauge and a counter in hours, minutes and rows.
std::unique_ptr<Process> two_days(const test::TemporaryDirectory& folder, int hours) {
  auto process = std::make_unique<Process>(
      tiered(folder), kBegin, HistoryLimits{.retention = Millis(2 * kHour), .bytes = 1 << 20});
  const std::vector<SeriesId> ids = {process->series("gauge"),
                                     process->series("counter", MetricType::kCounter)};
  for (int row = 1; row <= hours * 360; ++row) {
    const std::int64_t time = kBegin + row * 10'000;
    process->append(1, time, ids, {static_cast<double>(row), row % 1000 * 1.0});
    if (row % 60 != 0) continue;
    process->history.maintain(time);
    must(process->history.checkpoint());
  }
  return process;
}

TEST_CASE("an instant selector sees the values of a coarse tier, and the query says which it was") {
  const test::TemporaryDirectory folder;
  const auto process = two_days(folder, 48);
  const std::int64_t end = kBegin + 48 * kHour;
  REQUIRE(process->history.step_for(kBegin + kHour) == kHour);
  const auto query = must(promql::Query::parse("gauge"));
  const TierWatch watch(process->history);
  // Steps of ten minutes: six for each bucket of an hour.
  const auto matrix = must(query.range(watch, kBegin + 2 * kHour, end, 10 * kMinute));
  REQUIRE(matrix.size() == 1);
  CHECK(matrix[0].samples.size() == 46 * 6 + 1);
  for (std::size_t i = 0; i < matrix[0].samples.size(); ++i) {
    const std::int64_t time = matrix[0].samples.times[i];
    const double latest = static_cast<double>((time - kBegin) / 10'000);
    REQUIRE(matrix[0].samples.values[i] <= latest);
    REQUIRE(matrix[0].samples.values[i] > latest - 360);
  }
  CHECK(watch.coarsest() == kHour);
  const TierWatch fresh(process->history);
  const auto value = must(query.instant(fresh, end));
  REQUIRE(std::get<promql::Vector>(value).size() == 1);
  CHECK(std::get<promql::Vector>(value)[0].value == 48 * 360);
  CHECK(fresh.coarsest() == 0);
  // One instant far back, in the middle of an hour.
  const auto back = must(query.instant(watch, kBegin + 10 * kHour + 30 * kMinute));
  REQUIRE(std::get<promql::Vector>(back).size() == 1);
  CHECK(std::get<promql::Vector>(back)[0].value == 10 * 360);
}

TEST_CASE("functions of every sample say when a tier has but the last of each bucket") {
  const test::TemporaryDirectory folder;
  const auto process = two_days(folder, 48);
  promql::Account account;
  promql::Limits limits;
  limits.account = &account;
  const auto ask = [&](const char* text, std::int64_t time) {
    const auto value =
        must(must(promql::Query::parse(text)).instant(process->history, time, limits));
    const auto& vector = std::get<promql::Vector>(value);
    REQUIRE(vector.size() == 1);
    return vector[0].value;
  };
  const std::int64_t old = kBegin + 10 * kHour;
  for (const char* text : {"stddev_over_time(gauge[6h])", "quantile_over_time(0.5, gauge[6h])",
                           "changes(gauge[6h])"}) {
    INFO(text);
    (void)ask(text, old);
    REQUIRE(account.infos.size() == 1);
    CHECK(account.infos[0].contains("had only the last sample of each 1h"));
  }
  for (const char* text : {"max_over_time(gauge[6h])", "avg_over_time(gauge[6h])"}) {
    (void)ask(text, old);
    CHECK(account.infos.empty());
  }
  // The bucket that has the greatest sample, by its end.
  CHECK(ask("ts_of_max_over_time(gauge[6h])", old) == static_cast<double>(old) / 1000);
  CHECK(ask("ts_of_min_over_time(gauge[6h])", old) == static_cast<double>(old - 5 * kHour) / 1000);
  CHECK(account.infos.empty());
}

TEST_CASE(
    "what is newer than a tier is thinned out to its step, and counters keep their increase") {
  const test::TemporaryDirectory folder;
  const auto process = two_days(folder, 40);
  const std::int64_t end = kBegin + 40 * kHour;
  const SeriesId counter = process->series("counter");
  const Column column = process->read(counter, kBegin, end);
  CHECK(column.size() < 40 * 5);  // an hour has a reset or none, not 360 samples
  double increase = 0;
  for (std::size_t i = 1; i < column.size(); ++i) {
    REQUIRE(column.times[i] > column.times[i - 1]);
    const double step = column.values[i] - column.values[i - 1];
    increase += step < 0 ? column.values[i] : step;
  }
  double expected = 0;
  for (int row = 361; row <= 40 * 360; ++row) {
    expected += row % 1000 == 0 ? 0 : 1;
  }
  CHECK(increase == Approx(expected).margin(360));  // but for the first bucket
}

TEST_CASE("the files of a tier that is configured no more are removed") {
  const test::TemporaryDirectory folder;
  two_days(folder, 30).reset();
  const auto count = [&](const std::string& prefix) {
    std::size_t files = 0;
    for (const auto& file : std::filesystem::directory_iterator(folder.file("history"))) {
      files += file.path().filename().string().starts_with(prefix) ? 1 : 0;
    }
    return files;
  };
  REQUIRE(count("tier60-") > 0);
  REQUIRE(count("tier3600-") > 0);
  {  // A tool reads all that is there, and removes nothing.
    HistoryDisk disk{.directory = folder.file("history")};
    disk.by = HistoryDisk::Opened::kTool;
    Process tool(disk, kBegin + 30 * kHour);
    CHECK(tool.history.step_for(kBegin + kHour) == kHour);
    CHECK(tool.read("gauge").size() >= 25);
  }
  HistoryDisk disk = tiered(folder);
  disk.tiers.pop_back();
  Process process(disk, kBegin + 30 * kHour);
  CHECK(count("tier60-") > 0);
  CHECK(count("tier3600-") == 0);
  CHECK(process.history.step_for(kBegin + kHour) == kMinute);
}

TEST_CASE("a tool changes no file of a history that it reads") {
  const test::TemporaryDirectory folder;
  two_days(folder, 5).reset();
  std::map<std::string, std::vector<std::uint8_t>> before;
  for (const auto& file : std::filesystem::directory_iterator(folder.file("history"))) {
    before[file.path()] = read_bytes(file.path());
  }
  {
    HistoryDisk disk{.directory = folder.file("history")};
    disk.by = HistoryDisk::Opened::kTool;
    Process tool(disk, kBegin + 500 * kHour);
    CHECK(tool.read("gauge").size() > 2 * 360);
    tool.history.close_disk();
  }
  std::size_t files = 0;
  for (const auto& file : std::filesystem::directory_iterator(folder.file("history"))) {
    ++files;
    CHECK(before[file.path()] == read_bytes(file.path()));
  }
  CHECK(files == before.size());
}

}  // namespace
}  // namespace nexus::knowledge::disk
