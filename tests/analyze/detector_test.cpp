#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <functional>
#include <limits>
#include <thread>

#include "analyze/anomaly/episodes.hpp"
#include "analyze/strange.hpp"
#include "analyze/world.hpp"
#include "nexus/analyze/anomaly.hpp"

using namespace nexus;
using namespace nexus::analyze;
using namespace nexus::analyze::test;
using knowledge::Labels;

namespace {

struct DetectorWorld : World {
  DetectorWorld() {
    vital.name = "cpu_usage_percent";
    vital.unit = "percent";
    vital.minimum = 0;
    vital.maximum = 100;
    detector.configure(section);
  }

  void run(int from, int to, const std::function<double(int)>& value_at) {
    for (int second = from + 1; second <= to; ++second) {
      clock.advance(1s);
      VitalsSnapshot snapshot;
      snapshot.definitions = std::make_shared<std::vector<config::VitalConfig>>(1, vital);
      snapshot.time = clock.wall();
      for (const Labels& labels : series) {
        const double value = value_at(second);
        sample(labels, value);
        snapshot.values.push_back(
            {registry.intern(labels).value(), labels, value, clock.wall(), 0, std::nullopt});
      }
      ingest();
      detector.tick(snapshot);
      book->tick();
    }
  }
  [[nodiscard]] ModelStatus only() const {
    const auto models = detector.models();
    REQUIRE(models->size() == 1);
    return models->front();
  }

  config::VitalConfig vital;
  config::AnomalySection section;
  std::vector<Labels> series = {Labels("cpu_usage_percent", {{"cpu", "0"}})};
  AnomalyDetector detector{clock, history, *book, self};
};

Anomaly anomaly_of(double value) {
  Anomaly anomaly;
  anomaly.value = value;
  return anomaly;
}

}  // namespace

TEST_CASE("warming up, then ready") {
  DetectorWorld world;
  world.run(0, 1, ordinary);
  CHECK_FALSE(world.only().ready);
  CHECK(world.only().state == "warming up: 1 of 256 samples");
  world.run(1, 240, ordinary);
  CHECK_FALSE(world.only().ready);
  world.run(240, 270, ordinary);
  CHECK(world.only().ready);
  CHECK(world.only().state == "ready");
  CHECK(world.only().metric_name == "cpu_usage_percent");
  CHECK(world.only().labels == Labels("", {{"cpu", "0"}}));
  CHECK(metric(world.self, "nexus_anomaly_models", "ready") == 1);
}

TEST_CASE("a gap costs no model its window") {
  DetectorWorld world;
  world.run(0, 600, ordinary);
  REQUIRE(world.only().ready);
  const auto trained = world.only().trained;
  world.clock.advance(1s);
  world.sample(world.series[0], knowledge::stale_marker());  // as when a collector was late once
  world.ingest();
  world.run(600, 800, ordinary);  // fewer than a window that began anew would need
  CHECK(world.only().ready);
  CHECK(world.only().trained > trained);
}

TEST_CASE("an anomaly is listed once, with score, severity and advice, and is one finding") {
  DetectorWorld world;
  world.run(0, 3000, ordinary);
  CHECK(world.detector.anomalies()->empty());
  CHECK(world.heard.empty());
  const double forests = metric(world.self, "nexus_anomaly_forests_total");
  world.run(3000, 3008, [](int) { return 97; });
  CHECK(world.detector.anomalies()->empty());  // not yet three times
  CHECK(metric(world.self, "nexus_anomaly_forests_total") > forests);
  world.run(3008, 3060, [](int) { return 97; });
  const auto anomalies = world.detector.anomalies();
  REQUIRE(anomalies->size() == 1);
  const Anomaly& anomaly = anomalies->front();
  CHECK(anomaly.metric_name == "cpu_usage_percent");
  CHECK(anomaly.value == 97);
  CHECK(anomaly.anomaly_score < 0);
  CHECK(anomaly.severity == Severity::kWarning);
  CHECK_FALSE(anomaly.recommended_actions.empty());
  CHECK(anomaly.description.find(R"(cpu_usage_percent{cpu="0"} is 97 percent)") == 0);
  const Finding* finding = world.find("cpu_usage_percent_anomaly");
  REQUIRE(finding != nullptr);
  CHECK(finding->kind == FindingKind::kAnomaly);
  CHECK(finding->state == FindingState::kFiring);
  CHECK(finding->subject == "0");
  world.run(3060, 3600, ordinary);
  CHECK(world.find("cpu_usage_percent_anomaly")->state == FindingState::kResolved);
  CHECK(world.heard == std::vector<std::string>{"cpu_usage_percent_anomaly firing",
                                                "cpu_usage_percent_anomaly resolved"});
  CHECK(world.detector.anomalies()->size() == 1);
  world.run(3600, 7000, ordinary);
  CHECK(world.detector.anomalies()->empty());  // older than an hour
}

