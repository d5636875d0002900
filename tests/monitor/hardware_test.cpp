// Collectors of hardware, arrays, the network's tables and the kernel's own: options, what is
// missing, and files that are cut off or hold something else. Their values are in the golden output
// of tests/hosts/server.
#include <catch2/catch.hpp>

#include "monitor/host_tree.hpp"
#include "monitor/small_files.hpp"

using namespace nexus;
using namespace nexus::monitor;
using namespace nexus::monitor::testing;
using Catch::Matchers::Contains;

namespace {

CollectorRig on_server(std::string_view name, config::Parameters options = {}) {
  return CollectorRig(name, roots_at(host_path("server")), std::move(options));
}

std::string why_not_made(std::string_view name, config::Parameters options) {
  const host::Roots roots = roots_at(host_path("server"));
  base::ManualClock clock;
  knowledge::SeriesRegistry registry(1000);
  const auto made = find_collector(name)->make(
      {.roots = roots, .clock = clock, .registry = registry, .options = options});
  return made ? std::string() : made.error().message();
}

}  // namespace

TEST_CASE("small files: absent is no complaint, garbage is one, and names are sorted") {
  const TemporaryTree tree;
  tree.write("sys/x/b", "12\n");
  tree.write("sys/x/a", " -3 \n");
  tree.write("sys/x/hex", "0x1f\n");
  tree.write("sys/x/big", "18446744073709551615\n");
  tree.write("sys/x/word", "many\n");
  tree.write("sys/x/.hidden", "1\n");
  const std::string path = tree.path() + "/sys/x";
  const auto directory = SmallDir::open(path);
  REQUIRE(directory);
  NameList names;
  REQUIRE(names.read(*directory));
  REQUIRE(names.read(*directory));  // again, from its beginning
  CHECK(std::vector<std::string>(names.names().begin(), names.names().end()) ==
        std::vector<std::string>{"a", "b", "big", "hex", "word"});
  Complaints complaints;
  SmallFiles files(complaints);
  CHECK(files.number(*directory, "a") == -3.0);
  CHECK(files.number(*directory, "hex") == 31.0);
  CHECK(files.number(*directory, "big") == 18446744073709551615.0);
  CHECK_FALSE(files.number(*directory, "none"));
  CHECK_FALSE(files.number(*directory, "word", "many"));
  CHECK(complaints.empty());
  CHECK_FALSE(files.number(*directory, "word"));
  CHECK_THAT(complaints.take().error().message(), Contains("/sys/x/word") && Contains("many"));
  CHECK_FALSE(SmallDir::open(path + "/none"));
  CHECK_FALSE(directory->child("a"));
}

