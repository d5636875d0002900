#include "nexus/analyze/rules.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <thread>

#include "analyze/rules/vitals.hpp"
#include "analyze/world.hpp"
#include "nexus/config/config.hpp"
#include "nexus/config/load.hpp"

using namespace nexus;
using namespace nexus::analyze;
using namespace nexus::analyze::test;
using knowledge::Labels;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

config::VitalConfig vital(std::string name, std::string expr, std::optional<double> warning = {},
                          std::optional<double> critical = {}) {
  config::VitalConfig out;
  out.name = std::move(name);
  out.expr.text = std::move(expr);
  out.unit = "percent";
  out.help = "Help of " + out.name;
  out.warning = warning;
  out.critical = critical;
  return out;
}

config::AlertConfig alert(std::string name, std::string expr) {
  config::AlertConfig out;
  out.name = std::move(name);
  out.expr.text = std::move(expr);
  return out;
}

Labels use_of(std::string_view mount) {
  return Labels("use", {{"mountpoint", mount}});
}

struct RulesWorld : World {
  void set(const std::vector<config::VitalConfig>& vitals,
           const std::vector<config::AlertConfig>& alerts = {}) {
    config::Config config;
    config.vitals = vitals;
    config.alerts = alerts;
    std::vector<config::Problem> problems;
    rules.set(RuleSet::compile(config, problems));
    for (const config::Problem& problem : problems) UNSCOPED_INFO(problem.message);
    REQUIRE(problems.empty());
  }
  /// One second with these values of use{mountpoint}.
  void second(const std::map<std::string, double>& use) {
    clock.advance(1s);
    for (const auto& [mount, value] : use) sample(use_of(mount), value);
    ingest();
    rules.tick_vitals();
    rules.tick_alerts();
    ingest();
    book->tick();
  }
  std::optional<double> last(const Labels& labels) {
    const auto id = registry.intern(labels);
    REQUIRE(id);
    const auto sample_of = history.latest(*id);
    if (!sample_of) return std::nullopt;
    return sample_of->value;
  }

  Rules rules{clock, history, registry, ring, *book, self};
};

}  // namespace

TEST_CASE("compile: every bad expression is a problem at its place") {
  config::Config config;
  config.vitals = {vital("good", "1"), vital("broken", "rate(x[1m"), vital("range", "x[5m]"),
                   vital("off", "((")};
  config.vitals[1].expr.where = {"agent.toml", 12, 8};
  config.vitals[2].where = {"conf.d/x.toml", 3, 1};
  config.vitals[3].enabled = false;
  config.alerts = {alert("text", "\"hello\""), alert("fine", "up == 0")};
  std::vector<config::Problem> problems;
  const auto rules = RuleSet::compile(config, problems);
  REQUIRE(problems.size() == 3);
  CHECK(problems[0].where.line == 12);
  CHECK(problems[0].message.find("vital \"broken\": expr: ") == 0);
  CHECK(problems[1].where.file == "conf.d/x.toml");
  CHECK(problems[1].message.find("expected an instant vector or a scalar, this is a matrix") !=
        std::string::npos);
  CHECK(problems[2].message.find("alert \"text\"") == 0);
  REQUIRE(rules->vitals.size() == 1);
  CHECK(rules->definitions->size() == 1);
  CHECK(rules->alerts.size() == 1);
}

TEST_CASE("the shipped vitals all compile") {
  config::Config config;
  config.vitals = config::default_vitals();
  std::vector<config::Problem> problems;
  const auto rules = RuleSet::compile(config, problems);
  for (const config::Problem& problem : problems) FAIL_CHECK(problem.message);
  CHECK(rules->vitals.size() >= 25);
}

