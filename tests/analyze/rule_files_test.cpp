// Rule files at work in the daemon. What is said about bad files is compared with promtool by
// tests/agent/rules.py.
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "analyze/world.hpp"
#include "nexus/analyze/rule_file.hpp"
#include "nexus/analyze/rules.hpp"
#include "nexus/config/config.hpp"

using namespace nexus;
using namespace nexus::analyze;
using namespace nexus::analyze::test;
using knowledge::Labels;

namespace {

struct FilesWorld : World {
  FilesWorld() {
    std::string path = std::filesystem::temp_directory_path() / "nexus-rules-XXXXXX";
    REQUIRE(::mkdtemp(path.data()) != nullptr);
    folder = path;
  }
  ~FilesWorld() { std::filesystem::remove_all(folder); }

  std::vector<config::Problem> load(const std::string& text, const std::string& name = "a.yml") {
    std::ofstream(folder / name) << text;
    config::Config config;
    config.rule_files = {(folder / "*.yml").string()};
    std::vector<config::Problem> problems;
    auto set = RuleSet::compile(config, problems);
    if (problems.empty()) rules.set(std::move(set));
    return problems;
  }
  void second(double x) {
    clock.advance(1s);
    sample(Labels("x", {{"i", "1"}}), x);
    ingest();
    rules.tick_alerts();
    ingest();
    book->tick();
  }
  void seconds(int count, double x) {
    for (int i = 0; i < count; ++i) second(x);
  }
  /// The value of a series now; nothing when it has none or has ended.
  std::optional<double> now(std::string_view expression) {
    const auto query = knowledge::promql::Query::parse(expression);
    REQUIRE(query);
    const auto value = query->instant(history, base::to_unix_millis(clock.wall()));
    REQUIRE(value);
    const auto& vector = std::get<knowledge::promql::Vector>(*value);
    if (vector.empty()) return std::nullopt;
    REQUIRE(vector.size() == 1);
    return vector[0].value;
  }

  Rules rules{clock, history, registry, ring, *book, self};
  std::filesystem::path folder;
};

constexpr auto kRules = R"(
groups:
- name: g
  interval: 2s
  labels: {site: home}
  rules:
  - record: x:double
    expr: x * 2
    labels: {unit: "m", i: ""}
  - record: x:more
    expr: x:double + 1
  - alert: High
    expr: x:more > 10
    for: 4s
    keep_firing_for: 4s
    labels: {severity: page, text: "at {{ $value | humanize }}"}
    annotations: {summary: "{{ $labels.unit }} is {{ $value }}"}
)";

}  // namespace

TEST_CASE(
    "rule files: recorded series, each rule seeing those before it, at the group's interval") {
  FilesWorld world;
  REQUIRE(world.load(kRules).empty());
  world.second(1);
  CHECK(world.now(R"(x:double{unit="m",site="home",i=""})") == 2);
  CHECK(world.now(R"(x:more{unit="m",site="home"})") == 3);
  world.second(2);
  CHECK(world.now("x:double") == 2);  // not due yet
  world.second(3);
  CHECK(world.now("x:double") == 6);
  CHECK(world.now("x:more") == 7);
}

TEST_CASE("rule files: alerts go from pending to firing to resolved, in the book and as ALERTS") {
  FilesWorld world;
  REQUIRE(world.load(kRules).empty());
  world.seconds(2, 1);
  CHECK(world.find("High") == nullptr);
  world.second(9);
  const auto* finding = world.find("High");
  REQUIRE(finding != nullptr);
  CHECK(finding->state == FindingState::kPending);
  CHECK(world.now(R"(ALERTS{alertname="High",alertstate="pending"})") == 1);
  const auto began = static_cast<double>(base::to_unix_millis(world.clock.wall()) / 1000);
  world.seconds(4, 9);
  finding = world.find("High");
  CHECK(finding->state == FindingState::kFiring);
  CHECK(finding->severity == Severity::kCritical);
  CHECK(finding->labels ==
        StringMap{{"severity", "page"}, {"site", "home"}, {"text", "at 19"}, {"unit", "m"}});
  CHECK(finding->evidence.text == "m is 19");
  CHECK(world.now(R"(ALERTS{alertstate="firing"})") == 1);
  CHECK_FALSE(world.now(R"(ALERTS{alertstate="pending"})"));
  CHECK(world.now("ALERTS_FOR_STATE") == began);
  world.seconds(4, 1);
  CHECK(world.now(R"(ALERTS{alertstate="firing"})") == 1);  // keep_firing_for
  world.seconds(3, 1);
  CHECK(world.find("High")->state == FindingState::kResolved);
  CHECK_FALSE(world.now("ALERTS"));
  CHECK_FALSE(world.now("ALERTS_FOR_STATE"));
}

TEST_CASE("rule files: a reload keeps alerts, ends what is gone, and a bad file changes nothing") {
  FilesWorld world;
  REQUIRE(world.load(kRules).empty());
  world.seconds(6, 9);
  REQUIRE(world.find("High")->state == FindingState::kFiring);
  const auto problems = world.load("groups:\n- name: g\n  rules:\n  - record: y\n    expr: sum(\n");
  REQUIRE(problems.size() == 1);
  CHECK(config::to_string(problems[0])
            .starts_with((world.folder / "a.yml").string() +
                         ":5:11: group \"g\", rule 1, \"y\": could not parse expression: 1:5:"));
  world.seconds(2, 9);
  CHECK(world.now("x:double") == 18);
  // x:more goes, and the alert over x:double stays what it was.
  std::string next = kRules;
  const auto swap = [&](std::string_view from, std::string_view to) {
    next.replace(next.find(from), from.size(), to);
  };
  swap("  - record: x:more\n    expr: x:double + 1\n", "");
  swap("x:more > 10", "x:double + 1 > 10");
  REQUIRE(world.load(next).empty());
  world.seconds(2, 9);
  CHECK_FALSE(world.now("x:more"));
  CHECK(world.now("x:double") == 18);
  REQUIRE(world.rules.groups().size() >= 1);
  const auto group = world.rules.groups().front();
  REQUIRE(group.rules.size() == 2);
  REQUIRE(group.rules[1].alerts.size() == 1);
  CHECK(group.rules[1].alerts[0].state == FindingState::kFiring);
  CHECK(group.interval == 2s);
  CHECK(group.rules[1].pending == 4s);
  REQUIRE(world.load("groups: []\n").empty());
  world.seconds(2, 9);
  CHECK_FALSE(world.now("x:double"));
  CHECK_FALSE(world.now("ALERTS"));
  CHECK(world.find("High")->state == FindingState::kResolved);
}

