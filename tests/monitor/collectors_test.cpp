// The collectors of kernel text files one by one: what they take, what they hold, what they say
// about bad input.
#include <catch2/catch.hpp>

#include "monitor/host_tree.hpp"

using namespace nexus;
using namespace nexus::monitor;
using namespace nexus::monitor::testing;
using Catch::Matchers::Contains;

namespace {

constexpr std::string_view kStatTail =
    "intr 10 1 2\nctxt 20\nbtime 1700000000\nprocesses 30\nprocs_running 2\nprocs_blocked 1\n"
    "softirq 55 1 2 3 4 5 6 7 8 9 10\n";

std::string stat_with(std::string_view cpus) {
  return std::string(cpus) + std::string(kStatTail);
}

}  // namespace

TEST_CASE("cpu: ticks become seconds per mode, guests apart, the sum line is left out") {
  const TemporaryTree tree;
  tree.write("proc/stat",
             stat_with("cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 100 200 300 400 5 6 7 8 90 1\n"));
  CollectorRig rig("cpu", tree.roots());
  REQUIRE(rig.run());
  CHECK(rig.sink.count() == 10);
  CHECK(rig.sink.value(R"(node_cpu_seconds_total{cpu="0",mode="system"})") == 3);
  CHECK(rig.sink.value(R"(node_cpu_seconds_total{cpu="0",mode="iowait"})") == 0.05);
  CHECK(rig.sink.value(R"(node_cpu_guest_seconds_total{cpu="0",mode="user"})") == 0.9);

  CollectorRig plain("cpu", tree.roots(), {{"guest", false}});
  REQUIRE(plain.run());
  CHECK(plain.sink.count() == 8);
}

TEST_CASE("cpu: a counter that goes back is held, a fall of idle by 3 s or more begins anew") {
  const TemporaryTree tree;
  const auto idle = R"(node_cpu_seconds_total{cpu="0",mode="idle"})";
  const auto iowait = R"(node_cpu_seconds_total{cpu="0",mode="iowait"})";
  const auto user = R"(node_cpu_seconds_total{cpu="0",mode="user"})";
  tree.write("proc/stat", stat_with("cpu0 1000 0 0 5000 700 0 0 0 0 0\n"));
  CollectorRig rig("cpu", tree.roots());
  REQUIRE(rig.run());

  tree.write("proc/stat", stat_with("cpu0 1100 0 0 4701 650 0 0 0 0 0\n"));  // 2.99 s back
  REQUIRE(rig.run());
  CHECK(rig.sink.value(idle) == 50);
  CHECK(rig.sink.value(iowait) == 7);
  CHECK(rig.sink.value(user) == 11);

  tree.write("proc/stat", stat_with("cpu0 5 0 0 4700 1 0 0 0 0 0\n"));  // 3 s back
  REQUIRE(rig.run());
  CHECK(rig.sink.value(idle) == 47);
  CHECK(rig.sink.value(iowait) == 0.01);
  CHECK(rig.sink.value(user) == 0.05);
}

TEST_CASE("cpu: one that went offline and came back begins anew") {
  const TemporaryTree tree;
  const std::string first = "cpu0 1 0 0 1 0 0 0 0 0 0\n";
  tree.write("proc/stat", stat_with(first + "cpu1 900 0 0 100 0 0 0 0 0 0\n"));
  CollectorRig rig("cpu", tree.roots());
  REQUIRE(rig.run());
  tree.write("proc/stat", stat_with(first));
  REQUIRE(rig.run());
  CHECK_FALSE(rig.sink.has(R"(node_cpu_seconds_total{cpu="1",mode="user"})"));
  tree.write("proc/stat", stat_with(first + "cpu1 3 0 0 100 0 0 0 0 0 0\n"));
  REQUIRE(rig.run());
  CHECK(rig.sink.value(R"(node_cpu_seconds_total{cpu="1",mode="user"})") == 0.03);
}

