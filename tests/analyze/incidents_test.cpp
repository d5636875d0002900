// Findings that belong together are one incident; what makes none.
#include "nexus/analyze/incidents.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "analyze/world.hpp"

using namespace nexus;
using namespace nexus::analyze;
using namespace nexus::analyze::test;

namespace {

struct Outage : World {
  /// Of things that need `db`.
  Outage() { set_graph(); }
  void set_graph() {
    auto graph = std::make_shared<Graph>();
    graph->edges = {{"app", "db", "depends_on"}, {"web", "db", "connection"}};
    book->set_graph(graph);
  }

  void fire(std::string name, std::string subject, FindingKind kind,
            Severity severity = Severity::kWarning) {
    auto seen = observation(std::move(name), std::move(subject), severity);
    seen.kind = kind;
    known.push_back(seen);
    book->report(seen.subject, seen);
  }
  void end(std::string_view subject) {
    for (const auto& one : known) {
      if (one.subject == subject) book->clear(subject, fingerprint(one.kind, one.name, one.labels));
    }
  }
  std::string print(std::string_view name, std::string_view subject) {
    return find(name, subject)->fingerprint;
  }
  const Finding* look() {
    book->tick();
    incidents->tick();
    book->tick();
    return find("incident");
  }
  /// Nothing for so long as an incident waits for more.
  void be_calm() {
    look();
    clock.advance(Incidents::kCalm);
  }
  [[nodiscard]] std::uint64_t episodes() { return find("incident")->episodes; }
  bool lasts() {
    const auto* one = look();
    return one != nullptr && one->state == FindingState::kFiring;
  }
  void restart() {
    incidents.reset();
    open_book();
    set_graph();
    incidents = std::make_unique<Incidents>(*book);
  }

  std::vector<Observation> known;
  std::unique_ptr<Incidents> incidents = std::make_unique<Incidents>(*book);
};

}  // namespace

TEST_CASE(
    "a failed service and what needs it are an incident, from the first to the last of them") {
  Outage host;
  host.book->note({host.clock.wall(), "packages", "db", "db was upgraded"});
  const auto began = host.clock.wall();
  host.fire("slow", "app", FindingKind::kAlert);
  CHECK(host.look() == nullptr);
  host.clock.advance(5s);
  host.fire("service_failed", "db", FindingKind::kService, Severity::kCritical);
  const auto* incident = host.look();
  REQUIRE(incident != nullptr);
  CHECK(incident->kind == FindingKind::kIncident);
  CHECK(incident->severity == Severity::kInfo);
  CHECK(incident->state == FindingState::kFiring);
  CHECK(incident->subject == "db");
  CHECK(incident->started == began);
  CHECK(incident->labels.at("cause") == "service_failed");
  CHECK(incident->evidence.value == 2);
  CHECK(incident->evidence.text == "service_failed db, and with it slow app");
  const std::string print = incident->fingerprint;
  CHECK(record_of(*incident).cause == host.print("service_failed", "db"));
  CHECK(record_of(*host.find("incident")).symptoms ==
        std::vector<std::string>{host.print("slow", "app")});
  REQUIRE(record_of(*host.find("incident")).what_changed.size() == 1);
  // It is nobody's symptom and explains nothing itself.
  CHECK(record_of(*host.find("service_failed")).symptoms ==
        std::vector<std::string>{host.print("slow", "app")});
  // One more belongs to it, the cause ends, the first symptom ends: it goes on with the last.
  host.fire("slow", "web", FindingKind::kAlert);
  CHECK(record_of(*host.look()).symptoms.size() == 2);
  host.end("db");
  CHECK(host.lasts());
  CHECK(host.find("incident")->evidence.text.contains("(over)"));
  host.end("app");
  CHECK(host.lasts());
  CHECK(record_of(*host.find("incident")).symptoms.size() == 2);  // who belonged to it
  host.restart();
  CHECK(host.lasts());
  CHECK(host.find("incident")->started == began);
  CHECK(host.find("incident")->fingerprint == print);
  CHECK(record_of(*host.find("incident")).symptoms.size() == 2);
  host.end("web");
  CHECK(host.lasts());
  host.clock.advance(Incidents::kCalm - 1s);
  CHECK(host.lasts());
  host.clock.advance(1s);
  CHECK_FALSE(host.lasts());
  CHECK(host.find("incident")->state == FindingState::kResolved);
  CHECK(metric(host.self, "nexus_findings_firing") == 0);
}

TEST_CASE("what makes no incident: one alone, two alerts, hints and anomalies, what was tuned") {
  Outage host;
  host.fire("slow", "db", FindingKind::kAlert);
  host.fire("slow", "app", FindingKind::kAlert);
  CHECK(host.look() == nullptr);
  host.fire("odd", "web", FindingKind::kAnomaly);
  host.fire("low", "web", FindingKind::kAlert, Severity::kInfo);
  CHECK(record_of(*host.find("odd")).cause == host.print("slow", "db"));
  CHECK(host.look() == nullptr);
  host.fire("setting_drift", "db", FindingKind::kDrift);
  host.fire("tuning_kept", "web", FindingKind::kOptimization);
  CHECK(host.look() == nullptr);
  CHECK(record_of(*host.find("setting_drift")).cause.empty());
  CHECK(record_of(*host.find("tuning_kept")).cause.empty());
  // The third makes it one, and those that do not count belong to it all the same.
  host.fire("slow", "web", FindingKind::kAlert);
  REQUIRE(host.look() != nullptr);
  CHECK(host.find("incident")->evidence.value == 5);
  for (const auto* subject : {"db", "app"}) host.end(subject);
  CHECK(host.lasts());
}

