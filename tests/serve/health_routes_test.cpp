// The shapes of /health..., as people and pages rely on them.
#include "rooms.hpp"

using namespace nexus;
using namespace nexus::serve;
using namespace nexus::serve::test;

namespace {

/// The element of an array whose member is this text.
const js::value& element(const js::value& array, std::string_view member, std::string_view text) {
  for (const auto& item : array.as_array()) {
    if (item.at(member).as_string() == text) return item;
  }
  FAIL("no element with " << member << " = " << text);
  return array;
}

}  // namespace

TEST_CASE("/health/status before anything is known") {
  World world;
  const auto status = expect(world.get("/health/status"));
  check_shape(status, {"overall_status:s", "timestamp:t", "metrics_count:n", "active_alerts:n",
                       "status_breakdown:o", "recent_metrics:a", "recent_alerts:a"});
  CHECK(status.at("overall_status") == "unknown");
}

TEST_CASE("/health/status goes from healthy over warning to critical") {
  World world;
  world.tick();
  auto status = expect(world.get("/health/status"));
  CHECK(status.at("overall_status") == "healthy");
  CHECK(status.at("metrics_count").to_number<int>() > 2);
  check_shape(status.at("status_breakdown"), {"healthy:n", "warning:n", "critical:n"});
  const auto& memory = element(status.at("recent_metrics"), "name", "memory_usage_percent");
  check_shape(memory, {"name:s", "labels:o", "value:n", "unit:s", "status:s", "warning:n0",
                       "critical:n0", "timestamp:t"});
  CHECK(memory.at("value").to_number<double>() == Approx(50));
  CHECK(memory.at("status") == "healthy");

  world.fail_service();
  CHECK(expect(world.get("/health/status")).at("overall_status") == "warning");
  world.sample("intruders", {{"door", "back"}}, 2);
  world.tick();
  status = expect(world.get("/health/status"));
  CHECK(status.at("overall_status") == "critical");
  CHECK(status.at("active_alerts").to_number<int>() == 2);
  const auto& alert = element(status.at("recent_alerts"), "name", "Intruder");
  check_shape(
      alert,
      {"fingerprint:s",  "kind:s",    "name:s",          "severity:s", "state:s",      "subject:s",
       "description:s",  "labels:o",  "annotations:o",   "value:n",    "threshold:n0", "evidence:s",
       "started:t",      "fired:t",   "last_seen:t",     "resolved:0", "episodes:n",   "seen_now:b",
       "flapping:b",     "missing:b", "state_changes:a", "cause:0",    "cause_link:0", "symptoms:a",
       "what_changed:a", "actions:a"});
  CHECK(alert.at("annotations").at("summary") == "2 of them");
  CHECK(alert.at("labels").at("door") == "back");
}

TEST_CASE("/health/status is rendered once for a state and shared") {
  World world;
  world.tick();
  const auto first = world.get("/health/status").body;
  CHECK(world.get("/health/status").body == first);
  world.tick();
  CHECK(world.get("/health/status").body != first);
}

TEST_CASE("/health/alerts filters by what a finding is") {
  World world;
  world.sample("intruders", {}, 1);
  world.tick();
  world.fail_service();
  const auto count = [&](World::Params query) {
    return expect(world.get("/health/alerts", std::move(query))).at("alerts").as_array().size();
  };
  check_shape(expect(world.get("/health/alerts")), {"alerts:a", "matching:n", "timestamp:t"});
  CHECK(count({}) == 2);
  CHECK(count({{"name", "Intruder"}}) == 1);
  CHECK(count({{"severity", "critical"}, {"state", "firing"}}) == 1);
  CHECK(count({{"kind", "service"}}) == 1);
  for (const auto kind : analyze::kFindingKinds) {
    const bool is_there =
        kind == analyze::FindingKind::kService || kind == analyze::FindingKind::kAlert;
    CHECK(count({{"kind", std::string(to_string(kind))}}) == (is_there ? 1 : 0));
  }
  CHECK(count({{"kind", "service"}, {"name", "Intruder"}}) == 0);
  world.book->report("drift", {.kind = analyze::FindingKind::kDrift, .name = "setting_drift"});
  CHECK(world.get("/operations/drift", {{"kind", "service"}}).status == 400);
  const auto drift = expect(world.get("/operations/drift", {{"kind", "drift"}}));
  check_shape(drift, {"drift:a", "matching:n", "timestamp:t"});
  REQUIRE(drift.at("drift").as_array().size() == 1);
  CHECK(drift.at("drift").at(0).at("kind") == "drift");
  CHECK(expect(world.get("/operations/optimizations")).at("optimizations").as_array().empty());
}

