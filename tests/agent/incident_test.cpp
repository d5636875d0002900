#include "agent/incident.hpp"

#include <catch2/catch.hpp>

#include "nexus/config/load.hpp"

using namespace nexus;
using namespace nexus::agent;
using namespace std::chrono_literals;

namespace {

constexpr WallTime kNow = base::from_unix_millis(1'700'000'000'000);

analyze::Finding firing(std::string name, std::string source, WallTime since = kNow - 1s) {
  analyze::Finding finding;
  finding.name = std::move(name);
  finding.evidence.source = std::move(source);
  finding.state = analyze::FindingState::kFiring;
  finding.fired = since;
  return finding;
}

/// As /health/components shows it; `cpu`: of one run.
monitor::CollectorStatus working(std::string name, double cpu, Millis interval = 1s) {
  monitor::CollectorStatus status;
  status.name = std::move(name);
  status.outcome = "ok";
  status.interval = interval;
  status.runs = 10;
  status.cpu_seconds_sum = 10 * cpu;
  return status;
}

struct Rig {
  std::map<std::string, Millis> look(analyze::Findings findings, double budget = 10) {
    std::map<std::string, Millis> out;
    for (const auto& one :
         incident.look(findings, config::default_vitals(), collectors, budget, kNow))
      out.emplace(one.collector, one.interval);
    return out;
  }

  knowledge::SelfMetrics self;
  Incident incident{self};
  std::vector<monitor::CollectorStatus> collectors = {
      working("diskstats", 0.0001),    working("filesystem", 0.0001), working("meminfo", 0.0001),
      working("processes", 0.015, 5s), working("hwmon", 0.0001, 10s), working("agent", 0.0001)};
};

}  // namespace

TEST_CASE("the collectors behind an expression are known by their metrics") {
  const auto& vitals = config::default_vitals();
  CHECK(collectors_of("rate(node_disk_read_bytes_total[1m]) > 5", vitals) ==
        std::set<std::string>{"diskstats"});
  CHECK(collectors_of("node_memory_MemFree_bytes + node_load1", vitals) ==
        std::set<std::string>{"loadavg", "meminfo"});
  CHECK(collectors_of("disk_usage_percent{mountpoint=\"/\"} > 90", vitals) ==
        std::set<std::string>{"filesystem"});
  CHECK(collectors_of("up == 0", vitals).empty());
  CHECK(collectors_of("", vitals).empty());
}

TEST_CASE("while a finding fires its collectors look closer, the others do not") {
  Rig rig;
  CHECK(rig.look({}).empty());
  const auto hurried = rig.look({firing("disk_usage_percent", "")});
  CHECK(hurried == std::map<std::string, Millis>{{"filesystem", 100ms}});
  auto resolved = firing("disk_usage_percent", "");
  resolved.state = analyze::FindingState::kResolved;
  CHECK(rig.look({resolved}).empty());
  CHECK(rig.look({firing("web_down", "up == 0")}).empty());
}

TEST_CASE("ten minutes after it fired a finding is no incident any more") {
  Rig rig;
  CHECK(rig.look({firing("disk_usage_percent", "", kNow - 10min)}).size() == 1);
  CHECK(rig.look({firing("disk_usage_percent", "", kNow - 10min - 1s)}).empty());
}

TEST_CASE("nobody looks closer than half the budget allows, nor ten times as often as it does") {
  Rig rig;
  // 15 ms a run and 5 % of a core for it: every 300 ms would do, but a tenth of 5 s is 500 ms.
  CHECK(rig.look({firing("", "node_processes_pids")})["processes"] == 500ms);
  // 1 % of the budget: 0.5 % of a core, a run in 3 s.
  CHECK(rig.look({firing("", "node_processes_pids")}, 1)["processes"] == 3000ms);
  CHECK(rig.look({firing("", "node_processes_pids")}, 0.1).empty());
  CHECK(rig.look({firing("temperature_of_limit_ratio", "")})["hwmon"] == 1000ms);
}

TEST_CASE("a collector that does not work is not asked more often") {
  Rig rig;
  rig.collectors[1].outcome = "failed";
  CHECK(rig.look({firing("disk_usage_percent", "")}).empty());
}
