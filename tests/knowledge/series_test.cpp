#include "nexus/knowledge/series.hpp"

#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "nexus/base/text.hpp"
#include "nexus/host/file.hpp"
#include "nexus/knowledge/history.hpp"

namespace nexus::knowledge {
namespace {

std::vector<SeriesId> select(const SeriesRegistry& registry,
                             std::vector<std::tuple<std::string, MatchOp, std::string>> wanted) {
  std::vector<Matcher> matchers;
  for (auto& [name, op, value] : wanted) matchers.push_back(Matcher::make(name, op, value).value());
  return registry.select(matchers);
}

SeriesId intern(SeriesRegistry& registry, FamilyId family, std::vector<LabelView> labels,
                std::string_view metric = {}) {
  const auto id = registry.intern(family, labels, metric);
  REQUIRE(id.has_value());
  return *id;
}

TEST_CASE("a series is interned once, in whatever order its labels come") {
  SeriesRegistry registry(100);
  const FamilyId cpu = registry.family("cpu_seconds_total", MetricType::kCounter, "Seconds.");
  const SeriesId id = intern(registry, cpu, {{"cpu", "0"}, {"mode", "idle"}});
  CHECK(intern(registry, cpu, {{"mode", "idle"}, {"cpu", "0"}}) == id);
  CHECK(intern(registry, cpu, {{"mode", "idle"}, {"cpu", "0"}, {"empty", ""}}) == id);
  CHECK(intern(registry, cpu, {{"mode", "idle"}, {"cpu", "1"}}) != id);
  CHECK(intern(registry, cpu, {{"mode", "idle"}}) != id);
  CHECK(registry.intern(Labels("cpu_seconds_total", {{"cpu", "0"}, {"mode", "idle"}})).value() ==
        id);
  CHECK(registry.size() == 3);
  CHECK(to_string(registry.labels(id)) == R"(cpu_seconds_total{cpu="0",mode="idle"})");
  CHECK(registry.family_of(id) == cpu);
}

TEST_CASE("labels that have to be repaired still name one series") {
  SeriesRegistry registry(100);
  const FamilyId family = registry.family("m", MetricType::kGauge, "");
  const SeriesId plain = intern(registry, family, {});
  CHECK(intern(registry, family, {{"a", "x"}, {"a", ""}}) == plain);
  const SeriesId doubled = intern(registry, family, {{"a", "x"}, {"a", "y"}});
  CHECK(intern(registry, family, {{"a", "y"}}) == doubled);
  CHECK(intern(registry, family, {{"b", "\xff"}}) == intern(registry, family, {{"b", "\xff"}}));
  CHECK(intern(registry, family, {{"__name__", "other"}}) == plain);
}

TEST_CASE("families have the type and help of the last caller that knows one") {
  SeriesRegistry registry(100);
  const FamilyId first = registry.family("m", MetricType::kGauge, "first");
  const Family& before = registry.family(first);
  CHECK(registry.family("m", MetricType::kHistogram, "second") == first);
  CHECK(registry.family("m", MetricType::kUntyped, "third") == first);
  CHECK(registry.family("m", MetricType::kHistogram, "fourth") == first);
  CHECK(registry.family(first).type == MetricType::kHistogram);
  CHECK(registry.family(first).help == "second");
  CHECK(before.type == MetricType::kGauge);  // whoever has it may go on reading it
  CHECK(registry.families() == 1);
  const SeriesId bucket = intern(registry, first, {{"le", "1"}}, "m_bucket");
  CHECK(registry.labels(bucket).metric() == "m_bucket");
  CHECK(registry.family_of(bucket) == first);
}

TEST_CASE("series over the limit are refused and counted, known ones are not") {
  SeriesRegistry registry(2);
  const FamilyId family = registry.family("m", MetricType::kGauge, "");
  const SeriesId first = intern(registry, family, {{"i", "0"}});
  intern(registry, family, {{"i", "1"}});
  const std::vector<LabelView> third{{"i", "2"}};
  const auto refused = registry.intern(family, third);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code() == Errc::kExhausted);
  CHECK_THAT(refused.error().message(), Catch::Contains(R"(m{i="2"})"));
  CHECK(registry.refused() == 1);
  CHECK(intern(registry, family, {{"i", "0"}}) == first);
  CHECK(registry.size() == 2);
}

/// What the process has in memory, in bytes.
std::size_t resident() {
  const std::string pages = host::read_file("/proc/self/statm").value();
  std::string_view rest = pages;
  static_cast<void>(base::take_word(rest));
  return base::parse_uint(base::take_word(rest)).value() * 4096;
}

TEST_CASE("a million series offered to a limit of 100,000: refused, counted, and memory stays") {
  constexpr std::size_t kLimit = 100'000;
  constexpr std::size_t kOffered = 1'000'000;
  SeriesRegistry registry(kLimit);
  History history(registry, {.bytes = 64 << 20});
  const FamilyId family = registry.family("m", MetricType::kGauge, "");
  std::vector<SeriesId> ids;
  [[maybe_unused]] std::size_t before = 0;
  for (std::size_t i = 0; i < kOffered; ++i) {
    const std::string number = std::to_string(i);
    const std::vector<LabelView> labels{{"i", number}};
    if (const auto id = registry.intern(family, labels)) ids.push_back(*id);
    if (i == 2 * kLimit) before = resident();
  }
  CHECK(ids.size() == kLimit);
  CHECK(registry.size() == kLimit);
  CHECK(registry.refused() == kOffered - kLimit);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // they keep what was freed
  CHECK(resident() < before + (8 << 20));                            // of 800,000 refused
#endif
  const std::vector<double> values(ids.size(), 1);
  for (int row = 1; row <= 20; ++row) history.append({1, row * 1000, ids, values});
  const HistoryStats stats = history.stats();
  CHECK(stats.series == kLimit);
  CHECK(stats.series_refused == kOffered - kLimit);
  CHECK(stats.samples == 20 * kLimit);
}

TEST_CASE("families are bounded by the same limit") {
  SeriesRegistry registry(1);
  static_cast<void>(registry.family("a", MetricType::kGauge, ""));
  const FamilyId over = registry.family("b", MetricType::kGauge, "");
  CHECK(registry.families() == 1);
  CHECK(registry.family(over).name.empty());
  CHECK_FALSE(registry.intern(over, {}, "b").has_value());
  CHECK(registry.refused() == 1);
}

TEST_CASE("a series without a metric name is refused") {
  SeriesRegistry registry(10);
  const auto id = registry.intern(Labels(std::vector<Label>{{"a", "b"}}));
  REQUIRE_FALSE(id.has_value());
  CHECK(id.error().code() == Errc::kInvalidArgument);
}

TEST_CASE("select finds what satisfies every matcher, ascending") {
  SeriesRegistry registry(1000);
  const FamilyId a = registry.family("a", MetricType::kGauge, "");
  const FamilyId b = registry.family("b", MetricType::kGauge, "");
  const SeriesId a_plain = intern(registry, a, {});
  const SeriesId a_x = intern(registry, a, {{"k", "x"}});
  const SeriesId b_x = intern(registry, b, {{"k", "x"}});
  const SeriesId b_y = intern(registry, b, {{"k", "y"}});
  using Ids = std::vector<SeriesId>;
  CHECK(select(registry, {{"__name__", MatchOp::kEqual, "a"}}) == Ids{a_plain, a_x});
  CHECK(select(registry, {{"k", MatchOp::kEqual, "x"}}) == Ids{a_x, b_x});
  CHECK(select(registry, {{"__name__", MatchOp::kEqual, "b"}, {"k", MatchOp::kEqual, "x"}}) ==
        Ids{b_x});
  CHECK(select(registry, {{"__name__", MatchOp::kRegex, "a|b"}, {"k", MatchOp::kNotEqual, "x"}}) ==
        Ids{a_plain, b_y});
  CHECK(select(registry, {{"k", MatchOp::kRegex, ".+"}}) == Ids{a_x, b_x, b_y});
  CHECK(select(registry, {{"k", MatchOp::kEqual, ""}}) == Ids{a_plain});
  CHECK(select(registry, {{"absent", MatchOp::kEqual, "v"}}).empty());
  CHECK(select(registry, {{"k", MatchOp::kEqual, "z"}}).empty());
  CHECK(select(registry, {}).size() == 4);
}

TEST_CASE("ids and references stay what they are while other threads intern") {
  constexpr std::size_t kSeries = 5000;
  SeriesRegistry registry(kSeries);
  std::vector<std::vector<SeriesId>> ids(4, std::vector<SeriesId>(kSeries));
  std::atomic<int> wrong{0};
  {
    std::vector<std::jthread> threads;
    for (auto& mine : ids) {
      threads.emplace_back([&registry, &mine, &wrong] {
        const FamilyId family = registry.family("m", MetricType::kGauge, "");
        for (std::size_t i = 0; i < kSeries; ++i) {
          const std::string number = std::to_string(i);
          const LabelView label{"i", number};
          mine[i] = registry.intern(family, {&label, 1}).value_or(SeriesId(-1));
          if (registry.labels(mine[i]).get("i") != number) ++wrong;
        }
      });
    }
  }
  CHECK(wrong == 0);
  CHECK(registry.size() == kSeries);
  CHECK(ids[0] == ids[1]);
  CHECK(ids[0] == ids[2]);
  CHECK(ids[0] == ids[3]);
}

}  // namespace
}  // namespace nexus::knowledge