TEST_CASE("rule files: one bad rule stops no other, and keeps its series") {
  FilesWorld world;
  REQUIRE(world
              .load(R"(
groups:
- name: g
  interval: 1s
  rules:
  - record: same
    expr: x
    labels: {i: one}
  - record: fine
    expr: sum(x)
)")
              .empty());
  world.second(1);
  CHECK(world.now("same") == 1);
  world.sample(Labels("x", {{"i", "2"}}), 5);
  world.second(1);
  CHECK(world.now("fine") == 6);
  CHECK(world.now("same") == 1);
  const auto group = world.rules.groups().front();
  CHECK(group.rules[0].error ==
        "vector contains metrics with the same labelset after applying rule labels");
  CHECK(group.rules[1].error.empty());
}

TEST_CASE("rule files: what was pending before a restart goes on where it was") {
  FilesWorld world;
  const auto began = base::to_unix_millis(world.clock.wall()) - 10'000;
  const auto id =
      world.registry.intern(Labels("ALERTS_FOR_STATE", {{"alertname", "Held"}, {"i", "1"}}));
  REQUIRE(id);
  const std::vector<knowledge::SeriesId> ids = {*id};
  const std::vector<double> values = {static_cast<double>(began) / 1000};
  world.history.append({77, base::to_unix_millis(world.clock.wall()), ids, values});
  REQUIRE(world
              .load("groups:\n- name: g\n  interval: 1s\n  rules:\n  - alert: Held\n"
                    "    expr: x > 0\n    for: 12s\n")
              .empty());
  world.second(1);
  CHECK(world.now(R"(ALERTS{alertstate="pending"})") == 1);
  world.seconds(2, 1);
  CHECK(world.now(R"(ALERTS{alertstate="firing"})") == 1);
}

TEST_CASE(
    "rule files: what fired before a restart began when it began, what was pending waits on") {
  FilesWorld world;
  const auto stopped = base::to_unix_millis(world.clock.wall());
  const auto began = static_cast<double>(stopped - 10'000) / 1000;
  for (const char* name : {"Fired", "Pending"}) {
    const auto id =
        world.registry.intern(Labels("ALERTS_FOR_STATE", {{"alertname", name}, {"i", "1"}}));
    REQUIRE(id);
    world.history.append({77, stopped, std::vector{*id}, std::vector{began}});
  }
  world.clock.advance(30s);
  REQUIRE(world
              .load("groups:\n- name: g\n  interval: 1s\n  rules:\n"
                    "  - alert: Fired\n    expr: x > 0\n    for: 8s\n"
                    "  - alert: Pending\n    expr: x > 0\n    for: 12s\n")
              .empty());
  world.second(1);
  CHECK(world.now(R"(ALERTS_FOR_STATE{alertname="Fired"})") == began);
  CHECK(world.now(R"(ALERTS{alertname="Fired",alertstate="firing"})") == 1);
  CHECK(world.now(R"(ALERTS_FOR_STATE{alertname="Pending"})") == Approx(began + 31).margin(1));
  CHECK(world.now(R"(ALERTS{alertname="Pending",alertstate="pending"})") == 1);
}

TEST_CASE(
    "a bad template of a rule file is complained about at its place, which promtool names not") {
  const auto file = parse_rule_file(
      "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up\n    annotations:\n"
      "      summary: \"{{ $value\"\n",
      "f");
  REQUIRE(file.problems.size() == 1);
  CHECK(file.problems[0].line == 7);
  CHECK(file.problems[0].column == 16);
  CHECK(file.problems[0].places.empty());
  CHECK(config::to_string({{"f", 7, 0}, "m"}) == "f:7: m");
}

TEST_CASE("rule files: positions, duplicates and unreadable files") {
  const auto file = parse_rule_file(
      "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: |\n"
      "      up\n    annotations: {a: '{{ nope }}'}\n",
      "f.yml");
  REQUIRE(file.problems.size() == 1);
  CHECK(
      file.problems[0].message ==
      "group \"g\", rule 1, \"A\": annotation \"a\": template: __alert_A:1: function \"nope\" not "
      "defined");
  CHECK(load_rule_file("/nothing/here.yml").problems.size() == 1);
  CHECK(load_rule_file("/").problems.size() == 1);
  CHECK(parse_rule_file(std::string(100'000, '['), "deep").problems.size() == 1);
  CHECK(parse_rule_file(std::string("\xff\xfe\x00g", 4), "bytes").problems.size() == 1);
  // No groups, and a mistake that ends reading.
  CHECK(parse_rule_file("other: 1\n", "f").problems.size() == 1);
  CHECK(parse_rule_file("- a\n- b\n", "f").problems.size() == 1);
  CHECK(parse_rule_file("groups: {a: 1}\n", "f").problems.size() == 2);
  CHECK(find_rule_files({"/nothing/*.yml"}).empty());
}
