// The collectors that are off by default, one by one, on written trees: names and labels as
// node_exporter has them, bad input, nothing there.
#include <catch2/catch.hpp>

#include "monitor/host_tree.hpp"

using namespace nexus;
using namespace nexus::monitor;
using namespace nexus::monitor::testing;
using Catch::Matchers::Contains;

namespace {

void check_no_data(std::string_view collector) {
  const TemporaryTree tree;
  CollectorRig rig(collector, tree.roots());
  const Status done = rig.run();
  INFO(collector);
  REQUIRE_FALSE(done);
  CHECK(done.error().code() == Errc::kNotFound);
}

}  // namespace

TEST_CASE("collectors off by default say no data where the thing is not there") {
  for (const std::string_view name :
       {"ksmd", "lnstat", "meminfo_numa", "slabinfo", "softirqs", "swap", "sysctl", "xfrm",
        "zoneinfo", "nvmesubsystem", "drm", "bcachefs", "mountstats", "pcidevice"}) {
    CHECK_FALSE(find_collector(name)->enabled_by_default);
    check_no_data(name);
  }
}

TEST_CASE("boottime: what stat tells of the boot, where stat does not run") {
  const TemporaryTree tree;
  tree.write("proc/stat", "cpu  1 2 3\nctxt 7\nbtime 1418183276\nprocesses 3\n");
  CollectorRig rig("boottime", tree.roots());
  REQUIRE(rig.run());
  CHECK(rig.sink.text() == "node_boot_time_seconds 1418183276\n");
  tree.write("proc/stat", "cpu  1 2 3\nbtime soon\n");
  CHECK_THAT(rig.failure(), Contains("stat: line 2: expected a number, found \"soon\""));
  tree.write("proc/stat", "cpu  1 2 3\n");
  CHECK_THAT(rig.failure(), Contains("stat: expected a line \"btime\""));
}

TEST_CASE("ksmd: a number a file, milliseconds become seconds") {
  const TemporaryTree tree;
  tree.write("sys/kernel/mm/ksm/full_scans", "3\n");
  tree.write("sys/kernel/mm/ksm/sleep_millisecs", "20\n");
  CollectorRig rig("ksmd", tree.roots());
  REQUIRE(rig.run());
  CHECK(rig.sink.text() == "node_ksmd_full_scans_total 3\nnode_ksmd_sleep_seconds 0.02\n");
  tree.write("sys/kernel/mm/ksm/run", "-1\n");
  CHECK_THAT(rig.failure(), Contains("ksm/run: line 1: expected a number, found \"-1\""));
  CHECK(rig.sink.count() == 2);
}

TEST_CASE("lnstat: hexadecimal columns, a line a CPU") {
  const TemporaryTree tree;
  tree.write("proc/net/stat/arp_cache", "entries  allocs\n00000014 0000001a\n00000014 0000000b\n");
  CollectorRig rig("lnstat", tree.roots());
  REQUIRE(rig.run());
  CHECK(rig.sink.text() ==
        R"(node_lnstat_allocs_total{cpu="0",subsystem="arp_cache"} 26
node_lnstat_allocs_total{cpu="1",subsystem="arp_cache"} 11
node_lnstat_entries_total{cpu="0",subsystem="arp_cache"} 20
node_lnstat_entries_total{cpu="1",subsystem="arp_cache"} 20
)");
  tree.write("proc/net/stat/arp_cache", "entries  allocs\n00000014\n");
  CHECK_THAT(rig.failure(), Contains("arp_cache: line 2: expected hexadecimal numbers"));
}

TEST_CASE("softirqs: CPUs need not be consecutive") {
  const TemporaryTree tree;
  tree.write("proc/softirqs", "          CPU0       CPU2\n      HI:   1   2\n   TIMER:   3   4\n");
  CollectorRig rig("softirqs", tree.roots());
  REQUIRE(rig.run());
  CHECK(rig.sink.value(R"(node_softirqs_functions_total{cpu="2",type="TIMER"})") == 4);
  CHECK(rig.sink.count() == 4);
  tree.write("proc/softirqs", "CPU0 CPU2\nHI: 1\nHI: 2 3\n");
  CHECK_THAT(rig.failure(), Contains("line 2: expected a number for every CPU"));
}

