// What the keys become, and who overrides whom.
#include <catch2/catch.hpp>

#include "config/config_support.hpp"

using namespace nexus;
using namespace nexus::config;
using namespace std::chrono_literals;

namespace {

const std::vector<std::string> none;

const VitalConfig& vital(const Config& config, std::string_view name) {
  for (const auto& each : config.vitals) {
    if (each.name == name) return each;
  }
  FAIL("there is no vital " << name);
  return config.vitals.front();
}

}  // namespace

TEST_CASE("durations and sizes may be strings or bare numbers") {
  const auto loaded = load_text(R"([collect]
interval = 5
deadline = 0.25
[history]
retention = "7d"
memory = 2097152
disk = "64MiB"
checkpoint = "5s"
key_file = "/etc/nexus/history.key"
[[history.tiers]]
step = "30s"
retention = "7d"
[[history.tiers]]
step = "10m"
[agent]
memory_budget = "1GiB"
)",
                                "a.toml");
  REQUIRE(shown(loaded.problems) == none);
  CHECK(loaded.config.collect.interval == 5s);
  CHECK(loaded.config.collect.deadline == 250ms);
  CHECK(loaded.config.history.retention == 7 * 24h);
  CHECK(loaded.config.history.memory == 2097152);
  CHECK(loaded.config.history.disk == 64ULL << 20);
  CHECK(loaded.config.history.checkpoint == 5s);
  CHECK(loaded.config.history.key_file == "/etc/nexus/history.key");
  REQUIRE(loaded.config.history.tiers.size() == 2);
  CHECK(loaded.config.history.tiers[0] == config::TierConfig{30s, 7 * 24h});
  CHECK(loaded.config.history.tiers[1].step == 10min);
  CHECK(loaded.config.agent.memory_budget == 1ULL << 30);
}

TEST_CASE("a remedy carries every key, and the places that others will need") {
  const auto loaded = load_text(R"([[remedy]]
on = 'service_failed{unit="web.service"}'
action = "restart_service"
target = "${unit}"
parameters = { grace = 2.5, force = true, tries = 3, how = "gently", list = ["a", "b"] }
priority = 10
mode = "propose"
cooldown = "20s"
max_attempts = 3
timeout = "1m"
enabled = false
verify = { expr = "up == 1", within = 45 }
)",
                                "a.toml");
  REQUIRE(shown(loaded.problems) == none);
  REQUIRE(loaded.config.remedies.size() == 1);
  const auto& remedy = loaded.config.remedies[0];
  CHECK(remedy.name == "restart_service on service_failed{unit=\"web.service\"}");
  CHECK(remedy.on.where == Where{"a.toml", 2, 6});
  CHECK(remedy.where == Where{"a.toml", 1, 1});
  CHECK(remedy.action_place == Where{"a.toml", 3, 10});
  CHECK(remedy.parameters == Parameters{{"grace", 2.5},
                                        {"force", true},
                                        {"tries", std::int64_t{3}},
                                        {"how", std::string("gently")},
                                        {"list", std::vector<std::string>{"a", "b"}}});
  CHECK(remedy.parameter_places.at("force") == Where{"a.toml", 5, 37});
  CHECK(remedy.priority == 10);
  CHECK(remedy.mode == Mode::kPropose);
  CHECK(remedy.cooldown == 20s);
  CHECK(remedy.max_attempts == 3U);
  CHECK(remedy.timeout == 1min);
  CHECK_FALSE(remedy.enabled);
  CHECK(remedy.verify->expr.text == "up == 1");
  CHECK(remedy.verify->within == 45s);
}

TEST_CASE("collectors keep their own options apart from the agent's") {
  const auto loaded = load_text(R"([collect]
threads = 4
[collect.cpu]
enabled = false
interval = "5s"
deadline = "2s"
guest = true
include = ["a"]
)",
                                "a.toml");
  REQUIRE(shown(loaded.problems) == none);
  const auto& cpu = loaded.config.collect.collectors.at("cpu");
  CHECK(loaded.config.collect.threads == 4);
  CHECK(cpu.enabled == false);
  CHECK(cpu.interval == 5s);
  CHECK(cpu.deadline == 2s);
  CHECK(cpu.options == Parameters{{"guest", true}, {"include", std::vector<std::string>{"a"}}});
  CHECK(cpu.option_places.at("guest") == Where{"a.toml", 7, 9});
  CHECK(cpu.where == Where{"a.toml", 3, 1});
}

TEST_CASE("a vital of a shipped name replaces only what it gives") {
  const auto loaded = load_text(R"([[vital]]
name = "disk_usage_percent"
warning = 85
for = "1m"
[[vital]]
name = "swap_usage_percent"
enabled = false
[[vital]]
name = "cpu_usage_percent"
critical = false
[[vital]]
name = "orders"
expr = "orders"
)",
                                "a.toml");
  REQUIRE(shown(loaded.problems) == none);
  const auto& config = loaded.config;
  CHECK(config.vitals.size() == default_vitals().size() + 1);
  const auto& disk = vital(config, "disk_usage_percent");
  CHECK(disk.warning == 85.0);
  CHECK(disk.critical == 95.0);
  CHECK(disk.pending == 1min);
  CHECK(disk.unit == "percent");
  CHECK_FALSE(vital(config, "swap_usage_percent").enabled);
  CHECK(vital(config, "cpu_usage_percent").critical == std::nullopt);
  CHECK(vital(config, "cpu_usage_percent").warning == 70.0);
  CHECK(config.vitals.back().expr.where == Where{"a.toml", 13, 8});
}

