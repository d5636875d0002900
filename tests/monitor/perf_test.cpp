// Events that the running kernel counts: a software event, and a tracepoint, of this test's own
// doing.
#include <sched.h>
#include <sys/mount.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <thread>

#include "monitor/host_tree.hpp"
#include "nexus/base/text.hpp"
#include "nexus/host/subprocess.hpp"

using namespace nexus;
using namespace nexus::monitor;
using namespace nexus::monitor::testing;

namespace {

double sum_of(const RecordingSink& sink, std::string_view name) {
  const std::string all = sink.text();
  std::string_view rest = all;
  double sum = 0;
  while (!rest.empty()) {
    const std::string_view line = base::take_until(rest, '\n');
    if (!line.starts_with(std::string(name) + "{")) continue;
    sum += base::parse_double(line.substr(line.rfind(' ') + 1)).value();
  }
  return sum;
}

void run_a_program() {
  base::SystemClock clock;
  const auto exit = host::run({.argv = {"/bin/true"}}, clock, clock.steady() + Millis(60'000));
  REQUIRE(exit);
}

}  // namespace

TEST_CASE("perf: what this kernel counts only grows, by CPU; what is disabled is not there") {
  CollectorRig rig("perf", host::Roots{}, {{"disable_cache_profilers", true}});
  REQUIRE(rig.run());
  const double before = sum_of(rig.sink, "node_perf_context_switches_total");
  CHECK_FALSE(rig.sink.text().contains("node_perf_cache_l1d"));
  for (int i = 0; i < 20; ++i) run_a_program();
  REQUIRE(rig.run());
  CHECK(sum_of(rig.sink, "node_perf_context_switches_total") > before);
  CollectorRig none("perf", host::Roots{},
                    {{"disable_cache_profilers", true},
                     {"disable_software_profilers", true},
                     {"disable_hardware_profilers", true}});
  CHECK(none.run().error().code() == Errc::kNotFound);
}

TEST_CASE("perf: a tracepoint counts; one that there is not costs only itself") {
  std::exception_ptr failed;
  // A mount name space of this thread's own, where tracefs is wherever the machine has it.
  std::thread alone([&] {
    try {
      REQUIRE(::unshare(CLONE_NEWNS) == 0);
      REQUIRE(::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
      const TemporaryTree tree;
      host::Roots roots;
      roots.sysfs = tree.path() + "/sys";
      const std::string point = roots.sysfs + "/kernel/tracing";
      std::filesystem::create_directories(point);
      REQUIRE(::mount("tracefs", point.c_str(), "tracefs", 0, nullptr) == 0);
      tree.write("sys/devices/system/cpu/online", "0\n");
      CollectorRig rig(
          "perf", roots,
          {{"tracepoint", std::vector<std::string>{"sched:sched_process_exec", "sched:none"}},
           {"disable_software_profilers", true},
           {"disable_hardware_profilers", true},
           {"disable_cache_profilers", true}});
      const Status first = rig.run();
      REQUIRE_FALSE(first);
      CHECK(first.error().message().contains("tracepoint sched:none: not in"));
      REQUIRE(rig.sink.has(R"(node_perf_sched_sched_process_exec{cpu="0"})"));
      cpu_set_t only;
      CPU_ZERO(&only);
      CPU_SET(0, &only);
      REQUIRE(::sched_setaffinity(0, sizeof only, &only) == 0);  // children inherit it
      run_a_program();
      static_cast<void>(rig.run());
      CHECK(rig.sink.value(R"(node_perf_sched_sched_process_exec{cpu="0"})") >= 1);
      REQUIRE(::umount2(point.c_str(), MNT_DETACH) == 0);
    } catch (...) {
      failed = std::current_exception();
    }
  });
  alone.join();
  if (failed) std::rethrow_exception(failed);
}

TEST_CASE("perf: options that make no sense are refused, and counters are bounded") {
  const host::Roots roots;
  base::ManualClock clock;
  knowledge::SeriesRegistry registry(100'000);
  const auto made = [&](config::Parameters options) {
    return find_collector("perf")->make(
        {.roots = roots, .clock = clock, .registry = registry, .options = options});
  };
  for (const char* cpus : {"x", "3-1", "0-5000", "1:0", "-", "1,,x"}) {
    INFO(cpus);
    CHECK_FALSE(made({{"cpus", std::string(cpus)}}));
  }
  CHECK(made({{"cpus", std::string("0-3,8-62:2")}}));
  for (const char* tracepoint : {"sched", "sched:", ":x", "../..:x", "a:b/c"}) {
    INFO(tracepoint);
    CHECK_FALSE(made({{"tracepoint", std::vector<std::string>{tracepoint}}}));
  }
  CollectorRig many("perf", host::Roots{}, {{"cpus", std::string("0-1023")}});
  const Status done = many.run();
  // CPUs that there are not cannot be opened: nothing is left out on a small machine.
  if (!done) CHECK(done.error().code() == Errc::kExhausted);
  CHECK(many.sink.count() <= 4096);
}