TEST_CASE("an incident is counted by its members, and is not explained by its cause") {
  World world;
  world.tick();
  world.fail_service();
  const auto before = expect(world.get("/health/status"));
  const auto findings = world.book->snapshot();
  const std::string cause = findings->front().fingerprint;
  analyze::Observation incident{.kind = analyze::FindingKind::kIncident, .name = "incident"};
  incident.members = std::make_shared<const analyze::Members>(analyze::Members{cause, {}});
  world.book->observe("incidents", {incident});
  world.book->report("kept", {.kind = analyze::FindingKind::kOptimization, .name = "tuning_kept"});
  const auto status = expect(world.get("/health/status"));
  CHECK(status.at("active_alerts") == before.at("active_alerts"));
  CHECK(status.at("recent_alerts").as_array().size() ==
        before.at("recent_alerts").as_array().size());
  CHECK(expect(world.get("/health/alerts", {{"kind", "incident"}})).at("matching") == 1);
  CHECK(expect(world.get("/health/alerts", {{"cause", cause}})).at("matching") == 0);
}

TEST_CASE("/health/predictions for a line that rises") {
  World world;
  world.memory = 20;
  for (int i = 0; i < 600; ++i) {
    world.memory += 0.05;
    world.tick();
  }
  world.forecaster->tick(*world.rules->vitals());
  const auto all = expect(world.get("/health/predictions"));
  check_shape(all, {"predictions:a", "timestamp:t"});
  const auto& p = element(all.at("predictions"), "metric_name", "memory_usage_percent");
  check_shape(p, {"metric_name:s",
                  "labels:o",
                  "unit:s",
                  "current_value:n",
                  "predicted_value:n",
                  "lower:n",
                  "upper:n",
                  "lower80:n0",
                  "upper80:n0",
                  "confidence:n",
                  "tolerance:n0",
                  "past_error:n0",
                  "slope_per_second:n0",
                  "slope_p_value:n0",
                  "r_squared:n",
                  "time_horizon:n",
                  "trend:s",
                  "risk_level:s",
                  "model:s",
                  "ready:b",
                  "seconds_to_warning:n0",
                  "seconds_to_critical:n0"});
  CHECK(p.at("trend") == "rising");
  CHECK(p.at("time_horizon").to_number<double>() == 60);
  CHECK(p.at("seconds_to_critical").to_number<double>() > 0);
  const auto near = expect(
      world.get("/health/predictions", {{"metric", "memory_usage_percent"}, {"horizon", "1"}}));
  REQUIRE(near.at("predictions").as_array().size() == 1);
  CHECK(near.at("predictions").at(0).at("predicted_value").to_number<double>() ==
        Approx(53).margin(0.5));
  CHECK(near.at("predictions").at(0).at("time_horizon").to_number<double>() == 1);
  CHECK(expect(world.get("/health/predictions", {{"metric", "none"}}))
            .at("predictions")
            .as_array()
            .empty());
  for (const std::string bad : {"0", "-1", "x", "1.5", "99999999999999999999", ""}) {
    CHECK(message_of(world.get("/health/predictions", {{"horizon", bad}}), 400)
              .starts_with("horizon: expected a whole number"));
  }
}