TEST_CASE("ordinary series make no anomalies in six hours") {
  const auto quiet = [](const char* name, const std::function<double(int)>& value) {
    INFO(name);
    DetectorWorld world;
    world.run(0, 6 * 3600, value);
    CHECK(world.detector.anomalies()->empty());
  };
  quiet("noise", [](int s) { return 30 + 10 * noise(s); });
  quiet("constant", [](int) { return 30; });
  quiet("slow growth", [](int s) { return 30 + s / 1000.0; });
  quiet("cron every ten minutes", [](int s) { return (s % 600 < 60 ? 75 : 20) + 3 * noise(s); });
}

TEST_CASE("a short spike is not an anomaly") {
  DetectorWorld world;
  world.run(0, 3000, [](int s) { return s > 2000 && s % 100 < 9 ? 97.0 : ordinary(s); });
  CHECK(world.heard.empty());
}

TEST_CASE("hostile series") {
  const double inf = std::numeric_limits<double>::infinity();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const auto& value : std::initializer_list<std::function<double(int)>>{
           [&](int s) { return s % 2 == 0 ? nan : inf; },
           [](int s) { return s % 2 == 0 ? 1.7e308 : -1.7e308; },
           [](int s) { return s * 1e-320; },
           [&](int s) { return s % 10 == 0 ? inf : 1e300 * noise(s); },
       }) {
    DetectorWorld world;
    world.vital.minimum.reset();
    world.vital.maximum.reset();
    world.run(0, 900, value);
    CHECK(world.detector.models()->size() == 1);
    for (const Anomaly& anomaly : *world.detector.anomalies()) {
      CHECK(std::isfinite(anomaly.anomaly_score));
    }
  }
}

TEST_CASE("time that goes back and series that end do no harm") {
  DetectorWorld world;
  world.run(0, 600, ordinary);
  REQUIRE(world.only().ready);
  world.clock.step_wall(-2h);
  world.run(600, 900, [](int) { return 99; });
  CHECK(world.detector.anomalies()->empty());  // old times are not scored
  world.series.clear();
  world.run(900, 900 + 3 * 3600, ordinary);
  CHECK(world.detector.models()->empty());  // forgotten
}

TEST_CASE("training is staggered: a few series a tick") {
  DetectorWorld world;
  world.series.clear();
  for (int i = 0; i < 30; ++i) {
    world.series.emplace_back("cpu_usage_percent", std::initializer_list<knowledge::LabelView>{
                                                       {"cpu", std::to_string(i)}});
  }
  world.section.minimum_samples = 10;
  world.detector.configure(world.section);
  double before = 0;
  for (int s = 0; s < 200; ++s) {
    world.run(s, s + 1, ordinary);
    const double now = metric(world.self, "nexus_anomaly_trainings_total");
    CHECK(now - before <= 4);
    before = now;
  }
  CHECK(metric(world.self, "nexus_anomaly_models", "ready") == 30);
}

TEST_CASE("switched off: models are dropped, findings resolve") {
  DetectorWorld world;
  world.run(0, 1000, ordinary);
  world.run(1000, 1060, [](int) { return 97; });
  REQUIRE(world.find("cpu_usage_percent_anomaly")->state == FindingState::kFiring);
  world.section.enabled = false;
  world.detector.configure(world.section);
  world.run(1060, 1400, ordinary);
  CHECK(world.detector.models()->empty());
  CHECK(world.find("cpu_usage_percent_anomaly")->state == FindingState::kResolved);
  world.section.enabled = true;
  world.vital.anomaly = false;
  world.detector.configure(world.section);
  world.run(1400, 1420, ordinary);
  CHECK(world.detector.models()->empty());
}