TEST_CASE("slabinfo and swap: lines by name, filters, units") {
  const TemporaryTree tree;
  tree.write("proc/slabinfo",
             "slabinfo - version: 2.1\n# name <active_objs>\n"
             "dentry 206 210 192 21 1 : tunables 0 0 0 : slabdata 10 10 0\n"
             "kmalloc-8 1 2 8 512 1 : tunables 0 0 0\n");
  CollectorRig rig("slabinfo", tree.roots(), {{"slabs_exclude", std::string("^kmalloc")}});
  REQUIRE(rig.run());
  CHECK(rig.sink.value(R"(node_slabinfo_active_objects{slab="dentry"})") == 206);
  CHECK(rig.sink.value(R"(node_slabinfo_object_size_bytes{slab="dentry"})") == 192);
  CHECK(rig.sink.count() == 5);

  tree.write("proc/swaps", "Filename Type Size Used Priority\n/dev/sda2 partition 100 10 -2\n");
  CollectorRig swap("swap", tree.roots());
  REQUIRE(swap.run());
  CHECK(swap.sink.text() ==
        R"(node_swap_priority{device="/dev/sda2",type="partition"} -2
node_swap_size_bytes{device="/dev/sda2",type="partition"} 102400
node_swap_used_bytes{device="/dev/sda2",type="partition"} 10240
)");
}

TEST_CASE("sysctl: numbers, indices, names for them, and text") {
  const TemporaryTree tree;
  tree.write("proc/sys/fs/file-nr", "1024\t0\t1631329\n");
  tree.write("proc/sys/net/ipv4/ip_forward", "1\n");
  tree.write("proc/sys/kernel/seccomp/actions_avail", "kill_process trap\n");
  using Strings = std::vector<std::string>;
  CollectorRig rig(
      "sysctl", tree.roots(),
      {{"include", Strings{"fs.file-nr:total,current,max", "net.ipv4.ip_forward", "fs/file-nr"}},
       {"include_info", Strings{"kernel.seccomp.actions_avail"}}});
  REQUIRE(rig.run());
  CHECK(rig.sink.text() ==
        R"(node_sysctl_fs_file_nr_current 0
node_sysctl_fs_file_nr_max 1631329
node_sysctl_fs_file_nr_total 1024
node_sysctl_fs_file_nr{index="0"} 1024
node_sysctl_fs_file_nr{index="1"} 0
node_sysctl_fs_file_nr{index="2"} 1631329
node_sysctl_info{index="0",name="kernel.seccomp.actions_avail",value="kill_process"} 1
node_sysctl_info{index="1",name="kernel.seccomp.actions_avail",value="trap"} 1
node_sysctl_net_ipv4_ip_forward 1
)");
  CollectorRig wrong("sysctl", tree.roots(),
                     {{"include", Strings{"fs.file-nr:total,max", "gone"}}});
  CHECK_THAT(wrong.failure(), Contains("3 values, but 2 keys are configured (and 1 more)"));
}

TEST_CASE("xfrm and zoneinfo: known names only, zones told apart") {
  const TemporaryTree tree;
  tree.write("proc/net/xfrm_stat", "XfrmInError \t1\nXfrmFromTheFuture\t2\nXfrmOutPolDead\t3\n");
  CollectorRig xfrm("xfrm", tree.roots());
  REQUIRE(xfrm.run());
  CHECK(xfrm.sink.text() ==
        "node_xfrm_in_error_packets_total 1\nnode_xfrm_out_pol_dead_packets_total 3\n");

  tree.write("proc/zoneinfo",
             "Node 0, zone      DMA\n  per-node stats\n      nr_inactive_anon 95612\n"
             "  pages free     2949\n        min      8\n        high     12\n"
             "        protection: (0, 1916)\n  pagesets\n    cpu: 0\n              count: 0\n"
             "              high:  0\n  vm stats threshold: 6\n  start_pfn:           1\n"
             "Node 0, zone    DMA32\n  pages free     528427\n");
  CollectorRig rig("zoneinfo", tree.roots());
  REQUIRE(rig.run());
  CHECK(rig.sink.value(R"(node_zoneinfo_nr_free_pages{node="0",zone="DMA"})") == 2949);
  CHECK(rig.sink.value(R"(node_zoneinfo_high_pages{node="0",zone="DMA"})") == 12);
  CHECK(rig.sink.value(R"(node_zoneinfo_protection_1{node="0",zone="DMA"})") == 1916);
  CHECK(rig.sink.value(R"(node_zoneinfo_nr_free_pages{node="0",zone="DMA32"})") == 528427);
  CHECK(rig.sink.count() == 7);
}

