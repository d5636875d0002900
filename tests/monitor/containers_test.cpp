// Control groups: version 2, version 1 and both, on written trees; and a real one of this machine.
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>

#include "monitor/host_tree.hpp"
#include "nexus/base/id.hpp"

using namespace nexus;
using namespace nexus::monitor;
using namespace nexus::monitor::testing;
using Catch::Matchers::Contains;

namespace {

constexpr std::string_view kWeb = "sys/fs/cgroup/system.slice/web.service/";

void write_v2(const TemporaryTree& tree, std::string_view group = kWeb) {
  tree.write("sys/fs/cgroup/cgroup.controllers", "cpu io memory pids\n");
  const auto put = [&](std::string_view file, std::string_view text) {
    tree.write(std::string(group).append(file), text);
  };
  put("cpu.stat",
      "usage_usec 5000000\nuser_usec 3000000\nsystem_usec 2000000\nnr_periods 10\nnr_throttled 4\n"
      "throttled_usec 250000\n");
  put("cpu.max", "50000 100000\n");
  put("memory.current", "1000000\n");
  put("memory.peak", "2000000\n");
  put("memory.max", "max\n");
  put("memory.stat",
      "anon 600000\nfile 300000\nfile_dirty 11\nfile_writeback 12\ninactive_file 120000\n"
      "active_file 180000\nworkingset_refault_anon 13\nworkingset_refault_file 14\npgscan 15\n"
      "pgsteal 16\npgfault 7\npgmajfault 2\n");
  put("memory.events", "low 0\nhigh 17\nmax 3\noom 1\noom_kill 1\n");
  put("io.stat", "8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n8:16 \n");
  put("pids.current", "12\n");
  put("pids.max", "max\n");
  put("cpu.pressure", "some avg10=0.00 total=2000000\nfull avg10=0.00 total=500000\n");
}

std::string web(std::string_view metric, std::string_view before = "") {
  return fmt::format(R"({}{{{}id="/system.slice/web.service",unit="web.service"}})", metric,
                     before);
}

}  // namespace

TEST_CASE("containers: version 2, with cAdvisor's names") {
  const TemporaryTree tree;
  write_v2(tree);
  CollectorRig rig("containers", tree.roots());
  REQUIRE(rig.run());
  const auto& sink = rig.sink;
  CHECK(sink.value(web("container_cpu_usage_seconds_total", R"(cpu="total",)")) == 5);
  CHECK(sink.value(web("container_cpu_user_seconds_total")) == 3);
  CHECK(sink.value(web("container_cpu_cfs_throttled_periods_total")) == 4);
  CHECK(sink.value(web("container_cpu_cfs_throttled_seconds_total")) == 0.25);
  CHECK(sink.value(web("container_spec_cpu_quota")) == 50000);
  CHECK(sink.value(web("container_memory_usage_bytes")) == 1000000);
  CHECK(sink.value(web("container_memory_working_set_bytes")) == 880000);
  CHECK(sink.value(web("container_spec_memory_limit_bytes")) == 0);
  CHECK(sink.value(web("container_memory_rss")) == 600000);
  CHECK(sink.value(web("container_oom_events_total")) == 1);
  CHECK(sink.value(web("container_threads")) == 12);
  CHECK(sink.value(web("container_pressure_cpu_waiting_seconds_total")) == 2);
  CHECK(sink.value(web("container_fs_writes_bytes_total", R"(device="8:0",)")) == 8192);
  for (const std::string_view scope : {"container", "hierarchy"}) {
    CHECK(
        sink.value(fmt::format(
            R"(container_memory_failures_total{{failure_type="pgmajfault",id="/system.slice/web.service",scope="{}",unit="web.service"}})",
            scope)) == 2);
  }
  CHECK(sink.value(web("container_memory_failcnt")) == 3);
  CHECK(sink.value("nexus_control_groups_left_out") == 0);
}