TEST_CASE("cpu: ten thousand CPUs") {
  const TemporaryTree tree;
  std::string cpus;
  for (int i = 0; i < 10'000; ++i) cpus += fmt::format("cpu{} 1 2 3 4 5 6 7 8 9 10\n", i);
  tree.write("proc/stat", stat_with(cpus));
  CollectorRig rig("cpu", tree.roots(), {}, RecordingSink::Keep::kCountOnly);
  REQUIRE(rig.run());
  CHECK(rig.sink.count() == 100'000);
}

TEST_CASE("cpu: info names every CPU's place and model") {
  CollectorRig rig("cpu", roots_at(host_path("numa")), {{"info", true}});
  REQUIRE(rig.run());
  CHECK(
      rig.sink.value(
          R"(node_cpu_info{cachesize="49152 KB",core="31",cpu="127",family="6",microcode="0xd0003d1",)"
          R"(model="106",model_name="Intel(R) Xeon(R) Platinum 8358 CPU @ 2.60GHz",package="1",)"
          R"(stepping="6",vendor="GenuineIntel"})") == 1);
}

TEST_CASE("cpu: bad numbers cost only their field and are named by file and line") {
  const TemporaryTree tree;
  tree.write("proc/stat",
             stat_with("cpu0 1 -2 3 18446744073709551616 5 6\ncpu1 1 2 3 4\ncpuX 1 2 3 4\n"));
  CollectorRig rig("cpu", tree.roots());
  const std::string error = rig.failure();
  CHECK_THAT(error, Contains(tree.path() + "/proc/stat: line 1: expected a number of clock ticks"));
  CHECK_THAT(error, Contains("\"-2\" (and 2 more)"));
  CHECK(rig.sink.value(R"(node_cpu_seconds_total{cpu="0",mode="system"})") == 0.03);
  CHECK(rig.sink.value(R"(node_cpu_seconds_total{cpu="1",mode="idle"})") == 0.04);
  CHECK(rig.sink.count() == 4 + 4);

  tree.write("proc/stat", "");
  CHECK_THAT(rig.failure(), Contains("expected a line for every CPU"));
}

TEST_CASE("stat: soft interrupts only when wanted, a missing line is named") {
  const TemporaryTree tree;
  tree.write("proc/stat", stat_with("cpu0 1 2 3 4\n"));
  CollectorRig rig("stat", tree.roots());
  REQUIRE(rig.run());
  CHECK(rig.sink.count() == 6);
  CHECK(rig.sink.value("node_boot_time_seconds") == 1700000000);

  CollectorRig with("stat", tree.roots(), {{"softirq", true}});
  REQUIRE(with.run());
  CHECK(with.sink.value(R"(node_softirqs_total{vector="rcu"})") == 10);

  tree.write("proc/stat", "intr 1\nctxt 2\nprocesses 3\nbtime 4\nprocs_running 5\n");
  CHECK_THAT(rig.failure(), Contains("expected a line \"procs_blocked\""));
  CHECK(rig.sink.count() == 5);
}

TEST_CASE("meminfo: names, units, and every line by itself") {
  const TemporaryTree tree;
  tree.write("proc/meminfo",
             "MemTotal: 2 kB\nActive(anon): 3 kB\nHugePages_Total: 4\nOdd: x kB\nDirty: 5 MB\n"
             "MemTotal: 9 kB\nfoo_total: 6\n");
  CollectorRig rig("meminfo", tree.roots());
  CHECK_THAT(
      rig.failure(),
      Contains(
          "/proc/meminfo: line 4: expected NAME: NUMBER [kB], found \"Odd: x kB\" (and 2 more)"));
  CHECK(rig.sink.text() ==
        "node_memory_Active_anon_bytes 3072\nnode_memory_HugePages_Total 4\n"
        "node_memory_MemTotal_bytes 2048\nnode_memory_foo_total 6\n");
  CHECK(rig.registry.family(rig.registry.family("node_memory_foo_total", MetricType::kUntyped, ""))
            .type == MetricType::kCounter);
}

TEST_CASE("vmstat: the option chooses the fields") {
  const auto roots = roots_at(host_path("small-vm"));
  CollectorRig rig("vmstat", roots);
  REQUIRE(rig.run());
  CHECK(rig.sink.count() == 7);
  CollectorRig all("vmstat", roots, {{"fields", std::string(".*")}});
  REQUIRE(all.run());
  CHECK(all.sink.count() > 150);
}

TEST_CASE("pressure: a kernel without it is no data, a damaged file is an error") {
  CollectorRig old("pressure", roots_at(host_path("old-kernel")));
  const Status none = old.run();
  REQUIRE_FALSE(none);
  CHECK(none.error().code() == Errc::kNotFound);

  const TemporaryTree tree;
  tree.write("proc/pressure/cpu", "some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\n");
  tree.write("proc/pressure/io", "some avg10=0.00\nfull avg10=0 total=1000000\n");
  CollectorRig rig("pressure", tree.roots());
  CHECK_THAT(rig.failure(), Contains("/proc/pressure/io: line 1: expected total=MICROSECONDS"));
  CHECK(rig.sink.text() ==
        "node_pressure_cpu_waiting_seconds_total 2.5\nnode_pressure_io_stalled_seconds_total 1\n");
}

TEST_CASE("diskstats: as many metrics as the kernel gives numbers") {
  const TemporaryTree tree;
  tree.write(
      "proc/diskstats",
      "8 0 sda 1 2 3 4 5 6 7 8 9 10 11\n8 16 sdb 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15\n"
      "259 0 nvme0n1 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n8 1 sda1 1 1 1 1 1 1 1 1 1 1 1\n");
  CollectorRig rig("diskstats", tree.roots());
  REQUIRE(rig.run());
  CHECK(rig.sink.count() == 11 + 15 + 17 + 3);
  CHECK(rig.sink.value(R"(node_disk_read_bytes_total{device="sda"})") == 3 * 512);
  CHECK(rig.sink.value(R"(node_disk_info{device="sdb",major="8",minor="16"})") == 1);
  CHECK(rig.sink.value(R"(node_disk_flush_requests_time_seconds_total{device="nvme0n1"})") ==
        0.017);

  tree.write("proc/diskstats", "8 0 sda 1 2 3\n");
  CHECK_THAT(
      rig.failure(),
      Contains(
          "/proc/diskstats: line 1: expected at least 11 numbers, found nothing (and 7 more)"));
  CHECK(rig.sink.count() == 3 + 1);
}

TEST_CASE("diskstats: sysfs names the disk, and another disk in its place is looked at anew") {
  const TemporaryTree tree;
  const std::string numbers = " 1 2 3 4 5 6 7 8 9 10 11\n";
  tree.write("proc/diskstats", "8 0 sda" + numbers);
  tree.write("sys/block/sda/device/model", "ONE             \n");
  CollectorRig rig("diskstats", tree.roots());
  REQUIRE(rig.run());
  CHECK(rig.sink.has(R"(node_disk_info{device="sda",major="8",minor="0",model="ONE"})"));
  tree.write("proc/diskstats", "8 16 sdb" + numbers);
  REQUIRE(rig.run());
  tree.write("proc/diskstats", "8 0 sda" + numbers);
  tree.write("sys/block/sda/device/model", "TWO\n");
  REQUIRE(rig.run());
  CHECK(rig.sink.has(R"(node_disk_info{device="sda",major="8",minor="0",model="TWO"})"));
}

TEST_CASE("netdev: loopback is left out, an include replaces the exclude, both are an error") {
  const TemporaryTree tree;
  const std::string numbers = ": 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n";
  tree.write("proc/net/dev", "x | y | z\n lo" + numbers + " eth0" + numbers + "  br-7" + numbers);
  tree.write("sys/class/net/eth0/statistics/rx_nohandler", "17\n");
  CollectorRig rig("netdev", tree.roots());
  REQUIRE(rig.run());
  CHECK(rig.sink.count() == 16 + 17);
  CHECK(rig.sink.value(R"(node_network_transmit_colls_total{device="br-7"})") == 14);
  CHECK(rig.sink.value(R"(node_network_receive_nohandler_total{device="eth0"})") == 17);

  CollectorRig only("netdev", tree.roots(), {{"device_include", std::string("^lo$")}});
  REQUIRE(only.run());
  CHECK(only.sink.count() == 16);
  CHECK(only.sink.has(R"(node_network_receive_bytes_total{device="lo"})"));

  const config::Parameters both{{"device_include", std::string("eth")},
                                {"device_exclude", std::string("lo")}};
  const auto made = find_collector("netdev")->make(
      {.roots = rig.roots, .clock = rig.clock, .registry = rig.registry, .options = both});
  REQUIRE_FALSE(made);
  CHECK_THAT(made.error().message(), Contains("expected only one of the two"));
}

TEST_CASE(
    "netdev: names that are no UTF-8 or a path are taken as they are and reach no other file") {
  const TemporaryTree tree;
  const std::string numbers = ": 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n";
  tree.write("proc/net/dev", "\xff" + numbers + "../../proc" + numbers);
  tree.write("proc/statistics/rx_nohandler", "5\n");
  CollectorRig rig("netdev", tree.roots());
  REQUIRE(rig.run());
  CHECK(rig.sink.count() == 32);
  CHECK(rig.sink.has("node_network_receive_bytes_total{device=\"\xEF\xBF\xBD\"}"));
}

TEST_CASE("sockstat: memory in pages and bytes, with and without IPv6") {
  const TemporaryTree tree;
  tree.write("proc/net/sockstat", "sockets: used 7\nTCP: inuse 3 mem 2\n");
  CollectorRig rig("sockstat", tree.roots());
  REQUIRE(rig.run());
  CHECK(rig.sink.value("node_sockstat_TCP_mem") == 2);
  CHECK(rig.sink.value("node_sockstat_TCP_mem_bytes") >= 2 * 4096);
  CHECK(rig.sink.count() == 4);
  tree.write("proc/net/sockstat6", "TCP6: inuse 1\n");
  REQUIRE(rig.run());
  CHECK(rig.sink.value("node_sockstat_TCP6_inuse") == 1);
  tree.remove("proc/net");
  const Status none = rig.run();
  REQUIRE_FALSE(none);
  CHECK(none.error().code() == Errc::kNotFound);
}

TEST_CASE("loadavg and filefd: short and impossible files") {
  const TemporaryTree tree;
  tree.write("proc/loadavg", "0.5 -1\n");
  CollectorRig load("loadavg", tree.roots());
  CHECK_THAT(load.failure(),
             Contains("/proc/loadavg: line 1: expected a load average, found \"-1\" (and 1 more)"));
  CHECK(load.sink.text() == "node_load1 0.5\n");

  tree.write("proc/sys/fs/file-nr", "12 0\n");
  CollectorRig files("filefd", tree.roots());
  CHECK_THAT(
      files.failure(),
      Contains("/proc/sys/fs/file-nr: line 1: expected a number of file handles, found nothing"));
  CHECK(files.sink.text() == "node_filefd_allocated 12\n");
}