TEST_CASE("what fires for long, or keeps a cause that was over, is no member of what begins now") {
  Outage host;
  SECTION("a week before the cause") {
    host.fire("slow", "app", FindingKind::kAlert);
    host.look();
    host.clock.advance(168h);
    host.fire("service_failed", "db", FindingKind::kService, Severity::kCritical);
    CHECK(host.look() == nullptr);
    CHECK(record_of(*host.find("slow")).cause == host.print("service_failed", "db"));
    const auto began = host.clock.wall();
    host.clock.advance(1min);
    host.fire("slow", "web", FindingKind::kAlert);
    REQUIRE(host.look() != nullptr);
    CHECK(host.find("incident")->started == began);
    CHECK(host.find("incident")->evidence.value == 2);
    CHECK(record_of(*host.find("incident")).symptoms ==
          std::vector<std::string>{host.print("slow", "web")});
  }
  SECTION("since an episode of the cause that is over") {
    host.fire("slow", "db", FindingKind::kAlert);
    host.fire("slow", "app", FindingKind::kAlert);
    CHECK(host.look() == nullptr);
    host.end("db");
    host.look();
    host.clock.advance(24h);
    host.fire("slow", "db", FindingKind::kAlert);
    host.fire("slow", "web", FindingKind::kAlert);
    CHECK(host.look() == nullptr);
    CHECK(record_of(*host.find("slow", "app")).cause == host.print("slow", "db"));
  }
}

TEST_CASE("a service that fails again and again is one incident") {
  Outage host;
  const auto began = host.clock.wall();
  for (int crossing = 0; crossing < 11; ++crossing) {
    CAPTURE(crossing);
    host.fire("service_failed", "db", FindingKind::kService, Severity::kCritical);
    host.fire("slow", "app", FindingKind::kAlert);
    CHECK(host.lasts());
    host.clock.advance(30s);
    for (const auto* subject : {"db", "app"}) host.end(subject);
    CHECK(host.lasts());
    host.clock.advance(Incidents::kCalm - 1min);
    CHECK(host.lasts());
    if (crossing == 5) host.restart();
  }
  CHECK(host.episodes() == 1);
  CHECK(host.find("incident")->started == began);
  host.be_calm();
  CHECK_FALSE(host.lasts());
}

TEST_CASE("an incident that stays as it is leaves the book alone, and has room for what fires") {
  Outage host;
  auto graph = std::make_shared<Graph>();
  for (int i = 0; i < 120; ++i)
    graph->edges.push_back({fmt::format("app{}", i), "db", "depends_on"});
  host.book->set_graph(graph);
  host.fire("service_failed", "db", FindingKind::kService, Severity::kCritical);
  for (int i = 0; i < 60; ++i) host.fire("slow", fmt::format("app{}", i), FindingKind::kAlert);
  REQUIRE(host.look() != nullptr);
  CHECK(host.find("incident")->evidence.value == 61);
  CHECK(record_of(*host.find("incident")).symptoms.size() == FindingRecord::kMostSymptoms);
  host.look();
  const auto still = host.book->snapshot();
  host.incidents->tick();
  CHECK(host.book->snapshot() == still);
  host.clock.advance(1min);
  for (int i = 0; i < 60; ++i) host.end(fmt::format("app{}", i));
  for (int i = 60; i < 100; ++i) host.fire("slow", fmt::format("app{}", i), FindingKind::kAlert);
  host.look();
  const auto symptoms = record_of(*host.find("incident")).symptoms;
  CHECK(symptoms.size() == FindingRecord::kMostSymptoms);
  CHECK(std::ranges::count_if(symptoms, [&](const std::string& print) {
          return host.book->find(print)->state == FindingState::kFiring;
        }) == 40);
}

TEST_CASE("what was tuned or drifts takes no places of what is related") {
  Outage host;
  host.fire("service_failed", "db", FindingKind::kService, Severity::kCritical);
  host.fire("slow", "app", FindingKind::kAlert);
  for (int i = 0; i < 600; ++i)
    host.fire("setting_drift", fmt::format("knob{}", i), FindingKind::kDrift);
  CHECK(host.lasts());
  host.fire("slow", "web", FindingKind::kAlert);
  host.look();
  CHECK(record_of(*host.find("slow", "app")).cause == host.print("service_failed", "db"));
  CHECK(record_of(*host.find("service_failed")).symptoms.size() == 2);
}

