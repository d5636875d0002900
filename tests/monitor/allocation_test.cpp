// The steady state of the collectors that run every second allocates nothing.
#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <new>

#include "monitor/host_tree.hpp"

using namespace nexus;
using namespace nexus::monitor;
using namespace nexus::monitor::testing;

namespace {

std::atomic<std::uint64_t> allocations{0};

}  // namespace

// Counts what the whole test program allocates; new[] comes here too (not under AddressSanitizer).
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return std::malloc(size == 0 ? 1 : size);
}
void* operator new(std::size_t size) {
  if (void* memory = operator new(size, std::nothrow)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}

namespace {

/// Interns as the scheduler's sink does, and keeps nothing.
class InterningSink final : public Sink {
 public:
  explicit InterningSink(knowledge::SeriesRegistry& registry) : registry_(registry) {}
  using Sink::add;
  void add(FamilyId family, std::span<const LabelView> labels, double) override {
    if (!registry_.intern(family, labels)) ++refused;
  }
  std::uint64_t refused = 0;

 private:
  knowledge::SeriesRegistry& registry_;
};

}  // namespace

TEST_CASE("collectors of kernel text files allocate nothing once they have seen everything") {
  for (const std::string_view name : {"cpu", "diskstats", "filefd", "loadavg", "meminfo", "netdev",
                                      "pressure", "sockstat", "stat", "vmstat"}) {
    CollectorRig rig(name, roots_at(host_path("numa")));
    InterningSink sink(rig.registry);
    REQUIRE(rig.collector->collect(sink));
    REQUIRE(rig.collector->collect(sink));
    const std::uint64_t before = allocations.load();
    const Status done = rig.collector->collect(sink);
    const std::uint64_t after = allocations.load();
    INFO(name);
    CHECK(done);
    CHECK(sink.refused == 0);
    CHECK(after - before == 0);
  }
}

TEST_CASE("collectors of small files and tables allocate nothing once they have seen everything") {
  for (const std::string_view name :
       {"arp",         "bcache",    "bonding",          "buddyinfo",  "cgroups",
        "conntrack",   "cpu",       "cpufreq",          "dmi",        "drbd",
        "edac",        "entropy",   "fibrechannel",     "infiniband", "interrupts",
        "kernel_hung", "mdadm",     "netclass",         "netstat",    "nfs",
        "nfsd",        "nvme",      "powersupplyclass", "rapl",       "schedstat",
        "softnet",     "tapestats", "thermal_zone",     "udp_queues", "watchdog",
        "xfs"}) {
    CollectorRig rig(name, roots_at(host_path("server")));
    InterningSink sink(rig.registry);
    REQUIRE(rig.collector->collect(sink));
    REQUIRE(rig.collector->collect(sink));
    const std::uint64_t before = allocations.load();
    const Status done = rig.collector->collect(sink);
    const std::uint64_t after = allocations.load();
    INFO(name);
    CHECK(done);
    CHECK(sink.refused == 0);
    CHECK(after - before == 0);
  }
}

TEST_CASE(
    "collectors of the running machine's files and sockets allocate nothing once they have seen "
    "it") {
  for (const std::string_view name :
       {"arp", "conntrack", "cpu", "diskstats", "filefd", "loadavg", "meminfo", "netclass",
        "netdev", "netstat", "stat", "tcpstat", "udp_queues", "vmstat"}) {
    CollectorRig rig(name, host::Roots{});
    InterningSink sink(rig.registry);
    // What comes or goes on the machine meanwhile (a neighbour, a device) may allocate: one run
    // that does not is the proof.
    std::uint64_t least = 1;
    for (int i = 0; i < 50 && least > 0; ++i) {
      const std::uint64_t before = allocations.load();
      const Status done = rig.collector->collect(sink);
      if (!done) {  // e.g. no connection tracking here: its error is a text
        least = 0;
        CHECK(done.error().code() == Errc::kNotFound);
      } else if (i > 1) {
        least = std::min(least, allocations.load() - before);
      }
    }
    INFO(name);
    CHECK(least == 0);
  }
}
