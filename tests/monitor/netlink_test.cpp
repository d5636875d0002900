// What rtnetlink tells of the devices of this machine and of a network name space of the test's own
// is what sysfs tells.
#include <arpa/inet.h>
#include <linux/nl80211.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>

#include <array>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "monitor/host_tree.hpp"
#include "monitor/link_table.hpp"
#include "monitor/nl80211.hpp"
#include "monitor/tcp_sockets.hpp"
#include "nexus/base/text.hpp"
#include "nexus/host/fd.hpp"
#include "nexus/host/file.hpp"
#include "nexus/host/subprocess.hpp"
#include "support/server.hpp"

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

void run_command(std::vector<std::string> arguments) {
  base::SystemClock clock;
  arguments.insert(arguments.begin(), "/usr/bin/env");
  const auto exit =
      host::run({.argv = std::move(arguments)}, clock, clock.steady() + Millis(60'000));
  if (!exit) FAIL(exit.error().message());
  INFO(exit->output);
  REQUIRE(exit->status == 0);
}

void ip(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "ip");
  run_command(std::move(arguments));
}

/// Sends `count` datagrams to itself over loopback, each from a port of its own.
void send_flows(int count) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(9);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  for (int i = 0; i < count; ++i) {
    const host::Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    REQUIRE(::sendto(socket.get(), "x", 1, 0, reinterpret_cast<const sockaddr*>(&to), sizeof to) ==
            1);
  }
}

/// A TCP segment that begins and ends a connection at once, which no connection tracking takes.
void send_invalid_segment() {
  std::array<std::uint8_t, 20> segment{0x03, 0xe8, 0, 9};  // ports
  segment[12] = 0x50;                                      // five words
  segment[13] = 0x03;                                      // FIN and SYN
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const host::Fd socket(::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_TCP));
  REQUIRE(::sendto(socket.get(), segment.data(), segment.size(), 0,
                   reinterpret_cast<const sockaddr*>(&to), sizeof to) == 20);
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

TEST_CASE("links: whoever watches is told of every change, and of nothing else") {
  in_own_network([] {
    ip({"link", "add", "nexus0", "type", "veth", "peer", "name", "nexus1"});
    auto watch = LinkWatch::open();
    REQUIRE(watch);
    const auto quiet = [&] { return test::eventually([&] { return !watch->changed(); }); };
    CHECK(quiet());
    for (const std::vector<std::string>& change : std::vector<std::vector<std::string>>{
             {"link", "set", "nexus0", "up"},
             {"link", "set", "nexus1", "up"},
             {"link", "set", "nexus0", "mtu", "1400"},
             {"link", "set", "nexus0", "txqueuelen", "7"},
             {"link", "set", "nexus0", "alias", "to the moon"},
             {"link", "set", "nexus0", "group", "9"},
             {"link", "set", "nexus0", "address", "02:00:5e:00:00:01"},
             {"link", "set", "nexus0", "promisc", "on"},
             {"link", "property", "add", "dev", "nexus0", "altname", "third"},
             {"link", "set", "nexus1", "down"},
             {"link", "add", "nexus2", "type", "veth", "peer", "name", "nexus3"},
             {"link", "set", "nexus2", "name", "nexus4"},
             {"link", "del", "nexus4"}}) {
      INFO(change[1] << " " << change.back());
      ip(change);
      CHECK(test::eventually([&] { return watch->changed(); }));
      CHECK(quiet());
    }
  });
}

