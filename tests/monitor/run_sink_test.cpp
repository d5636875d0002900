#include <array>
#include <catch2/catch.hpp>

#include "monitor/run_sink.hpp"
#include "nexus/knowledge/queryable.hpp"

using namespace nexus;
using namespace nexus::monitor;
using knowledge::is_stale_marker;

namespace {

struct Rig {
  explicit Rig(std::size_t budget = 100, std::size_t max_series = 1000)
      : registry(max_series), sink(registry, budget) {
    family = registry.family("m", MetricType::kGauge, "M.");
  }
  /// One run that adds a series for each letter, and whose batch the ring takes or refuses.
  bool run(std::string_view letters, bool accepted = true) {
    sink.begin();
    for (std::size_t i = 0; i < letters.size(); ++i) {
      sink.add(family, {{"letter", letters.substr(i, 1)}}, static_cast<double>(i));
    }
    const bool differs = sink.finish();
    if (accepted) sink.accepted();
    return differs;
  }
  [[nodiscard]] std::string letters(std::span<const knowledge::SeriesId> ids) const {
    std::string all;
    for (const auto id : ids) all += registry.labels(id).get("letter");
    return all;
  }
  [[nodiscard]] std::string stale() const {
    return letters(sink.ids().subspan(sink.live().size()));
  }

  knowledge::SeriesRegistry registry;
  RunSink sink;
  FamilyId family;
};

}  // namespace

TEST_CASE("a run that repeats the last one gives the same ids and says so") {
  Rig rig;
  CHECK(rig.run("abc"));
  const std::vector<knowledge::SeriesId> first(rig.sink.ids().begin(), rig.sink.ids().end());
  CHECK_FALSE(rig.run("abc"));
  CHECK(std::vector<knowledge::SeriesId>(rig.sink.ids().begin(), rig.sink.ids().end()) == first);
  CHECK(std::vector<double>(rig.sink.values().begin(), rig.sink.values().end()) ==
        std::vector<double>{0, 1, 2});
  CHECK(rig.registry.size() == 3);
}

TEST_CASE("series that vanish end with a stale marker, once") {
  Rig rig;
  rig.run("abcd");
  CHECK(rig.run("ad"));
  CHECK(rig.letters(rig.sink.live()) == "ad");
  CHECK(rig.stale() == "bc");
  for (std::size_t i = 0; i < 2; ++i) CHECK_FALSE(is_stale_marker(rig.sink.values()[i]));
  for (std::size_t i = 2; i < 4; ++i) CHECK(is_stale_marker(rig.sink.values()[i]));
  CHECK_FALSE(rig.run("ad"));
  CHECK(rig.stale().empty());
  rig.run("");
  CHECK(rig.stale() == "ad");
  rig.run("abcd");
  CHECK(rig.stale().empty());
}

TEST_CASE("another order, an insertion and a removal keep every series apart") {
  Rig rig;
  rig.run("abcd");
  CHECK(rig.run("dcba"));
  CHECK(rig.letters(rig.sink.live()) == "dcba");
  CHECK(rig.stale().empty());
  rig.run("xdcba");
  CHECK(rig.letters(rig.sink.live()) == "xdcba");
  rig.run("xcba");
  CHECK(rig.letters(rig.sink.live()) == "xcba");
  CHECK(rig.stale() == "d");
}

TEST_CASE("a series that is added twice counts once") {
  Rig rig;
  rig.run("aba");
  CHECK(rig.letters(rig.sink.live()) == "ab");
  CHECK(rig.sink.values()[0] == 0);
  CHECK(rig.sink.dropped() == 1);
  rig.run("aba");
  CHECK(rig.letters(rig.sink.live()) == "ab");
  CHECK(rig.sink.dropped() == 1);
  CHECK(rig.stale().empty());
}

TEST_CASE("what is over the budget is dropped and counted, the rest is taken") {
  Rig rig(3);
  rig.run("abcdef");
  CHECK(rig.letters(rig.sink.live()) == "abc");
  CHECK(rig.sink.dropped() == 3);
  CHECK(rig.registry.size() == 3);
  rig.run("ab");
  CHECK(rig.sink.dropped() == 0);
  CHECK(rig.stale() == "c");
}

TEST_CASE("what the registry refuses is dropped and counted") {
  Rig rig(100, 2);
  rig.run("abc");
  CHECK(rig.letters(rig.sink.live()) == "ab");
  CHECK(rig.sink.dropped() == 1);
}

TEST_CASE("what is appended is neither live nor missed in the next run") {
  Rig rig;
  const FamilyId family = rig.registry.family("meta", MetricType::kGauge, "Meta.");
  MetaSeries meta{family, rig.registry.intern(family, {}).value()};
  rig.run("ab");
  rig.sink.append(meta, "x", 1);
  CHECK(rig.sink.ids().size() == 3);
  CHECK(rig.sink.live().size() == 2);
  CHECK_FALSE(rig.run("ab"));
  CHECK(rig.sink.ids().size() == 2);
}

TEST_CASE("labels with an empty value and families that share labels are told apart") {
  Rig rig;
  const auto other = rig.registry.family("n", MetricType::kGauge, "N.");
  for (int round = 0; round < 2; ++round) {
    rig.sink.begin();
    rig.sink.add(rig.family, {{"letter", "a"}, {"none", ""}}, 1);
    rig.sink.add(other, {{"letter", "a"}}, 2);
    rig.sink.add(other, 3);
    CHECK(rig.sink.finish() == (round == 0));
    CHECK(rig.sink.live().size() == 3);
    CHECK(rig.registry.size() == 3);
  }
}

