#include <algorithm>
#include <catch2/catch.hpp>
#include <set>

#include "config/config_support.hpp"
#include "config/shapes.hpp"

using namespace nexus;
using namespace nexus::config;

TEST_CASE("the shipped vitals are complete and sane") {
  const auto& vitals = default_vitals();
  CHECK(vitals.size() >= 36);
  std::set<std::string> names;
  std::size_t with_both = 0;
  for (const auto& vital : vitals) {
    CAPTURE(vital.name);
    CHECK(names.insert(vital.name).second);
    CHECK(kMetricName.accepts(vital.name));
    CHECK_FALSE(vital.expr.text.empty());
    CHECK(kPlainName.accepts(vital.unit));
    CHECK_FALSE(vital.help.empty());
    CHECK(vital.enabled);
    CHECK(vital.warning.has_value() == vital.critical.has_value());
    if (vital.warning && vital.critical) {
      ++with_both;
      CHECK((vital.direction == Direction::kAbove ? *vital.warning < *vital.critical
                                                  : *vital.warning > *vital.critical));
      CHECK((!vital.maximum || *vital.critical < *vital.maximum));
      CHECK((!vital.minimum || *vital.warning > *vital.minimum));
    }
    CHECK((vital.name.ends_with("_percent") == (vital.unit == "percent")));
    CHECK((vital.unit != "percent" || vital.maximum == 100.0 || vital.name == "agent_cpu_percent"));
  }
  CHECK(with_both >= 25);
}

TEST_CASE("the vitals that people are promised are shipped, with unit and both thresholds") {
  const std::vector<std::pair<std::string, std::string>> promised = {
      {"cpu_usage_percent", "percent"},
      {"cpu_load_average", "count"},
      {"memory_usage_percent", "percent"},
      {"memory_available_bytes", "bytes"},
      {"swap_usage_percent", "percent"},
      {"disk_usage_percent", "percent"},
      {"disk_free_bytes", "bytes"},
      {"disk_read_bytes_per_second", "bytes_per_second"},
      {"disk_write_bytes_per_second", "bytes_per_second"},
      {"network_receive_bytes_per_second", "bytes_per_second"},
      {"network_transmit_bytes_per_second", "bytes_per_second"},
      {"processes", "count"},
      {"threads", "count"},
      {"processes_running", "count"},
      {"processes_blocked", "count"},
      {"processes_zombie", "count"},
      {"pressure_cpu_some_percent", "percent"},
      {"pressure_memory_some_percent", "percent"},
      {"pressure_memory_full_percent", "percent"},
      {"pressure_io_some_percent", "percent"},
      {"pressure_io_full_percent", "percent"},
      {"agent_cpu_percent", "percent"},
      {"agent_resident_memory_bytes", "bytes"}};
  for (const auto& [name, unit] : promised) {
    CAPTURE(name);
    const auto vital = std::ranges::find(default_vitals(), name, &VitalConfig::name);
    REQUIRE(vital != default_vitals().end());
    CHECK(vital->unit == unit);
    CHECK(vital->warning.has_value());
    CHECK(vital->critical.has_value());
  }
}

TEST_CASE("every selector of what the agent measures itself leaves out what is scraped") {
  // Names of what collectors give; up and probe_*, which tell of targets, are meant to be others'.
  const std::vector<std::string_view> own = {"node_", "namedprocess_", "container_", "nexus_",
                                             "pg_",   "redis_",        "docker_",    "engine_",
                                             "kube_", "kubernetes_"};
  const auto is_word = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == ':';
  };
  std::size_t selectors = 0;
  for (const VitalConfig& vital : default_vitals()) {
    INFO(vital.name << ": " << vital.expr.text);
    std::string_view rest = vital.expr.text;
    while (!rest.empty()) {
      const auto end = std::ranges::find_if_not(rest, is_word) - rest.begin();
      const std::string_view word = rest.substr(0, static_cast<std::size_t>(end));
      rest.remove_prefix(std::max<std::size_t>(word.size(), 1));
      const auto begins = [&](std::string_view prefix) { return word.starts_with(prefix); };
      if (std::ranges::none_of(own, begins)) continue;
      ++selectors;
      CHECK(rest.starts_with("{job=\"\""));
    }
  }
  CHECK(selectors > 100);
}

TEST_CASE("the thresholds of use are the promised ones") {
  const auto thresholds = [](std::string_view name) {
    const auto vital = std::ranges::find(default_vitals(), name, &VitalConfig::name);
    REQUIRE(vital != default_vitals().end());
    return std::pair(vital->warning.value_or(0), vital->critical.value_or(0));
  };
  CHECK(thresholds("cpu_usage_percent") == std::pair(70.0, 90.0));
  CHECK(thresholds("memory_usage_percent") == std::pair(80.0, 95.0));
  CHECK(thresholds("disk_usage_percent") == std::pair(80.0, 95.0));
  CHECK(thresholds("swap_usage_percent") == std::pair(50.0, 80.0));
}

TEST_CASE(
    "windows of shipped vitals hold samples at long intervals; a user's are left as written") {
  const auto window_of = [](std::string_view text, std::string_view name) {
    const auto loaded = load_text(text, "a.toml");
    REQUIRE(loaded.problems.empty());
    return std::ranges::find(loaded.config.vitals, name, &VitalConfig::name)->expr.text;
  };
  CHECK(window_of("[collect]\ninterval = \"15s\"", "cpu_usage_percent").contains("[1m]"));
  const auto wide = window_of("[collect]\ninterval = \"60s\"", "cpu_usage_percent");
  CHECK(wide.contains("[4m]"));
  CHECK_FALSE(wide.contains("[1m]"));
  CHECK(window_of("[collect]\ninterval = 60\n[[vital]]\nname = \"mine\"\nexpr = \"rate(x[1m])\"",
                  "mine") == "rate(x[1m])");
}
