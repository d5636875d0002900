#include "knowledge/disk/history_fixture.hpp"

#include <atomic>
#include <cmath>
#include <limits>
#include <random>

namespace nexus::knowledge::disk {
namespace {

using Expected = std::map<std::string, Column>;

/// Two groups whose series come and go, with values of all kinds.
void write_rows(Process& process, Expected& expected, int from, int to) {
  std::mt19937_64 random(static_cast<std::uint64_t>(from) + 1);
  for (int row = from; row < to; ++row) {
    const std::int64_t time = kStart + row * 1000;
    for (std::uint32_t group = 0; group < 2; ++group) {
      if (group == 1 && row % 3 != 0) continue;
      std::vector<SeriesId> ids;
      std::vector<double> values;
      for (int i = 0; i < 200; ++i) {
        if (i % 17 == (row / 700) % 17) continue;  // away for a while
        const std::string name = "m" + std::to_string(group) + "_" + std::to_string(i);
        double value = i % 4 == 0   ? 7
                       : i % 4 == 1 ? row * i / 10.0
                                    : static_cast<double>(random() % 100);
        if (random() % 500 == 0) value = std::bit_cast<double>(0x7ff4000000000000U + random() % 9);
        ids.push_back(process.series(name));
        values.push_back(value);
        expected[name].times.push_back(time);
        expected[name].values.push_back(value);
      }
      process.append(group, time, ids, values);
    }
  }
}

void require_all(const Process& process, const Expected& expected) {
  for (const auto& [name, column] : expected) {
    INFO(name);
    const Column read = process.read(name);
    REQUIRE(read.size() == column.size());
    REQUIRE(same(read, column));
  }
}

HistoryDisk disk_in(const test::TemporaryDirectory& folder) {
  return {.directory = folder.file("history")};
}

TEST_CASE("a history that was closed in order is whole when it is opened again") {
  const test::TemporaryDirectory folder;
  Expected expected;
  int row = 0;
  for (const int rows : {5, 700, 1, 5000, 480, 30}) {
    Process process(disk_in(folder), kStart + row * 1000);
    must(process.opened);
    require_all(process, expected);
    write_rows(process, expected, row, row + rows);
    row += rows;
    require_all(process, expected);
    process.history.close_disk();
    require_all(process, expected);
    REQUIRE(process.history.stats().disk_errors == 0);
  }
  Process process(disk_in(folder), kStart + row * 1000);
  require_all(process, expected);
  REQUIRE(std::filesystem::exists(folder.file("history/data-00000001.seg")));
}

TEST_CASE("what is on disk leaves memory when it is over its limit, and is read all the same") {
  const test::TemporaryDirectory folder;
  Expected expected;
  Process process(disk_in(folder), kStart, {.bytes = 3 << 20});
  for (int row = 0; row < 9000; row += 500) {
    write_rows(process, expected, row, row + 500);
    must(process.history.checkpoint());
    process.history.maintain(kStart + (row + 500) * 1000);
  }
  const HistoryStats stats = process.history.stats();
  REQUIRE(stats.bytes <= 3 << 20);
  REQUIRE(stats.dropped_by_size == 0);
  require_all(process, expected);
  for (const auto& [name, column] : expected) {
    const std::size_t from = column.size() / 5;
    const std::size_t to = column.size() * 4 / 5;
    const SeriesId id = process.series(name);
    const Column some = process.read(id, column.times[from], column.times[to]);
    REQUIRE(some.size() == to - from);
    REQUIRE(some.times.front() == column.times[from + 1]);
    Aggregate all;
    for (const double value : some.values) all.add(value);
    const Aggregate read = process.history.aggregate(id, column.times[from], column.times[to]);
    REQUIRE(read.count() == all.count());
    REQUIRE((read.sum() == Approx(all.sum()) || (std::isnan(read.sum()) && std::isnan(all.sum()))));
    const auto last = process.history.last(id, 0, column.times[to]);
    REQUIRE(last->time == column.times[to]);
  }
}

TEST_CASE("a wall clock that is set back voids what is on disk from then on, for good") {
  const test::TemporaryDirectory folder;
  Expected expected;
  {
    Process process(disk_in(folder));
    write_rows(process, expected, 0, 5000);
    must(process.history.checkpoint());
    const std::vector<SeriesId> ids = {process.series("m0_1")};
    const std::int64_t back = kStart + 1000 * 1000;
    process.history.append({0, back, ids, std::vector<double>{-1}});
    const Column before = process.read("m0_1");
    REQUIRE(before.times.back() == back);
    REQUIRE(before.values.back() == -1);
    REQUIRE(before.size() > 300);  // what was before stays, by whole blocks
    must(process.history.checkpoint());
    REQUIRE(same(process.read("m0_1"), before));
    expected["m0_1"] = before;
  }
  Process process(disk_in(folder), kStart + 1001 * 1000);
  REQUIRE(same(process.read("m0_1"), expected["m0_1"]));
}

TEST_CASE("a history with a key: the next process needs it, and says so") {
  const test::TemporaryDirectory folder;
  HistoryDisk disk = disk_in(folder);
  disk.key_file = folder.file("key");
  write_bytes(disk.key_file, std::vector<std::uint8_t>(32, 9));
  Expected expected;
  {
    Process process(disk);
    must(process.opened);
    write_rows(process, expected, 0, 4500);
  }
  {
    Process process(disk, kStart + 4500'000);
    require_all(process, expected);
  }
  disk.key_file.clear();
  Process blind(disk, kStart + 4500'000);
  must(blind.opened);
  REQUIRE(blind.read("m0_1").size() == 0);
  REQUIRE(blind.history.stats().disk_unusable > 0);
  disk.key_file = folder.file("none");
  Process refused(disk);
  REQUIRE(!refused.opened);
}

TEST_CASE("damage of the files costs what it hits and nothing else") {
  const test::TemporaryDirectory folder;
  Expected expected;
  {
    Process process(disk_in(folder));
    write_rows(process, expected, 0, 4200);
  }
  const Quiet quiet;
  std::mt19937 random(7);
  std::vector<std::string> paths;
  for (const auto& file : std::filesystem::directory_iterator(folder.file("history"))) {
    paths.push_back(file.path().string());
  }
  REQUIRE(paths.size() >= 2);
  for (int round = 0; round < 8; ++round) {
    const test::TemporaryDirectory copy;
    std::filesystem::copy(folder.path(), copy.path(), std::filesystem::copy_options::recursive);
    const std::string path =
        copy.file("history/") +
        std::filesystem::path(paths[random() % paths.size()]).filename().string();
    std::vector<std::uint8_t> bytes = read_bytes(path);
    bytes[random() % bytes.size()] ^= static_cast<std::uint8_t>(1U << random() % 8);
    write_bytes(path, bytes);
    Process process(disk_in(copy), kStart + 4200'000);
    must(process.opened);
    for (const auto& [name, column] : expected) {
      const Column read = process.read(name);  // a part of what was written, never anything else
      std::size_t at = 0;
      bool right = true;
      for (std::size_t i = 0; right && i < read.size(); ++i) {
        while (at < column.size() && column.times[at] < read.times[i]) ++at;
        right = at < column.size() && column.times[at] == read.times[i] &&
                std::bit_cast<std::uint64_t>(column.values[at]) ==
                    std::bit_cast<std::uint64_t>(read.values[i]);
      }
      REQUIRE(right);
    }
  }
}

TEST_CASE("a full disk is said, memory goes on, and what is there is written when it can be") {
  const test::TemporaryDirectory folder;
  HistoryDisk disk = disk_in(folder);
  Expected expected;
  HistoryStats full;
  HistoryStats after;
  std::uint64_t errors_while_waiting = 0;
  Expected in_memory;
  Expected reopened;
  must(on_small_disk(folder, 600 << 10, [&] {
    std::filesystem::create_directory(folder.file("history"));
    const std::string ballast = folder.file("ballast");
    write_bytes(ballast, std::vector<std::uint8_t>(400 << 10, 1));
    {
      Process process(disk);
      write_rows(process, expected, 0, 3000);
      (void)process.history.checkpoint();
      full = process.history.stats();
      (void)process.history.checkpoint();  // waits for its minute
      errors_while_waiting = process.history.stats().disk_errors;
      for (const auto& [name, column] : expected) in_memory[name] = process.read(name);
      std::filesystem::remove(ballast);
      process.clock.advance(Millis(61'000));
      (void)process.history.checkpoint();
      after = process.history.stats();
    }
    Process next(disk, kStart + 3'100'000);
    for (const auto& [name, column] : expected) reopened[name] = next.read(name);
  }));
  REQUIRE(!full.disk_writable);
  REQUIRE(full.disk_errors > 0);
  REQUIRE(after.disk_writable);
  for (const auto& [name, column] : expected) {
    REQUIRE(same(in_memory[name], column));
    REQUIRE(same(reopened[name], column));
  }
  REQUIRE(errors_while_waiting >= full.disk_errors);
}

TEST_CASE("old segments go by age and by size, oldest first") {
  const test::TemporaryDirectory folder;
  HistoryDisk disk = disk_in(folder);
  disk.retention = Millis(4 * 3'600'000);
  Expected expected;
  Process process(disk, kStart, {.retention = disk.retention, .bytes = 1 << 20});
  for (int row = 0; row < 8 * 3600; row += 600) {
    const std::vector<SeriesId> ids = {process.series("a"), process.series("b")};
    for (int r = row; r < row + 600; ++r) {
      process.append(1, kStart + r * 1000, ids, {std::sin(r), r * 0.37});
    }
    process.history.maintain(kStart + (row + 600) * 1000);
    must(process.history.checkpoint());
  }
  const Column column = process.read("a");
  REQUIRE(column.size() >= 4 * 3600 - 480);
  REQUIRE(column.size() < 6 * 3600);
  REQUIRE(process.history.stats().disk_dropped > 0);
}

TEST_CASE("readers see everything while rows are written, moved to disk and dropped") {
  const test::TemporaryDirectory folder;
  HistoryDisk disk = disk_in(folder);
  Process process(disk, kStart, {.bytes = 200 << 10});
  std::vector<SeriesId> ids;
  for (int i = 0; i < 50; ++i) ids.push_back(process.series("s" + std::to_string(i)));
  std::vector<double> values(ids.size());
  std::atomic<int> written{0};
  std::atomic<std::uint64_t> wrong{0};
  std::atomic<bool> done{false};
  std::thread reader([&] {
    Column column;
    for (std::size_t i = 0; !done.load(); ++i) {
      const int rows = written.load();
      column.clear();
      process.history.read(ids[i % ids.size()], 0, kStart + rows * 1000LL, column);
      if (column.size() < static_cast<std::size_t>(rows)) ++wrong;
      for (std::size_t r = 0; r < column.size(); ++r) {
        if (column.times[r] != kStart + static_cast<std::int64_t>(r + 1) * 1000) ++wrong;
      }
    }
  });
  for (int row = 1; row <= 12'000; ++row) {
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = row % 1000 * static_cast<double>(i);
    process.append(1, kStart + row * 1000LL, ids, values);
    written = row;
    if (row % 1000 != 0) continue;
    must(process.history.checkpoint());
    process.history.maintain(kStart + row * 1000LL);
  }
  done = true;
  reader.join();
  REQUIRE(wrong == 0);
  REQUIRE(process.history.stats().bytes < 1 << 20);
}

TEST_CASE("imports beside checkpoints, readers beside retention: all of it at once") {
  const test::TemporaryDirectory folder;
  constexpr std::int64_t kHour = 3'600'000;
  HistoryDisk disk = disk_in(folder);
  disk.retention = Millis(2 * kHour);
  disk.tiers = {{Millis(60'000), Millis(24 * kHour)}};
  Process process(disk, kStart, {.retention = disk.retention, .bytes = 200 << 10});
  History& history = process.history;
  std::vector<SeriesId> ids;
  for (int i = 0; i < 20; ++i) ids.push_back(process.series("s" + std::to_string(i)));
  const SeriesId imported = process.series("imported");
  const auto value_at = [](std::int64_t time, std::size_t i) {
    return static_cast<double>((time - kStart) / 1000 % 1000) * static_cast<double>(i);
  };
  std::atomic<std::int64_t> now{kStart};  // of the newest row
  std::atomic<std::uint64_t> wrong{0};
  std::atomic<std::uint64_t> rounds{0};
  std::atomic<std::uint64_t> counted{0};  // reads whose rows cannot have aged out meanwhile
  std::atomic<bool> done{false};
  std::atomic<std::int64_t> brought{0};  // rows of the imported series
  std::vector<std::thread> threads;
  threads.emplace_back([&] {
    while (!done.load()) {
      if (!history.checkpoint()) ++wrong;
    }
  });
  threads.emplace_back([&] {
    std::int64_t last = kStart;
    while (!done.load()) {
      const std::int64_t from = std::max(last + 1000, now.load() - kHour / 2);
      PastRows rows{{}, {{imported, {}}}};
      for (std::int64_t time = from; time < from + 100'000; time += 1000) {
        rows.times.push_back(last = time + 500);
        rows.series[0].values.push_back(static_cast<double>(time - kStart));
      }
      if (!history.store_past(rows) || !history.finish_past()) ++wrong;
      brought += 100;
    }
  });
  for (std::size_t r = 0; r < 2; ++r) {
    threads.emplace_back([&, r] {
      Column column;
      for (std::size_t i = r; !done.load(); i = (i + 1) % ids.size()) {
        const std::int64_t until = now.load();
        const std::int64_t from = std::max(kStart, until - kHour / 2);
        // Where this thread had to wait, hours of the history's time may have passed.
        const auto check_count = [&](std::size_t count) {
          if (now.load() - until > kHour) return;
          ++counted;
          if (count != static_cast<std::size_t>((until - from) / 1000)) ++wrong;
        };
        column.clear();
        history.read(ids[i], from, until, column);
        check_count(column.size());
        column.clear();
        history.read(ids[i], 0, until, column);  // from the tier, once there is one
        for (std::size_t k = 0; k < column.size(); ++k) {
          if (k > 0 && column.times[k] <= column.times[k - 1]) ++wrong;
          if (column.values[k] != value_at(column.times[k], i)) ++wrong;
        }
        column.clear();
        if (history.step_for(0) > 0) {
          history.read_buckets(ids[i], 0, until, BucketValue::kMax, column);
        }
        if (!std::ranges::is_sorted(column.times, std::less_equal{})) ++wrong;
        column.clear();
        history.read(imported, from, until, column);
        for (std::size_t k = 0; k < column.size(); ++k) {
          if (column.values[k] != static_cast<double>(column.times[k] - 500 - kStart)) ++wrong;
        }
        check_count(history.aggregate(ids[i], from, until).count());
        ++rounds;
      }
    });
  }
  std::vector<double> values(ids.size());
  std::int64_t time = kStart;
  const auto enough = [&] {
    return rounds > 50 && counted > 50 && brought > 500 && history.stats().disk_dropped > 0;
  };
  for (int row = 1; row <= 20'000 || !enough(); ++row) {
    time += 1000;
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = value_at(time, i);
    process.append(1, time, ids, values);
    now = time;
    if (row % 250 != 0) continue;
    history.maintain(time);
    if (row % 1000 == 0) must(history.checkpoint());
  }
  done = true;
  for (std::thread& thread : threads) thread.join();
  REQUIRE(wrong == 0);
  REQUIRE(history.stats().disk_damaged == 0);
}

}  // namespace
}  // namespace nexus::knowledge::disk