TEST_CASE("/health/predictions for a series that was constant: no R squared, no confidence") {
  World world;
  world.memory = 20;
  for (int i = 0; i < 100; ++i) world.tick();
  world.forecaster->tick(*world.rules->vitals());
  const auto all = expect(world.get("/health/predictions"));
  const auto& p = element(all.at("predictions"), "metric_name", "memory_usage_percent");
  CHECK(p.at("ready").as_bool());
  CHECK(p.at("r_squared").is_null());
  CHECK(p.at("confidence").to_number<double>() == 0);
}

TEST_CASE("/health/predictions/{vital}/chart.png draws a vital") {
  World world;
  for (int i = 0; i < 300; ++i) {
    world.memory = 20 + i * 0.1;
    world.tick();
  }
  world.forecaster->tick(*world.rules->vitals());
  const auto picture = world.get("/health/predictions/memory_usage_percent/chart.png",
                                 {{"hours", "1"}, {"horizon", "30"}, {"width", "500"}});
  CHECK(picture.status == 200);
  CHECK(picture.content_type == "image/png");
  REQUIRE(picture.body->size() > 200);
  CHECK(picture.body->substr(0, 8) == "\x89PNG\r\n\x1a\n");
  CHECK(picture.body->substr(16, 4) == std::string("\x00\x00\x01\xf4", 4));
  CHECK(picture.body->substr(picture.body->size() - 8, 4) == "IEND");
  const auto path = "/health/predictions/memory_usage_percent/chart.png";
  CHECK(message_of(world.get(path, {{"width", "1"}}), 400).starts_with("width: "));
  CHECK(message_of(world.get(path, {{"hours", "x"}}), 400).starts_with("hours: "));
  CHECK(world.get("/health/predictions/none/chart.png").status == 404);
  // Series that are not there are an empty picture, not an error.
  CHECK(world.get(path, {{"labels", "{a=\"b\"}"}}).status == 200);
}

TEST_CASE("/health/anomalies for a value that never was") {
  World world;
  for (int i = 0; i < 400; ++i) {
    world.memory = 50 + i % 7;
    world.tick();
    world.anomalies->tick(*world.rules->vitals());
  }
  const auto before = expect(world.get("/health/anomalies"));
  check_shape(before, {"anomalies:a", "models:a", "timestamp:t"});
  check_shape(element(before.at("models"), "metric_name", "memory_usage_percent"),
              {"metric_name:s", "labels:o", "ready:b", "state:s", "progress:n", "trained:t0"});
  const auto now = world.clock.wall();
  world.book->note({now - std::chrono::hours(2), "boot", "host", "the host was started"});
  world.book->note({now, "packages", "host", "upgrade nginx 1 to 2"});
  world.memory = 99;
  for (int i = 0; i < 60; ++i) {
    world.tick();
    world.anomalies->tick(*world.rules->vitals());
  }
  const auto after = expect(world.get("/health/anomalies"));
  const auto& anomaly = element(after.at("anomalies"), "metric_name", "memory_usage_percent");
  check_shape(anomaly,
              {"id:n", "probability:n0", "metric_name:s", "labels:o", "timestamp:t", "value:n",
               "anomaly_score:n", "severity:s", "description:s", "recommended_actions:a",
               "contributors:a", "processes:a", "changes:a", "verdict:s0"});
  const auto& changes = anomaly.at("changes").as_array();
  REQUIRE(changes.size() == 1);  // not the one of two hours before
  check_shape(changes.at(0), {"time:t", "kind:s", "subject:s", "text:s"});
  CHECK(changes.at(0).at("text").as_string() == "upgrade nginx 1 to 2");
  CHECK(std::string_view(anomaly.at("description").as_string())
            .contains("; changed near in time: upgrade nginx 1 to 2 ("));
  CHECK(anomaly.at("anomaly_score").to_number<double>() < 0);
  const auto& actions = anomaly.at("recommended_actions").as_array();
  REQUIRE(actions.size() >= 2);  // the remedy that matches, then what to look at
  CHECK(actions.at(0).as_string() == "Remedy calm: run_command host (mode propose)");
  CHECK(actions.at(1).as_string() == "See which processes grew");

  const auto path = "/health/anomalies/" +
                    std::to_string(anomaly.at("id").to_number<std::uint64_t>()) + "/verdict";
  CHECK(world.post(path, R"({"verdict": "perhaps"})").status == 400);
  CHECK(world.post(path, "[]").status == 400);
  CHECK(world.post("/health/anomalies/1/verdict", R"({"verdict": "noise"})").status == 404);
  CHECK(world.post("/health/anomalies/x/verdict", R"({"verdict": "noise"})").status == 404);
  CHECK(expect(world.post(path, R"({"verdict": "noise"})")).at("verdict").as_string() == "noise");
  const auto listed = [&] {
    for (int i = 0; i < 10; ++i) {
      world.tick();
      world.anomalies->tick(*world.rules->vitals());
    }
    const auto later = expect(world.get("/health/anomalies"));
    for (const auto& left : later.at("anomalies").as_array())
      if (left.at("id") == anomaly.at("id"))
        return std::string(left.at("verdict").is_null() ? "none"
                                                        : left.at("verdict").as_string().c_str());
    return std::string("not listed");
  };
  CHECK(listed() == "not listed");
  // Somebody thinks again.
  CHECK(world.post(path, R"({"verdict": "noise"})").status == 200);
  CHECK(world.post(path, R"({"verdict": "real"})").status == 200);
  CHECK(listed() == "real");
}