TEST_CASE("what was taken for the cause and is a symptom hands its incident on") {
  Outage host;
  host.book->set_graph(nullptr);
  host.fire("service_failed", "db", FindingKind::kService, Severity::kCritical);
  auto graph = std::make_shared<Graph>();
  graph->edges = {{"app", "db", "depends_on"}, {"web", "db", "depends_on"}};
  host.book->set_graph(graph);
  host.fire("slow", "app", FindingKind::kAlert);
  REQUIRE(host.lasts());
  host.clock.advance(10min);
  const auto first = host.find("incident")->fingerprint;
  graph = std::make_shared<Graph>(*graph);
  graph->edges.push_back({"db", "disk", "depends_on"});
  host.book->set_graph(graph);
  host.fire("service_failed", "disk", FindingKind::kService, Severity::kCritical);
  host.look();
  const auto all = host.book->snapshot();
  std::vector<std::string> lasting;
  for (const auto& one : *all) {
    if (one.kind == FindingKind::kIncident && one.state == FindingState::kFiring)
      lasting.push_back(one.subject);
  }
  CHECK(lasting == std::vector<std::string>{"disk"});
  CHECK(host.find("incident", "disk")->evidence.value == 3);
  CHECK(host.book->find(first)->state == FindingState::kResolved);
}

TEST_CASE("what begins together is an incident, though nobody knows what explains it") {
  Outage host;
  const auto began = host.clock.wall();
  host.fire("fills", "disk", FindingKind::kAlert);
  host.clock.advance(10s);
  host.fire("hot", "sensor", FindingKind::kAlert, Severity::kCritical);
  CHECK(host.look() == nullptr);
  host.clock.advance(10s);
  host.fire("lost", "packets", FindingKind::kAlert);
  const auto* incident = host.look();
  REQUIRE(incident != nullptr);
  CHECK(incident->started == began);
  CHECK(incident->labels.at("cause") == "fills");
  CHECK(incident->evidence.text == "fills disk, and with it hot sensor, lost packets");
  CHECK(record_of(*incident).symptoms.size() == 2);
  for (const auto* name : {"fills", "hot", "lost"}) {
    CHECK(record_of(*host.find(name)).cause.empty());     // no remedy is kept from it,
    CHECK(record_of(*host.find(name)).symptoms.empty());  // and nobody is told less of it
  }
  // Later ones are none of it; members stay, also over a restart and when the first has ended.
  host.clock.advance(1min);
  host.fire("late", "backup", FindingKind::kAlert);
  CHECK(host.lasts());
  CHECK(host.find("incident")->evidence.value == 3);
  host.end("disk");
  host.restart();
  CHECK(host.lasts());
  CHECK(host.find("incident")->evidence.value == 2);
  CHECK(record_of(*host.find("incident")).symptoms.size() == 2);
  for (const auto* subject : {"sensor", "packets"}) host.end(subject);
  host.be_calm();
  CHECK_FALSE(host.lasts());
  CHECK(host.episodes() == 1);
}

TEST_CASE("what nothing explains joins the incident that it began together with") {
  Outage host;
  host.fire("service_failed", "db", FindingKind::kService, Severity::kCritical);
  host.fire("slow", "app", FindingKind::kAlert);
  REQUIRE(host.lasts());
  host.clock.advance(20s);
  host.fire("service_failed", "mail", FindingKind::kService, Severity::kCritical);
  host.look();
  CHECK(host.find("incident")->evidence.value == 3);
  host.clock.advance(20s);
  host.fire("service_failed", "backup", FindingKind::kService, Severity::kCritical);
  host.look();
  CHECK(host.find("incident")->evidence.value == 3);
}

TEST_CASE("what is found at the start of an agent has not begun together") {
  Outage host;
  host.incidents = std::make_unique<Incidents>(*host.book, host.clock.wall() + 1min);
  for (const auto* subject : {"a", "b", "c"}) host.fire("old", subject, FindingKind::kAlert);
  CHECK(host.look() == nullptr);
  host.clock.advance(2min);
  for (const auto* subject : {"d", "e", "f"}) host.fire("new", subject, FindingKind::kAlert);
  REQUIRE(host.look() != nullptr);
  CHECK(host.find("incident")->evidence.value == 3);
}

TEST_CASE(
    "an incident by time whose first is explained goes on with all of its members under what "
    "explains it") {
  Outage host;
  for (const auto* subject : {"db", "sensor", "packets", "disk"})
    host.fire("odd", subject, FindingKind::kAlert);
  REQUIRE(host.look() != nullptr);
  REQUIRE(host.find("incident")->evidence.value == 4);
  const std::string first = host.find("incident")->subject;
  auto graph = std::make_shared<Graph>();
  graph->edges = {{first, "power", "depends_on"}};
  host.book->set_graph(graph);
  host.clock.advance(1min);
  host.fire("service_failed", "power", FindingKind::kService, Severity::kCritical);
  host.look();
  CHECK(host.find("incident", first)->state == FindingState::kResolved);
  CHECK(host.find("incident", "power")->evidence.value == 5);
  host.look();
  CHECK(host.find("incident", "power")->state == FindingState::kFiring);
  CHECK(host.find("incident", "power")->evidence.value == 5);
}
