#include <algorithm>
#include <catch2/catch.hpp>
#include <set>

#include "monitor/name_filter.hpp"
#include "nexus/config/config.hpp"
#include "nexus/monitor/collector.hpp"

using namespace nexus;
using namespace nexus::monitor;

namespace {

std::vector<config::Problem> check_one(std::string name, config::CollectorConfig config) {
  config::CollectSection collect;
  config.where = {"agent.toml", 7, 1};
  collect.collectors.emplace(std::move(name), std::move(config));
  return check_collectors(collect);
}

config::CollectorConfig with_option(std::string name, config::ParameterValue value) {
  config::CollectorConfig config;
  config.options.emplace(std::move(name), std::move(value));
  return config;
}

}  // namespace

TEST_CASE("the table is sorted, without duplicates, and every collector describes itself") {
  CHECK(std::ranges::is_sorted(collectors(), {}, &CollectorDescriptor::name));
  std::set<std::string_view> names;
  for (const CollectorDescriptor* descriptor : collectors()) {
    INFO(descriptor->name);
    CHECK(names.insert(descriptor->name).second);
    CHECK(find_collector(descriptor->name) == descriptor);
    CHECK_FALSE(descriptor->help.empty());
    CHECK_FALSE(descriptor->metrics.empty());
    CHECK(descriptor->make != nullptr);
    for (const MetricDescriptor& metric : descriptor->metrics) CHECK_FALSE(metric.help.empty());
    for (const OptionDescriptor& option : descriptor->options) CHECK_FALSE(option.help.empty());
  }
  CHECK(find_collector("nonsense") == nullptr);
}

TEST_CASE(
    "an unknown collector and an unknown option are problems that name the place and the choice") {
  auto problems = check_one("nonsense", {});
  REQUIRE(problems.size() == 1);
  CHECK(problems[0].where.line == 7);
  CHECK(problems[0].message.find("[collect.nonsense]") != std::string::npos);
  CHECK(problems[0].message.find("uname") != std::string::npos);

  problems = check_one("uname", with_option("colour", std::string("red")));
  REQUIRE(problems.size() == 1);
  CHECK(problems[0].message.find("colour: unknown option") != std::string::npos);
}

TEST_CASE("intervals too short to be real are refused") {
  config::CollectorConfig config;
  config.interval = Millis(0);
  config.deadline = Millis(-5);
  CHECK(check_one("uname", config).size() == 2);
  config.interval = Millis(100);
  config.deadline = Millis(100);
  CHECK(check_one("uname", config).empty());
}

TEST_CASE("a name filter excludes, includes, and refuses what does not compile") {
  const auto filter = NameFilter::make("", "^(dm-\\d+|loop\\d+)$").value();
  CHECK(filter.accepts("sda"));
  CHECK_FALSE(filter.accepts("dm-12"));
  CHECK(filter.accepts("xdm-12"));
  const auto both = NameFilter::make("^s", "b$").value();
  CHECK(both.accepts("sda"));
  CHECK_FALSE(both.accepts("sdb"));
  CHECK_FALSE(both.accepts("vda"));
  CHECK(NameFilter::make("", "").value().accepts(""));
  const auto bad = NameFilter::make("", "(");
  REQUIRE_FALSE(bad.has_value());
  CHECK(bad.error().code() == Errc::kInvalidArgument);
}