TEST_CASE("the shipped vitals are this host's: a scraped node_exporter makes none of them") {
  RulesWorld world;
  world.set(config::default_vitals());
  const auto both = [&](const char* name, std::initializer_list<knowledge::LabelView> labels,
                        double here, double there) {
    const Labels own(name, labels);
    world.sample(own, here);
    world.sample(own.with("instance", "other:9100").with("job", "node"), there);
  };
  for (int i = 0; i < 3; ++i) {
    both("node_load1", {}, 1, 1000);
    both("node_memory_MemTotal_bytes", {}, 1000, 1000);
    both("node_memory_MemAvailable_bytes", {}, 900, 1);
    both("node_filesystem_size_bytes", {{"mountpoint", "/"}, {"fstype", "ext4"}}, 1000, 1000);
    both("node_filesystem_avail_bytes", {{"mountpoint", "/"}, {"fstype", "ext4"}}, 900, 1);
    both("node_filesystem_free_bytes", {{"mountpoint", "/"}, {"fstype", "ext4"}}, 900, 1);
    world.second({});
  }
  std::map<std::string, std::vector<double>> values;
  for (const VitalValue& value : world.rules.vitals()->values)
    values[std::string(value.labels.metric())].push_back(value.value);
  CHECK(values["cpu_load_average"] == std::vector<double>{1});
  CHECK(values["memory_available_bytes"] == std::vector<double>{900});
  REQUIRE(values["memory_usage_percent"].size() == 1);
  CHECK(values["memory_usage_percent"][0] == Approx(10));
  REQUIRE(values["disk_usage_percent"].size() == 1);
  CHECK(values["disk_usage_percent"][0] == Approx(10));
  for (const VitalValue& value : world.rules.vitals()->values) {
    INFO(to_string(value.labels));
    CHECK_FALSE(value.labels.get("job") == "node");
  }
}

TEST_CASE("leak candidates: steady growth of a group over six hours, not a step or a cycle") {
  RulesWorld world;
  std::vector<config::VitalConfig> leaks;
  for (const config::VitalConfig& vital : config::default_vitals()) {
    if (vital.name.contains("leak")) leaks.push_back(vital);
  }
  REQUIRE(leaks.size() == 2);
  world.set(leaks);
  const auto group = [&](const char* name, double memory, double files) {
    world.sample(Labels("namedprocess_namegroup_memory_bytes",
                        {{"groupname", name}, {"memtype", "resident"}}),
                 memory);
    world.sample(Labels("namedprocess_namegroup_open_filedesc", {{"groupname", name}}), files);
  };
  constexpr double kMega = 1e6;
  const int minutes = 7 * 60;
  for (int minute = 0; minute <= minutes; ++minute) {
    world.clock.advance(1min);
    const double hours = minute / 60.0;
    group("leaky", 500 * kMega * (1 + 0.05 * hours), 1000 + 100 * hours);
    group("stepped", hours < 3 ? 500 * kMega : 900 * kMega, hours < 3 ? 1000 : 2000);
    group("cyclic", (500 + 200 * ((minute / 60) % 2)) * kMega, 1000 + 500 * ((minute / 60) % 2));
    group("steady", 500 * kMega, 1000);
    group("small", 5 * kMega * (1 + hours), 20 * (1 + hours));
    group("(other)", 500 * kMega * (1 + hours), 1000 * (1 + hours));
    world.ingest();
  }
  world.rules.tick_vitals();
  std::map<std::string, double> seen;
  for (const VitalValue& value : world.rules.vitals()->values)
    seen[to_string(value.labels)] = value.value;
  for (const auto& [series, value] : seen) UNSCOPED_INFO(series << " " << value);
  REQUIRE(seen.size() == 2);
  // From 1.05 of an hour after the begin to 1.35 of seven hours after it, with five minutes' slack.
  CHECK(seen.at(R"x(process_group_memory_leak_ratio{groupname="leaky",memtype="resident"})x") ==
        Approx(0.28).margin(0.02));
  CHECK(seen.at(R"(process_group_open_files_leak_ratio{groupname="leaky"})") ==
        Approx(0.54).margin(0.02));
}

TEST_CASE("thresholds: reaching counts, the higher one first, both directions") {
  const config::VitalConfig above = vital("a", "1", 80, 95);
  CHECK_FALSE(severity_of(above, 79.9));
  CHECK(severity_of(above, 80) == Severity::kWarning);
  CHECK(severity_of(above, 95) == Severity::kCritical);
  CHECK_FALSE(severity_of(above, kNan));
  config::VitalConfig below = vital("b", "1", 10, 0);
  below.direction = config::Direction::kBelow;
  CHECK_FALSE(severity_of(below, 11));
  CHECK(severity_of(below, 10) == Severity::kWarning);
  CHECK(severity_of(below, 0) == Severity::kCritical);
  CHECK_FALSE(severity_of(vital("c", "1"), 1e300));
}

