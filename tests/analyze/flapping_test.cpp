// What flaps, what explains what, and what stays with a finding.
#include "analyze/relations.hpp"
#include "analyze/world.hpp"

using namespace nexus;
using namespace nexus::analyze;
using namespace nexus::analyze::test;

namespace {

std::map<std::string, CauseLink> causes_of(std::vector<Finding> firing, const Graph& graph) {
  return relate({std::move(firing), std::make_shared<const Dependencies>(graph), nullptr}).causes;
}

}  // namespace

TEST_CASE("what fires and ends again and again is held firing until it is steady, over a restart") {
  World world;
  const auto seen = observation("hot");
  int crossings = 0;
  for (; crossings < 22; ++crossings) {  // three minutes apart
    world.book->observe("rule",
                        crossings % 2 == 0 ? std::vector{seen} : std::vector<Observation>{});
    world.book->tick();
    world.clock.advance(3min);
  }
  CHECK(world.heard == std::vector<std::string>{"hot firing", "hot resolved", "hot firing"});
  REQUIRE(world.find("hot") != nullptr);
  CHECK(world.find("hot")->flapping);
  CHECK(world.find("hot")->state == FindingState::kFiring);
  CHECK(metric(world.self, "nexus_findings_flapping") == 1);
  world.open_book();
  CHECK(world.find("hot")->flapping);
  for (int i = 0; i < 60; ++i) {
    world.clock.advance(1min);
    world.book->observe("rule", {});
    world.book->tick();
  }
  CHECK(world.heard.size() == 4);
  CHECK(world.heard.back() == "hot resolved");
  CHECK(metric(world.self, "nexus_findings_flapping") == 0);
}

TEST_CASE("what is told when it happens is no flapping measure: breakers watch over it") {
  World world;
  const auto seen = observation("service_failed");
  const auto print = fingerprint(seen.kind, seen.name, seen.labels);
  for (int i = 0; i < 10; ++i) {
    world.book->report("services", seen);
    world.clock.advance(10s);
    world.book->clear("services", print);
  }
  CHECK(world.heard.size() == 20);
}

TEST_CASE("what is held fires on, unseen, and says when its data is missing") {
  World world;
  const auto seen = observation("hot");
  const auto print = fingerprint(seen.kind, seen.name, seen.labels);
  world.book->observe("rule", {seen});
  world.book->observe("rule", {}, {{print, false}});
  CHECK(world.find("hot")->state == FindingState::kFiring);
  CHECK_FALSE(world.find("hot")->seen_now);
  CHECK_FALSE(world.find("hot")->missing);
  world.book->observe("rule", {}, {{print, true}});
  CHECK(world.find("hot")->missing);
  CHECK(metric(world.self, "nexus_findings_missing") == 1);
  world.book->observe("rule", {});
  CHECK(world.find("hot")->state == FindingState::kResolved);
  CHECK_FALSE(world.find("hot")->missing);
  CHECK(record_of(*world.find("hot")).states.back().what == "resolved");
}

TEST_CASE("the most upstream finding is the cause, and what changed before is attached") {
  World world;
  auto graph = std::make_shared<Graph>();
  graph->edges = {{"web", "db", "depends_on"}, {"db", "disk", "depends_on"}};
  world.book->set_graph(graph);
  world.book->note({world.clock.wall(), "packages", "libfoo", "libfoo was installed"});
  world.clock.advance(5min);
  const auto fire = [&](std::string subject, FindingKind kind) {
    auto seen = observation("broken", std::move(subject));
    seen.kind = kind;
    world.book->report("events", seen);
    world.clock.advance(2min);
  };
  fire("web", FindingKind::kService);
  fire("db", FindingKind::kService);
  fire("disk", FindingKind::kVital);
  fire("other", FindingKind::kService);
  world.book->tick();
  const auto print = [&](std::string_view subject) {
    return world.find("broken", subject)->fingerprint;
  };
  CHECK(record_of(*world.find("broken", "web")).cause == print("disk"));
  CHECK(record_of(*world.find("broken", "db")).cause == print("disk"));
  CHECK(record_of(*world.find("broken", "db")).cause_link == "depends_on");
  CHECK(record_of(*world.find("broken", "disk")).cause.empty());
  CHECK(record_of(*world.find("broken", "disk")).symptoms.size() == 2);
  CHECK(record_of(*world.find("broken", "other")).cause.empty());
  REQUIRE(record_of(*world.find("broken", "web")).what_changed.size() == 1);
  CHECK(record_of(*world.find("broken", "web")).what_changed.front().subject == "libfoo");
  world.book->note_action(
      print("web"), {world.clock.wall(), "id-1", "restart_service", "web", "queued", "", "r"});
  world.book->note_action(print("web"), {world.clock.wall(), "id-1", "restart_service", "web",
                                         "succeeded", "done", "r"});
  world.book->tick();
  world.open_book();
  const auto& kept = record_of(*world.find("broken", "web"));
  REQUIRE(kept.actions.size() == 1);
  CHECK(kept.actions.front().state == "succeeded");
  CHECK(kept.cause == print("disk"));
}

