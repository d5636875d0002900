#include "plan/remedies.hpp"

#include <fmt/format.h>

#include <catch2/catch.hpp>

#include "nexus/config/config.hpp"

using namespace nexus;
using namespace nexus::plan;

namespace {

analyze::Finding service_failed() {
  analyze::Finding finding;
  finding.kind = analyze::FindingKind::kService;
  finding.name = "service_failed";
  finding.severity = config::Severity::kCritical;
  finding.subject = "web.service";
  finding.labels = {{"service", "web.service"}, {"kind", "systemd"}};
  return finding;
}

config::RemedyConfig remedy(std::string on) {
  config::RemedyConfig out;
  out.name = "r";
  out.on = {std::move(on), {"agent.toml", 3, 6}};
  out.action = "restart_service";
  return out;
}

std::vector<std::string> problems_of(config::RemedyConfig definition) {
  config::Config config;
  config.remedies.push_back(std::move(definition));
  std::vector<config::Problem> problems;
  std::ignore = RemedySet::compile(config, problems);
  std::vector<std::string> out;
  for (const auto& problem : problems) out.push_back(config::to_string(problem));
  return out;
}

bool matches(const std::string& on, const analyze::Finding& finding = service_failed()) {
  config::Config config;
  config.remedies.push_back(remedy(on));
  std::vector<config::Problem> problems;
  const auto set = RemedySet::compile(config, problems);
  REQUIRE(problems.empty());
  return set->impl->remedies.front().matches(finding);
}

}  // namespace

TEST_CASE("a selector that happens to fit does not mean incidents, tunings and drift") {
  using enum analyze::FindingKind;
  for (const auto kind : {kIncident, kOptimization, kDrift}) {
    auto finding = service_failed();
    finding.kind = kind;
    finding.name = "of_that_kind";
    finding.labels.erase("kind");
    const std::string word(to_string(kind));
    CHECK_FALSE(matches("{severity=\"critical\"}", finding));
    CHECK_FALSE(matches("{service=\"web.service\"}", finding));
    CHECK_FALSE(matches("{kind!=\"anomaly\",service=~\"web.*\"}", finding));
    for (const auto* any : {".+", ".*", "alert|vital|.*", "[a-z_]+", "(?i).*[a-z].*"}) {
      for (const auto* label : {"kind", "__name__"}) {
        CHECK_FALSE(
            matches(fmt::format("{{{}=~\"{}\",service=\"web.service\"}}", label, any), finding));
      }
    }
    CHECK(matches("{__name__=~\"of_that_.*\"}", finding));
    CHECK(matches("of_that_kind", finding));
    CHECK(matches("{kind=\"" + word + "\",service=\"web.service\"}", finding));
  }
}

TEST_CASE("a remedy matches by name, labels, severity, kind and subject") {
  CHECK(matches("service_failed"));
  CHECK_FALSE(matches("service_fail"));
  CHECK(matches("service_failed{service=~\"web.*\"}"));
  CHECK_FALSE(matches("service_failed{service!~\"web.*\"}"));
  CHECK(matches("{severity=\"critical\"}"));
  CHECK(matches("service_failed{subject=\"web.service\"}"));
  CHECK(matches("service_failed{absent=\"\"}"));
  // a label of the finding's own comes before the synthetic one
  CHECK(matches("service_failed{kind=\"systemd\"}"));
  CHECK_FALSE(matches("service_failed{kind=\"service\"}"));
  CHECK_FALSE(matches("a name with spaces"));
}

TEST_CASE("what cannot be right in a remedy is a problem with its place") {
  CHECK_THAT(problems_of(remedy("")).at(0),
             Catch::Contains("agent.toml:3:6") && Catch::Contains("on:"));
  CHECK_THAT(problems_of(remedy("up{job=")).at(0), Catch::Contains("parse error"));
  CHECK_THAT(problems_of(remedy("up{job=~\"(\"}")).at(0), Catch::Contains("on:"));
  auto bad = remedy("up");
  bad.target = "web-${instance";
  CHECK_THAT(problems_of(bad).at(0), Catch::Contains("target:"));
  bad = remedy("up");
  bad.parameters["x"] = std::vector<std::string>{"ok", "${"};
  CHECK_THAT(problems_of(bad).at(0), Catch::Contains("parameter x"));
  bad = remedy("up");
  bad.verify = config::VerifyConfig{.expr = {"up ==", {"agent.toml", 9, 1}}};
  CHECK_THAT(problems_of(bad).at(0),
             Catch::Contains("agent.toml:9:1") && Catch::Contains("verify:"));
  // a label may only stand inside a string: elsewhere its value would be part of the question
  bad.verify->expr.text = "up > ${limit}";
  CHECK(problems_of(bad).size() == 1);
  bad.verify->expr.text = "up{job=\"${job}\"} > 1";
  CHECK(problems_of(bad).empty());
}

TEST_CASE("templates take labels, and name the one that is not there") {
  const auto finding = service_failed();
  CHECK(*Template::parse("a ${service} of ${subject}: ${severity}")->render(finding) ==
        "a web.service of web.service: critical");
  CHECK(*Template::parse("costs $5 {}")->render(finding) == "costs $5 {}");
  const auto missing = Template::parse("${port}")->render(finding);
  REQUIRE_FALSE(missing);
  CHECK(missing.error().code() == Errc::kNotFound);
  CHECK_THAT(missing.error().message(), Catch::Contains("port"));
  CHECK_FALSE(Template::parse("${}"));
}

TEST_CASE("targets have one spelling") {
  CHECK(canonical_target("restart_service", "web") == "web.service");
  CHECK(canonical_target("restart_service", "web.socket") == "web.socket");
  CHECK(canonical_target("restart_service", "web.1") == "web.1.service");
  CHECK(canonical_target("run_command", "web") == "web");
}

TEST_CASE("the floor of protected units holds for every harmful verb and every spelling") {
  const std::vector<std::string> none;
  for (const auto* unit :
       {"ssh", "sshd.service", "ssh@1.service", "dbus.socket", "systemd-journald.service",
        "systemd-udevd", "nexus-agent", "user@0.service", "getty@tty1.service"}) {
    for (const auto* type : {"restart_service", "stop_service", "reload_service"}) {
      INFO(type << " " << unit);
      CHECK(protected_reason(type, unit, none));
    }
    CHECK_FALSE(protected_reason("start_service", unit, none));
  }
  for (const auto* unit :
       {"init.scope", "-.slice", "user.slice", "session-3.scope", "-.mount", "multi-user.target",
        "reboot.target", "dev-sda.device", "systemd-reboot.service", "emergency.service"}) {
    INFO(unit);
    CHECK(protected_reason("start_service", unit, none));
    CHECK(protected_reason("restart_service", unit, none));
  }
  CHECK_FALSE(protected_reason("restart_service", "web.service", none));
  CHECK_FALSE(protected_reason("run_command", "ssh.service", none));
  CHECK(protected_reason("start_service", "web.service", {"web*"}));
  CHECK(protected_reason("start_service", "web.service", {"web"}));
}

TEST_CASE("states of an action have names that read back") {
  for (int i = 0; i <= static_cast<int>(ActionState::kInterrupted); ++i) {
    const auto state = static_cast<ActionState>(i);
    CHECK(parse_action_state(to_string(state)) == state);
  }
  CHECK_FALSE(parse_action_state("done"));
}