TEST_CASE("the list of anomalies is bounded") {
  Episodes episodes;
  for (int i = 0; i < 1500; ++i) episodes.begin(anomaly_of(i), SteadyTime{});
  CHECK(episodes.snapshot()->size() == 1000);
  CHECK(episodes.snapshot()->front().value == 1499);
}

TEST_CASE("episodes that began at the same time are two, and one that goes on is kept") {
  Episodes episodes;
  const SteadyTime begin{};
  const auto first = episodes.begin(anomaly_of(1), begin);
  const auto second = episodes.begin(anomaly_of(2), begin);
  CHECK(first != second);
  for (auto passed = 0min; passed <= 120min; passed += 10min) {
    episodes.update(first, anomaly_of(1), begin + passed);
    episodes.forget(begin + passed);
  }
  REQUIRE(episodes.snapshot()->size() == 1);
  CHECK(episodes.snapshot()->front().value == 1);
  // Nor does one that goes on make room for new ones.
  for (int i = 0; i < 1500; ++i) {
    episodes.update(first, anomaly_of(1), begin + 121min);
    episodes.begin(anomaly_of(3), begin + 121min);
  }
  episodes.forget(begin + 122min + Episodes::kKept);
  CHECK(episodes.snapshot()->empty());
}

TEST_CASE("nothing new is published when nothing changes") {
  DetectorWorld world;
  world.section.retrain = 1h;
  world.detector.configure(world.section);
  world.run(0, 3000, ordinary);
  const auto trainings = metric(world.self, "nexus_anomaly_trainings_total");
  const auto anomalies = world.detector.anomalies();
  const auto models = world.detector.models();
  int second = 3000;
  for (; second < 3020; ++second) world.run(second, second + 1, ordinary);
  REQUIRE(metric(world.self, "nexus_anomaly_trainings_total") == trainings);
  CHECK(world.detector.anomalies() == anomalies);
  CHECK(world.detector.models() == models);
  world.run(second, second + 60, [](int) { return 97; });
  CHECK(world.detector.anomalies() != anomalies);
}

TEST_CASE("many that stand apart at once take turns with their forests, and all are judged") {
  DetectorWorld world;
  world.section.minimum_samples = 100;
  world.detector.configure(world.section);
  world.series.clear();
  for (int i = 0; i < 40; ++i) {
    world.series.emplace_back("cpu_usage_percent", std::initializer_list<knowledge::LabelView>{
                                                       {"cpu", std::to_string(i)}});
  }
  world.run(0, 900, ordinary);
  const auto asked = [&] { return metric(world.self, "nexus_anomaly_forest_scores_total"); };
  const double before = asked();
  double last = before;
  for (int second = 900; second < 990; ++second) {
    world.run(second, second + 1, [](int) { return 97; });
    CHECK(asked() - last <= 16);
    last = asked();
    // Who is in the middle of it goes first: some are told after three looks, as one alone is.
    if (second == 920) CHECK(world.detector.anomalies()->size() == 10);
  }
  CHECK(last - before >= 40 * 3);
  CHECK(metric(world.self, "nexus_anomaly_forests_total") >= 40);
  CHECK(metric(world.self, "nexus_anomaly_models", "ready") == 40);
  // All are strange, but for some whose young windows were learnt anew meanwhile; the budget of
  // episodes tells ten.
  CHECK(world.detector.anomalies()->size() == 10);
  CHECK(metric(world.self, "nexus_anomaly_over_budget_total") >= 20);
}

TEST_CASE("anomalies and models may be read while the detector ticks and is configured") {
  DetectorWorld world;
  std::thread reader([&] {
    for (int i = 0; i < 300; ++i) {
      (void)world.detector.anomalies()->size();
      (void)world.detector.models()->size();
      world.detector.configure(world.section);
    }
  });
  world.run(0, 600, ordinary);
  reader.join();
  CHECK(world.only().ready);
}