TEST_CASE("what began together has the host's own trouble as its cause; circles have the first") {
  World world;
  const auto finding = [&](std::string subject, FindingKind kind, Millis after) {
    Finding out;
    out.kind = kind;
    out.subject = subject;
    out.fingerprint = std::move(subject);
    out.started = world.clock.wall() + after;
    out.fired = out.started;
    return out;
  };
  auto disk = finding("disk", FindingKind::kVital, 10s);
  disk.name = "disk_usage_percent";
  const auto web = finding("web", FindingKind::kService, 0s);
  const auto late = finding("late", FindingKind::kService, 10min);
  const auto guess = finding("guess", FindingKind::kAnomaly, 0s);
  const std::vector<Finding> all = {disk, web, late, guess};
  auto causes = causes_of(all, {});
  CHECK(causes.at("web").cause == "disk");
  CHECK(causes.at("web").link == "started_together");
  CHECK(causes.at("guess").cause == "disk");
  CHECK_FALSE(causes.contains("late"));
  CHECK_FALSE(causes.contains("disk"));
  causes = causes_of(all, {{{"web", "late", "connection"}, {"late", "web", "connection"}}});
  CHECK(causes.at("late").link == "connection");
  CHECK(causes.at("late").cause == "disk");  // web's own
}

TEST_CASE("what explains a finding is not explained by it, and a count of failures explains none") {
  World world;
  const auto finding = [&](std::string name, std::string subject, FindingKind kind, Millis after) {
    Finding out;
    out.kind = kind;
    out.name = name;
    out.fingerprint = std::move(name);
    out.subject = std::move(subject);
    out.started = world.clock.wall() + after;
    out.fired = out.started;
    return out;
  };
  const auto db = finding("db_failed", "db", FindingKind::kService, 20s);
  const auto slow = finding("app_slow", "app", FindingKind::kAlert, 0s);
  const auto count = finding("systemd_failed_units", "host", FindingKind::kVital, 21s);
  const auto odd = finding("odd", "host", FindingKind::kAnomaly, 22s);
  const std::vector<Finding> all = {db, slow, count, odd};
  // An alert may be on a lower layer: what needs the database is its symptom all the same.
  auto causes = causes_of(all, {{{"app", "db", "connection"}}});
  CHECK(causes.at("app_slow").cause == "db_failed");
  CHECK(causes.at("app_slow").link == "connection");
  CHECK_FALSE(causes.contains("db_failed"));
  CHECK_FALSE(causes.contains("systemd_failed_units"));
  causes = causes_of(all, {});
  CHECK(causes.at("db_failed").cause == "app_slow");
  CHECK(causes.at("systemd_failed_units").cause == "app_slow");
  CHECK(causes.at("odd").cause == "app_slow");
  // Where nothing else began then, a count of failures is no cause, nor is a certificate; what
  // somebody's own vital is about is not known: it stands where alerts do.
  const auto tls = finding("tls_certificate_days_left", "shop", FindingKind::kVital, 0s);
  const auto up = finding("nginx_up", "nginx", FindingKind::kVital, 0s);
  const auto cpu = finding("cpu_usage_percent", "host", FindingKind::kVital, 5s);
  CHECK(causes_of({count, tls, odd}, {}).empty());
  causes = causes_of({up, cpu, db}, {});
  CHECK(causes.at("nginx_up").cause == "cpu_usage_percent");
  CHECK(causes.at("db_failed").cause == "cpu_usage_percent");
  CHECK(causes_of({up, db}, {}).at("db_failed").cause == "nginx_up");
  // Asking a service explains what needs that service, all the same.
  CHECK(causes_of({tls, slow}, {{{"app", "shop", "connection"}}}).at("app_slow").cause == tls.name);
}