TEST_CASE("what a vital gives has seven digits, unless it has few") {
  CHECK(told(1.0 / 3) == 0.3333333);
  CHECK(told(-200.0 / 3) == -66.66667);
  CHECK(told(2e6 / 3) == 666666.7);
  CHECK(told(2e10 / 3) == 6666666667);  // whole before the point
  CHECK(told(1.0 / 3e9) == 3.333333e-10);
  CHECK(told(1234567.1 + 0.79) == 1234567.89);  // an addition's last bits are no digits
  CHECK(told(0.1 + 0.2) == 0.3);
  for (const double same : {0.0, 0.1, 41.5, 1234567.89, 12345678901.0, 0x1p60, 1.0 / 3e12, 1e300,
                            std::numeric_limits<double>::infinity()}) {
    CHECK(told(same) == same);
    CHECK(told(-same) == -same);
  }
  CHECK(std::isnan(told(kNan)));
  for (double value = 1.1; value < 1e15; value *= 1.7) {
    CHECK(std::fabs(told(value) - value) <= value * 0.5e-6);
    CHECK(told(told(value)) == told(value));
  }
}

TEST_CASE("vitals are recorded as series of their own and shown in order") {
  RulesWorld world;
  world.set({vital("disk_usage", "use * 2"), vital("constant", "42")});
  CHECK(world.rules.vitals()->values.empty());
  world.second({{"/var", 10}, {"/", 30}});
  const auto snapshot = world.rules.vitals();
  REQUIRE(snapshot->values.size() == 3);
  CHECK(snapshot->definitions->size() == 2);
  CHECK(snapshot->time == world.clock.wall());
  CHECK(to_string(snapshot->values[0].labels) == R"(disk_usage{mountpoint="/"})");
  CHECK(snapshot->values[0].value == 60);
  CHECK(snapshot->values[1].value == 20);
  CHECK(snapshot->values[2].labels == Labels("constant", {}));
  CHECK(snapshot->values[2].vital == 1);
  CHECK(world.last(Labels("disk_usage", {{"mountpoint", "/var"}})) == 20);
  CHECK(world.last(Labels("constant", {})) == 42);
  const auto& family = world.registry.family(world.registry.family_of(snapshot->values[0].series));
  CHECK(family.type == knowledge::MetricType::kGauge);
  CHECK(family.help == "Help of disk_usage");
}

TEST_CASE("a series that vanishes or becomes NaN ends with one stale marker") {
  RulesWorld world;
  world.set({vital("v", "use < 50")});
  const Labels a("v", {{"mountpoint", "a"}});
  world.second({{"a", 1}, {"b", 2}});
  world.second({{"a", 60}, {"b", 2}});
  CHECK(knowledge::is_stale_marker(world.last(a).value()));
  world.second({{"a", 60}, {"b", 2}});
  knowledge::Column column;
  world.history.read(world.registry.intern(a).value(), 0, 1LL << 60, column);
  CHECK(column.size() == 2);
  world.second({{"a", 3}, {"b", 2}});
  CHECK(world.last(a) == 3);
  world.second({{"a", kNan}, {"b", 2}});
  CHECK(knowledge::is_stale_marker(world.last(a).value()));
  CHECK(world.rules.vitals()->values.size() == 1);
  CHECK(world.last(Labels("v", {{"mountpoint", "b"}})) == 2);
}

TEST_CASE("a threshold makes one finding a series, whose severity follows the value") {
  RulesWorld world;
  world.set({vital("disk_usage", "use", 80, 95)});
  world.second({{"/", 50}, {"/var", 85}});
  const Finding* finding = world.find("disk_usage");
  REQUIRE(finding != nullptr);
  CHECK(world.book->snapshot()->size() == 1);
  CHECK(finding->kind == FindingKind::kVital);
  CHECK(finding->subject == "/var");
  CHECK(finding->labels == StringMap{{"mountpoint", "/var"}});
  CHECK(finding->severity == Severity::kWarning);
  CHECK(finding->evidence.source == "use");
  CHECK(finding->evidence.value == 85);
  CHECK(finding->evidence.threshold == 80);
  CHECK(finding->evidence.text ==
        R"(disk_usage{mountpoint="/var"} is 85 percent, at or above the warning threshold of 80)");
  const std::string print = finding->fingerprint;
  world.second({{"/", 50}, {"/var", 97}});
  finding = world.find("disk_usage");
  CHECK(finding->fingerprint == print);
  CHECK(finding->severity == Severity::kCritical);
  CHECK(world.rules.vitals()->values[1].severity == Severity::kCritical);
  world.second({{"/", 50}, {"/var", 50}});
  CHECK(world.find("disk_usage")->state == FindingState::kResolved);
  CHECK(world.heard == std::vector<std::string>{"disk_usage firing", "disk_usage resolved"});
}