TEST_CASE("meminfo_numa, pcidevice, nvmesubsystem and drm on the recorded NUMA host") {
  const host::Roots roots = roots_at(host_path("numa"));
  CollectorRig numa("meminfo_numa", roots);
  REQUIRE(numa.run());
  CHECK(numa.sink.value(R"(node_memory_numa_Active_anon{node="1"})") == 481232.0 * 1024);
  CHECK(numa.sink.value(R"(node_memory_numa_HugePages_Total{node="0"})") == 4);
  CHECK(numa.sink.value(R"(node_memory_numa_numa_hit_total{node="1"})") == 2000000);

  CollectorRig pci("pcidevice", roots);
  REQUIRE(pci.run());
  CHECK(
      pci.sink.value(
          R"(node_pcidevice_info{bus="01",class_id="0x010802",device="00",device_id="0x540a",function="0",)"
          R"(parent_bus="00",parent_device="02",parent_function="1",parent_segment="0000",)"
          R"(revision="0x01",segment="0000",subsystem_device_id="0x5021",subsystem_vendor_id="0xc0a9",)"
          R"(vendor_id="0xc0a9"})") == 1);
  const std::string at = R"({bus="01",device="00",function="0",segment="0000")";
  CHECK(pci.sink.value("node_pcidevice_current_link_transfers_per_second" + at + "}") == 8e9);
  CHECK(pci.sink.value("node_pcidevice_power_state" + at + R"(,state="D0"})") == 1);
  CHECK(pci.sink.value("node_pcidevice_sriov_numvfs" + at + "}") == 0);

  const TemporaryTree ids;
  ids.write("pci.ids",
            "# a comment\nc0a9  Micron/Crucial Technology\n\t540a  P2 NVMe \xff SSD\n"
            "\t\tc0a9 5021  P2 [NVMe PCIe SSD M.2]\n\t\tc0a9 9999  another\n8086  Intel\n"
            "\t540a  of another vendor\nC 01  Mass storage controller\n"
            "\t08  Non-Volatile memory controller\n\t\t02  NVM Express\n\t06  SATA controller\n"
            "\t\t02  of another subclass\nnothing of this form\n");
  CollectorRig named("pcidevice", roots, {{"names", true}, {"ids_file", ids.path() + "/pci.ids"}});
  REQUIRE(named.run());
  CHECK_THAT(named.sink.text(), Contains(R"(class_name="NVM Express")") &&
                                    Contains(R"(device_name="P2 NVMe)") &&
                                    Contains(R"(subsystem_device_name="P2 [NVMe PCIe SSD M.2]")") &&
                                    Contains(R"(vendor_name="Micron/Crucial Technology")"));
  CollectorRig absent("pcidevice", roots,
                      {{"names", true}, {"ids_file", std::string("/nowhere/pci.ids")}});
  const Status complained = absent.run();
  REQUIRE_FALSE(complained);
  CHECK_THAT(complained.error().message(), Contains("/nowhere/pci.ids"));
  CHECK_THAT(absent.sink.text(), Contains(R"(vendor_name="c0a9")"));
  CHECK(absent.run());  // said once

  CollectorRig nvme("nvmesubsystem", roots);
  REQUIRE(nvme.run());
  CHECK(nvme.sink.value(R"(node_nvmesubsystem_paths{subsystem="nvme-subsys0"})") == 2);
  CHECK(nvme.sink.value(R"(node_nvmesubsystem_paths_live{subsystem="nvme-subsys0"})") == 1);
  CHECK(
      nvme.sink.value(
          R"(node_nvmesubsystem_path_state{controller="nvme1",state="connecting",subsystem="nvme-subsys0",transport="tcp"})") ==
      1);

  CollectorRig drm("drm", roots);
  REQUIRE(drm.run());
  CHECK(drm.sink.value(R"(node_drm_gpu_busy_percent{card="card0"})") == 4);
  CHECK(
      drm.sink.value(
          R"(node_drm_card_info{card="card0",memory_vendor="samsung",power_performance_level="manual",unique_id="0123456789abcdef",vendor="amd"})") ==
      1);
}