namespace {

/// A world of one-minute ticks.
struct MinuteWorld : World {
  MinuteWorld() {
    for (const char* name : {"cpu_usage_percent", "cpu_load", "network_bytes"}) {
      config::VitalConfig vital;
      vital.name = name;
      vital.unit = "percent";
      vitals.push_back(vital);
    }
    section.interval = 60s;
    make();
  }
  void make() {
    detector = std::make_unique<AnomalyDetector>(clock, history, *book, self, db.get());
    detector->configure(section);
  }
  void run(int minutes, const std::function<double(int, std::size_t)>& value_at) {
    for (int i = 0; i < minutes; ++i, ++minute) {
      clock.advance(60s);
      VitalsSnapshot snapshot;
      snapshot.definitions = std::make_shared<std::vector<config::VitalConfig>>(vitals);
      snapshot.time = clock.wall();
      for (std::size_t v = 0; v < vitals.size(); ++v) {
        const Labels labels(vitals[v].name, {});
        const double value = value_at(minute, v);
        sample(labels, value);
        snapshot.values.push_back({registry.intern(labels).value(), labels, value, clock.wall(),
                                   static_cast<std::uint32_t>(v), std::nullopt});
      }
      ingest();
      detector->tick(snapshot);
      book->tick();
    }
  }
  [[nodiscard]] std::size_t told(std::string_view what) const {
    return static_cast<std::size_t>(std::ranges::count(heard, std::string(what)));
  }

  std::vector<config::VitalConfig> vitals;
  config::AnomalySection section;
  std::unique_ptr<AnomalyDetector> detector;
  int minute = 0;
};

double calm(int minute, std::size_t vital) {
  const double load = std::sin(minute / 40.0);
  return 20 + 3 * load + noise(minute * 7 + static_cast<int>(vital));
}

}  // namespace

TEST_CASE("detector: a nightly job is told in the first nights and not in week two") {
  MinuteWorld world;
  const auto value = [](int minute, std::size_t vital) {
    const int of_day = minute % 1440;
    const bool job = vital == 0 && of_day >= 150 && of_day < 180;
    return calm(minute, vital) + (job ? 60 : 0);
  };
  world.run(7 * 1440, value);
  CHECK(world.told("cpu_usage_percent_anomaly firing") >= 1);
  CHECK(world.told("cpu_usage_percent_anomaly firing") <= 4);
  world.heard.clear();
  world.run(7 * 1440, value);
  CHECK(world.told("cpu_usage_percent_anomaly firing") == 0);
  CHECK(metric(world.self, "nexus_anomaly_known_total") > 0);
  // What is more than the job is told, at the job's time as well.
  world.run(1440, [&](int minute, std::size_t vital) {
    const bool more = vital == 0 && minute % 1440 >= 150 && minute % 1440 < 170;
    return value(minute, vital) + (more ? 200 : 0);
  });
  CHECK(world.told("cpu_usage_percent_anomaly firing") == 1);
}

TEST_CASE("detector: the host's vitals together, with what made it and what stood near") {
  MinuteWorld world;
  world.run(3 * 1440, calm);
  Observation failed = observation("service_failed", "web.service");
  failed.kind = FindingKind::kService;
  world.book->report("services", failed);
  // Each stays within its range; that they part is what is strange.
  world.run(15, [](int minute, std::size_t vital) {
    return vital == 1 ? 40 - calm(minute, vital) + 4 * noise(minute) : calm(minute, vital);
  });
  const auto list = world.detector->anomalies();
  const auto host = std::ranges::find(*list, "host_anomaly", &Anomaly::metric_name);
  REQUIRE(host != list->end());
  CHECK(host->description.find("cpu_load") != std::string::npos);
  CHECK(host->description.find("usually") != std::string::npos);
  CHECK(host->description.find("near in time: service_failed of web.service") != std::string::npos);
  CHECK(host->recommended_actions.size() >= 2);
  CHECK(host->probability.value() < 0.05);
  // Called noise it stays quiet as long as it lasts.
  const auto apart = [](int minute, std::size_t vital) {
    return vital == 1 ? 40 - calm(minute, vital) + 4 * noise(minute) : calm(minute, vital);
  };
  std::vector<std::uint64_t> ids;
  for (const Anomaly& a : *list)
    if (a.metric_name == "host_anomaly") ids.push_back(a.id);
  for (const std::uint64_t id : ids) REQUIRE(world.detector->judge(id, false));
  const double known = metric(world.self, "nexus_anomaly_known_total");
  world.run(10, apart);
  for (const Anomaly& a : *world.detector->anomalies()) CHECK(a.metric_name != "host_anomaly");
  CHECK(metric(world.self, "nexus_anomaly_known_total") > known);
  // Or not, when somebody thinks again.
  for (const std::uint64_t id : ids) REQUIRE(world.detector->judge(id, true));
  world.run(2, apart);
  std::size_t back = 0;
  for (const Anomaly& a : *world.detector->anomalies())
    back += std::ranges::count(ids, a.id) > 0 ? 1 : 0;
  CHECK(back == ids.size());
}

