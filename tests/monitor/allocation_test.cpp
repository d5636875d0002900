// The steady state of the collectors that run every second allocates nothing.
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <new>
#include <thread>

#include "monitor/host_tree.hpp"
#include "nexus/host/fd.hpp"

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

TEST_CASE("connections: a run that finds what the one before found allocates nothing") {
  bool entered = false;
  std::uint64_t least = 1;
  Status done;
  std::shared_ptr<const ConnectionMap> first;
  std::shared_ptr<const ConnectionMap> last;
  // In a network of its own, where nobody else connects.
  std::thread([&] {
    if (::unshare(CLONE_NEWNET) != 0) return;
    const host::Fd any(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const host::Fd other(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::listen(any.get(), 7) != 0 || ::listen(other.get(), 7) != 0) return;
    entered = true;
    CollectorRig rig("connections", host::Roots{});
    InterningSink sink(rig.registry);
    for (int i = 0; i < 50 && least > 0; ++i) {
      const std::uint64_t before = allocations.load();
      done = rig.collector->collect(sink);
      if (i > 1) least = std::min(least, allocations.load() - before);
      if (i == 0) first = rig.observed.connections();  // and goes on looking at it
    }
    last = rig.observed.connections();
  }).join();
  INFO("a network of the test's own is needed (root)");
  REQUIRE(entered);
  REQUIRE(done);
  CHECK(least == 0);
  REQUIRE(first != nullptr);
  CHECK(first != last);  // what somebody looks at is not written over
  for (const auto& map : {first, last}) {
    REQUIRE(map->listeners.size() == 2);
    CHECK(map->listeners[0].backlog == 7);
    CHECK(map->listeners[0].owner.pid == ::getpid());
  }
}