TEST_CASE("udp_queues: every socket counts, however many pages their list has") {
  in_own_network([] {
    ip({"link", "set", "lo", "up"});
    host::Roots roots;
    roots.procfs = "/proc/thread-self";  // /proc/net is that of the process
    CollectorRig rig("udp_queues", roots);
    constexpr std::string_view kWaiting = R"(node_udp_queues{ip="v4",queue="rx"})";
    const auto waiting = [&] {
      REQUIRE(rig.run());
      return rig.sink.value(kWaiting);
    };
    CHECK(waiting() == 0);
    std::vector<host::Fd> sockets;
    double one = 0;
    for (int i = 1; i <= 100; ++i) {
      auto& socket = sockets.emplace_back(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      sockaddr_in address{};
      address.sin_family = AF_INET;
      address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      socklen_t size = sizeof address;
      REQUIRE(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0);
      REQUIRE(::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
      REQUIRE(::sendto(socket.get(), "x", 1, 0, reinterpret_cast<const sockaddr*>(&address),
                       size) == 1);
      const double now = waiting();
      if (i == 1) one = now;
      CHECK(one > 0);
      CHECK(now == i * one);
    }
    sockets.resize(40);
    CHECK(waiting() == 40 * one);
  });
}

TEST_CASE("netclass: what changes between two runs is seen in the second") {
  const test::TemporaryDirectory sysfs;
  in_own_network([&] {
    // What /sys shows is the network name space of who mounted it.
    REQUIRE(::unshare(CLONE_NEWNS) == 0);
    REQUIRE(::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
    REQUIRE(::mount("sysfs", sysfs.path().c_str(), "sysfs", 0, nullptr) == 0);
    host::Roots roots;
    roots.sysfs = sysfs.path();
    ip({"link", "add", "nexus0", "type", "veth", "peer", "name", "nexus1"});
    CollectorRig rig("netclass", roots);
    const auto mtu = [&](std::string_view device) {
      const std::string series = fmt::format(R"(node_network_mtu_bytes{{device="{}"}})", device);
      REQUIRE(rig.run());
      return rig.sink.has(series) ? rig.sink.value(series) : 0;
    };
    CHECK(mtu("nexus0") == 1500);
    ip({"link", "set", "nexus0", "up"});
    ip({"link", "set", "nexus0", "mtu", "1400"});
    CHECK(mtu("nexus0") == 1400);
    CHECK(mtu("nexus0") == 1400);
    ip({"link", "set", "nexus1", "name", "nexus2"});
    CHECK(mtu("nexus1") == 0);
    CHECK(mtu("nexus2") == 1500);
    ip({"link", "del", "nexus0"});
    CHECK(mtu("nexus0") == 0);
    REQUIRE(::umount2(sysfs.path().c_str(), MNT_DETACH) == 0);
  });
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
    // The kernel works on a carrier's change a little later, from a queue of its own.
    REQUIRE(test::eventually([&] {
      REQUIRE(table.read(*netlink));
      const Link* link = link_named(table, "nexus0");
      return link != nullptr && link->state_name() == "up";
    }));
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

TEST_CASE("conntrack: flows, limit and statistics of a network of the test's own, by nfnetlink") {
  in_own_network([] {
    ip({"link", "set", "lo", "up"});
    // Flows must not end while the test waits for a processor.
    std::ofstream("/proc/sys/net/netfilter/nf_conntrack_udp_timeout") << 3600;
    // A rule that asks for the state of connections is what makes the kernel track them.
    run_command({"nft",
                 "table inet nexus { chain output { type filter hook output priority 0; "
                 "ct state new counter; }; }"});
    send_flows(3);
    CollectorRig rig("conntrack", host::Roots{});
    REQUIRE(rig.run());
    CHECK(rig.sink.count() == 10);
    const double before = rig.sink.value("node_nf_conntrack_entries");
    CHECK(before >= 3);
    send_flows(5);
    REQUIRE(rig.run());
    CHECK(rig.sink.value("node_nf_conntrack_entries") == before + 5);
    CHECK(rig.sink.value("node_nf_conntrack_stat_invalid") == 0);
    send_invalid_segment();
    REQUIRE(rig.run());
    CHECK(rig.sink.value("node_nf_conntrack_stat_invalid") >= 1);
    // Of the files only these are of the thread's own network: /proc/net is the process's.
    CollectorRig files("conntrack", host::Roots{}, {{"netlink", false}});
    REQUIRE(files.run());
    for (const char* name : {"node_nf_conntrack_entries", "node_nf_conntrack_entries_limit"})
      CHECK(rig.sink.value(name) == files.sink.value(name));
  });
}

namespace {

/// Attributes as the kernel lays them out (linux/netlink.h).
class Attributes {
 public:
  Attributes& put(std::uint16_t type, const void* value, std::size_t size) {
    const nlattr head{.nla_len = static_cast<std::uint16_t>(sizeof(nlattr) + size),
                      .nla_type = type};
    const auto* const first = reinterpret_cast<const std::byte*>(&head);
    bytes_.insert(bytes_.end(), first, first + sizeof head);
    const auto* const data = static_cast<const std::byte*>(value);
    bytes_.insert(bytes_.end(), data, data + size);
    bytes_.resize(NLA_ALIGN(bytes_.size()));
    return *this;
  }
  template <typename T>
  Attributes& number(std::uint16_t type, T value) {
    return put(type, &value, sizeof value);
  }
  Attributes& text(std::uint16_t type, std::string_view value) {
    return put(type, value.data(), value.size());
  }
  Attributes& nest(std::uint16_t type, const Attributes& inside) {
    return put(type | NLA_F_NESTED, inside.bytes_.data(), inside.bytes_.size());
  }
  [[nodiscard]] Bytes bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

}  // namespace

// No machine here has a radio: messages as nl80211.h documents them, made by hand.
TEST_CASE("nl80211: interfaces, networks and stations of its messages") {
  const std::string_view address("\x02\x00\x5e\x10\x00\xff", 6);
  const auto interface =
      wifi_interface(Attributes()
                         .number(NL80211_ATTR_IFINDEX, std::uint32_t{3})
                         .text(NL80211_ATTR_IFNAME, std::string_view("wlan0\0", 6))
                         .text(NL80211_ATTR_MAC, address)
                         .number(NL80211_ATTR_WIPHY_FREQ, std::uint32_t{5180})
                         .bytes());
  CHECK(interface == WifiInterface{.index = 3, .name = "wlan0", .megahertz = 5180});

  const auto network_in = [&](std::optional<std::uint32_t> status, std::string_view elements) {
    Attributes bss;
    bss.text(NL80211_BSS_BSSID, address).text(NL80211_BSS_INFORMATION_ELEMENTS, elements);
    if (status) bss.number(NL80211_BSS_STATUS, *status);
    return wifi_network(Attributes().nest(NL80211_ATTR_BSS, bss).bytes());
  };
  const std::string_view elements("\x01\x02\x82\x84\x00\x04home\x03\x01\x24", 13);
  CHECK(network_in(NL80211_BSS_STATUS_ASSOCIATED, elements) ==
        WifiNetwork{.bssid = "02:00:5e:10:00:ff", .ssid = "home", .mode = "client"});
  CHECK(network_in(NL80211_BSS_STATUS_IBSS_JOINED, elements)->mode == "ad-hoc");
  CHECK_FALSE(network_in(std::nullopt, elements));  // only seen
  // A name that says that it is longer than there are bytes, and one that is no UTF-8.
  CHECK(network_in(NL80211_BSS_STATUS_ASSOCIATED, std::string_view("\x00\x09home", 6))->ssid == "");
  CHECK(network_in(NL80211_BSS_STATUS_ASSOCIATED, std::string_view("\x00\x02\xff!", 4))->ssid ==
        "\xef\xbf\xbd!");

  const auto rate = [](std::uint16_t narrow, std::optional<std::uint32_t> wide) {
    Attributes out;
    out.number(NL80211_RATE_INFO_BITRATE, narrow);
    if (wide) out.number(NL80211_RATE_INFO_BITRATE32, *wide);
    return out;
  };
  Attributes info;
  info.number(NL80211_STA_INFO_INACTIVE_TIME, std::uint32_t{1500})
      .number(NL80211_STA_INFO_RX_BYTES, std::uint32_t{7})
      .number(NL80211_STA_INFO_RX_BYTES64, (std::uint64_t{1} << 32) + 7)
      .number(NL80211_STA_INFO_TX_BYTES, std::uint32_t{9})
      .number(NL80211_STA_INFO_SIGNAL, std::int8_t{-52})
      .nest(NL80211_STA_INFO_TX_BITRATE, rate(0xffff, 86'670))
      .nest(NL80211_STA_INFO_RX_BITRATE, rate(540, std::nullopt))
      .number(NL80211_STA_INFO_RX_PACKETS, std::uint32_t{11})
      .number(NL80211_STA_INFO_TX_PACKETS, std::uint32_t{12})
      .number(NL80211_STA_INFO_TX_RETRIES, std::uint32_t{13})
      .number(NL80211_STA_INFO_TX_FAILED, std::uint32_t{14})
      .number(NL80211_STA_INFO_CONNECTED_TIME, std::uint32_t{600})
      .number(NL80211_STA_INFO_BEACON_LOSS, std::uint32_t{15});
  Attributes message;
  message.text(NL80211_ATTR_MAC, address).nest(NL80211_ATTR_STA_INFO, info);
  const WifiStation expected{.address = "02:00:5e:10:00:ff",
                             .connected = 600,
                             .inactive = 1.5,
                             .receive_rate = 54e6,
                             .transmit_rate = 8667e6,
                             .receive_bytes = 4294967303.0,
                             .transmit_bytes = 9,
                             .signal = -52,
                             .retries = 13,
                             .failed = 14,
                             .beacon_losses = 15,
                             .received_packets = 11,
                             .transmitted_packets = 12};
  CHECK(wifi_station(message.bytes()) == expected);
  // Cut off anywhere: what is whole is taken, and nothing behind the end is read.
  for (std::size_t size = 0; size < message.bytes().size(); ++size) {
    const std::vector<std::byte> part(message.bytes().begin(),
                                      message.bytes().begin() + static_cast<std::ptrdiff_t>(size));
    CHECK(wifi_station(part) != expected);
  }
}

TEST_CASE("netlink: a dump that the kernel could not make is an error, and no empty list") {
  auto netlink = Netlink::open(NETLINK_SOCK_DIAG);
  REQUIRE(netlink);
  const auto dump = [&](std::uint8_t protocol) {
    NetlinkRequest request(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP);
    request.put(inet_diag_req_v2{.sdiag_family = AF_INET,
                                 .sdiag_protocol = protocol,
                                 .idiag_ext = 0,
                                 .pad = 0,
                                 .idiag_states = 0xfff,
                                 .id = {}});
    return netlink->ask(request, [](unsigned, Bytes) {});
  };
  CHECK(dump(IPPROTO_TCP));
  // Of a protocol that there is none of the kernel says so at the end of its list only.
  const Status failed = dump(200);
  REQUIRE_FALSE(failed);
  CHECK(failed.error().code() == Errc::kNotFound);
  CHECK(dump(IPPROTO_TCP));
}

TEST_CASE("network_route: the source that the kernel prefers is told, as node_exporter tells it") {
  CollectorRig rig("network_route", host::Roots{});
  Status routed;
  in_own_network([&] {
    ip({"link", "set", "lo", "up"});
    ip({"address", "add", "198.51.100.9/32", "dev", "lo"});
    ip({"route", "add", "203.0.113.0/24", "dev", "lo", "src", "198.51.100.9"});
    routed = rig.run();
  });
  REQUIRE(routed);
  INFO(rig.sink.text());
  CHECK(rig.sink.text().contains(
      R"(node_network_route_info{dest="203.0.113.0/24",device="lo",priority="0",proto="boot",src="198.51.100.9"} 1)"));
}