TEST_CASE("a chain of what needs what is followed to its end, whatever else it reaches") {
  World world;
  std::vector<Finding> all;
  Graph graph;
  const auto name = [](int number) { return "s" + std::to_string(number); };
  for (int i = 0; i < 12; ++i) {
    Finding one;
    one.kind = FindingKind::kService;
    one.fingerprint = one.subject = one.name = name(i);
    one.started = world.clock.wall() + std::chrono::minutes(i);
    one.fired = one.started;
    // A chain of eight, one that nothing is linked to, and a circle of three.
    if (i != 3) all.push_back(std::move(one));
  }
  for (int i = 0; i < 7; ++i) graph.edges.push_back({name(i), name(i + 1), "depends_on"});
  graph.edges.push_back({name(2), name(7), "connection"});  // a shorter way to the same
  graph.edges.push_back({name(9), name(10), "connection"});
  graph.edges.push_back({name(10), name(11), "depends_on"});
  graph.edges.push_back({name(11), name(9), "depends_on"});
  const auto causes = causes_of(all, graph);
  for (int i = 0; i < 7; ++i) {
    INFO(i);
    if (i == 3) continue;
    CHECK(causes.at(name(i)).cause == name(7));
    CHECK(causes.at(name(i)).link == "depends_on");
  }
  CHECK_FALSE(causes.contains(name(7)));
  CHECK_FALSE(causes.contains(name(8)));
  CHECK_FALSE(causes.contains(name(9)));  // the first of the circle
  CHECK(causes.at(name(10)).cause == name(9));
  CHECK(causes.at(name(11)).cause == name(9));
}

TEST_CASE("a rollout explains what breaks during it, and not the finding that it answers") {
  World world;
  const auto fire = [&](std::string subject) {
    auto seen = observation("broken", std::move(subject));
    seen.kind = FindingKind::kService;
    world.book->report("events", seen);
  };
  fire("web");
  fire("db");
  const std::string print = world.find("broken", "web")->fingerprint;
  world.clock.advance(10s);
  world.book->note_action(
      print, {world.clock.wall(), "id-1", "rollback_deployment", "web", "running", "", "r"});
  world.book->note({world.clock.wall(), "deploy", "web", "rollback_deployment (action id-1)"});
  world.clock.advance(5min);
  fire("cache");
  world.book->tick();
  const auto told = [&](std::string_view subject) {
    return record_of(*world.find("broken", subject)).what_changed.size();
  };
  CHECK(told("web") == 0);
  CHECK(told("db") == 1);
  CHECK(told("cache") == 1);
  CHECK(record_of(*world.find("broken", "web")).actions.front().state == "running");
}

TEST_CASE(
    "what fires is related before it is told and before a tick; what was taken for a cause may "
    "turn") {
  World world;
  world.book->note({world.clock.wall(), "deploy", "app", "app 4.7 was rolled out"});
  std::vector<std::string> at_hand;  // of a listener, beside what it is told
  world.book->subscribe([&](const Finding& finding) {
    const auto now = world.book->find(finding.fingerprint);
    REQUIRE(now);
    at_hand.push_back(finding.subject + " " + std::to_string(record_of(*now).what_changed.size()) +
                      (record_of(*now).cause.empty() ? "" : " explained"));
  });
  const auto fire = [&](std::string subject, FindingKind kind) {
    auto seen = observation("broken", std::move(subject));
    seen.kind = kind;
    world.book->report("events", seen);
  };
  fire("app", FindingKind::kAlert);
  fire("db", FindingKind::kService);
  CHECK(at_hand == std::vector<std::string>{"app 1", "db 1 explained"});
  const auto all = world.book->snapshot();
  REQUIRE(all->size() == 2);
  for (const Finding& one : *all) {
    REQUIRE(record_of(one).what_changed.size() == 1);
    CHECK(record_of(one).what_changed.front().kind == "deploy");
  }
  CHECK(record_of(*world.find("broken", "db")).cause == world.find("broken", "app")->fingerprint);
  // Only now it is known who talks to whom.
  auto graph = std::make_shared<Graph>();
  graph->edges = {{"app", "db", "connection"}};
  world.book->set_graph(graph);
  CHECK(record_of(*world.find("broken", "db")).cause.empty());
  CHECK(record_of(*world.find("broken", "app")).cause == world.find("broken", "db")->fingerprint);
  CHECK(record_of(*world.find("broken", "app")).symptoms.empty());
}