TEST_CASE("detector: verdicts; noise ends an anomaly and is not told again") {
  MinuteWorld world;
  world.run(2 * 1440, calm);
  const auto burst = [](int minute, std::size_t vital) {
    return calm(minute, vital) + (vital == 0 ? 60 : 0);
  };
  world.run(6, burst);
  const auto list = world.detector->anomalies();
  const auto found = std::ranges::find(*list, "cpu_usage_percent", &Anomaly::metric_name);
  REQUIRE(found != list->end());
  CHECK(found->id > 0);
  CHECK_FALSE(world.detector->judge(12345, false));
  REQUIRE(world.detector->judge(found->id, false));
  world.run(60, calm);
  for (const Anomaly& a : *world.detector->anomalies()) CHECK(a.id != found->id);
  CHECK(metric(world.self, "nexus_anomaly_verdicts_total") == 1);
  world.run(300, calm);
  world.heard.clear();
  world.run(6, burst);  // at another time of the day
  CHECK(world.told("cpu_usage_percent_anomaly firing") == 0);
}

TEST_CASE("detector: the last verdict counts, as if it were the only one") {
  const auto burst = [](int height) {
    return [height](int minute, std::size_t vital) {
      return calm(minute, vital) + (vital == 0 ? height : 0);
    };
  };
  enum class Pause { kNone, kMinutes };
  const auto judged = [&](const std::vector<bool>& verdicts, Pause pause) {
    MinuteWorld world;
    world.run(2 * 1440, calm);
    world.run(6, burst(60));
    const auto listed = [&](std::uint64_t id) {
      const auto list = world.detector->anomalies();
      return std::ranges::find(*list, id, &Anomaly::id) != list->end();
    };
    const auto first = world.detector->anomalies();
    const auto found = std::ranges::find(*first, "cpu_usage_percent", &Anomaly::metric_name);
    REQUIRE(found != first->end());
    CHECK_FALSE(found->real);
    for (const bool real : verdicts) {
      REQUIRE(world.detector->judge(found->id, real));
      if (pause == Pause::kNone) continue;
      world.run(2, calm);
      CHECK(listed(found->id) == real);
    }
    world.run(2, calm);
    CHECK(listed(found->id) == verdicts.back());
    world.run(300, calm);
    CHECK_FALSE(world.detector->judge(found->id, true));  // older than an hour
    world.heard.clear();
    world.run(6, burst(65));  // a little more, or it would be no extreme
    return world.told("cpu_usage_percent_anomaly firing");
  };
  for (const Pause pause : {Pause::kNone, Pause::kMinutes}) {
    CHECK(judged({true}, pause) == 1);
    CHECK(judged({false}, pause) == 0);
    CHECK(judged({false, false, true}, pause) == 1);
    CHECK(judged({true, false, true, false}, pause) == 0);
  }
}

TEST_CASE("detector: what was learnt outlives a restart") {
  MinuteWorld world;
  world.run(1440, calm);
  const auto progress = [&] { return world.detector->models()->front().progress; };
  CHECK(progress() == 1);
  REQUIRE(world.detector->save());
  world.make();
  world.run(1, calm);  // not a whole minute yet
  for (const ModelStatus& model : *world.detector->models()) CHECK(model.progress == 1);
  world.run(5, calm);
  for (const ModelStatus& model : *world.detector->models()) {
    INFO(model.metric_name << to_string(model.labels) << ": " << model.state);
    CHECK(model.progress == 1);
  }
  CHECK(world.detector->models()->size() == 5);  // three vitals, the host, its processors
  CHECK(metric(world.self, "nexus_anomaly_models_anew_total") == 0);
  // What another version has saved is not used, which is counted.
  REQUIRE(world.db->execute("UPDATE anomaly_models SET state = 'VAD2 and so on'"));
  world.make();
  world.run(6, calm);
  CHECK(progress() < 0.1);
  CHECK(metric(world.self, "nexus_anomaly_models_anew_total") == 5);  // three, the host, cpu
  // Without the database it would begin anew.
  REQUIRE(world.db->execute("DELETE FROM anomaly_models"));
  world.make();
  world.run(3, calm);
  CHECK(progress() < 0.1);
}
