#include "monitor/scrape/intake.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <map>

#include "nexus/base/text.hpp"
#include "nexus/knowledge/queryable.hpp"
#include "support/self_metrics.hpp"

using namespace nexus;
using namespace nexus::monitor;

namespace {

/// An intake whose samples go through a ring into a history, as in the agent.
struct Rig {
  explicit Rig(IntakeRules rules = {}) {
    if (rules.target.empty()) rules.target = {{"job", "j"}};
    intake = std::make_unique<Intake>(registry, history, outbox, std::move(rules));
  }

  Status scrape(std::string_view text, std::string_view type = "text/plain") {
    clock.advance(std::chrono::seconds(10));
    intake->begin(knowledge::exposition_format(type), now());
    intake->feed(text);
    auto done = intake->finish();
    if (done) {
      intake->commit();
    } else {
      intake->end(now());
    }
    drain();
    return done;
  }
  void drain() {
    ring->drain([this](const knowledge::BatchView& batch) { history.append(batch); });
  }
  std::int64_t now() const { return base::to_unix_millis(clock.wall()); }
  /// Newest values by series; "stale" for those that ended.
  std::map<std::string, std::string> newest() const {
    std::map<std::string, std::string> out;
    for (const auto id : registry.select({})) {
      const auto sample = history.latest(id);
      if (!sample) continue;
      out[knowledge::to_string(registry.labels(id))] =
          knowledge::is_stale_marker(sample->value) ? "stale" : base::format_double(sample->value);
    }
    return out;
  }