TEST_CASE("a sink that was cut off takes nothing more") {
  Rig rig;
  rig.sink.begin();
  rig.sink.add(rig.family, {{"letter", "a"}}, 1);
  rig.sink.cut_off();
  rig.sink.add(rig.family, {{"letter", "b"}}, 1);
  rig.sink.finish();
  CHECK(rig.letters(rig.sink.live()) == "a");
  CHECK(rig.registry.size() == 1);
}

TEST_CASE("a stale marker that the ring refused comes again until it is accepted") {
  Rig rig;
  rig.run("abc");
  rig.run("a", false);
  CHECK(rig.stale() == "bc");
  rig.run("ab", false);  // b is back
  CHECK(rig.stale() == "c");
  rig.run("ab");
  CHECK(rig.stale() == "c");
  rig.run("ab");
  CHECK(rig.stale().empty());
}

TEST_CASE("series that another sink had end unless the run has them") {
  Rig rig;
  rig.run("abc");
  RunSink next(rig.registry, 100);
  next.owe(rig.sink.live());
  next.begin();
  next.add(rig.family, {{"letter", "b"}}, 1);
  next.finish();
  CHECK(rig.letters(next.live()) == "b");
  CHECK(rig.letters(next.ids().subspan(1)) == "ac");
  for (std::size_t i = 1; i < 3; ++i) CHECK(is_stale_marker(next.values()[i]));
}

TEST_CASE("what the registry has forgotten is looked up anew") {
  Rig rig;
  rig.run("abc");
  const knowledge::SeriesId b = rig.sink.ids()[1];
  MetaSeries meta{rig.family, rig.registry.intern(rig.family, {}).value()};
  const knowledge::SeriesId old_meta = meta.id;
  std::vector<knowledge::SeriesId> none;
  rig.registry.forget(none);
  rig.registry.forget(none);
  std::vector<knowledge::SeriesId> leaving{b, meta.id};
  rig.registry.forget(leaving);
  REQUIRE(leaving.size() == 2);
  const auto other = rig.registry.intern(rig.family, std::vector<LabelView>{{"letter", "z"}});
  REQUIRE(rig.registry.place(other.value()) == rig.registry.place(b));
  rig.run("abc");
  rig.sink.append(meta, "x", 1);
  CHECK(rig.letters(rig.sink.live()) == "abc");
  CHECK(meta.id != old_meta);
  for (const auto id : rig.sink.ids()) {
    CHECK(rig.registry.known(id));
    CHECK(id != *other);
  }
}

TEST_CASE("a source's sink holds as many series as it has, and no more than all sources may") {
  Rig rig;
  Allowance allowance;
  allowance.limit(5);
  const auto add = [&](RunSink& sink, std::string_view letters) {
    sink.begin();
    for (const char letter : letters) sink.add(rig.family, {{"letter", {&letter, 1}}}, 1);
    sink.finish();
    sink.accepted();
    return rig.letters(sink.live());
  };
  RunSink first(rig.registry, 100, &allowance);
  auto second = std::make_unique<RunSink>(rig.registry, 100, &allowance);
  CHECK(add(first, "abc") == "abc");
  CHECK(add(*second, "defg") == "de");
  CHECK(second->dropped() == 2);
  CHECK(allowance.taken() == 5);
  // What one gives up the other gets; names that change count once.
  CHECK(add(first, "xy") == "xy");
  CHECK(add(*second, "defg") == "def");
  CHECK(add(first, "zab") == "za");
  CHECK(first.dropped() == 1);
  second.reset();
  CHECK(allowance.taken() == 2);
  CHECK(add(first, "zab") == "zab");
  CHECK(add(first, "") == "");
  CHECK(allowance.taken() == 0);
}

TEST_CASE("sources leave the last tenth of a registry, and a fifth of it, to the host") {
  Rig rig(1000, 100);
  Allowance allowance;
  allowance.limit(rig.registry);
  std::size_t given = 0;
  while (allowance.take()) ++given;
  CHECK(given == 80);
  allowance.give(given);
  // Series that ended a moment ago are in the registry, though nobody holds them.
  for (int i = 0; i < 90; ++i)
    REQUIRE(rig.registry.intern(rig.family, std::array<LabelView, 1>{{{"i", std::to_string(i)}}}));
  CHECK_FALSE(allowance.take());
  CHECK(allowance.taken() == 0);
}

TEST_CASE("a source that has other names in every run leaves the host its tenth as well") {
  knowledge::SeriesRegistry registry(100);
  const FamilyId family = registry.family("m", MetricType::kGauge, "M.");
  Allowance allowance;
  allowance.limit(registry);
  RunSink sink(registry, 20, &allowance);
  for (int run = 0; run < 10; ++run) {
    sink.begin();
    for (int i = 0; i < 20; ++i) sink.add(family, {{"request", std::to_string(20 * run + i)}}, i);
    sink.finish();
    sink.accepted();
  }
  CHECK(registry.size() == 90);
  CHECK(sink.dropped() > 0);
}

TEST_CASE("a sample is corrected at its place") {
  Rig rig;
  rig.sink.begin();
  rig.sink.add(rig.family, {{"letter", "a"}}, 0);
  rig.sink.add(rig.family, {{"letter", "b"}}, 2);
  CHECK(rig.sink.size() == 2);
  rig.sink.correct(0, 1);
  rig.sink.finish();
  CHECK(std::vector<double>(rig.sink.values().begin(), rig.sink.values().end()) ==
        std::vector<double>{1, 2});
}