TEST_CASE("mountstats: NFS mounts by export, server and protocol, each counted once") {
  const TemporaryTree tree;
  const std::string body =
      "\topts:\trw,vers=4.0,proto=tcp,timeo=600,mountaddr=192.0.2.1\n\tage:\t13968\n"
      "\tevents:\t52 226 0 0 1 13 398 0 0 331 0 47 0 0 77 0 0 77 9 0 0 0 0 0 0 0 1 \n"
      "\tbytes:\t1207640230 0 0 0 1210214218 0 295483 0 \n"
      "\tRPC iostats version: 1.0  p/v: 100003/4 (nfs)\n"
      "\txprt:\ttcp 832 0 1 0 11 6428 6428 0 12154 0 24 26 5726\n\tper-op statistics\n"
      "\t        NULL: 0 0 0 0 0 0 0 0\n\t        READ: 1298 1299 0 207680 1210292152 6 79386 "
      "79407\n\n";
  tree.write("proc/1/mountstats",
             "device rootfs mounted on / with fstype rootfs\n"
             "device 192.0.2.1:/srv mounted on /mnt/a b with fstype nfs4 statvers=1.1\n" +
                 body + "device 192.0.2.1:/srv mounted on /mnt/c with fstype nfs4 statvers=1.1\n" +
                 body);
  CollectorRig rig("mountstats", tree.roots());
  REQUIRE(rig.run());
  const std::string mount = R"(export="192.0.2.1:/srv",mountaddr="192.0.2.1")";
  const auto value = [&](std::string_view metric, std::string_view middle, std::string_view end) {
    return rig.sink.value(fmt::format("node_mountstats_nfs_{}{{{}{},protocol=\"tcp\"{}}}", metric,
                                      mount, middle, end));
  };
  CHECK(value("age_seconds_total", "", "") == 13968);
  CHECK(value("total_read_bytes_total", "", "") == 1210214218);
  CHECK(value("event_vfs_file_release_total", "", "") == 77);
  CHECK(value("event_truncation_total", "", "") == 0);
  CHECK(value("event_pnfs_write_total", "", "") == 1);
  CHECK(value("transport_idle_time_seconds", "", R"(,transport="0")") == 11);
  CHECK(value("transport_sends_total", "", R"(,transport="0")") == 6428);
  CHECK(value("transport_maximum_rpc_slots", "", R"(,transport="0")") == 24);
  CHECK(value("transport_pending_queue_total", "", R"(,transport="0")") == 5726);
  CHECK(value("operations_transmissions_total", R"(,operation="READ")", "") == 1299);
  CHECK(value("operations_response_time_seconds_total", R"(,operation="READ")", "") == 79.386);
  CHECK(value("mountpoint_info", R"(,mountpoint="/mnt/a b")", "") == 1);
  CHECK(value("mountpoint_info", R"(,mountpoint="/mnt/c")", "") == 1);
  CHECK(rig.sink.count() == 1 + 8 + 26 + 10 + 2 * 9 + 2);
  tree.write(
      "proc/1/mountstats",
      "device x:/ mounted on /m with fstype nfs statvers=1.1\n\topts:\tproto=tcp\n\tage:\tx\n");
  CHECK_THAT(rig.failure(), Contains("mountstats: line 3: expected numbers of an NFS mount"));
}

TEST_CASE("bcachefs: sizes for people, tables, counters, devices") {
  const TemporaryTree tree;
  const std::string fs = "sys/fs/bcachefs/deadbeef-1234/";
  tree.write(fs + "btree_cache_size", "524M\n");
  tree.write(fs + "compression_stats",
             "type    compressed  uncompressed  average extent size\nlz4:  19.3G  67.0G  112k\n");
  tree.write(fs + "errors", "btree_node_read_err 5 1234567890\n");
  tree.write(fs + "counters/btree_cache_cannibalize",
             "since mount:                 0\nsince filesystem creation: 12\n");
  tree.write(fs + "btree_write_stats", "             nr    size\ninitial:   19088    108k\n");
  tree.write(fs + "dev-0/label", "ssd.nvme0\n");
  tree.write(fs + "dev-0/state", "rw\n");
  tree.write(fs + "dev-0/bucket_size", "1.00M\n");
  tree.write(fs + "dev-0/nbuckets", "524288\n");
  tree.write(fs + "dev-0/durability", "1\n");
  tree.write(fs + "dev-0/io_done",
             "read:\n  sb          :       3989504\nwrite:\n  sb : 31417344\n");
  tree.write(fs + "dev-0/io_errors",
             "IO errors since filesystem creation\n  read:    197346\nIO errors since 8 y ago\n"
             "  read: 3\n");
  CollectorRig rig("bcachefs", tree.roots());
  REQUIRE(rig.run());
  const std::string end = R"(uuid="deadbeef-1234"})";
  CHECK(rig.sink.value("node_bcachefs_btree_cache_size_bytes{" + end) == 524.0 * 1024 * 1024);
  CHECK(rig.sink.value(R"(node_bcachefs_compression_compressed_bytes{algorithm="lz4",)" + end) ==
        Approx(19.3 * 1024 * 1024 * 1024));
  CHECK(rig.sink.value("node_bcachefs_btree_cache_cannibalize_total{" + end) == 12);
  CHECK(rig.sink.value(R"(node_bcachefs_btree_writes_total{type="initial",)" + end) == 19088);
  CHECK(rig.sink.value(R"(node_bcachefs_errors_total{error_type="btree_node_read_err",)" + end) ==
        5);
  CHECK(rig.sink.value(R"(node_bcachefs_device_info{device="0",label="ssd.nvme0",state="rw",)" +
                       end) == 1);
  CHECK(rig.sink.value(R"(node_bcachefs_device_buckets{device="0",)" + end) == 524288);
  CHECK(
      rig.sink.value(
          R"(node_bcachefs_device_io_done_bytes_total{data_type="sb",device="0",operation="write",)" +
          end) == 31417344);
  CHECK(rig.sink.value(R"(node_bcachefs_device_io_errors_total{device="0",type="read",)" + end) ==
        197346);
  tree.write(fs + "dev-0/nbuckets", "many\n");
  CHECK_THAT(rig.failure(), Contains("dev-0/nbuckets: line 1: expected a number"));
}
