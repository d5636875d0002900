// Every kind of mistake in a file, at its exact place, and all of them at once.
#include <fmt/core.h>

#include <catch2/catch.hpp>

#include "config/config_support.hpp"

using namespace nexus;
using namespace nexus::config;

namespace {

using Lines = std::vector<std::string>;

Lines problems_of(std::string_view text) {
  return shown(load_text(text, "a.toml").problems);
}

struct Mistake {
  std::string_view text;
  std::string_view problem;
};

void check_each(std::initializer_list<Mistake> mistakes) {
  for (const auto& mistake : mistakes) {
    CAPTURE(mistake.text);
    CHECK(problems_of(mistake.text) == Lines{std::string(mistake.problem)});
  }
}

}  // namespace

TEST_CASE("an empty file is valid and means the defaults") {
  const auto loaded = load_text("", "a.toml");
  CHECK(loaded.problems.empty());
  Config defaults;
  defaults.vitals = default_vitals();
  defaults.rule_files = {"/etc/nexus/rules.d/*.yml"};  // beside the configuration
  CHECK(loaded.config == defaults);
}

TEST_CASE("unknown keys are named at every level, with the nearest known one") {
  check_each({
      {"[colect]\ninterval = 1", "a.toml:1:2: colect: unknown key; did you mean \"collect\"?"},
      {"[collect]\n  intervall = 1",
       "a.toml:2:3: collect.intervall: unknown key; did you mean \"interval\"?"},
      {"[http]\nmax_conections = 1",
       "a.toml:2:1: http.max_conections: unknown key; did you mean \"max_connections\"?"},
      {"[http]\nfavourite_colour = 'red'", "a.toml:2:1: http.favourite_colour: unknown key"},
      {"[[remedy]]\non = 'x'\naction = 'y'\nverify = { exrp = '1', expr = '1' }",
       "a.toml:4:12: remedy.verify.exrp: unknown key; did you mean \"expr\"?"},
      {"[services]\nwatch = [{nmae = 'x', name = 'x'}]",
       "a.toml:2:11: services.watch.nmae: unknown key; did you mean \"name\"?"},
      {"\"\\u0007bell\\n\" = 1", "a.toml:1:1:  bell : unknown key"},
  });
}

TEST_CASE("wrong types say what was expected and what was written") {
  check_each({
      {"[collect]\ninterval = true",
       "a.toml:2:12: collect.interval: expected a duration such as \"30s\", got the boolean true"},
      {"[collect]\ninterval = \"5 parsecs\"",
       "a.toml:2:12: collect.interval: expected a duration such as \"30s\", got the string "
       "\"5 parsecs\""},
      {"[history]\nmemory = \"lots\"",
       "a.toml:2:10: history.memory: expected a size such as \"64MiB\" of at least 1048576 bytes, "
       "got the string \"lots\""},
      {"[history]\ndisk = 5",
       "a.toml:2:8: history.disk: expected 0 (nothing on disk) or at least \"16MiB\""},
      {"[history]\nkey_file = \"key\"", "a.toml:2:12: history.key_file: expected an absolute path"},
      {"[[history.tiers]]\nstep = \"1m\"\n[[history.tiers]]\nstep = \"90s\"",
       "a.toml:4:8: history.tiers.step: expected a multiple of the step of the tier before"},
      {"[forecast]\nenabled = \"yes\"",
       "a.toml:2:11: forecast.enabled: expected true or false, got the string \"yes\""},
      {"[agent]\ndata_dir = 7",
       "a.toml:2:12: agent.data_dir: expected a string that is not empty, got the integer 7"},
      {"[anomaly]\ntrees = 1.5",
       "a.toml:2:9: anomaly.trees: expected an integer from 1 to 1000, got the number 1.5"},
      {"http = 1", "a.toml:1:8: http: expected a table, [http], got the integer 1"},
      {"[vital]\nname = 'x'",
       "a.toml:1:1: vital: expected an array of tables, [[vital]], got a table"},
      {"vital = [1]",
       "a.toml:1:10: vital: expected an array of tables, [[vital]], got the integer 1"},
      {"[guardrails]\nprotected_units = ['a', 2]",
       "a.toml:2:25: guardrails.protected_units: expected a string that is not empty, got the "
       "integer 2"},
      {"[agent]\nlog_level = 'loud'",
       "a.toml:2:13: agent.log_level: expected one of \"debug\", \"info\", \"warning\", \"error\", "
       "got the string \"loud\""},
      {"[collect.cpu]\nguest = 2001-01-01",
       "a.toml:2:9: collect.cpu.guest: expected a boolean, a number, a string or an array of "
       "strings, got a date or time"},
      {"[services]\nwatch = 'x'",
       "a.toml:2:9: services.watch: expected an array of names of units and containers, or tables, "
       "got the string "
       "\"x\""},
  });
}