TEST_CASE("/health/events lists what changed, newest first") {
  World world;
  const auto none = expect(world.get("/health/events"));
  check_shape(none, {"events:a", "timestamp:t"});
  CHECK(none.at("events").as_array().empty());
  const auto now = world.clock.wall();
  world.book->note({now - std::chrono::hours(3), "boot", "host", "the host was started"});
  world.book->note(
      {now - std::chrono::minutes(1), "unit", "web.service", "web.service was started again"});
  const auto all = expect(world.get("/health/events"));
  REQUIRE(all.at("events").as_array().size() == 2);
  const auto& newest = all.at("events").at(0);
  check_shape(newest, {"time:t", "kind:s", "subject:s", "text:s"});
  CHECK(newest.at("subject").as_string() == "web.service");
  const auto count = [&](World::Params asked) {
    return expect(world.get("/health/events", std::move(asked))).at("events").as_array().size();
  };
  CHECK(count({{"kind", "boot"}}) == 1);
  CHECK(count({{"hours", "2"}}) == 1);
  CHECK(count({{"hours", "2"}, {"kind", "boot"}}) == 0);
  CHECK(message_of(world.get("/health/events", {{"hours", "0"}}), 400).contains("hours"));
}

TEST_CASE("/health/metrics charts a vital or any series") {
  World world;
  for (int i = 0; i < 120; ++i) {
    world.sample("temperature", {{"sensor", "a"}}, i);
    world.tick();
  }
  const auto chart = expect(
      world.get("/health/metrics",
                {{"metric", "temperature{sensor=\"a\"}"}, {"hours", "0.05"}, {"step", "10s"}}));
  check_shape(chart, {"metric:s", "hours:n", "step_seconds:n", "series:a"});
  REQUIRE(chart.at("series").as_array().size() == 1);
  const auto& series = chart.at("series").at(0);
  check_shape(series, {"metric_name:s", "labels:o", "points:a"});
  const auto& last = series.at("points").as_array().back();
  CHECK(last.at(0).as_string() == base::to_rfc3339(world.clock.wall()));
  CHECK(last.at(1).to_number<double>() == 119);
  CHECK(expect(world.get("/health/metrics", {{"metric", "memory_usage_percent"}}))
            .at("series")
            .as_array()
            .size() == 1);
  CHECK(message_of(world.get("/health/metrics"), 400).starts_with("metric: expected"));
  for (const std::string bad : {"0", "-1", "x", "nan", "inf", "1e9"}) {
    CHECK(message_of(world.get("/health/metrics", {{"metric", "up"}, {"hours", bad}}), 400)
              .starts_with("hours: "));
  }
  CHECK(world.get("/health/metrics", {{"metric", "up"}, {"step", "x"}}).status == 400);
  CHECK(world.get("/health/metrics", {{"metric", "up"}, {"step", "0"}}).status == 400);
  CHECK(world.get("/health/metrics", {{"metric", "rate(up[5m])"}}).status == 400);
  CHECK(world.get("/health/metrics", {{"metric", "up{"}}).status == 400);
}