TEST_CASE("`for` of a vital") {
  RulesWorld world;
  config::VitalConfig slow = vital("slow", "use", 80);
  slow.pending = 5s;
  world.set({slow});
  for (int i = 0; i < 5; ++i) world.second({{"/", 90}});
  CHECK(world.find("slow")->state == FindingState::kPending);
  world.second({{"/", 90}});
  CHECK(world.find("slow")->state == FindingState::kFiring);
}

TEST_CASE("a rule that cannot be evaluated is shown; it resolves nothing and stops no other") {
  RulesWorld world;
  config::AlertConfig twice = alert("twice", "use");
  twice.labels = {{"mountpoint", "the same"}};
  world.set({vital("joined", "use * on () use", 1), vital("plain", "use", 1)}, {twice});
  world.second({{"/", 5}});
  REQUIRE(world.find("joined") != nullptr);
  CHECK(world.find("joined")->state == FindingState::kFiring);
  world.second({{"/", 5}, {"/var", 5}});  // many to many
  const auto status = world.rules.status();
  REQUIRE(status.size() == 3);
  CHECK(status[0].name == "joined");
  CHECK_FALSE(status[0].error.empty());
  CHECK(status[1].error.empty());
  CHECK_FALSE(status[2].error.empty());
  CHECK(world.find("joined")->state == FindingState::kFiring);
  CHECK(world.find("plain", "/var") != nullptr);
  CHECK(metric(world.self, "nexus_rule_evaluation_failures_total", "vital") == 1);
  CHECK(metric(world.self, "nexus_rule_evaluation_failures_total", "alert") == 1);
  CHECK(world.find("twice", "the same")->state == FindingState::kFiring);
}

TEST_CASE("elements with the same labels: one counts, the status says it") {
  RulesWorld world;
  world.sample(Labels("one", {}), 1);
  world.sample(Labels("two", {}), 2);
  world.set({vital("v", "{__name__=~\"one|two\"}")});
  world.second({});
  CHECK(world.rules.vitals()->values.size() == 1);
  CHECK(world.rules.status()[0].error.find("same labels") != std::string::npos);
}

TEST_CASE("a reload: vitals that are gone end their series and their findings") {
  RulesWorld world;
  world.set({vital("old", "use", 1), vital("kept", "use", 1)}, {alert("gone", "use > 0")});
  world.second({{"/", 5}});
  CHECK(world.find("gone")->state == FindingState::kFiring);
  world.set({vital("kept", "use", 1)});
  world.second({{"/", 5}});
  CHECK(world.find("old")->state == FindingState::kResolved);
  CHECK(world.find("gone")->state == FindingState::kResolved);
  CHECK(world.find("kept")->state == FindingState::kFiring);
  CHECK(world.find("kept")->episodes == 1);
  CHECK(knowledge::is_stale_marker(world.last(Labels("old", {{"mountpoint", "/"}})).value()));
  CHECK(world.last(Labels("kept", {{"mountpoint", "/"}})) == 5);
  world.set({vital("kept", "use")});  // without thresholds
  world.second({{"/", 5}});
  CHECK(world.find("kept")->state == FindingState::kResolved);
}

