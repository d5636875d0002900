// statsd: what messages add up to, and that no flood of them costs more than its bounds.
#include "monitor/statsd/table.hpp"

#include <fmt/format.h>

#include <catch2/catch.hpp>

using namespace nexus;
using namespace nexus::monitor;
using namespace std::chrono_literals;

namespace {

struct Rig {
  explicit Rig(config::StatsdSection section = {})
      : table(section, StatsdMapper::compile(section).value(), registry) {}

  std::string series() {
    sink.begin();
    table.add_to(sink, now);
    sink.finish();
    sink.accepted();
    std::string out;
    for (std::size_t i = 0; i < sink.live().size(); ++i)
      out += fmt::format("{} {}\n", knowledge::to_string(registry.labels(sink.ids()[i])),
                         sink.values()[i]);
    return out;
  }

  knowledge::SeriesRegistry registry{20'000};
  RunSink sink{registry, 10'000};
  StatsdTable table;
  SteadyTime now{1h};
};

}  // namespace

TEST_CASE("statsd: types, rates, several values and tags") {
  Rig rig;
  rig.table.take("a:1|c\na:2|c|@0.5\na:3|c|#region:north,bare,region:south\nq:10|g\nq:+5|g\nq:-3|g",
                 rig.now);
  rig.table.take("t:100:300|ms\nu:ann|s\nu:bob|s\nu:ann|s", rig.now);
  CHECK(rig.series() ==
        "a 5\na{region=\"south\"} 3\nq 12\nt_sum 0.4\nt_count 2\nt{quantile=\"0.5\"} 0.1\n"
        "t{quantile=\"0.9\"} 0.3\nt{quantile=\"0.99\"} 0.3\nu 2\n");
  CHECK(rig.series().ends_with("u 0\n"));  // of a set: since the moment before
  CHECK(rig.registry.family(rig.registry.family("t", MetricType::kUntyped, "")).type ==
        MetricType::kSummary);
}

TEST_CASE("statsd: labels that the series makes itself are nobody's") {
  Rig rig({.timer_type = "histogram", .buckets = {1}});
  rig.table.take("t:2|h|#le:5,quantile:x", rig.now);
  CHECK(rig.series() ==
        "t_sum{exported_le=\"5\",quantile=\"x\"} 2\nt_count{exported_le=\"5\",quantile=\"x\"} 1\n"
        "t_bucket{exported_le=\"5\",le=\"1\",quantile=\"x\"} 0\n"
        "t_bucket{exported_le=\"5\",le=\"+Inf\",quantile=\"x\"} 1\n");
}

TEST_CASE("statsd: a bad line costs only itself, is counted, and told for a while") {
  Rig rig;
  rig.table.take(
      "good:1|c\nnonsense\n:1|c\nx|c\nx:1|q\nx:|c\nx:y|c\nx:nan|g\nx:-1|c\nx:1|c|@0\nx:1|c|?\n" +
          ("x:1|c|#t:" + std::string(5000, 'v')) + "\n" + std::string(600, 'n') + ":1|c\n" +
          "\xff:1|c\n_e{1,1}:a|b\n_sc|x|0\ngood:1|g\n",
      rig.now);
  CHECK(rig.table.counts().messages == 17);
  CHECK(rig.table.counts().invalid == 13);
  CHECK(rig.table.counts().unsupported == 2);
  CHECK(rig.table.counts().conflicts == 1);
  CHECK(rig.table.take_mistake() == "\"nonsense\": expected name:value|type");
  CHECK(rig.table.take_mistake().empty());
  CHECK(rig.series().starts_with("good 1\n"));
  CHECK_FALSE(rig.series().contains("x "));  // what only mistakes have named
}

TEST_CASE("statsd: more series than allowed cost a look-up each, and have room when others end") {
  Rig rig({.expire_after = 60s, .max_series = 100});
  std::uint64_t cost = 0;
  for (int i = 0; i < 1000; ++i) cost += rig.table.take(fmt::format("m:1|c|#i:{}", i), rig.now) - 1;
  CHECK(cost == 1000 * 10);  // each is new, which is what is dear
  CHECK(rig.table.series() == 100);
  CHECK(rig.table.counts().dropped == 900);
  // Of what is remembered the oldest are forgotten, and looked up anew once.
  CHECK(rig.table.take("m:1|c|#i:999\nm:1|c|#i:1", rig.now) == 1 + 1 + 10);
  CHECK(rig.table.take("m:1|c|#i:999\nm:1|c|#i:1", rig.now) == 1 + 1 + 1);
  CHECK(rig.table.counts().dropped == 902);
  rig.now += 50s;
  rig.table.take("m:1|c|#i:5", rig.now);
  rig.now += 20s;
  CHECK(rig.series() == "m{i=\"5\"} 2\n");
  rig.table.take("m:1|c|#i:999", rig.now);
  CHECK(rig.series() == "m{i=\"5\"} 2\nm{i=\"999\"} 1\n");
}

TEST_CASE("statsd: labels have room for half a KiB a series, and a few long ones anywhere") {
  Rig rig({.expire_after = 60s, .max_series = 1000});
  const std::string tag(3900, 't');
  for (int i = 0; i < 1000; ++i) rig.table.take(fmt::format("m:1|c|#i:{}{}", tag, i), rig.now);
  CHECK(rig.table.series() > 250);
  CHECK(rig.table.series() < 270);
  CHECK(rig.table.counts().dropped == 1000 - rig.table.series());
  rig.now += 61s;
  CHECK(rig.series().empty());
  rig.table.take(fmt::format("m:1|c|#i:{}999", tag), rig.now);
  CHECK(rig.table.series() == 1);
}

TEST_CASE("statsd: members of all sets together are bounded") {
  Rig rig;
  std::string text;
  for (int i = 0; i < 600'000; ++i) {
    text += fmt::format("s{}:{}|s\n", i % 7, i);
    if (text.size() > 60'000) rig.table.take(std::exchange(text, {}), rig.now);
  }
  rig.table.take(text, rig.now);
  CHECK(rig.table.counts().dropped == 100'000);
  rig.series();
  rig.table.take("s0:1|s", rig.now);
  CHECK(rig.table.counts().dropped == 100'000);
}