TEST_CASE("watched services get their suffix") {
  const auto loaded = load_text(
      "[services]\nwatch = ['web', 'a.timer', 'node.js', {name='db', depends_on=['x', 'y.mount']}]",
      "a.toml");
  REQUIRE(shown(loaded.problems) == none);
  const auto& services = loaded.config.services;
  REQUIRE(services.size() == 4);
  CHECK(services[0].name == "web.service");
  CHECK(services[1].name == "a.timer");
  CHECK(services[2].name == "node.js.service");
  CHECK(services[3].kind == "systemd");
  CHECK(services[3].depends_on == std::vector<std::string>{"x.service", "y.mount"});
}

TEST_CASE("watched containers have their kind in their name") {
  const auto loaded = load_text(
      "[services]\nwatch = ['docker:web', 'podman:api', {name='cache', kind='docker'}, "
      "{name='docker:shop/web', depends_on=['db', 'podman:cache']}]",
      "a.toml");
  REQUIRE(shown(loaded.problems) == none);
  const auto& services = loaded.config.services;
  REQUIRE(services.size() == 4);
  CHECK(services[0].name == "docker:web");
  CHECK(services[1].name == "docker:api");
  CHECK(services[2].name == "docker:cache");
  CHECK(services[3].name == "docker:shop/web");
  CHECK(services[3].depends_on == std::vector<std::string>{"db.service", "docker:cache"});
  for (const auto& service : services) CHECK(service.kind == "docker");
}

TEST_CASE("conf.d is read in name order: lists grow, other keys override") {
  TemporaryDirectory directory;
  LoadOptions options;
  options.file = directory.write("agent.toml", R"([collect]
interval = "1s"
threads = 1
[services]
watch = ["a"]
[[alert]]
name = "one"
expr = "1"
)");
  const auto second = directory.write("conf.d/20-b.toml", R"([collect]
interval = "3s"
[collect.cpu]
guest = true
)");
  const auto first = directory.write("conf.d/10-a.toml", R"([collect]
interval = "2s"
[collect.cpu]
enabled = true
[services]
watch = ["b"]
[[alert]]
name = "two"
expr = "1"
)");
  directory.write("conf.d/.hidden.toml", "nonsense");
  directory.write("conf.d/README", "nonsense");

  auto loaded = load(options);
  REQUIRE(shown(loaded.problems) == none);
  CHECK(loaded.files == std::vector<std::string>{options.file, first, second});
  CHECK(loaded.config.collect.interval == 3s);
  CHECK(loaded.config.collect.threads == 1);
  CHECK(loaded.config.collect.collectors.at("cpu").enabled == true);
  CHECK(loaded.config.collect.collectors.at("cpu").options.size() == 1);
  CHECK(loaded.config.services.size() == 2);
  CHECK(loaded.config.alerts.size() == 2);

  directory.write("conf.d/30-c.toml", "[[alert]]\nname = 'one'\nexpr = '1'\n[forecast]\nx = 1\n");
  directory.write("conf.d/05-d.toml", "[agent]\nlog_level = 1\n");
  loaded = load(options);
  REQUIRE(loaded.problems.size() == 3);
  CHECK(to_string(loaded.problems[0].where) == directory.path() + "/conf.d/05-d.toml:2:13");
  CHECK(to_string(loaded.problems[1].where) == directory.path() + "/conf.d/30-c.toml:2:8");
  CHECK(loaded.problems[1].message.ends_with("the other is at " + options.file + ":7:8"));
  CHECK(to_string(loaded.problems[2].where) == directory.path() + "/conf.d/30-c.toml:5:1");
}

TEST_CASE("a file that cannot be read is a problem, unless it may be absent") {
  TemporaryDirectory directory;
  LoadOptions options;
  options.file = directory.path() + "/agent.toml";
  CHECK(load(options).problems.size() == 1);
  options.file_must_exist = false;
  CHECK(shown(load(options).problems) == none);
  options.file = directory.path();
  CHECK(load(options).problems.size() == 1);
}