TEST_CASE("alerts: labels, templates, `for` and keep_firing_for") {
  RulesWorld world;
  config::AlertConfig full = alert("DiskFull", "use > 80");
  full.pending = 3s;
  full.keep_firing_for = 10s;
  full.severity = Severity::kCritical;
  full.labels = {{"team", "storage"}, {"where", "on {{ $labels.mountpoint }}"}};
  full.annotations = {{"summary", "{{ $labels.mountpoint }} is {{ $value }} % full"}};
  world.set({}, {full});
  for (int i = 0; i < 3; ++i) world.second({{"/", 10}, {"/var", 90.5}});
  const Finding* finding = world.find("DiskFull");
  REQUIRE(finding != nullptr);
  CHECK(finding->state == FindingState::kPending);
  world.second({{"/", 10}, {"/var", 90.5}});
  finding = world.find("DiskFull");
  CHECK(finding->state == FindingState::kFiring);
  CHECK(finding->severity == Severity::kCritical);
  CHECK(finding->subject == "/var");
  CHECK(finding->labels ==
        StringMap{{"mountpoint", "/var"}, {"team", "storage"}, {"where", "on /var"}});
  CHECK(finding->annotations.at("summary") == "/var is 90.5 % full");
  CHECK(finding->evidence.text == "/var is 90.5 % full");
  for (int i = 0; i < 10; ++i) world.second({{"/var", 10}});
  CHECK(world.find("DiskFull")->state == FindingState::kFiring);
  world.second({{"/var", 10}});
  CHECK(world.find("DiskFull")->state == FindingState::kResolved);
}

TEST_CASE("alerts: a vector fires whatever its values, a scalar when it is not zero") {
  RulesWorld world;
  world.set({}, {alert("zero", "use == 0"), alert("yes", "1"), alert("no", "0")});
  world.second({{"/", 0}});
  CHECK(world.find("zero")->state == FindingState::kFiring);
  CHECK(world.find("yes")->subject == "host");
  CHECK(world.find("no") == nullptr);
}

TEST_CASE("alerts of agent.toml are ALERTS and ALERTS_FOR_STATE like those of rule files") {
  RulesWorld world;
  config::AlertConfig full = alert("Full", "use > 90");
  full.pending = 2s;
  full.labels["team"] = "disks {{ $externalLabels.site }}";
  config::Config config;
  config.alerts = {full};
  config.agent.external_labels = {{"site", "home"}};
  std::vector<config::Problem> problems;
  world.rules.set(RuleSet::compile(config, problems));
  const auto labels = [](std::string_view name, std::string_view state) {
    std::vector<knowledge::LabelView> views = {
        {"alertname", "Full"}, {"mountpoint", "/"}, {"team", "disks home"}};
    if (!state.empty()) views.push_back({"alertstate", state});
    return Labels(name, views);
  };
  world.second({{"/", 95}});
  const auto began = static_cast<double>(base::to_unix_millis(world.clock.wall()) / 1000);
  CHECK(world.last(labels("ALERTS", "pending")) == 1);
  CHECK(world.last(labels("ALERTS_FOR_STATE", "")) == began);
  world.second({{"/", 95}});
  world.second({{"/", 95}});
  world.second({{"/", 95}});
  CHECK(world.last(labels("ALERTS", "firing")) == 1);
  CHECK(knowledge::is_stale_marker(*world.last(labels("ALERTS", "pending"))));
  CHECK(world.last(labels("ALERTS_FOR_STATE", "")) == began);
  world.second({{"/", 5}});
  world.second({{"/", 5}});
  CHECK(knowledge::is_stale_marker(*world.last(labels("ALERTS", "firing"))));
  CHECK(knowledge::is_stale_marker(*world.last(labels("ALERTS_FOR_STATE", ""))));
}

TEST_CASE("snapshots may be read while rules tick and are replaced") {
  RulesWorld world;
  world.set({vital("v", "use", 1)}, {alert("a", "use > 0")});
  std::thread reader([&] {
    for (int i = 0; i < 300; ++i) {
      (void)world.rules.vitals()->values.size();
      (void)world.rules.status().size();
    }
  });
  std::thread reloader([&] {
    config::Config config;
    config.vitals = {vital("v", "use", 1)};
    std::vector<config::Problem> problems;
    for (int i = 0; i < 50; ++i) world.rules.set(RuleSet::compile(config, problems));
  });
  for (int i = 0; i < 50; ++i) world.second({{"/", 5}});
  reader.join();
  reloader.join();
  world.second({{"/", 5}});
  CHECK(world.rules.vitals()->values.size() == 1);
}
