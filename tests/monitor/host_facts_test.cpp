// The collectors processes, uname, time, systemd and agent.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <map>

#include "monitor/collectors/systemd.hpp"
#include "monitor/host_tree.hpp"
#include "nexus/base/version.hpp"
#include "nexus/monitor/scheduler.hpp"

using namespace nexus;
using namespace nexus::monitor;
using namespace nexus::monitor::testing;
using Catch::Matchers::Contains;

namespace {

std::string stat_line(int pid, std::string_view name, char state, std::string_view threads) {
  return fmt::format("{} ({}) {} 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 {} 0 100 1000 100 1 1 1\n",
                     pid, name, state, threads);
}

void add_process(const TemporaryTree& tree, int pid, std::string_view name, char state) {
  tree.write(fmt::format("proc/{}/stat", pid), stat_line(pid, name, state, "1"));
}

void add_limits(const TemporaryTree& tree) {
  tree.write("proc/sys/kernel/pid_max", "32768\n");
  tree.write("proc/sys/kernel/threads-max", "1000\n");
}

void add_kernel(const TemporaryTree& tree) {
  tree.write("proc/sys/kernel/ostype", "Linux\n");
  tree.write("proc/sys/kernel/osrelease", "6.1.0-1-amd64\n");
  tree.write("proc/sys/kernel/version", "#1 SMP Debian 6.1\n");
  tree.write("proc/sys/kernel/hostname", "web1\n");
  tree.write("proc/sys/kernel/domainname", "(none)\n");
}

}  // namespace

TEST_CASE("processes: counted by state, threads apart, whatever their names hold") {
  const TemporaryTree tree;
  add_limits(tree);
  add_process(tree, 1, "init", 'S');
  add_process(tree, 20, ") R 9 (", 'D');
  add_process(tree, 300, "a b\nc", 'S');
  tree.write("proc/4000/stat", stat_line(4000, "java", 'S', "3"));
  for (const int task : {4000, 4001, 4002}) {
    tree.write(fmt::format("proc/4000/task/{}/stat", task),
               stat_line(task, "java", task == 4002 ? 'R' : 'S', "3"));
  }
  tree.write("proc/self/stat", stat_line(9, "not a process of its own", 'R', "1"));
  CollectorRig rig("processes", tree.roots());
  REQUIRE(rig.run());
  CHECK(rig.sink.value("node_processes_pids") == 4);
  CHECK(rig.sink.value("node_processes_threads") == 6);
  CHECK(rig.sink.value("node_processes_max_processes") == 32768);
  CHECK(rig.sink.value("node_processes_max_threads") == 1000);
  CHECK(rig.sink.value(R"(node_processes_state{state="S"})") == 3);
  CHECK(rig.sink.value(R"(node_processes_state{state="D"})") == 1);
  CHECK(rig.sink.value(R"(node_processes_threads_state{thread_state="S"})") == 4);
  CHECK(rig.sink.value(R"(node_processes_threads_state{thread_state="R"})") == 1);
  CHECK(rig.sink.value(R"(node_processes_threads_state{thread_state="D"})") == 1);

  tree.remove("proc/20");
  REQUIRE(rig.run());
  CHECK(rig.sink.value(R"(node_processes_state{state="D"})") == 0);  // its series stays

  CollectorRig plain("processes", tree.roots(), {{"threads_state", false}});
  REQUIRE(plain.run());
  CHECK_FALSE(plain.sink.has(R"(node_processes_threads_state{thread_state="S"})"));
}

TEST_CASE("processes: one that vanishes between listing and reading is skipped and counted") {
  const TemporaryTree tree;
  add_limits(tree);
  add_process(tree, 1, "init", 'S');
  tree.write("proc/77/comm", "gone\n");  // listed, without a stat to read
  CollectorRig rig("processes", tree.roots());
  REQUIRE(rig.run());
  CHECK(rig.sink.value("node_processes_pids") == 1);
  CHECK(rig.sink.value("nexus_processes_vanished_total") == 1);
  REQUIRE(rig.run());
  CHECK(rig.sink.value("nexus_processes_vanished_total") == 2);
}