  base::ManualClock clock;
  knowledge::SelfMetrics self;
  knowledge::SeriesRegistry registry{20'000};
  knowledge::History history{registry, {}};
  std::shared_ptr<knowledge::SampleRing> ring = std::make_shared<knowledge::SampleRing>(1 << 16);
  Outbox outbox{clock, ring, self};
  std::unique_ptr<Intake> intake;
};

using Values = std::map<std::string, std::string>;

}  // namespace

TEST_CASE("intake: samples of a scrape, and what is gone in the next ends") {
  Rig rig;
  REQUIRE(rig.scrape("# TYPE a counter\na{x=\"1\"} 1\na{x=\"2\"} 2\nb NaN\nc +Inf\n"));
  CHECK(rig.newest() == Values{{"a{job=\"j\",x=\"1\"}", "1"},
                               {"a{job=\"j\",x=\"2\"}", "2"},
                               {"b{job=\"j\"}", "NaN"},
                               {"c{job=\"j\"}", "+Inf"}});
  CHECK(rig.intake->counts().added == 4);
  REQUIRE(rig.scrape("a{x=\"2\"} 3\nb 1\nd 4\n"));
  CHECK(rig.newest() == Values{{"a{job=\"j\",x=\"1\"}", "stale"},
                               {"a{job=\"j\",x=\"2\"}", "3"},
                               {"b{job=\"j\"}", "1"},
                               {"c{job=\"j\"}", "stale"},
                               {"d{job=\"j\"}", "4"}});
  CHECK(rig.intake->counts().added == 1);
  CHECK(rig.intake->live() == 3);
  REQUIRE(rig.scrape("a{x=\"1\"} 5\n"));  // and comes back
  CHECK(rig.newest().at("a{job=\"j\",x=\"1\"}") == "5");
  CHECK(rig.newest().at("d{job=\"j\"}") == "stale");
}

TEST_CASE("intake: bad lines cost only themselves, and are counted") {
  Rig rig;
  REQUIRE(
      rig.scrape("a 1\nnonsense\nb{x=\"\xff\"} 2\nc{x=\"1\",x=\"2\"} 3\n"
                 "d{x=\"quo\\\"te\\nnew\"} 4\na 5\na{} 6\n"));
  const auto& counts = rig.intake->counts();
  CHECK(counts.invalid == 3);
  CHECK(counts.first_mistake == "line 2: expected a metric and a value");
  CHECK(counts.doubled == 2);  // the second one written otherwise
  CHECK(counts.taken == 2);
  CHECK(rig.newest() == Values{{"a{job=\"j\"}", "1"}, {"d{job=\"j\",x=\"quo\\\"te\\nnew\"}", "4"}});
  REQUIRE(rig.scrape("a 1\nb{x=\"\xff\"} 2\n"));  // seen before, told again
  CHECK(rig.intake->counts().invalid == 1);
}

TEST_CASE("intake: a scrape that counts as none ends everything") {
  Rig rig({.sample_limit = 2, .label_limit = 3, .value_length_limit = 5});
  REQUIRE(rig.scrape("a 1\nb 2\n"));
  const auto error = [&](std::string_view text, std::string_view type = "text/plain") {
    const auto done = rig.scrape(text, type);
    REQUIRE_FALSE(done);
    for (const auto& [series, value] : rig.newest()) CHECK(value == "stale");
    return done.error().message();
  };
  CHECK(error("a 1\nb 2\nc 3\n") == "more than sample_limit = 2 samples");
  REQUIRE(rig.scrape("a 1\nb 2\n"));
  for (int again = 0; again < 2; ++again)
    CHECK(error("a{x=\"1\",y=\"2\"} 1\n") == "a has 4 labels, more than label_limit = 3");
  CHECK(error("a{x=\"123456\"} 1\n") ==
        "a: the label x has 6 bytes, more than label_value_length_limit = 5");
  CHECK(error("<html>\n<p>not here</p>\n") ==
        "no line is a sample; line 1: expected a metric and a value");
  CHECK(error("a 1\n", "application/openmetrics-text") ==
        "the text ends without # EOF: it is truncated");
  REQUIRE(rig.scrape("a 1\n# EOF\n", "application/openmetrics-text; version=1.0.0"));
  CHECK(rig.newest().at("a{job=\"j\"}") == "1");
}

TEST_CASE("intake: labels of the target against labels of the text") {
  Rig exported({.target = {{"job", "j"}, {"instance", "i"}}});
  REQUIRE(exported.scrape("a{job=\"x\",exported_job=\"y\"} 1\n"));
  CHECK(
      exported.newest() ==
      Values{{"a{exported_exported_job=\"x\",exported_job=\"y\",instance=\"i\",job=\"j\"}", "1"}});
  Rig honored({.target = {{"job", "j"}, {"instance", "i"}}, .honor_labels = true});
  REQUIRE(honored.scrape("a{job=\"x\"} 1\n"));
  CHECK(honored.newest() == Values{{"a{instance=\"i\",job=\"x\"}", "1"}});
  REQUIRE(honored.scrape("b{instance=\"\"} 1\n"));  // a Pushgateway's: no instance at all
  CHECK(honored.newest().at("b{job=\"j\"}") == "1");
}

TEST_CASE("intake: relabelling, with doubles that it makes") {
  const auto steps =
      Relabeling::compile({{.source_labels = {"__name__"}, .regex = "drop_.*", .action = "drop"},
                           {.regex = "x", .action = "labeldrop"}})
          .value();
  Rig rig({.relabel = std::make_shared<const Relabeling>(steps)});
  REQUIRE(rig.scrape("a{x=\"1\"} 1\na{x=\"2\"} 2\ndrop_me 3\n"));
  CHECK(rig.intake->counts().scraped == 3);
  CHECK(rig.intake->counts().kept == 2);
  CHECK(rig.intake->counts().doubled == 1);
  CHECK(rig.newest() == Values{{"a{job=\"j\"}", "1"}});
  REQUIRE(rig.scrape("a{x=\"2\"} 7\n"));  // the other spelling alone
  CHECK(rig.newest() == Values{{"a{job=\"j\"}", "7"}});
}

TEST_CASE("intake: samples that bring their own time") {
  Rig rig;
  const auto at = [&](std::int64_t ahead) { return std::to_string(rig.now() + 10'000 + ahead); };
  REQUIRE(rig.scrape("a 1 " + at(-5000) + "\nb 2 " + at(3'600'000) + "\nc 3\n"));
  CHECK(rig.newest() == Values{{"a{job=\"j\"}", "1"}, {"c{job=\"j\"}", "3"}});
  CHECK(rig.intake->counts().untimely == 1);
  const auto id = rig.registry.select({})[0];
  CHECK(rig.history.latest(id)->time == rig.now() - 5000);
  REQUIRE(rig.scrape("a 1 " + at(-15'000) + "\n"));  // the same sample once more is no mistake
  CHECK(rig.intake->counts().untimely == 0);
  REQUIRE(rig.scrape("a 9 " + at(-120'000) + "\n"));  // an older one is
  CHECK(rig.intake->counts().untimely == 1);
  CHECK(rig.newest().at("a{job=\"j\"}") == "1");
  REQUIRE(rig.scrape("c 4\n"));
  CHECK(rig.newest().at("a{job=\"j\"}") == "1");  // no stale marker, as in Prometheus
  Rig ignoring({.honor_timestamps = false});
  REQUIRE(ignoring.scrape("a 1 5\n"));
  CHECK(ignoring.newest() == Values{{"a{job=\"j\"}", "1"}});
}

TEST_CASE("intake: nothing of a scrape that counts as none is in the history") {
  Rig rig({.sample_limit = 2});
  const auto now = std::to_string(rig.now() + 9'000);
  REQUIRE_FALSE(rig.scrape("a 1 " + now + "\nb 2 " + now + "\nc 3\nd 4\n"));
  CHECK(rig.newest().empty());
  CHECK(rig.intake->counts().scraped == 4);  // though they are counted
  CHECK(rig.intake->counts().kept == 4);
  REQUIRE_FALSE(rig.scrape("a 1 " + now + "\n", "application/openmetrics-text"));
  CHECK(rig.newest().empty());
  REQUIRE(rig.scrape("a 1 " + now + "\n"));
  CHECK(rig.newest() == Values{{"a{job=\"j\"}", "1"}});
}

TEST_CASE("intake: series that come again are new again, unless only a scrape failed") {
  Rig rig;
  REQUIRE(rig.scrape("a 1\nb 1\n"));
  REQUIRE(rig.scrape("a 1\n"));
  CHECK(rig.intake->counts().added == 0);
  REQUIRE(rig.scrape("a 1\nb 1\n"));
  CHECK(rig.intake->counts().added == 1);
  REQUIRE_FALSE(rig.scrape("a 1\n", "application/openmetrics-text"));
  REQUIRE(rig.scrape("a 1\nb 1\n"));
  CHECK(rig.intake->counts().added == 0);
}

TEST_CASE("intake: a budget of series, and the registry's own limit") {
  Rig rig({.budget = 100});
  const auto text = [](int from, int to) {
    std::string out;
    for (int i = from; i < to; ++i) out += fmt::format("m{{i=\"{}\"}} {}\n", i, i);
    return out;
  };
  REQUIRE(rig.scrape(text(0, 150)));
  CHECK(rig.intake->counts().taken == 100);
  CHECK(rig.intake->counts().dropped == 50);
  REQUIRE(rig.scrape(text(0, 150)));
  CHECK(rig.intake->counts().dropped == 50);
  CHECK(rig.registry.size() == 100);
  Rig small({.budget = 1'000'000});
  REQUIRE(small.scrape(text(0, 21'000)));
  CHECK(small.intake->counts().taken == 20'000);
  CHECK(small.intake->counts().dropped == 1'000);
}

TEST_CASE("intake: series that come and go for ever cost no memory") {
  Rig rig({.budget = 5'000});
  for (int round = 0; round < 50; ++round) {
    std::string text;
    for (int i = 0; i < 3000; ++i) text += fmt::format("m{{i=\"{}-{}\"}} 1\n", round % 4, i);
    REQUIRE(rig.scrape(text));
    CHECK(rig.intake->counts().taken + rig.intake->counts().dropped == 3000);
    CHECK(rig.intake->live() == 3000);
  }
}

TEST_CASE("pushes: what is not pushed stays, and ends after a while") {
  Rig rig({.replaces = false});
  REQUIRE(rig.scrape("a 1\nb 2\n"));
  REQUIRE(rig.scrape("b 3\n"));
  CHECK(rig.newest() == Values{{"a{job=\"j\"}", "1"}, {"b{job=\"j\"}", "3"}});
  rig.clock.advance(std::chrono::seconds(5));
  CHECK(rig.intake->expire(rig.now() - 10'000, rig.now()) == 1);  // a is 15 s old, b 5
  rig.drain();
  CHECK(rig.newest() == Values{{"a{job=\"j\"}", "stale"}, {"b{job=\"j\"}", "3"}});
  CHECK(rig.history.latest(rig.registry.select({})[1])->time == rig.now());  // said again
  rig.clock.advance(std::chrono::seconds(20));
  CHECK(rig.intake->expire(rig.now() - 10'000, rig.now()) == 0);
  rig.drain();
  CHECK(rig.newest().at("b{job=\"j\"}") == "stale");
}

TEST_CASE("intake: labels are bounded, of one series and of all of a source") {
  Rig rig({.budget = 20});
  const std::string huge(9000, 'x');
  REQUIRE(rig.scrape("a{l=\"" + huge + "\"} 1\nb 2\n"));
  CHECK(rig.newest() == Values{{"b{job=\"j\"}", "2"}});
  CHECK(rig.intake->counts().dropped == 1);
  // Twenty series of 8,000 bytes: they fit one by one, not all.
  std::string text;
  for (int i = 0; i < 20; ++i)
    text += fmt::format("c{{l=\"{}{}\"}} 1\n", std::string(8000, 'y'), i);
  for (int scrape = 0; scrape < 3; ++scrape) {
    REQUIRE(rig.scrape(text));
    CHECK(rig.intake->live() == 9);
    CHECK(rig.intake->counts().dropped == 11);
  }
}

TEST_CASE("intake: all sources together have a share, and what one gives up others get") {
  Rig rig;
  rig.outbox.series().limit(3);
  REQUIRE(rig.scrape("a{x=\"1\"} 1\na{x=\"2\"} 1\nb 1\nc 1\nd 1\n"));
  CHECK(rig.intake->live() == 3);
  CHECK(rig.intake->counts().dropped == 2);
  const auto scrape_other = [&](Intake& other) {
    other.begin(knowledge::ExpositionFormat::kText, rig.now());
    other.feed("e 1\nf 1\n");
    REQUIRE(other.finish());
    other.commit();
    return other.live();
  };
  Intake crowded(rig.registry, rig.history, rig.outbox, {.target = {{"job", "k"}}});
  CHECK(scrape_other(crowded) == 0);
  CHECK(crowded.counts().dropped == 2);
  rig.intake.reset();
  Intake alone(rig.registry, rig.history, rig.outbox, {.target = {{"job", "k"}}});
  CHECK(scrape_other(alone) == 2);
}

TEST_CASE(
    "intake: a family that changes its type has the new one, our own collectors' keep theirs") {
  Rig rig;
  const auto type_of = [&](std::string_view name) {
    const auto id = rig.registry.family(name, knowledge::MetricType::kUntyped, "");
    return rig.registry.family(id).type;
  };
  rig.registry.family("node_load1", knowledge::MetricType::kGauge, "1m load average.");
  REQUIRE(rig.scrape("jobs 1\n# TYPE work gauge\nwork 1\n"));
  CHECK(type_of("jobs") == knowledge::MetricType::kUntyped);
  CHECK(type_of("work") == knowledge::MetricType::kGauge);
  // The application was replaced by its next version; the series are the same.
  REQUIRE(
      rig.scrape("# TYPE jobs counter\njobs 1\njobs{q=\"new\"} 1\n# HELP work Done.\n"
                 "# TYPE work counter\nwork 1\n# TYPE node_load1 counter\nnode_load1 3\n"
                 "# TYPE node_load5 counter\nnode_load5 3\n"));
  CHECK(type_of("jobs") == knowledge::MetricType::kCounter);
  CHECK(type_of("work") == knowledge::MetricType::kCounter);
  const auto id = rig.registry.family("work", knowledge::MetricType::kUntyped, "");
  CHECK(rig.registry.family(id).help == "Done.");
  CHECK(type_of("node_load1") == knowledge::MetricType::kGauge);
  CHECK(type_of("node_load5") == knowledge::MetricType::kCounter);  // which nobody here has
  REQUIRE(rig.scrape("# TYPE jobs untyped\njobs 2\n"));
  CHECK(type_of("jobs") == knowledge::MetricType::kCounter);
}