TEST_CASE("impossible values say what is possible") {
  check_each({
      {"[anomaly]\ncontamination = 0.7",
       "a.toml:2:17: anomaly.contamination: expected a number above 0 and at most 0.5, got the "
       "number 0.7"},
      {"[anomaly]\ncontamination = 0",
       "a.toml:2:17: anomaly.contamination: expected a number above 0 and at most 0.5, got the "
       "integer 0"},
      {"[anomaly]\ncontamination = nan",
       "a.toml:2:17: anomaly.contamination: expected a number above 0 and at most 0.5, got the "
       "number NaN"},
      {"[guardrails]\njitter = 1.5",
       "a.toml:2:10: guardrails.jitter: expected a number from 0 to 1, got the "
       "number 1.5"},
      {"[guardrails]\nmax_attempts = 0",
       "a.toml:2:16: guardrails.max_attempts: expected an integer from 1 to 1000000, got the "
       "integer 0"},
      {"[guardrails]\ncooldown = -5",
       "a.toml:2:12: guardrails.cooldown: expected a duration from \"0s\" to \"3650d\", got the "
       "integer -5"},
      {"[guardrails]\ncooldown = \"10m\"",
       "a.toml:2:12: guardrails.cooldown_max: expected at least the cooldown of \"10m\", got "
       "\"5m\""},
      {"[collect]\ninterval = \"1ms\"",
       "a.toml:2:12: collect.interval: expected a duration from \"100ms\" to \"1h\", got the "
       "string \"1ms\""},
      {"[collect]\ninterval = inf",
       "a.toml:2:12: collect.interval: expected a duration from \"100ms\" to \"1h\", got the "
       "number +Inf"},
      {"[[remedy]]\non = 'x'\naction = 'y'\npriority = 101",
       "a.toml:4:12: remedy.priority: expected an integer from 0 to 100, got the integer 101"},
      {"[forecast]\ninterval_level = 1",
       "a.toml:2:18: forecast.interval_level: expected a number above 0 and below 1, got the "
       "integer 1"},
      {"[http]\nlisten = []",
       "a.toml:2:10: http.listen: expected at least one address, got an array"},
      {"[[command]]\nname = 'x'\nargv = ['rm', '-rf']",
       "a.toml:3:8: command.argv: expected an array that begins with the absolute path of a "
       "program, got an array"},
  });
}

TEST_CASE("listen addresses are checked, and must be loopback") {
  for (const char* good :
       {"127.0.0.1:0", "127.8.8.8:65535", "[::1]:8060", "localhost:8060", "unix:/run/a.sock"}) {
    CAPTURE(good);
    CHECK(problems_of(fmt::format("[http]\nlisten = ['{}']", good)) == Lines{});
  }
  for (const char* bad :
       {"8060", ":8060", "127.0.0.1", "127.0.0.1:65536", "127.0.0.1:-1", "1.2.3:80", "[::1:80",
        "::1:80", "[zz]:80", "unix:", "unix:run/a", "a b:80", "http://x:80"}) {
    CAPTURE(bad);
    const auto problems = problems_of(fmt::format("[http]\nlisten = ['{}']", bad));
    REQUIRE(problems.size() == 1);
    CHECK(problems[0].starts_with("a.toml:2:11: http.listen: expected an address such as"));
  }
  for (const char* open : {"0.0.0.0:80", "[::]:80", "10.0.0.1:80", "example.org:80"}) {
    CAPTURE(open);
    const auto problems = problems_of(fmt::format("[http]\nlisten = ['[::1]:1', '{}']", open));
    REQUIRE(problems.size() == 1);
    CHECK(problems[0].starts_with("a.toml:2:22: http.listen: \"" + std::string(open)));
    CHECK(problems_of(fmt::format("[http]\nallow_insecure = true\nlisten = ['{}']", open)) ==
          Lines{});
  }
  CHECK(problems_of("[http]\nlisten = ['[::1]:1', '[::1]:1']") ==
        Lines{"a.toml:2:22: http.listen: expected every address once, got the string \"[::1]:1\""});
}

TEST_CASE("thresholds stand on the bad side") {
  check_each({
      {"[[vital]]\nname = 'x'\nexpr = '1'\nwarning = 90\ncritical = 70",
       "a.toml:5:12: vital.critical: expected critical above or equal to warning because direction "
       "is \"above\", got critical 70 and warning 90"},
      {"[[vital]]\nname = 'x'\nexpr = '1'\nwarning = 1\ncritical = 2\ndirection = 'below'",
       "a.toml:5:12: vital.critical: expected critical below or equal to warning because direction "
       "is \"below\", got critical 2 and warning 1"},
      {"[[vital]]\nname = 'memory_usage_percent'\nwarning = 99",
       "a.toml:3:11: vital.critical: expected critical above or equal to warning because direction "
       "is \"above\", got critical 95 and warning 99"},
      {"[[vital]]\nname = 'x'\nexpr = '1'\nminimum = 3\nmaximum = 3",
       "a.toml:5:11: vital.maximum: expected more than minimum 3, got 3"},
  });
}