TEST_CASE("processes: truncated and impossible files cost only themselves and are named") {
  const TemporaryTree tree;
  add_limits(tree);
  add_process(tree, 1, "init", 'S');
  tree.write("proc/2/stat", "2 (cut");
  tree.write("proc/3/stat", "");
  tree.write("proc/4/stat", stat_line(4, "x", 'S', "-5"));
  tree.write("proc/5/stat", stat_line(5, "x", 'S', "99999999999999999999"));
  tree.write("proc/6/stat", stat_line(6, "x", '?', "1"));
  CollectorRig rig("processes", tree.roots());
  CHECK_THAT(rig.failure(), Contains("/stat") && Contains("PID (NAME) STATE"));
  CHECK(rig.sink.value("node_processes_pids") == 1);
  CHECK(rig.sink.value("node_processes_threads") == 1);
  tree.write("proc/sys/kernel/pid_max", "many\n");
  CHECK_THAT(rig.failure(), Contains("more") || Contains("pid_max"));
  CHECK_FALSE(rig.sink.has("node_processes_max_processes"));
}

TEST_CASE("processes: an empty tree is an error that says so, a missing one no data") {
  const TemporaryTree tree;
  add_limits(tree);
  CollectorRig rig("processes", tree.roots());
  CHECK_THAT(rig.failure(), Contains("no process"));
  CollectorRig missing("processes",
                       {.procfs = "/nonexistent/proc", .sysfs = "/nonexistent/sys", .rootfs = "/"});
  CHECK(missing.run().error().code() == Errc::kNotFound);
}

TEST_CASE("processes: this machine runs at least this process") {
  CollectorRig rig("processes", host::Roots{});
  REQUIRE(rig.run());
  CHECK(rig.sink.value("node_processes_pids") >= 1);
  CHECK(rig.sink.value("node_processes_threads") >= rig.sink.value("node_processes_pids"));
}