TEST_CASE("the environment overrides the files, flags override both") {
  LoadOptions options;
  options.environment = environment({{"COLLECTION_INTERVAL", "2"},
                                     {"HISTORY_RETENTION_HOURS", "48"},
                                     {"PREDICTION_HORIZON", "30"},
                                     {"ANOMALY_CONTAMINATION", "0.05"},
                                     {"CHECK_INTERVAL", "500ms"},
                                     {"MAX_CONCURRENT_ACTIONS", "7"},
                                     {"ACTION_TIMEOUT", "60"},
                                     {"LOG_LEVEL", "debug"},
                                     {"POSTGRES_HOST", "elsewhere"}});
  const std::string_view file =
      "[collect]\ninterval = '9s'\nthreads = 3\n[agent]\nlog_level = 'error'";
  auto loaded = load_text(file, "a.toml", options);
  REQUIRE(shown(loaded.problems) == none);
  CHECK(loaded.config.collect.interval == 2s);
  CHECK(loaded.config.collect.threads == 3);
  CHECK(loaded.config.history.retention == 48h);
  CHECK(loaded.config.forecast.horizon == 30min);
  CHECK(loaded.config.anomaly.contamination == 0.05);
  CHECK(loaded.config.operations.check_interval == 500ms);
  CHECK(loaded.config.operations.max_concurrent_actions == 7);
  CHECK(loaded.config.operations.action_timeout == 60s);
  CHECK(loaded.config.agent.log_level == "debug");

  options.overrides = {{"collect.interval", "4s"},
                       {"agent.log_level", "warning"},
                       {"agent.data_dir", "/tmp/x y"},
                       {"http.listen", "['127.0.0.1:1']"},
                       {"collect.cpu.guest", "true"}};
  loaded = load_text(file, "a.toml", options);
  REQUIRE(shown(loaded.problems) == none);
  CHECK(loaded.config.collect.interval == 4s);
  CHECK(loaded.config.agent.log_level == "warning");
  CHECK(loaded.config.agent.data_dir == "/tmp/x y");
  CHECK(loaded.config.http.listen == std::vector<std::string>{"127.0.0.1:1"});
  CHECK(loaded.config.collect.collectors.at("cpu").options.at("guest") == ParameterValue(true));
}

TEST_CASE("variables that do nothing by themselves are named, without their values") {
  LoadOptions options;
  CHECK(unused_variables(options) == none);
  options.environment = environment({{"LOG_LEVEL", "debug"}, {"POSTGRES_HOST", " "}});
  CHECK(unused_variables(options) == none);
  options.environment = environment(
      {{"POSTGRES_PASSWORD", "hunter2"}, {"SLACK_WEBHOOK_URL", "https://hooks.example/secret"}});
  CHECK(
      unused_variables(options) ==
      std::vector<std::string>{
          "environment variable SLACK_WEBHOOK_URL is set; it is read only where [notify.NAME] has "
          "url_env = \"SLACK_WEBHOOK_URL\""});
}

TEST_CASE("bad variables and flags are problems that name them, after those of the files") {
  LoadOptions options;
  options.environment = environment({{"COLLECTION_INTERVAL", "soon"},
                                     {"HISTORY_RETENTION_HOURS", "-1"},
                                     {"MAX_CONCURRENT_ACTIONS", "0"},
                                     {"ACTION_TIMEOUT", ""},
                                     {"LOG_LEVEL", "loud"}});
  options.overrides = {{"agent.data_dri", "/x"}, {"collect.interval", "1\nx = 2"}};
  const auto problems = shown(load_text("[agent]\nlog_format = 1", "a.toml", options).problems);
  REQUIRE(problems.size() == 7);
  CHECK(problems[0].starts_with("a.toml:2:14: agent.log_format: "));
  CHECK(problems[1] ==
        "environment variable COLLECTION_INTERVAL: collect.interval: expected a duration such as "
        "\"30s\", got the string \"soon\"");
  CHECK(problems[2].starts_with(
      "environment variable HISTORY_RETENTION_HOURS: history.retention: expected a duration from"));
  CHECK(problems[3].starts_with("environment variable MAX_CONCURRENT_ACTIONS: "));
  CHECK(problems[4].starts_with("environment variable LOG_LEVEL: agent.log_level: expected one"));
  CHECK(problems[5] ==
        "flag agent.data_dri: agent.data_dri: unknown key; did you mean \"data_dir\"?");
  CHECK(problems[6].starts_with("flag collect.interval: collect.interval: expected a duration"));
}

TEST_CASE("the difference of two configurations is named by section") {
  const auto before = load_text("", "a.toml").config;
  const auto after = load_text(
                         "[agent]\ndata_dir='/x'\n[http]\nlisten=['[::1]:1']\n[[vital]]\n"
                         "name='x'\nexpr='1'\n[services]\nwatch=['a']\n[collect]\nprocfs='/p'",
                         "a.toml")
                         .config;
  CHECK(changed_sections(before, before).empty());
  CHECK(needs_restart(before, before).empty());
  CHECK(changed_sections(before, after) ==
        std::vector<std::string>{"agent", "http", "collect", "vital", "services"});
  const auto restart = needs_restart(before, after);
  REQUIRE(restart.size() == 3);
  CHECK(restart[0].starts_with("agent.data_dir: "));
  CHECK(restart[1].starts_with("http.listen: "));
  CHECK(restart[2].starts_with("collect.procfs: "));
  // Where something is written is no difference.
  CHECK(changed_sections(load_text("[[alert]]\nname='a'\nexpr='1'", "a").config,
                         load_text("\n\n[[alert]]\nexpr='1'\nname='a'", "b").config)
            .empty());
}