TEST_CASE("names are there, well formed, and used once") {
  check_each({
      {"[[remedy]]\non = 'a'\n[[remedy]]\non = 'a'\naction = 'b'",
       "a.toml:1:1: remedy.action: missing; expected the name of an action"},
      {"[[vital]]\nname = 'x'\nexpr = '1'\nwarning = inf",
       "a.toml:4:11: vital.warning: expected a finite number, got the number +Inf"},
      {"[[vital]]\nexpr = '1'",
       "a.toml:1:1: vital.name: missing; expected a name of letters, digits, _ and :, not "
       "beginning with a digit"},
      {"[[vital]]\nname = 'new'",
       "a.toml:1:1: vital.expr: missing; expected a PromQL expression, for this is not a shipped "
       "vital"},
      {"[[alert]]\nname = '9lives'\nexpr = '1'",
       "a.toml:2:8: alert.name: expected a name of letters, digits, _ and :, not beginning with a "
       "digit, got the string \"9lives\""},
      {"[[alert]]\nname = 'a'\nexpr = '1'\nlabels = { \"bad-name\" = 'x' }",
       "a.toml:4:25: alert.labels.bad-name: expected a label name of letters, digits and _, not "
       "beginning with a digit or __"},
      {"[[alert]]\nname = 'a'\nexpr = '1'\nlabels = { team = 7 }",
       "a.toml:4:19: alert.labels.team: expected a string, got the integer 7"},
      {"[[alert]]\nname = 'a'\nexpr = ' '",
       "a.toml:3:8: alert.expr: expected a PromQL expression, got the string \" \""},
      {"[[vital]]\nname='x'\nexpr='1'\n[[vital]]\nname='x'\nexpr='1'",
       "a.toml:5:6: vital: there are two of the name \"x\"; the other is at a.toml:2:6"},
      {"[[vital]]\nname='swap_usage_percent'\n[[vital]]\nname='swap_usage_percent'",
       "a.toml:4:6: vital: there are two of the name \"swap_usage_percent\"; the other is at "
       "a.toml:2:6"},
      {"[[alert]]\nname='x'\nexpr='1'\n[[alert]]\nname='x'\nexpr='1'",
       "a.toml:5:6: alert: there are two of the name \"x\"; the other is at a.toml:2:6"},
      {"[[command]]\nname='x'\nargv=['/a']\n[[command]]\nname='x'\nargv=['/a']",
       "a.toml:5:6: command: there are two of the name \"x\"; the other is at a.toml:2:6"},
      {"[[remedy]]\non='x'\naction='y'\n[[remedy]]\non='x'\naction='y'",
       "a.toml:4:1: remedy: there are two of the name \"y on x\"; the other is at a.toml:1:1"},
      {"[services]\nwatch = ['web', 'web.service']",
       "a.toml:2:17: services.watch: there are two of the name \"web.service\"; the other is at "
       "a.toml:2:10"},
  });
}

