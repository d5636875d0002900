#include "agent/connectivity.hpp"

#include <catch2/catch.hpp>
#include <map>

#include "support/temporary_directory.hpp"

using namespace nexus;
using namespace nexus::agent;
using namespace std::chrono_literals;

namespace {

constexpr const char* kRoutes =
    "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
    "eth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
constexpr const char* kDefault = "eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n";
constexpr const char* kNoDefault6 =
    "00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
    "00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo\n";

struct Rig {
  Rig() {
    directory.write("proc/net/route", kRoutes);
    directory.write("proc/net/ipv6_route", kNoDefault6);
    directory.write("sys/class/net/lo/operstate", "unknown\n");
    directory.write("sys/class/net/eth0/operstate", "up\n");
    directory.write("data/x", "");
  }
  /// Status and message of all, as of a look a minute later.
  std::map<std::string, serve::Component> look(Connectivity& watched) {
    clock.advance(Connectivity::kInterval);
    watched.look();
    return seen(watched);
  }
  static std::map<std::string, serve::Component> seen(const Connectivity& watched) {
    std::map<std::string, serve::Component> out;
    for (const auto& one : watched.components()) out[one.name] = one;
    return out;
  }

  nexus::test::TemporaryDirectory directory;
  base::ManualClock clock;
  std::unique_ptr<knowledge::StateDb> db =
      knowledge::StateDb::open(directory.file("state.db")).value();
  host::Roots roots{directory.file("proc"), directory.file("sys"), "/"};
  Connectivity connectivity{clock, *db, roots, directory.file("data")};
};

}  // namespace

TEST_CASE("what the agent is connected to is unknown before it looked, and real after") {
  Rig rig;
  CHECK(Rig::seen(rig.connectivity).at("database").status == "unknown");
  rig.connectivity.look();
  const auto seen = Rig::seen(rig.connectivity);
  REQUIRE(seen.size() == 3);
  CHECK(seen.at("database").status == "healthy");
  CHECK(seen.at("database").message == "written at " + base::to_rfc3339(rig.clock.wall()));
  CHECK(seen.at("filesystem").message.starts_with(rig.directory.file("data") + ": "));
}

TEST_CASE("a database that takes no writes is failed, until it takes them") {
  Rig rig;
  CHECK(rig.look(rig.connectivity).at("database").status == "healthy");
  REQUIRE(rig.db->execute("PRAGMA query_only = 1"));
  const auto failed = rig.look(rig.connectivity).at("database");
  CHECK(failed.status == "failed");
  CHECK(failed.message.starts_with("the state database cannot be written: "));
  REQUIRE(rig.db->execute("PRAGMA query_only = 0"));
  rig.connectivity.look();  // not yet
  CHECK(Rig::seen(rig.connectivity).at("database").status == "failed");
  CHECK(rig.look(rig.connectivity).at("database").status == "healthy");
}

TEST_CASE("the network is interfaces that are up and a default route") {
  Rig rig;
  auto network = rig.look(rig.connectivity).at("network");
  CHECK(network.status == "healthy");
  CHECK(network.message == "up: eth0; no default route");
  rig.directory.write("proc/net/route", std::string(kRoutes) + kDefault);
  network = rig.look(rig.connectivity).at("network");
  CHECK(network.status == "healthy");
  CHECK(network.message == "up: eth0; a default route");
  rig.directory.write("proc/net/route", kRoutes);
  rig.directory.write(
      "proc/net/ipv6_route",
      "00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
      "fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eth0\n");
  CHECK(rig.look(rig.connectivity).at("network").status == "healthy");
  rig.directory.write("proc/net/ipv6_route", kNoDefault6);
  rig.directory.write("sys/class/net/eth0/operstate", "down\n");
  network = rig.look(rig.connectivity).at("network");
  CHECK(network.status == "not_configured");
  CHECK(network.message == "up: none; no default route");
}

TEST_CASE("a data directory that is gone is a failed file system") {
  Rig rig;
  Connectivity lost(rig.clock, *rig.db, rig.roots, rig.directory.file("nowhere"));
  const auto failed = rig.look(lost).at("filesystem");
  CHECK(failed.status == "failed");
  CHECK(failed.message.find("nowhere") != std::string::npos);
}