TEST_CASE("containers: what cAdvisor has besides is told of containers, and not of every unit") {
  const TemporaryTree tree;
  const std::string id(64, 'c');
  write_v2(tree);
  write_v2(tree, fmt::format("sys/fs/cgroup/system.slice/docker-{}.scope/", id));
  CollectorRig rig("containers", tree.roots());
  REQUIRE(rig.run());
  const std::string labels = fmt::format(R"(id="/system.slice/docker-{0}.scope",name="{0}")", id);
  const std::string end = fmt::format(R"(unit="docker-{}.scope"}})", id);
  for (const auto& [metric, value] : std::initializer_list<std::pair<std::string_view, double>>{
           {"container_memory_total_active_file_bytes", 180'000},
           {"container_memory_file_dirty_bytes", 11},
           {"container_memory_file_writeback_bytes", 12},
           {"container_memory_workingset_refault_anon_total", 13},
           {"container_memory_workingset_refault_file_total", 14},
           {"container_memory_pgscan_total", 15},
           {"container_memory_pgsteal_total", 16},
           {"container_memory_events_high_total", 17},
           {"container_memory_events_max_total", 3}}) {
    INFO(metric);
    CHECK(rig.sink.value(fmt::format("{}{{{},{}", metric, labels, end)) == value);
    CHECK_FALSE(rig.sink.has(web(metric)));
  }
  const auto usage = [&](std::string_view operation) {
    return rig.sink.value(fmt::format(
        R"(container_blkio_device_usage_total{{device="8:0",id="/system.slice/docker-{0}.scope",major="8",minor="0",name="{0}",operation="{1}",{2})",
        id, operation, end));
  };
  CHECK(usage("Read") == 4096);
  CHECK(usage("Write") == 8192);
}

TEST_CASE("containers: version 1 and the hybrid, merged by path") {
  const TemporaryTree tree;
  const std::string id(64, 'b');
  const auto put = [&](std::string_view controller, std::string_view file, std::string_view text) {
    tree.write(fmt::format("sys/fs/cgroup/{}/docker/{}/{}", controller, id, file), text);
  };
  put("cpu,cpuacct", "cpuacct.usage", "7000000000\n");
  put("cpu,cpuacct", "cpuacct.stat", "user 300\nsystem 100\n");
  put("cpu,cpuacct", "cpu.stat", "nr_periods 8\nnr_throttled 1\nthrottled_time 500000000\n");
  put("cpu,cpuacct", "cpu.cfs_quota_us", "-1\n");
  put("memory", "memory.usage_in_bytes", "5000\n");
  put("memory", "memory.limit_in_bytes", "9223372036854771712\n");
  put("memory", "memory.stat",
      "cache 1\ntotal_cache 1000\ntotal_rss 3000\ntotal_inactive_file 500\n");
  put("memory", "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n");
  put("blkio", "blkio.throttle.io_service_bytes",
      "8:0 Read 10\n8:0 Write 20\n8:0 Total 30\nTotal 30\n");
  put("pids", "pids.current", "3\n");
  put("unified", "cpu.pressure", "some avg10=0.00 total=1000000\n");
  tree.write("sys/fs/cgroup/unified/cgroup.controllers", "");
  CollectorRig rig("containers", tree.roots());
  REQUIRE(rig.run());
  const std::string labels = fmt::format(R"(id="/docker/{}",name="{}"}})", id, id);
  const auto value = [&](std::string_view metric, std::string_view before = "") {
    return rig.sink.value(fmt::format("{}{{{}{}", metric, before, labels));
  };
  CHECK(value("container_cpu_usage_seconds_total", R"(cpu="total",)") == 7);
  CHECK(value("container_cpu_user_seconds_total") == 3);
  CHECK(value("container_cpu_cfs_throttled_seconds_total") == 0.5);
  CHECK(value("container_memory_working_set_bytes") == 4500);
  CHECK(value("container_memory_cache") == 1000);
  CHECK(value("container_spec_memory_limit_bytes") == 0);
  CHECK(value("container_oom_events_total") == 2);
  CHECK(value("container_fs_reads_bytes_total", R"(device="8:0",)") == 10);
  CHECK(value("container_threads") == 3);
  CHECK(value("container_pressure_cpu_waiting_seconds_total") == 1);
  CHECK_FALSE(rig.sink.has(fmt::format("container_spec_cpu_quota{{{}", labels)));
}

TEST_CASE("containers: names of the engine and of Kubernetes, as soon as they are known") {
  const TemporaryTree tree;
  const std::string web(64, 'a');
  const std::string app(64, 'b');
  const std::string uid = "11111111-2222-3333-4444-555555555555";
  const std::string pod = "/kubepods/burstable/pod" + uid;
  tree.write("sys/fs/cgroup/cgroup.controllers", "cpu\n");
  for (const auto& path : {"/docker/" + web, pod, pod + "/" + app})
    tree.write("sys/fs/cgroup" + path + "/pids.current", "3\n");
  CollectorRig rig("containers", tree.roots());
  REQUIRE(rig.run());
  CHECK(rig.sink.has(fmt::format(R"(container_threads{{id="/docker/{0}",name="{0}"}})", web)));
  ContainerNames engine;
  engine[web] = {.name = "web-1", .image = "nginx:1.27"};
  rig.observed.publish(NameSource::kEngine, std::make_shared<const ContainerNames>(engine));
  ContainerNames kubernetes;
  kubernetes[uid] = {.name_space = "shop", .pod = "cart-0"};
  kubernetes[app] = {.image = "cart:7", .name_space = "shop", .pod = "cart-0", .container = "main"};
  rig.observed.publish(NameSource::kKubernetes, std::make_shared<const ContainerNames>(kubernetes));
  REQUIRE(rig.run());
  CHECK(rig.sink.value(fmt::format(
            R"(container_threads{{id="/docker/{}",image="nginx:1.27",name="web-1"}})", web)) == 3);
  CHECK(rig.sink.value(fmt::format(
            R"(container_threads{{id="{0}",namespace="shop",pod="cart-0",pod_uid="{1}"}})", pod,
            uid)) == 3);
  CHECK(
      rig.sink.value(fmt::format(
          R"(container_threads{{container="main",id="{0}/{1}",image="cart:7",name="{1}",namespace="shop",pod="cart-0",pod_uid="{2}"}})",
          pod, app, uid)) == 3);
}

TEST_CASE("containers: networks of containers and pods, each once, and of the host") {
  const TemporaryTree tree;
  const std::string own(64, 'a');
  const std::string shared(64, 'b');
  const std::string app(64, 'c');
  const std::string uid = "11111111-2222-3333-4444-555555555555";
  const std::string pod = "/kubepods/pod" + uid;
  tree.write("sys/fs/cgroup/cgroup.controllers", "cpu\n");
  const auto group = [&](const std::string& path, std::string_view processes) {
    tree.write("sys/fs/cgroup" + path + "/pids.current", "1\n");
    tree.write("sys/fs/cgroup" + path + "/cgroup.procs", processes);
  };
  group("/docker/" + own, "");
  group("/docker/" + own + "/init.scope", "70\n71\n");  // an init of its own
  group("/docker/" + shared, "80\n");                   // with the host's network
  group(pod, "");
  group(pod + "/" + app, "90\n");
  const auto process = [&](int pid, std::string_view space, int base) {
    tree.write(fmt::format("proc/{}/net/dev", pid),
               fmt::format("Inter-| Receive | Transmit\n face |bytes packets\n"
                           "    lo: 9 9 9 9 0 0 0 0 9 9 9 9 0 0 0 0\n"
                           "  eth0:{} 2 3 4 0 0 0 0 50 6 7 8 0 0 0 0\n"
                           "veth12: 9 9 9 9 0 0 0 0 9 9 9 9 0 0 0 0\n  cut: 1 2\n",
                           base));
    const std::string link = tree.path() + fmt::format("/proc/{}/ns", pid);
    std::filesystem::create_directories(link);
    tree.write("spaces/" + std::string(space), "");
    std::filesystem::create_symlink(tree.path() + "/spaces/" + std::string(space), link + "/net");
  };
  process(1, "host", 1);
  process(70, "own", 1000);
  process(80, "host", 1);
  process(90, "pod", 7000);
  CollectorRig rig("containers", tree.roots());
  REQUIRE(rig.run());
  const auto value = [&](std::string_view metric, const std::string& labels) {
    return rig.sink.value(fmt::format("container_network_{}{{{}}}", metric, labels));
  };
  const std::string host = R"(id="/",interface="eth0")";
  const std::string of_own = fmt::format(R"(id="/docker/{0}",interface="eth0",name="{0}")", own);
  const std::string of_pod = fmt::format(R"(id="{}",interface="eth0",pod_uid="{}")", pod, uid);
  CHECK(value("receive_bytes_total", host) == 1);
  CHECK(value("receive_bytes_total", of_own) == 1000);
  CHECK(value("receive_packets_total", of_own) == 2);
  CHECK(value("receive_errors_total", of_own) == 3);
  CHECK(value("receive_packets_dropped_total", of_own) == 4);
  CHECK(value("transmit_bytes_total", of_own) == 50);
  CHECK(value("transmit_packets_total", of_own) == 6);
  CHECK(value("transmit_errors_total", of_own) == 7);
  CHECK(value("transmit_packets_dropped_total", of_own) == 8);
  CHECK(value("receive_bytes_total", of_pod) == 7000);
  const auto text = rig.sink.text();
  std::size_t shown = 0;
  for (auto at = text.find("\ncontainer_network_receive_bytes_total{"); at != std::string::npos;
       at = text.find("\ncontainer_network_receive_bytes_total{", at + 1))
    ++shown;
  CHECK(shown == 3);  // neither veth nor lo, no container twice, none with the host's network
}

TEST_CASE("containers: what a machine has, and when a group was seen") {
  const TemporaryTree tree;
  write_v2(tree);
  tree.write(std::string(kWeb) + "memory.low", "4096\n");
  tree.write("proc/stat", "cpu  1 2 3 4\ncpu0 1 2 3 4\ncpu1 1 2 3 4\nbtime 1700000000\n");
  tree.write("proc/meminfo", "MemTotal:        1024 kB\nMemFree: 1 kB\n");
  tree.write("proc/sys/kernel/random/boot_id", "boot\n");
  tree.write("etc/machine-id", "machine\n");
  tree.write("sys/class/dmi/id/product_uuid", "uuid\n");
  CollectorRig rig("containers", tree.roots());
  REQUIRE(rig.run());
  const std::string machine = R"({boot_id="boot",machine_id="machine",system_uuid="uuid"})";
  CHECK(rig.sink.value("machine_cpu_cores" + machine) == 2);
  CHECK(rig.sink.value("machine_memory_bytes" + machine) == 1 << 20);
  CHECK(rig.sink.value(web("container_last_seen")) ==
        static_cast<double>(base::to_unix_millis(rig.clock.wall()) / 1000));
  CHECK(rig.sink.value(web("container_spec_memory_reservation_limit_bytes")) == 4096);
}

TEST_CASE("containers: never more than max_groups, the outer ones first; include and exclude") {
  const TemporaryTree tree;
  tree.write("sys/fs/cgroup/cgroup.controllers", "cpu\n");
  for (int i = 0; i < 40; ++i) {
    tree.write(fmt::format("sys/fs/cgroup/a.slice/s{:02}.service/cpu.stat", i), "usage_usec 1\n");
    tree.write(fmt::format("sys/fs/cgroup/b.slice/m{:02}.mount/cpu.stat", i), "usage_usec 1\n");
  }
  tree.write("sys/fs/cgroup/a.slice/s00.service/inner/deep/cpu.stat", "usage_usec 1\n");
  CollectorRig rig("containers", tree.roots(), {{"max_groups", std::int64_t{10}}});
  REQUIRE(rig.run());
  CHECK(rig.sink.value("nexus_control_groups") == 10);
  CHECK(rig.sink.value("nexus_control_groups_left_out") > 0);
  CHECK(rig.sink.has(
      R"(container_cpu_usage_seconds_total{cpu="total",id="/a.slice/s00.service",unit="s00.service"})"));
  CHECK_FALSE(rig.sink.has(
      R"(container_cpu_usage_seconds_total{cpu="total",id="/b.slice/m00.mount",unit="m00.mount"})"));
  CollectorRig one("containers", tree.roots(), {{"include", std::string("/s0[12]\\.")}});
  REQUIRE(one.run());
  CHECK(one.sink.value("nexus_control_groups") == 2);
}

TEST_CASE(
    "containers: what is damaged is named and costs only its figure; nothing there is no data") {
  const TemporaryTree tree;
  CollectorRig none("containers", tree.roots());
  const Status absent = none.run();
  REQUIRE_FALSE(absent);
  CHECK(absent.error().code() == Errc::kNotFound);
  write_v2(tree);
  tree.write(std::string(kWeb) + "memory.current", "many\n");
  tree.write(std::string(kWeb) + "memory.stat", "anon -5\nfile 3\n");
  CollectorRig rig("containers", tree.roots());
  CHECK_THAT(rig.failure(),
             Contains("web.service/memory.current: line 1: expected a number, found \"many\"") &&
                 Contains("(and 1 more)"));
  CHECK(rig.sink.value(web("container_memory_cache")) == 3);
  CHECK_FALSE(rig.sink.has(web("container_memory_usage_bytes")));
  CHECK(rig.sink.value(web("container_threads")) == 12);
}

TEST_CASE("containers: a real control group of this machine") {
  // Version 1's memory controller, or version 2 with it: whichever this kernel has mounted.
  std::string base = "/sys/fs/cgroup/memory";
  if (::access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0) base = "/sys/fs/cgroup";
  const std::string name = "nexus-test-" + base::random_hex(8);
  const std::string path = base + "/" + name;
  INFO(path << ": a control group must be allowed here (root, cgroupfs writable)");
  REQUIRE(::mkdir(path.c_str(), 0755) == 0);
  std::array<int, 2> ready{};
  REQUIRE(::pipe2(ready.data(), O_CLOEXEC) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    std::ofstream(path + "/cgroup.procs") << 0 << std::flush;
    std::vector<char> memory(32U << 20, 'x');
    static_cast<void>(::write(ready[1], memory.data(), 1));
    for (;;) ::pause();
  }
  char byte = 0;
  REQUIRE(::read(ready[0], &byte, 1) == 1);
  const host::Roots roots;
  CollectorRig rig("containers", roots, {{"include", std::string("^/" + name + "$")}});
  const Status done = rig.run();
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ::close(ready[0]);
  ::close(ready[1]);
  CHECK(::rmdir(path.c_str()) == 0);
  INFO((done ? std::string() : done.error().message()));
  REQUIRE(done);
  CHECK(rig.sink.value(fmt::format(R"(container_memory_usage_bytes{{id="/{}"}})", name)) >=
        32 << 20);
  CHECK(rig.sink.value(fmt::format(R"(container_memory_rss{{id="/{}"}})", name)) >= 30 << 20);
}
