#include "nexus/knowledge/history.hpp"

#include <bit>
#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <thread>

namespace nexus::knowledge {
namespace {

constexpr std::int64_t kStart = 1'700'000'000'000;
constexpr std::int64_t kAlways = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::min();

struct World {
  explicit World(std::size_t series, HistoryLimits limits = {})
      : registry(series + 1), history(registry, limits) {
    const FamilyId family = registry.family("m", MetricType::kGauge, "");
    for (std::size_t i = 0; i < series; ++i) {
      const std::string number = std::to_string(i);
      const LabelView label{"i", number};
      REQUIRE(registry.intern(family, {&label, 1}).value() == i);
    }
  }
  void append(std::uint32_t group, std::int64_t time, const std::vector<SeriesId>& ids,
              const std::vector<double>& values) {
    history.append({group, time, ids, values});
  }
  [[nodiscard]] Column read(SeriesId id, std::int64_t start = kNever,
                            std::int64_t end = kAlways) const {
    Column column;
    history.read(id, start, end, column);
    return column;
  }

  SeriesRegistry registry;
  History history;
};

bool same_bits(const std::vector<double>& a, const std::vector<double>& b) {
  return std::ranges::equal(a, b, {}, std::bit_cast<std::uint64_t, double>,
                            std::bit_cast<std::uint64_t, double>);
}

TEST_CASE("samples are read in the open block and after it is sealed, left-open and right-closed") {
  World world(2);
  for (int row = 0; row < 1000; ++row) {
    world.append(1, kStart + row * 1000, {0, 1}, {row * 0.5, -1.0 * row});
    if (row % 97 != 0 && row != 479 && row != 480) continue;
    const Column all = world.read(0);
    REQUIRE(all.size() == static_cast<std::size_t>(row) + 1);
    CHECK(all.values.back() == row * 0.5);
  }
  CHECK(world.history.stats().blocks == 2);
  for (const int from : {0, 100, 478, 479, 480, 481, 900, 998}) {
    const Column some = world.read(1, kStart + from * 1000, kStart + (from + 30) * 1000);
    REQUIRE(some.size() == std::min<std::size_t>(30, 999 - static_cast<std::size_t>(from)));
    CHECK(some.times.front() == kStart + (from + 1) * 1000);
    CHECK(some.values.front() == -(from + 1));
  }
  CHECK(world.read(0, kStart - 1, kStart).size() == 1);
  CHECK(world.read(0, kStart, kStart).size() == 0);
  CHECK(world.read(0, kStart + 1, kStart + 999).size() == 0);
  CHECK(world.read(2).size() == 0);
}

TEST_CASE("an aggregate is that of what is read: open block, sealed blocks, several groups") {
  World world(4);
  for (int row = 0; row < 1300; ++row) {
    const double rare = row % 70 == 0 ? stale_marker() : row / 300;
    world.append(1, kStart + row * 1000, {0, 1, 2}, {row * 0.1, 7, rare});
    world.append(2 + static_cast<unsigned>(row) / 1000, kStart + row * 1000, {3}, {1.0 * row});
  }
  for (SeriesId id = 0; id < 4; ++id) {
    for (const int from : {-1, 0, 200, 479, 700, 1290, 1299}) {
      const std::int64_t start = kStart + from * 1000;
      const std::int64_t end = start + 555'000;
      Aggregate expected;
      for (const double value : world.read(id, start, end).values) expected.add(value);
      const Aggregate sum = world.history.aggregate(id, start, end);
      CHECK(sum.count() == expected.count());
      CHECK((sum.count() == 0 || sum.min() == expected.min()));
      CHECK((sum.count() == 0 || sum.max() == expected.max()));
      CHECK((sum.count() == 0 || sum.last() == expected.last()));
      CHECK(sum.sum() == Approx(expected.sum()).epsilon(1e-14));
    }
  }
  CHECK(world.history.aggregate(4, kNever, kAlways).count() == 0);
}

TEST_CASE("reading appends to what the column holds") {
  World world(1);
  world.append(1, kStart, {0}, {1});
  Column column = world.read(0);
  world.history.read(0, kNever, kAlways, column);
  CHECK(column.values == std::vector<double>{1, 1});
}

/// Random batches of random groups against a plain map.
TEST_CASE("random batches with changing sets, irregular times and hostile values come back") {
  std::mt19937_64 random(7);
  constexpr std::size_t kSeries = 60;
  World world(kSeries);
  std::map<SeriesId, Column> expected;
  std::vector<std::int64_t> now(3, kStart);
  std::vector<std::vector<SeriesId>> sets(3);
  for (int batch = 0; batch < 6000; ++batch) {
    const std::size_t group = random() % 3;
    std::vector<SeriesId>& ids = sets[group];
    if (ids.empty() || random() % 25 == 0) {
      ids.clear();
      for (std::size_t id = group * 20; id < group * 20 + 20; ++id) {
        if (random() % 3 != 0) ids.push_back(static_cast<SeriesId>(id));
      }
      if (random() % 2 == 0) std::ranges::shuffle(ids, random);
    }
    now[group] += random() % 40 == 0 ? static_cast<std::int64_t>(random() % 5'000'000'000)
                                     : 999 + static_cast<std::int64_t>(random() % 3);
    std::vector<double> values;
    for (const SeriesId id : ids) {
      const double value = id % 3 == 0   ? std::bit_cast<double>(random())
                           : id % 3 == 1 ? static_cast<double>(random() % 1000) / 10
                                         : stale_marker();
      values.push_back(value);
      expected[id].times.push_back(now[group]);
      expected[id].values.push_back(value);
    }
    world.append(static_cast<std::uint32_t>(group), now[group], ids, values);
  }
  CHECK(world.history.stats().blocks > 6);
  std::uint64_t samples = 0;
  for (const auto& [id, column] : expected) {
    const Column held = world.read(id);
    samples += held.size();
    REQUIRE(held.times == column.times);
    REQUIRE(same_bits(held.values, column.values));
    const std::size_t middle = column.size() / 2;
    const Column part = world.read(id, column.times[middle / 2], column.times[middle]);
    REQUIRE(part.size() == middle - middle / 2);
    REQUIRE(same_bits({part.values.back()}, {column.values[middle]}));
  }
  CHECK(world.history.stats().samples == samples);
  CHECK(world.history.stats().appended == samples);
  CHECK(world.history.stats().series == expected.size());
}

TEST_CASE("a batch that is not newer than its group's last is refused and counted") {
  World world(3);
  world.append(1, kStart + 10, {0, 1}, {1, 1});
  world.append(1, kStart + 10, {0, 1}, {2, 2});
  world.append(1, kStart + 9, {0}, {3});
  world.append(2, kStart, {2}, {4});  // another group has its own time
  CHECK(world.history.stats().out_of_order == 3);
  CHECK(world.read(0).values == std::vector<double>{1});
  CHECK(world.read(2).values == std::vector<double>{4});
  CHECK(world.history.stats().oldest == kStart);
  CHECK(world.history.stats().newest == kStart + 10);
}

TEST_CASE("of an id that a batch has twice the first counts") {
  World world(2);
  world.append(1, kStart, {1, 0, 1}, {10, 20, 30});
  CHECK(world.read(1).values == std::vector<double>{10});
  CHECK(world.read(0).values == std::vector<double>{20});
  CHECK(world.history.stats().samples == 2);
  CHECK(world.history.stats().out_of_order == 1);
  world.append(1, kStart + 1, {1, 0, 1}, {11, 21, 31});
  CHECK(world.read(1).values == std::vector<double>{10, 11});
}

TEST_CASE("a series that moved to another group is read as one") {
  World world(1);
  world.append(1, kStart, {0}, {1});
  world.append(1, kStart + 2, {0}, {2});
  world.append(2, kStart + 1, {0}, {3});
  world.append(2, kStart + 2, {0}, {4});
  const Column column = world.read(0);
  CHECK(column.times == std::vector<std::int64_t>{kStart, kStart + 1, kStart + 2});
  CHECK(column.values[1] == 3);
}

TEST_CASE("latest, last and for_each_latest") {
  World world(3);
  CHECK_FALSE(world.history.latest(0).has_value());
  world.append(1, kStart, {0, 1}, {1, 2});
  world.append(1, kStart + 5, {0}, {stale_marker()});
  CHECK(is_stale_marker(world.history.latest(0)->value));
  CHECK(world.history.latest(1)->time == kStart);
  CHECK_FALSE(world.history.latest(2).has_value());
  CHECK(world.history.last(0, kStart - 1, kStart + 4)->value == 1);
  CHECK(world.history.last(0, kStart - 1, kStart + 5)->time == kStart + 5);
  CHECK_FALSE(world.history.last(0, kStart + 5, kStart + 9).has_value());
  std::vector<SeriesId> seen;
  world.history.for_each_latest(kStart - 1, [&](SeriesId id, Sample) { seen.push_back(id); });
  CHECK(seen == std::vector<SeriesId>{1});
  world.history.for_each_latest(kStart, [&](SeriesId id, Sample) { seen.push_back(id); });
  CHECK(seen.size() == 1);
}

TEST_CASE("select leaves out series without samples in the range") {
  World world(3);
  world.append(1, kStart, {0, 1}, {1, 2});
  world.append(1, kStart + 100, {1}, {2});
  const std::vector<Matcher> matchers{Matcher::make("__name__", MatchOp::kEqual, "m").value(),
                                      Matcher::make("i", MatchOp::kRegex, "[01]|2").value()};
  CHECK(world.history.select(matchers, kStart - 1, kAlways) == std::vector<SeriesId>{0, 1});
  CHECK(world.history.select(matchers, kStart, kAlways) == std::vector<SeriesId>{1});
}

TEST_CASE("a wall clock that is set back: what has not happened yet is dropped, then it goes on") {
  World world(2);
  for (int row = 0; row < 7200; ++row) {
    if (row < 100) {
      world.append(1, kStart + row * 1000, {0, 1}, {1.0 * row, 1});
    } else {
      world.append(1, kStart + row * 1000, {0}, {1.0 * row});
    }
  }
  const std::int64_t back = kStart + 3600 * 1000;
  world.append(1, back, {0}, {-1});
  const Column now = world.read(0);
  REQUIRE(now.size() > 2000);
  CHECK(now.times.back() == back);
  CHECK(now.values.back() == -1);
  CHECK(std::ranges::is_sorted(now.times));
  CHECK(now.times[now.size() - 2] < back);
  CHECK(world.history.latest(0)->time == back);
  CHECK(world.history.stats().newest == back);
  CHECK(world.history.stats().dropped_by_clock > 3000);
  CHECK(world.history.stats().out_of_order == 0);
  CHECK(world.history.stats().samples == world.read(0).size() + world.read(1).size());
  world.append(1, back + 1000, {0, 1}, {-2, 2});
  CHECK(world.read(0).values.back() == -2);
  // A step of less than a minute is a late batch, or a correction that time catches up with.
  world.append(1, back - 30'000, {0}, {-3});
  CHECK(world.read(0).values.back() == -2);
  CHECK(world.history.stats().out_of_order == 1);
}

TEST_CASE("a series that ended in a future that was taken back is not shown as present") {
  World world(2);
  world.append(1, kStart, {0}, {1});
  world.append(1, kStart + 3'600'000, {0, 1}, {1, 1});
  world.append(1, kStart + 1000, {0}, {2});
  CHECK(is_stale_marker(world.history.latest(1)->value));
  std::vector<SeriesId> shown;
  world.history.for_each_latest(kStart, [&](SeriesId id, Sample) { shown.push_back(id); });
  CHECK(shown == std::vector<SeriesId>{0});
}

TEST_CASE("what is older than the retention is dropped in whole blocks") {
  World world(2, {Millis(3'600'000), 1ULL << 30});
  std::int64_t time = kStart;
  for (int row = 0; row < 4 * 480; ++row) world.append(1, time += 1000, {0, 1}, {1.0, row * 1.0});
  world.history.maintain(time);
  CHECK(world.history.stats().dropped_by_age == 0);
  world.history.maintain(kStart + 480'000 + 3'600'001);
  CHECK(world.history.stats().dropped_by_age == 960);
  CHECK(world.history.stats().oldest == kStart + 481'000);
  CHECK(world.read(1).times.front() == kStart + 481'000);
  CHECK(world.history.stats().series == 2);
  world.history.maintain(time + 3'600'001);
  CHECK(world.history.stats().samples == 0);
  CHECK(world.history.stats().series == 0);
  CHECK(world.history.stats().oldest == 0);
  CHECK(world.read(1).size() == 0);
  const auto again = world.registry.intern(Labels("m", {{"i", "0"}}));  // it was forgotten
  world.append(1, time + 4'000'000, {again.value()}, {1});
  CHECK(world.history.stats().series == 1);
}

TEST_CASE("a group that fell silent is compressed and ages out") {
  World world(1, {Millis(3'600'000), 1ULL << 30});
  world.append(1, kStart, {0}, {1});
  world.history.maintain(kStart + 700'000);
  CHECK(world.history.stats().blocks == 1);
  CHECK(world.read(0).size() == 1);
  world.history.maintain(kStart + 3'600'001);
  CHECK(world.read(0).size() == 0);
}

TEST_CASE(
    "the oldest blocks go first when the bytes are too many, and readers keep what they hold") {
  std::mt19937_64 random(1);
  World world(8, {Millis(24 * 3'600'000), 300'000});
  std::int64_t time = kStart;
  const auto fill = [&](int rows) {
    for (int row = 0; row < rows; ++row) {
      std::vector<double> noise(4);
      for (double& value : noise) value = std::bit_cast<double>(random() >> 2);
      world.append(1, time += 1000, {0, 1, 2, 3}, noise);
      world.append(2, time, {4, 5, 6, 7}, noise);
      if (row % 5 == 0) world.history.maintain(time);
    }
  };
  fill(20 * 480);
  const HistoryStats stats = world.history.stats();
  CHECK(stats.bytes <= 300'000);
  CHECK(stats.bytes > 150'000);
  CHECK(stats.dropped_by_size > 0);
  CHECK(stats.samples + stats.dropped_by_size == stats.appended);
  CHECK(world.read(0).times.back() == time);
  CHECK(stats.oldest == world.read(0).times.front());
  world.history.set_limits({Millis(24 * 3'600'000), 100'000});
  world.history.maintain(time);
  CHECK(world.history.stats().bytes <= 100'000);
}

TEST_CASE("readers see whole rows while a writer appends, seals and drops") {
  constexpr int kRows = 6000;
  World world(4, {Millis(1'000'000), 1ULL << 30});
  std::atomic<bool> done{false};
  std::atomic<int> wrong{0};
  std::vector<std::jthread> readers;
  for (int r = 0; r < 2; ++r) {
    readers.emplace_back([&] {
      Column column;
      std::int64_t newest = 0;
      while (!done.load(std::memory_order_acquire)) {
        column.clear();
        world.history.read(1, kNever, kAlways, column);
        for (std::size_t i = 0; i < column.size(); ++i) {
          if (column.values[i] != static_cast<double>(column.times[i] - kStart)) ++wrong;
          if (i > 0 && column.times[i] != column.times[i - 1] + 1000) ++wrong;
        }
        if (column.size() > 0 && column.times.back() < newest) ++wrong;
        if (column.size() > 0) newest = column.times.back();
        if (const auto latest = world.history.latest(2)) {
          if (latest->value != static_cast<double>(latest->time - kStart)) ++wrong;
        }
        world.history.for_each_latest(0, [](SeriesId, Sample) {});
        static_cast<void>(world.history.stats());
      }
    });
  }
  for (int row = 1; row <= kRows; ++row) {
    const std::int64_t time = kStart + row * 1000;
    const auto value = static_cast<double>(row * 1000);
    if (row % 10 == 0) {
      world.append(1, time, {0, 1, 2, 3}, {value, value, value, value});
    } else {
      world.append(1, time, {1, 2}, {value, value});
    }
    if (row % 100 == 0) world.history.maintain(time);
  }
  done.store(true, std::memory_order_release);
  readers.clear();
  CHECK(wrong == 0);
  CHECK(world.history.stats().dropped_by_age > 0);
}

}  // namespace
}  // namespace nexus::knowledge