TEST_CASE("filters mean what node_exporter's mean, and both at once are refused") {
  auto netclass = on_server("netclass", {{"ignored_devices", std::string("^(lo|bond.*)$")}});
  REQUIRE(netclass.run());
  CHECK(netclass.sink.has(R"(node_network_up{device="eth0"})"));
  CHECK_FALSE(netclass.sink.has(R"(node_network_up{device="bond0"})"));
  CHECK(netclass.sink.value(R"(node_network_speed_bytes{device="eth1"})") == -125'000);
  auto speeds = on_server("netclass", {{"ignore_invalid_speed", true}});
  REQUIRE(speeds.run());
  CHECK_FALSE(speeds.sink.has(R"(node_network_speed_bytes{device="eth1"})"));

  auto arp = on_server("arp", {{"device_include", std::string("eth1")}});
  REQUIRE(arp.run());
  CHECK(arp.sink.text() == "node_arp_entries{device=\"eth1\"} 1\n");

  auto interrupts =
      on_server("interrupts", {{"name_include", std::string("virtio")}, {"include_zeros", false}});
  REQUIRE(interrupts.run());
  CHECK(interrupts.sink.count() == 1);

  auto hwmon = on_server(
      "hwmon", {{"chip_exclude", std::string("nct")}, {"sensor_include", std::string(";temp2$")}});
  REQUIRE(hwmon.run());
  CHECK(hwmon.sink.value(R"(node_hwmon_temp_celsius{chip="platform_coretemp_0",sensor="temp2"})") ==
        54);
  CHECK_FALSE(
      hwmon.sink.has(R"(node_hwmon_temp_celsius{chip="platform_coretemp_0",sensor="temp1"})"));

  auto ipvs = on_server("ipvs", {{"backend_labels", std::string("proto")}});
  REQUIRE(ipvs.run());
  CHECK(ipvs.sink.value(R"(node_ipvs_backend_connections_active{proto="TCP"})") == 496);

  auto rapl = on_server("rapl", {{"enable_zone_label", true}});
  REQUIRE(rapl.run());
  CHECK(rapl.sink.count() == 4);
  CHECK_THAT(rapl.sink.text(), Contains(R"(rapl_zone="dram")"));

  auto bcache = on_server("bcache", {{"priority_stats", true}});
  REQUIRE(bcache.run());
  CHECK_THAT(bcache.sink.text(), Contains("node_bcache_priority_stats_unused_percent"));

  for (const auto& [name, one, other] :
       {std::tuple{"hwmon", "chip_include", "chip_exclude"},
        std::tuple{"arp", "device_include", "device_exclude"},
        std::tuple{"interrupts", "name_include", "name_exclude"},
        std::tuple{"filesystem", "fs_types_include", "fs_types_exclude"}}) {
    CHECK_THAT(why_not_made(name, {{one, std::string("a")}, {other, std::string("b")}}),
               Contains(one) && Contains(other));
  }
  CHECK_THAT(why_not_made("ipvs", {{"backend_labels", std::string("proto,colour")}}),
             Contains("colour") && Contains("remote_port"));
}

TEST_CASE("cpu: flags, bugs and frequency of the processor; facts of sysfs are read again later") {
  auto rig = on_server("cpu", {{"info_flags_include", std::string("^avx")},
                               {"info_bugs_include", std::string("^swapgs$")},
                               {"frequency", true}});
  REQUIRE(rig.run());
  CHECK(rig.sink.has(R"(node_cpu_flag_info{flag="avx512f"})"));
  CHECK_FALSE(rig.sink.has(R"(node_cpu_flag_info{flag="fpu"})"));
  CHECK(rig.sink.value(R"(node_cpu_bug_info{bug="swapgs"})") == 1);
  CHECK(rig.sink.value(R"(node_cpu_frequency_hertz{core="1",cpu="1",package="0"})") == 3.4e9);
  CHECK(rig.sink.value(R"(node_cpu_core_throttles_total{core="1",package="0"})") == 10);
  CHECK(rig.sink.value(R"(node_cpu_package_throttles_total{package="0"})") == 30);
  CHECK(rig.sink.value(R"(node_cpu_isolated{cpu="1"})") == 1);
  CHECK(rig.sink.value(R"(node_cpu_online{cpu="1"})") == 1);

  const TemporaryTree tree;
  tree.write("proc/stat", "cpu  1 2 3 4\ncpu0 1 2 3 4\n");
  tree.write("sys/devices/system/cpu/cpu0/online", "1\n");
  CollectorRig plain("cpu", tree.roots());
  REQUIRE(plain.run());
  tree.write("sys/devices/system/cpu/cpu0/online", "0\n");
  tree.write("sys/devices/system/cpu/isolated", "1-x\n");
  REQUIRE(plain.run());
  CHECK(plain.sink.value(R"(node_cpu_online{cpu="0"})") == 1);
  plain.clock.advance(Millis(10'000));
  CHECK_THAT(plain.failure(), Contains("isolated") && Contains("1-x"));
  CHECK(plain.sink.value(R"(node_cpu_online{cpu="0"})") == 0);
}

TEST_CASE("netdev: detailed counters from sysfs take the place of the sums") {
  const TemporaryTree tree;
  tree.write("proc/net/dev", "h|\nh|\neth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n");
  tree.write("sys/class/net/eth0/statistics/rx_bytes", "100\n");
  tree.write("sys/class/net/eth0/statistics/rx_missed_errors", "7\n");
  CollectorRig rig("netdev", tree.roots(), {{"detailed_metrics", true}});
  REQUIRE(rig.run());
  CHECK(rig.sink.text() ==
        "node_network_receive_bytes_total{device=\"eth0\"} 100\n"
        "node_network_receive_missed_errors_total{device=\"eth0\"} 7\n");
}

TEST_CASE("netdev: addresses of the running machine") {
  CollectorRig rig("netdev", host::Roots{},
                   {{"address_info", true}, {"device_exclude", std::string("")}});
  REQUIRE(rig.run());
  CHECK(rig.sink.value(
            R"(node_network_address_info{address="127.0.0.1",device="lo",netmask="8"})") == 1);
}

TEST_CASE("diskstats: what udev knows counts more than sysfs, and is read again") {
  auto rig = on_server("diskstats");
  REQUIRE(rig.run());
  CHECK(rig.sink.value(R"(node_disk_ata_rotation_rate_rpm{device="sda"})") == 7200);
  CHECK(rig.sink.value(R"(node_disk_ata_write_cache_enabled{device="sda"})") == 0);
  CHECK_THAT(rig.sink.text(), Contains(R"(path="pci-0000:00:17.0-ata-1")"));
  CHECK_THAT(rig.sink.text(), Contains(R"(rotational="1")"));
  CHECK_THAT(rig.sink.text(), Contains(R"(usage="filesystem")"));
}

TEST_CASE("mdadm: an array that is cut off or unknown costs only itself") {
  const TemporaryTree tree;
  tree.write("proc/mdstat",
             "Personalities : [raid1]\n"
             "md1 : active raid1 sda1[0] sdb1[1]\n      1000 blocks [2/1] [U_]\n"
             "md2 : weird raid1 sdc1[0]\n      10 blocks [2/2] [UU]\n"
             "md3 : active raid1 sdd1[0]\n      many blocks [2/2] [UU]\n"
             "md4 : active raid1 sde1[0](F)\n      20 blocks\n"
             "md5 : active raid0 sdf1[0] sdg1[1]\n      30 blocks\n"
             "md6 : active raid1 sdh1[0]\n");
  CollectorRig rig("mdadm", tree.roots());
  CHECK_THAT(rig.failure(), Contains("mdstat") && Contains("md2") && Contains("more"));
  CHECK(rig.sink.value(R"(node_md_disks{device="md1",state="active"})") == 1);
  CHECK(rig.sink.value(R"(node_md_disks_required{device="md1"})") == 2);
  CHECK(rig.sink.value(R"(node_md_disks_required{device="md5"})") == 2);
  for (const char* gone : {"md2", "md3", "md4", "md6"})
    CHECK_FALSE(rig.sink.has(fmt::format("node_md_blocks{{device=\"{}\"}}", gone)));
}

TEST_CASE("files that hold something else than they should are named, and cost only themselves") {
  struct Case {
    std::string_view collector;
    std::string_view path;
    std::string_view content;
    std::string_view said;
  };
  const auto cases = std::to_array<Case>({
      {"conntrack", "proc/sys/net/netfilter/nf_conntrack_count", "x\n", "nf_conntrack_count"},
      {"conntrack", "proc/net/stat/nf_conntrack", "entries found\n0 zz\n", "zz"},
      {"softnet", "proc/net/softnet_stat", "0001 0002\n", "at least 9"},
      {"schedstat", "proc/schedstat", "version 15\n", "every CPU"},
      {"udp_queues", "proc/net/udp", "head\n 0: a b c 12:zz\n", "12:zz"},
      {"netstat", "proc/net/snmp", "Ip: A B\nTcp: 1 2\n", "values of Ip"},
      {"ipvs", "proc/net/ip_vs", "TCP  ZZ:0CEA wlc\n", "ZZ:0CEA"},
      {"ipvs", "proc/net/ip_vs_stats", "one\n", "totals"},
      {"nfs", "proc/net/rpc/nfs", "what 1\n", "what"},
      {"nfsd", "proc/net/rpc/nfsd", "rc 1 two 3\n", "two"},
      {"drbd", "proc/drbd", "version: 8\n 0: cs:Connected ns:many\n", "ns:many"},
      {"buddyinfo", "proc/buddyinfo", "Node 0 zone\n", "zone"},
      {"cgroups", "proc/cgroups", "cpu 1\n", "cpu 1"},
      {"xfs", "sys/fs/xfs/nvme0n1p1/stats/stats", "abt 1 x\n", "numbers"},
      {"zfs", "proc/spl/kstat/zfs/arcstats", "nothing\n", "name type data"},
      {"infiniband", "sys/class/infiniband/mlx5_0/ports/1/rate", "fast\n", "Gb/sec"},
      {"infiniband", "sys/class/infiniband/mlx5_0/ports/1/state", "up\n", "NUMBER: NAME"},
      {"btrfs", "sys/fs/btrfs/0abb23a9-579b-43e6-ad30-227ef47fcb9d/commit_stats", "commits x\n",
       "commit_stats"},
      {"bcache", "sys/fs/bcache/deaddd54-c735-46d5-868e-f331c5fd7c74/cache0/written", "3 apples\n",
       "a size"},
      {"os", "etc/os-release", "NAME\n", "KEY=VALUE"},
      {"selinux", "etc/selinux/config", "SELINUX=maybe\n", "maybe"},
      {"edac", "sys/devices/system/edac/mc/mc0/ce_count", "\n", "ce_count"},
      {"kernel_hung", "proc/sys/kernel/hung_task_detect_count", "-1\n", "-1"},
  });
  namespace fs = std::filesystem;
  const TemporaryTree tree;
  fs::copy(host_path("server"), tree.path(),
           fs::copy_options::recursive | fs::copy_options::overwrite_existing |
               fs::copy_options::copy_symlinks);
  for (const Case& one : cases) {
    INFO(one.collector << " " << one.path);
    CollectorRig rig(one.collector, tree.roots());
    REQUIRE(rig.run());
    const std::size_t healthy = rig.sink.count();
    const fs::path file = fs::path(tree.path()) / one.path;
    const fs::path aside = fs::path(tree.path()) / "aside";
    fs::copy_file(file, aside, fs::copy_options::overwrite_existing);
    tree.write(one.path, one.content);
    CHECK_THAT(rig.failure(), Contains(std::string(one.said)));
    CHECK(rig.sink.count() <= healthy);
    fs::copy_file(aside, file, fs::copy_options::overwrite_existing);
    CHECK(rig.run());
    CHECK(rig.sink.count() == healthy);
  }
}

TEST_CASE("the running machine's clock and network drivers are asked of the kernel") {
  CollectorRig timex("timex", host::Roots{});
  REQUIRE(timex.run());
  CHECK(timex.sink.count() == 17);
  CHECK(timex.sink.value("node_timex_tick_seconds") > 0.005);
  CollectorRig ethtool("ethtool", host::Roots{});
  REQUIRE(ethtool.run());
}