TEST_CASE("services must not depend on themselves, however far round") {
  check_each({
      {"[services]\nwatch = [\n {name='a', depends_on=['b']},\n {name='b', depends_on=['c']},\n "
       "{name='c', depends_on=['a']},\n {name='d', depends_on=['a']}]",
       "a.toml:3:2: services.watch: depends_on goes in a circle: a.service -> b.service -> "
       "c.service -> a.service"},
      {"[services]\nwatch = [{name='a', depends_on=['a.service']}]",
       "a.toml:2:10: services.watch: depends_on goes in a circle: a.service -> a.service"},
      {"[services]\nwatch = [{name='a', kind='kubernetes'}]",
       "a.toml:2:26: services.watch.kind: expected one of \"systemd\", \"docker\", got the string "
       "\"kubernetes\""},
      {"[services]\nwatch = ['kubernetes:shop/deployment/web']",
       "a.toml:2:9: services.watch: \"kubernetes:shop/deployment/web\": expected a unit of systemd "
       "or a container; workloads and processes are seen by their metrics, with an [[alert]]"},
      {"[services]\nwatch = [{name='a', depends_on=['process:1:2']}]",
       "a.toml:2:32: services.watch.depends_on: \"process:1:2\": expected a unit of systemd or a "
       "container; workloads and processes are seen by their metrics, with an [[alert]]"},
      {"[services]\nwatch = ['a/b']",
       "a.toml:2:10: services.watch: expected the name of a unit or container, or a table such as "
       "{name = \"db.service\", depends_on = [\"disk.mount\", \"docker:cache\"]}, got the string "
       "\"a/b\""},
      {"[services]\nwatch = [{name='docker:a/b/c'}]",
       "a.toml:2:16: services.watch.name: expected the name of a unit such as \"web.service\", or "
       "of a container: \"docker:web\", or \"docker:PROJECT/SERVICE\" of Compose, got the string "
       "\"docker:a/b/c\""},
      {"[docker]\nenabled = false\n[services]\nwatch = ['docker:web']",
       "a.toml:4:10: services.watch: \"docker:web\": [docker] is switched off"},
      {"[docker]\nenabled = false\n[services]\nwatch = [{name='web', depends_on=['docker:db']}]",
       "a.toml:4:10: services.watch: \"web.service\": depends_on \"docker:db\": [docker] is "
       "switched "
       "off"},
      {"[services]\nwatch = [{name='docker:web', kind='systemd'}]",
       "a.toml:2:35: services.watch.kind: \"docker:web\" is no unit of systemd: expected "
       "\"docker\", or none"},
      {"[services]\nwatch = [{name='docker:a', depends_on=['podman:b']}, {name='b', kind='docker', "
       "depends_on=['docker:a']}]",
       "a.toml:2:10: services.watch: depends_on goes in a circle: docker:a -> docker:b -> "
       "docker:a"},
  });
  const auto diamond = load_text(
      "[services]\nwatch = [{name='a', depends_on=['b','c']}, {name='b', depends_on=['d']}, "
      "{name='c', depends_on=['d']}, 'd']",
      "a.toml");
  CHECK(diamond.problems.empty());
}

TEST_CASE("every problem is reported at once, in the order of the file") {
  const auto problems = problems_of(R"([http]
max_connections = 0
nonsense = 1

[[remedy]]
on = "x"

[agent]
log_level = 3

[anomaly]
contamination = 2
[collect]
deadline = "soon"
)");
  REQUIRE(problems.size() == 6);
  CHECK(problems[0].starts_with("a.toml:2:19: http.max_connections: "));
  CHECK(problems[1].starts_with("a.toml:3:1: http.nonsense: unknown key"));
  CHECK(problems[2].starts_with("a.toml:5:1: remedy.action: missing"));
  CHECK(problems[3].starts_with("a.toml:9:13: agent.log_level: "));
  CHECK(problems[4].starts_with("a.toml:12:17: anomaly.contamination: "));
  CHECK(problems[5].starts_with("a.toml:14:12: collect.deadline: "));
}

TEST_CASE("a syntax error does not hide what follows it") {
  const auto problems = problems_of(R"([agent]
log_level = info
[collect]
interval = 5s
deadline = true
[[alert]]
name = "unclosed
[forecast]
horizn = 1
)");
  REQUIRE(problems.size() == 5);
  CHECK(problems[0].starts_with("a.toml:2:16: not valid TOML: "));
  CHECK(problems[1].starts_with("a.toml:4:13: not valid TOML: "));
  CHECK(problems[1].ends_with("strings, durations and sizes need quotes"));
  CHECK(problems[2].starts_with("a.toml:5:12: collect.deadline: expected a duration"));
  CHECK(problems[3].ends_with("is the closing quote missing?"));
  CHECK(problems[4].starts_with("a.toml:9:1: forecast.horizn: unknown key; did you mean"));
}

TEST_CASE("a value that never ends costs what follows it, not what stands before it") {
  const auto problems = problems_of(R"([agent]
log_level = 1
[http]
listen = ["127.0.0.1:1",
[[alert]]
name = "x"
expr = "1"
)");
  REQUIRE(problems.size() == 2);
  CHECK(problems[0].starts_with("a.toml:2:13: agent.log_level: "));
  CHECK(problems[1].starts_with("a.toml:5:3: not valid TOML: "));
}

TEST_CASE("hostile text ends in problems, not in trouble") {
  std::string nested(100'000, '[');
  const std::string_view texts[] = {
      "\xff\xfe\x00\x01", "= = =", "[[", "a = [1,\n2,\n", "[a]\n[a]", "a.b = 1\na.b.c = 2", nested,
      "a = \"\"\"\nxx"};
  for (const auto text : texts) {
    CAPTURE(text.substr(0, 20));
    const auto problems = load_text(text, "a.toml").problems;
    CHECK_FALSE(problems.empty());
    CHECK(problems.size() <= 25);
    for (const auto& problem : problems) CHECK(problem.message.size() < 300);
  }
}