TEST_CASE("/health and /health/components tell of the agent's own parts") {
  World world;
  world.clock.advance(90s);
  auto health = expect(world.get("/health"));
  check_shape(health, {"status:s", "version:s", "started:t", "uptime_seconds:n", "ready:b",
                       "unhealthy_because:s0", "needs_restart:a", "rooms:o"});
  CHECK(health.at("status") == "healthy");
  CHECK(health.at("uptime_seconds").to_number<double>() == 90);
  world.components.push_back({"redis", "not_configured", ""});
  CHECK(expect(world.get("/health")).at("status") == "healthy");
  world.needs_restart = {"http.listen: bound"};
  world.unhealthy = "the plan loop hangs";
  health = expect(world.get("/health"));
  CHECK(health.at("status") == "failed");
  CHECK(health.at("unhealthy_because") == "the plan loop hangs");
  CHECK(health.at("needs_restart").at(0) == "http.listen: bound");
  world.unhealthy.clear();
  world.components.push_back({"systemd", "failed", "no \"bus\""});
  health = expect(world.get("/health"));
  CHECK(health.at("status") == "degraded");
  CHECK(health.at("rooms").at("systemd").at("message") == "no \"bus\"");
  monitor::CollectorStatus cpu;
  cpu.name = "cpu";
  world.collectors = {cpu};
  const auto parts = expect(world.get("/health/components"));
  check_shape(parts,
              {"components:a", "collectors:a", "sources:a", "failing_rules:a", "timestamp:t"});
  check_shape(parts.at("components").at(1), {"name:s", "status:s", "message:s"});
  check_shape(parts.at("collectors").at(0), {"name:s",
                                             "outcome:s",
                                             "error:s",
                                             "note:s",
                                             "last_run:t0",
                                             "last_success:t0",
                                             "age_seconds:n0",
                                             "interval_seconds:n",
                                             "present_interval_seconds:n",
                                             "deadline_seconds:n",
                                             "duration_seconds:n",
                                             "cpu_seconds:n",
                                             "cpu_seconds_total:n",
                                             "samples:n",
                                             "runs:n",
                                             "failures:n",
                                             "stuck:bn",
                                             "skipped:n",
                                             "dropped:n",
                                             "series_budget:n"});
}

TEST_CASE("/-/healthy, /-/ready and the page of links") {
  World world;
  CHECK(world.get("/-/healthy").status == 200);
  world.unhealthy = "the plan loop hangs";
  CHECK(world.get("/-/healthy").status == 503);
  CHECK(*world.get("/-/healthy").body == "nexus-agent is unhealthy: the plan loop hangs.\n");
  CHECK(world.get("/-/ready").status == 503);
  world.ready = true;
  CHECK(world.get("/-/ready").status == 200);
  const auto page = world.get("/");
  CHECK(page.content_type == "text/html; charset=utf-8");
  CHECK(page.body->find("1.2.3") != std::string::npos);
}
