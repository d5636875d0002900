// Series that come and go: forgotten, their places used again, and nothing written into the wrong
// one.
#include <atomic>
#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <thread>

#include "nexus/knowledge/exposition.hpp"
#include "nexus/knowledge/history.hpp"

namespace nexus::knowledge {
namespace {

constexpr std::int64_t kStart = 1'700'000'000'000;
constexpr std::int64_t kMinute = 60'000;
constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t kAlways = std::numeric_limits<std::int64_t>::max();

SeriesId intern(SeriesRegistry& registry, std::string_view device) {
  const FamilyId family = registry.family("bytes", MetricType::kCounter, "Bytes.");
  const std::vector<LabelView> labels{{"device", device}, {"kind", "veth"}};
  const auto id = registry.intern(family, labels);
  REQUIRE(id.has_value());
  return *id;
}

/// Rounds until what nobody asks for may go.
void forget(SeriesRegistry& registry, std::vector<SeriesId> ids) {
  std::vector<SeriesId> none;
  registry.forget(none);
  registry.forget(none);
  registry.forget(ids);
}

std::size_t selected(const SeriesRegistry& registry, std::string name, std::string value) {
  return registry
      .select(
          std::vector{Matcher::make(std::move(name), MatchOp::kEqual, std::move(value)).value()})
      .size();
}

TEST_CASE("a forgotten series makes room, and has another id when it comes back") {
  SeriesRegistry registry(2);
  const SeriesId a = intern(registry, "a");
  const SeriesId b = intern(registry, "b");
  forget(registry, {a, a});
  CHECK(registry.size() == 1);
  CHECK(registry.forgotten() == 1);
  CHECK_FALSE(registry.known(a));
  CHECK(registry.known(b));
  CHECK(registry.labels(a).empty());
  CHECK(registry.share(a) == nullptr);
  CHECK(registry.family(registry.family_of(a)).name.empty());
  CHECK(selected(registry, "device", "a") == 0);
  CHECK(selected(registry, "kind", "veth") == 1);
  CHECK(registry.select({}) == std::vector{b});
  const SeriesId again = intern(registry, "a");
  CHECK(again != a);
  CHECK(registry.place(again) == registry.place(a));
  CHECK_FALSE(registry.known(a));
  CHECK(registry.labels(again).get("device") == "a");
  CHECK(registry.refused() == 0);
}

TEST_CASE("a series that was just asked for is not forgotten") {
  SeriesRegistry registry(2);
  const SeriesId a = intern(registry, "a");
  std::vector<SeriesId> ids{a};
  registry.forget(ids);
  CHECK(ids.empty());
  CHECK(intern(registry, "a") == a);
  for (int round = 0; round < 2; ++round) {
    ids = {a};
    registry.forget(ids);
    CHECK(ids.empty());
  }
  ids = {a};
  registry.forget(ids);
  CHECK(ids == std::vector{a});
}

TEST_CASE("labels stay as long as somebody holds them") {
  SeriesRegistry registry(2);
  const SeriesId a = intern(registry, "a");
  const SeriesId b = intern(registry, "b");
  const Labels& pinned = registry.labels(a);
  const auto shared = registry.share(b);
  std::weak_ptr<const Labels> watched = registry.share(a);
  auto pin = registry.pin();
  forget(registry, {a, b});
  std::vector<SeriesId> none;
  for (int round = 0; round < 3; ++round) registry.forget(none);
  CHECK(pinned.get("device") == "a");
  CHECK(shared->get("device") == "b");
  CHECK_FALSE(watched.expired());
  pin.reset();
  CHECK(watched.expired());
}

TEST_CASE("random coming and going leaves every index as if it had never been") {
  std::mt19937_64 random(3);
  SeriesRegistry registry(3000);
  std::map<std::string, SeriesId> expected;
  for (int step = 0; step < 60; ++step) {
    for (int i = 0; i < 100; ++i) {
      const std::string name = std::to_string(random() % 2000);
      expected[name] = intern(registry, name);
    }
    std::vector<SeriesId> leaving;
    std::erase_if(expected, [&](const auto& item) {
      if (random() % 4 != 0) return false;
      leaving.push_back(item.second);
      return true;
    });
    forget(registry, leaving);
    REQUIRE(registry.size() == expected.size());
    for (const auto& [name, id] : expected) REQUIRE(intern(registry, name) == id);
    const auto all = registry.select({});
    REQUIRE(all.size() == expected.size());
    REQUIRE(std::ranges::is_sorted(all));
    const auto by_label =
        registry.select(std::vector{Matcher::make("kind", MatchOp::kEqual, "veth").value()});
    REQUIRE(by_label == all);
  }
}

struct World {
  explicit World(std::size_t limit, HistoryLimits limits = {})
      : registry(limit), history(registry, limits) {}
  void append(std::int64_t time, const std::vector<SeriesId>& ids, double value,
              std::uint32_t group = 1) {
    const std::vector<double> values(ids.size(), value);
    history.append({group, time, ids, values});
  }
  [[nodiscard]] std::size_t held(SeriesId id) const {
    Column column;
    history.read(id, kNever, kAlways, column);
    return column.size();
  }
  SeriesRegistry registry;
  History history;
};

TEST_CASE("a series of which nothing is held any more is forgotten, one that goes on is not") {
  World world(10, {Millis(3'600'000), 1ULL << 30});
  const SeriesId ended = intern(world.registry, "ended");
  const SeriesId lasting = intern(world.registry, "lasting");
  world.append(kStart, {ended, lasting}, 1);
  std::int64_t now = kStart;
  for (int minute = 0; minute < 59; ++minute) {
    world.append(now += kMinute, {lasting}, 1);
    world.history.maintain(now);
  }
  CHECK(world.registry.known(ended));
  CHECK(world.held(ended) == 1);
  for (int minute = 0; minute < 600; ++minute) {  // until the block that has it is out of retention
    world.append(now += kMinute, {lasting}, 1);
    world.history.maintain(now);
  }
  CHECK_FALSE(world.registry.known(ended));
  CHECK(world.registry.known(lasting));
  CHECK(world.history.stats().series == 1);
  CHECK(world.history.stats().series_forgotten == 1);
  const SeriesId again = intern(world.registry, "ended");
  world.append(now += kMinute, {again, lasting}, 2);
  CHECK(world.held(again) == 1);
  CHECK(world.history.latest(again)->value == 2);
  CHECK_FALSE(world.history.latest(ended).has_value());
}

TEST_CASE("an id that was kept too long writes nothing, least of all into the next series") {
  World world(2, {Millis(3'600'000), 1ULL << 30});
  const SeriesId old = intern(world.registry, "old");
  const SeriesId other = intern(world.registry, "other");
  world.append(kStart, {old}, 1);
  world.append(kStart, {other}, 1, 2);
  std::int64_t now = kStart;
  while (world.registry.known(old)) {
    world.append(now += kMinute, {other}, 1, 2);
    world.history.maintain(now);
    REQUIRE(now < kStart + 100'000'000);
  }
  const SeriesId next = intern(world.registry, "next");
  REQUIRE(world.registry.place(next) == world.registry.place(old));
  world.append(now += 1000, {next}, 7);
  world.append(now += 1000, {old}, 666);       // the very set that the group had
  world.append(now += 1000, {other, old}, 8);  // and one of several
  world.append(now, {old, old}, 666, 3);
  CHECK(world.history.latest(next)->value == 7);
  CHECK(world.held(next) == 1);
  CHECK(world.held(old) == 0);
  CHECK(world.history.latest(other)->value == 8);
  CHECK(world.history.stats().unknown == 4);
  CHECK(world.history.stats().out_of_order == 0);
}

TEST_CASE("a hundred thousand series an hour do not use up a registry of twenty-five thousand") {
  World world(25'000, {Millis(24 * 3'600'000), 64ULL << 20});
  std::vector<SeriesId> lasting;
  for (int i = 0; i < 100; ++i)
    lasting.push_back(intern(world.registry, "eth" + std::to_string(i)));
  constexpr int kPerMinute = 1667;
  std::vector<SeriesId> veths;
  std::int64_t now = kStart;
  std::size_t most = 0;
  Exposition exposition(world.registry);
  std::size_t page = 0;
  for (int minute = 0; minute < 60; ++minute) {
    std::vector<SeriesId> ids = lasting;
    std::vector<double> values(lasting.size(), 1);
    ids.insert(ids.end(), veths.begin(), veths.end());  // end with the marker
    values.resize(ids.size(), stale_marker());
    veths.clear();
    for (int i = 0; i < kPerMinute; ++i) {
      veths.push_back(intern(world.registry, "veth" + std::to_string(minute * kPerMinute + i)));
    }
    ids.insert(ids.end(), veths.begin(), veths.end());
    values.resize(ids.size(), 1);
    now += kMinute;
    world.history.append({1, now, ids, values});
    world.history.maintain(now);
    most = std::max(most, world.registry.size());
    std::vector<ExposedSample> samples;
    world.history.for_each_latest(
        now - 300'000, [&](SeriesId id, Sample sample) { samples.push_back({id, sample.value}); });
    REQUIRE(samples.size() == lasting.size() + kPerMinute);
    const std::string& text = exposition.render(samples);
    if (minute == 30) page = text.size();
    if (minute > 30) REQUIRE(text.size() < page + page / 10);
  }
  CHECK(world.registry.refused() == 0);
  CHECK(most <= 25'000);
  CHECK(world.history.stats().series_forgotten > 75'000);
  CHECK(world.history.stats().unknown == 0);
  for (const SeriesId id : lasting) REQUIRE(world.held(id) == 60);
  for (const SeriesId id : veths) REQUIRE(world.history.latest(id)->time == now);
}

TEST_CASE("readers and interning threads go on while series are forgotten") {
  World world(4000, {Millis(24 * 3'600'000), 1ULL << 30});
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0};
  const auto matchers = std::vector{Matcher::make("kind", MatchOp::kRegex, "ve.*").value()};
  std::vector<std::jthread> readers;
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&] {
      Column column;
      while (!stop) {
        const auto pin = world.history.pin();
        for (const SeriesId id : world.history.select(matchers, kStart, kAlways)) {
          const Labels& labels = world.history.labels(id);
          column.clear();
          world.history.read(id, kNever, kAlways, column);
          if (labels.empty()) continue;
          const double number = std::stod(std::string(labels.get("device")));
          for (const double value : column.values) {
            if (!is_stale_marker(value) && value != number) ++wrong;
          }
          const auto newest = world.history.latest(id);
          if (newest && !is_stale_marker(newest->value) && newest->value != number) ++wrong;
        }
      }
    });
  }
  std::int64_t now = kStart;
  std::vector<SeriesId> last;
  for (int minute = 0; minute < 200; ++minute) {
    std::vector<SeriesId> ids = std::exchange(last, {});
    std::vector<double> values(ids.size(), stale_marker());
    for (int i = 0; i < 100; ++i) {
      const int number = minute * 100 + i;
      last.push_back(intern(world.registry, std::to_string(number)));
      ids.push_back(last.back());
      values.push_back(number);
    }
    world.history.append({1, now += kMinute, ids, values});
    world.history.maintain(now);
  }
  stop = true;
  readers.clear();
  CHECK(wrong == 0);
  CHECK(world.registry.refused() == 0);
  CHECK(world.registry.forgotten() > 10'000);
}

}  // namespace
}  // namespace nexus::knowledge
