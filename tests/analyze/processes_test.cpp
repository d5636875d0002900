#include "analyze/anomaly/processes.hpp"

#include <catch2/catch.hpp>

#include "world.hpp"

using namespace nexus;
using namespace nexus::analyze;

namespace {

struct Groups : nexus::analyze::test::World {
  void put(std::string_view metric, std::string_view group, double value) {
    sample(knowledge::Labels(metric, {{"groupname", group}}), value);
  }
  /// Ninety minutes, every ten seconds; in the last three `busy` uses three processors and has
  /// taken 300 MiB.
  std::int64_t run(int rows = 540) {
    double busy = 0;
    double calm = 0;
    for (int i = 0; i < rows; ++i) {
      const bool late = i >= rows - 18;
      busy += late ? 30 : 1;
      calm += 5;
      put("namedprocess_namegroup_cpu_seconds_total", "busy", busy);
      put("namedprocess_namegroup_cpu_seconds_total", "calm", calm);
      for (const std::string_view type : {"resident", "virtual"}) {
        sample(knowledge::Labels("namedprocess_namegroup_memory_bytes",
                                 {{"groupname", "busy"}, {"memtype", type}}),
               (type == "virtual" ? 1e12 : 1e8) + (late ? 300.0 * (1 << 20) : 0));
        sample(knowledge::Labels("namedprocess_namegroup_memory_bytes",
                                 {{"groupname", "calm"}, {"memtype", type}}),
               2e8 + i);
      }
      const double now = static_cast<double>(base::to_unix_millis(clock.wall())) / 1000;
      put("namedprocess_namegroup_oldest_start_time_seconds", "calm", 1000);
      if (late) put("namedprocess_namegroup_oldest_start_time_seconds", "busy", now - 42);
      ingest();
      clock.advance(std::chrono::seconds(10));
    }
    return base::to_unix_millis(clock.wall());
  }
};

}  // namespace

TEST_CASE("processes: what changed is named with its usual and present values") {
  Groups groups;
  const auto now = groups.run();
  const auto cpu = processes_near(groups.history, now, "cpu_usage_percent");
  REQUIRE(cpu.size() == 1);
  CHECK(cpu[0].group == "busy");
  CHECK(cpu[0].resource == "cpu");
  CHECK(cpu[0].usual == Approx(0.1).epsilon(0.05));
  CHECK(cpu[0].present == Approx(3).epsilon(0.05));
  CHECK(cpu[0].share > 0.9);
  REQUIRE(cpu[0].started_seconds_ago);
  CHECK(*cpu[0].started_seconds_ago == Approx(52));
  const auto memory = processes_near(groups.history, now, "memory_usage_percent");
  REQUIRE(memory.size() == 1);
  CHECK(memory[0].group == "busy");
  CHECK(memory[0].present - memory[0].usual == Approx(300.0 * (1 << 20)).epsilon(0.01));
  CHECK(processes_near(groups.history, now, "disk_usage_percent").empty());
  const auto host = processes_near(groups.history, now, "host");
  CHECK(host.size() == 2);
  CHECK(to_sentence(host) ==
        "; processes: busy cpu 3.00 processors (usually 0.10 processors, started 52 s ago), busy "
        "memory 395 MiB (usually 95.4 MiB, started 52 s ago)");
}

TEST_CASE("processes: an agent that began some minutes ago compares with those") {
  Groups groups;
  const auto now = groups.run(60);
  const auto all = processes_near(groups.history, now, "host");
  REQUIRE(all.size() == 2);
  CHECK(all[0].resource == "cpu");
  CHECK(all[0].usual == Approx(0.1).epsilon(0.05));
  CHECK(all[0].present == Approx(3).epsilon(0.05));
  CHECK(all[1].resource == "memory");
  CHECK(all[1].present - all[1].usual == Approx(300.0 * (1 << 20)).epsilon(0.01));
}

TEST_CASE("processes: nothing is said without a past or long after") {
  Groups empty;
  CHECK(processes_near(empty.history, base::to_unix_millis(empty.clock.wall()), "host").empty());
  CHECK(to_sentence({}).empty());
  const auto now = empty.run();
  CHECK(processes_near(empty.history, now + 3'600'000, "host").empty());
}