TEST_CASE("uname: the kernel of the tree, or an error that names the missing file") {
  const TemporaryTree tree;
  add_kernel(tree);
  tree.write("proc/sys/kernel/arch", "aarch64\n");
  CollectorRig rig("uname", tree.roots());
  REQUIRE(rig.run());
  CHECK(rig.sink.value(
            R"x(node_uname_info{domainname="(none)",machine="aarch64",nodename="web1",)x"
            R"x(release="6.1.0-1-amd64",sysname="Linux",version="#1 SMP Debian 6.1"})x") == 1);
  tree.remove("proc/sys/kernel/arch");
  REQUIRE(rig.run());
  CHECK(rig.sink.count() == 1);
  tree.remove("proc/sys/kernel/osrelease");
  CHECK_THAT(rig.failure(), Contains("osrelease"));
}

TEST_CASE("time: the clock that was injected, the zone, and the clock sources of every device") {
  const TemporaryTree tree;
  const std::string device = "sys/devices/system/clocksource/clocksource0/";
  tree.write(device + "available_clocksource", "tsc kvm-clock \n");
  tree.write(device + "current_clocksource", "tsc\n");
  CollectorRig rig("time", tree.roots());
  rig.clock.advance(std::chrono::milliseconds(1500));
  REQUIRE(rig.run());
  CHECK(rig.sink.value("node_time_seconds") == 1'700'000'001.5);
  CHECK(rig.sink.value(
            R"(node_time_clocksource_available_info{clocksource="kvm-clock",device="0"})") == 1);
  CHECK(rig.sink.value(R"(node_time_clocksource_available_info{clocksource="tsc",device="0"})") ==
        1);
  CHECK(rig.sink.value(R"(node_time_clocksource_current_info{clocksource="tsc",device="0"})") == 1);
  CHECK_THAT(rig.sink.text(), Contains("node_time_zone_offset_seconds{time_zone="));
  const TemporaryTree empty;
  CollectorRig bare("time", empty.roots());
  REQUIRE(bare.run());
  CHECK(bare.sink.has("node_time_seconds"));
}

namespace {

struct SystemdRig {
  explicit SystemdRig(config::Parameters given = {}) : options(std::move(given)) {
    UnitSource source{.units = [this] { return units; },
                      .version = [this] { return version; },
                      .state = [this] { return state; },
                      .virtualization = [] { return Result<std::string>("kvm"); },
                      .numbers =
                          [this](std::span<const drivers::UnitProperty> properties) {
                            return answer(properties);
                          }};
    collector =
        make_systemd({.roots = roots, .clock = clock, .registry = registry, .options = options},
                     std::move(source))
            .value();
  }
  static drivers::UnitSummary unit(std::string name, std::string active,
                                   std::string load = "loaded", std::string type = "") {
    return {.name = std::move(name),
            .load_state = std::move(load),
            .active_state = std::move(active),
            .sub_state = {},
            .type = std::move(type)};
  }
  Status run() {
    sink.clear();
    return collector->collect(sink);
  }

  /// What `numbers` holds under "unit/interface/name".
  Result<std::vector<std::optional<std::uint64_t>>> answer(
      std::span<const drivers::UnitProperty> properties) {
    std::vector<std::optional<std::uint64_t>> out;
    for (const auto& [unit, interface, name] : properties) {
      const auto found = numbers.find(unit + "/" + interface + "/" + name);
      out.push_back(found == numbers.end() ? std::nullopt : std::optional(found->second));
      ++asked;
    }
    if (away) return fail(Errc::kTimeout, "properties of units: no answer");
    return out;
  }

  std::map<std::string, std::uint64_t> numbers;
  std::size_t asked = 0;
  bool away = false;
  Result<std::vector<drivers::UnitSummary>> units;
  Result<std::string> version = "252.39-1~deb12u1";
  Result<std::string> state = "degraded";
  base::ManualClock clock;
  host::Roots roots;
  config::Parameters options;
  knowledge::SeriesRegistry registry{1000};
  RecordingSink sink{registry, RecordingSink::Keep::kLines};
  std::unique_ptr<Collector> collector;
};

}  // namespace

TEST_CASE(
    "systemd: five states a loaded unit, the summary counts every unit, the manager's state") {
  SystemdRig rig;
  rig.units = std::vector{SystemdRig::unit("web.service", "active", "loaded", "simple"),
                          SystemdRig::unit("db.service", "failed", "loaded", "notify"),
                          SystemdRig::unit("gone.service", "inactive", "not-found"),
                          SystemdRig::unit("sda.device", "active"),
                          SystemdRig::unit("x.service", "reloading")};
  REQUIRE(rig.run());
  CHECK(rig.sink.value(
            R"(node_systemd_unit_state{name="web.service",state="active",type="simple"})") == 1);
  CHECK(rig.sink.value(
            R"(node_systemd_unit_state{name="web.service",state="failed",type="simple"})") == 0);
  CHECK(rig.sink.value(
            R"(node_systemd_unit_state{name="db.service",state="failed",type="notify"})") == 1);
  CHECK(rig.sink.value(R"(node_systemd_unit_state{name="x.service",state="active"})") == 0);
  CHECK(rig.sink.count() == 3 * 5 + 5 + 3);
  CHECK(rig.sink.value(R"(node_systemd_virtualization_info{virtualization_type="kvm"})") == 1);
  CHECK(rig.asked == 0);
  CHECK(rig.sink.value(R"(node_systemd_units{state="active"})") == 2);
  CHECK(rig.sink.value(R"(node_systemd_units{state="failed"})") == 1);
  CHECK(rig.sink.value(R"(node_systemd_units{state="inactive"})") == 1);
  CHECK(rig.sink.value("node_systemd_system_running") == 0);
  CHECK(rig.sink.value(R"(node_systemd_version{version="252.39-1~deb12u1"})") == 252.39);
  rig.state = "running";
  REQUIRE(rig.run());
  CHECK(rig.sink.value("node_systemd_system_running") == 1);
}

TEST_CASE("systemd: sockets, timers, restarts, tasks and start times, as node_exporter has them") {
  SystemdRig rig({{"enable_task_metrics", true},
                  {"enable_restarts_metrics", true},
                  {"enable_start_time_metrics", true}});
  rig.units = std::vector{
      SystemdRig::unit("web.service", "active"), SystemdRig::unit("old.service", "inactive"),
      SystemdRig::unit("web.socket", "active"), SystemdRig::unit("daily.timer", "active"),
      SystemdRig::unit("gone.socket", "inactive", "not-found")};
  rig.numbers = {{"web.service/Service/NRestarts", 3},
                 {"web.service/Service/TasksCurrent", 17},
                 {"web.service/Service/TasksMax", ~0ULL},
                 {"web.service/Unit/ActiveEnterTimestamp", 1'700'000'000'500'000},
                 {"old.service/Service/NRestarts", 0},
                 {"old.service/Service/TasksCurrent", ~0ULL},
                 {"old.service/Service/TasksMax", 4915},
                 {"web.socket/Socket/NAccepted", 12},
                 {"web.socket/Socket/NConnections", 2},
                 {"web.socket/Socket/NRefused", 1},
                 {"daily.timer/Timer/LastTriggerUSec", 1'600'000'000'000'000}};
  REQUIRE(rig.run());
  const auto value = [&](std::string_view metric, std::string_view unit) {
    return rig.sink.value(fmt::format(R"(node_systemd_{}{{name="{}"}})", metric, unit));
  };
  CHECK(value("service_restart_total", "web.service") == 3);
  CHECK(value("service_restart_total", "old.service") == 0);
  CHECK(value("unit_tasks_current", "web.service") == 17);
  CHECK(value("unit_tasks_max", "old.service") == 4915);
  CHECK_FALSE(rig.sink.has(R"(node_systemd_unit_tasks_max{name="web.service"})"));
  CHECK_FALSE(rig.sink.has(R"(node_systemd_unit_tasks_current{name="old.service"})"));
  CHECK(value("unit_start_time_seconds", "web.service") == 1'700'000'000.5);
  CHECK(value("unit_start_time_seconds", "old.service") == 0);
  CHECK(value("socket_accepted_connections_total", "web.socket") == 12);
  CHECK(value("socket_current_connections", "web.socket") == 2);
  CHECK(value("socket_refused_connections_total", "web.socket") == 1);
  CHECK(value("timer_last_trigger_seconds", "daily.timer") == 1'600'000'000);
  CHECK_FALSE(rig.sink.has(R"(node_systemd_socket_current_connections{name="gone.socket"})"));
  rig.away = true;
  CHECK(rig.run().error().code() == Errc::kTimeout);
  CHECK(rig.sink.has("node_systemd_system_running"));
}

TEST_CASE("systemd: requests for details are bounded, and what is left out is said") {
  SystemdRig rig;
  std::vector<drivers::UnitSummary> many;
  for (int i = 0; i < 1500; ++i)
    many.push_back(SystemdRig::unit(fmt::format("s{}.socket", i), "active"));
  rig.units = many;
  const Status done = rig.run();
  REQUIRE_FALSE(done);
  CHECK(done.error().code() == Errc::kExhausted);
  CHECK(rig.asked == 4096);
}

TEST_CASE("systemd: patterns match a whole name") {
  SystemdRig rig({{"unit_include", std::string("web.*|db")}});
  rig.units = std::vector{SystemdRig::unit("web.service", "active"),
                          SystemdRig::unit("db.service", "active"),
                          SystemdRig::unit("my-web.service", "active")};
  REQUIRE(rig.run());
  CHECK(rig.sink.has(R"(node_systemd_unit_state{name="web.service",state="active"})"));
  CHECK_FALSE(rig.sink.has(R"(node_systemd_unit_state{name="db.service",state="active"})"));
  CHECK_FALSE(rig.sink.has(R"(node_systemd_unit_state{name="my-web.service",state="active"})"));
}

TEST_CASE(
    "systemd: a bus that is away is a failure, an odd version costs only itself, no systemd is no "
    "data") {
  SystemdRig rig;
  rig.units = fail(Errc::kUnavailable, "no bus");
  CHECK(rig.run().error().code() == Errc::kUnavailable);
  rig.units = std::vector{SystemdRig::unit("web.service", "active")};
  rig.version = "unknown";
  CHECK_FALSE(rig.run().has_value());
  CHECK(rig.sink.has("node_systemd_system_running"));
  const TemporaryTree tree;
  CollectorRig none("systemd", tree.roots());
  CHECK(none.run().error().code() == Errc::kNotFound);
}

TEST_CASE("agent: its process, its build, and what it counts") {
  knowledge::SelfMetrics self;
  self.counter("nexus_test_total", "A test.", {{"kind", "x"}}).add(3);
  const host::Roots roots;
  base::ManualClock clock;
  knowledge::SeriesRegistry registry(1000);
  const config::Parameters options;
  RecordingSink sink(registry, RecordingSink::Keep::kLines);
  const auto collector = find_collector("agent")->make(
      {.roots = roots, .clock = clock, .registry = registry, .options = options, .self = &self});
  REQUIRE(collector.has_value());
  REQUIRE((*collector)->collect(sink));
  CHECK(sink.value(R"(nexus_test_total{kind="x"})") == 3);
  CHECK(sink.value("process_resident_memory_bytes") > 1e6);
  CHECK(sink.value("process_virtual_memory_bytes") > sink.value("process_resident_memory_bytes"));
  CHECK(sink.value("process_open_fds") >= 3);
  CHECK(sink.value("process_max_fds") >= sink.value("process_open_fds"));
  CHECK(sink.value("process_cpu_seconds_total") >= 0);
  CHECK(sink.value("process_start_time_seconds") > 1.5e9);
  CHECK_THAT(sink.text(), Contains("nexus_build_info{") &&
                              Contains(fmt::format("version=\"{}\"", base::version())));
}

TEST_CASE("collect once: the named collectors, their meta metrics, and an unknown name") {
  const TemporaryTree tree;
  add_kernel(tree);
  const host::Roots roots = tree.roots();
  base::ManualClock clock;
  knowledge::SeriesRegistry registry(1000);
  knowledge::Rings rings(1024);
  knowledge::SelfMetrics self;
  const SchedulerContext context{roots, clock, registry, rings, self};
  RecordingSink sink(registry, RecordingSink::Keep::kLines);
  const std::vector<std::string> names = {"uname", "loadavg"};
  const auto result = collect_once(context, {}, names, sink);
  REQUIRE(result.has_value());
  REQUIRE(result->collectors.size() == 2);
  CHECK(result->collectors[0].outcome == "ok");
  CHECK(result->collectors[1].outcome == "no_data");
  CHECK(sink.value(R"(node_scrape_collector_success{collector="uname"})") == 1);
  CHECK(sink.value(R"(node_scrape_collector_success{collector="loadavg"})") == 0);
  CHECK(sink.has(R"(node_scrape_collector_duration_seconds{collector="loadavg"})"));
  const std::vector<std::string> unknown = {"nonsense"};
  CHECK(collect_once(context, {}, unknown, sink).error().code() == Errc::kNotFound);

  config::CollectSection collect;
  for (const CollectorDescriptor* descriptor : collectors()) {
    collect.collectors[std::string(descriptor->name)].enabled = descriptor->name == "uname";
  }
  CHECK(collect_once(context, collect, {}, sink)->collectors.size() == 1);

  const std::vector<std::string> both = {"boottime", "stat"};  // one series by both
  const auto told = collect_once(context, {}, both, sink);
  REQUIRE(told->collectors.size() == 1);
  CHECK(told->collectors[0].name == "stat");
}
