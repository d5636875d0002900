// What rtnetlink tells of the devices of this machine and of a network name space of the test's own
// is what sysfs tells.
#include <sched.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <thread>

#include "monitor/host_tree.hpp"
#include "monitor/link_table.hpp"
#include "nexus/base/text.hpp"
#include "nexus/host/file.hpp"
#include "nexus/host/subprocess.hpp"

using namespace nexus;
using namespace nexus::monitor;
using namespace nexus::monitor::testing;

namespace {

/// Runs `test` on a thread in a network name space of its own, where it may make devices.
template <typename Test>
void in_own_network(Test&& test) {
  std::exception_ptr failed;
  std::thread alone([&] {
    try {
      REQUIRE(::unshare(CLONE_NEWNET) == 0);
      test();
    } catch (...) {
      failed = std::current_exception();
    }
  });
  alone.join();
  if (failed) std::rethrow_exception(failed);
}

void ip(std::vector<std::string> arguments) {
  base::SystemClock clock;
  arguments.insert(arguments.begin(), "ip");
  arguments.insert(arguments.begin(), "/usr/bin/env");
  const auto exit =
      host::run({.argv = std::move(arguments)}, clock, clock.steady() + Millis(60'000));
  if (!exit) FAIL(exit.error().message());
  INFO(exit->output);
  REQUIRE(exit->status == 0);
}

const Link* link_named(const LinkTable& table, std::string_view name) {
  for (const Link& link : table.links()) {
    if (link.name == name) return &link;
  }
  return nullptr;
}

std::optional<double> number_in(const std::string& path) {
  const auto text = host::read_file(path);
  if (!text) return std::nullopt;
  const std::string_view value = base::trim(*text);
  if (value.starts_with("0x")) return base::parse_uint(value.substr(2), 16);
  const auto number = base::parse_int(value);
  return number ? std::optional(static_cast<double>(*number)) : std::nullopt;
}

}  // namespace

TEST_CASE("netclass: rtnetlink's answers are what the files of this machine say") {
  CollectorRig rig("netclass", host::Roots{});
  REQUIRE(rig.run());
  const auto devices = host::list_directory("/sys/class/net").value();
  std::size_t compared = 0;
  for (const std::string& device : devices) {
    const std::string files = "/sys/class/net/" + device + "/";
    if (!number_in(files + "ifindex")) continue;  // bonding_masters
    for (const auto& [metric, file] : std::vector<std::pair<std::string, std::string>>{
             {"flags", "flags"},
             {"address_assign_type", "addr_assign_type"},
             {"carrier", "carrier"},
             {"carrier_changes_total", "carrier_changes"},
             {"carrier_up_changes_total", "carrier_up_count"},
             {"carrier_down_changes_total", "carrier_down_count"},
             {"device_id", "dev_id"},
             {"dormant", "dormant"},
             {"iface_id", "ifindex"},
             {"iface_link", "iflink"},
             {"iface_link_mode", "link_mode"},
             {"mtu_bytes", "mtu"},
             {"name_assign_type", "name_assign_type"},
             {"net_dev_group", "netdev_group"},
             {"transmit_queue_length", "tx_queue_len"},
             {"protocol_type", "type"}}) {
      const std::string name = fmt::format(R"(node_network_{}{{device="{}"}})", metric, device);
      INFO(name);
      const auto expected = number_in(files + file);
      REQUIRE(rig.sink.has(name) == expected.has_value());
      if (expected) CHECK(rig.sink.value(name) == *expected);
      ++compared;
    }
    const auto text = [&](const char* file) {
      return std::string(base::trim(host::read_file(files + file).value_or("")));
    };
    const bool is_up = (static_cast<int>(number_in(files + "flags").value_or(0)) & 1) != 0;
    const auto label = [&](std::string_view name, const std::string& value) {
      return value.empty() ? std::string() : fmt::format(R"({}="{}",)", name, value);
    };
    std::string labels = label("address", text("address")) +
                         fmt::format(R"(adminstate="{}",)", is_up ? "up" : "down") +
                         label("broadcast", text("broadcast")) + label("device", device) +
                         label("duplex", text("duplex")) + label("ifalias", text("ifalias")) +
                         label("operstate", text("operstate"));
    labels.pop_back();
    INFO(rig.sink.text());
    CHECK(rig.sink.has("node_network_info{" + labels + "}"));
  }
  CHECK(compared >= 16);  // there is a loopback device at least
}

TEST_CASE("links: names, other names, addresses and states of devices that come and go") {
  in_own_network([] {
    auto netlink = Netlink::open(0);  // NETLINK_ROUTE
    REQUIRE(netlink);
    LinkTable table;
    REQUIRE(table.read(*netlink));
    REQUIRE(table.links().size() == 1);
    const std::uint64_t alone = table.fingerprint();
    const Link* lo = link_named(table, "lo");
    REQUIRE(lo != nullptr);
    CHECK_FALSE(lo->is_up);
    CHECK(lo->address == "00:00:00:00:00:00");
    CHECK(lo->state_name() == "down");

    ip({"link", "add", "nexus0", "address", "02:00:5e:00:00:01", "mtu", "1400", "type", "veth",
        "peer", "name", "nexus1"});
    ip({"link", "property", "add", "dev", "nexus0", "altname", "an-other-name-of-it"});
    ip({"link", "property", "add", "dev", "nexus0", "altname", "third"});
    ip({"link", "set", "nexus0", "alias", "to the moon", "up"});
    ip({"link", "set", "nexus1", "up", "promisc", "on"});
    REQUIRE(table.read(*netlink));
    CHECK(table.links().size() == 3);
    CHECK(table.fingerprint() != alone);
    const Link* first = link_named(table, "nexus0");
    const Link* second = link_named(table, "nexus1");
    REQUIRE(first != nullptr);
    REQUIRE(second != nullptr);
    CHECK(first->address == "02:00:5e:00:00:01");
    CHECK(first->broadcast == "ff:ff:ff:ff:ff:ff");
    CHECK(first->alias == "to the moon");
    CHECK(first->mtu == 1400);
    CHECK(first->is_up);
    CHECK(first->type == 1);
    CHECK(first->peer == second->index);
    CHECK(first->state_name() == "up");
    CHECK(first->carrier == 1U);
    CHECK(first->other_names == std::vector<std::string>{"an-other-name-of-it", "third"});
    CHECK((first->flags & 0x100) == 0);
    CHECK((second->flags & 0x100) != 0);
    CHECK(second->other_names.empty());

    // Without memory of what was there before.
    ip({"link", "del", "nexus0"});
    REQUIRE(table.read(*netlink));
    CHECK(table.links().size() == 1);
    CHECK(table.fingerprint() == alone);
    CHECK(table.links()[0].other_names.empty());
  });
}

TEST_CASE("netclass: where sysfs shows another name space, it is sysfs that is told") {
  // /sys was mounted in the name space of the machine, and shows its devices to everybody.
  in_own_network([] {
    ip({"link", "add", "nexus0", "type", "veth", "peer", "name", "nexus1"});
    CollectorRig rig("netclass", host::Roots{});
    REQUIRE(rig.run());
    CHECK_FALSE(rig.sink.has(R"(node_network_up{device="nexus0"})"));
    const auto devices = host::list_directory("/sys/class/net").value();
    for (const std::string& device : devices) {
      if (!number_in("/sys/class/net/" + device + "/ifindex")) continue;
      INFO(device);
      CHECK(rig.sink.has(fmt::format(R"(node_network_up{{device="{}"}})", device)));
    }
  });
}

TEST_CASE("arp: entries and states of a device's neighbours, by rtnetlink") {
  in_own_network([] {
    ip({"link", "add", "nexus0", "type", "veth", "peer", "name", "nexus1"});
    ip({"link", "set", "nexus0", "up"});
    ip({"address", "add", "192.0.2.1/24", "dev", "nexus0"});
    const auto neighbour = [](const char* address, const char* state) {
      ip({"neighbour", "add", address, "lladdr", "02:00:5e:00:00:02", "dev", "nexus0", "nud",
          state});
    };
    neighbour("192.0.2.2", "permanent");
    neighbour("192.0.2.3", "permanent");
    neighbour("192.0.2.4", "stale");
    neighbour("192.0.2.5", "noarp");
    CollectorRig rig("arp", host::Roots{});
    REQUIRE(rig.run());
    CHECK(rig.sink.value(R"(node_arp_entries{device="nexus0"})") == 3);
    CHECK(rig.sink.value(R"(node_arp_states{device="nexus0",state="permanent"})") == 2);
    CHECK(rig.sink.value(R"(node_arp_states{device="nexus0",state="stale"})") == 1);
    CHECK_FALSE(rig.sink.has(R"(node_arp_states{device="nexus0",state="reachable"})"));
    ip({"neighbour", "del", "192.0.2.4", "dev", "nexus0"});
    REQUIRE(rig.run());
    CHECK(rig.sink.value(R"(node_arp_entries{device="nexus0"})") == 2);
    CHECK(rig.sink.value(R"(node_arp_states{device="nexus0",state="stale"})") == 0);
    CollectorRig files("arp", host::Roots{}, {{"netlink", false}});
    REQUIRE(files.run());
    CHECK_FALSE(files.sink.text().contains("node_arp_states"));
  });
}
