// Connections, tcpstat, qdisc and routes: real sockets and devices in a network name space of the
// test's own; process events of real processes.
#include <arpa/inet.h>
#include <net/if.h>
#include <net/route.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <thread>

#include "monitor/host_tree.hpp"
#include "monitor/process_events.hpp"
#include "monitor/socket_owners.hpp"
#include "monitor/tcp_sockets.hpp"
#include "nexus/host/fd.hpp"
#include "nexus/monitor/observed.hpp"

using namespace nexus;
using namespace nexus::monitor;
using namespace nexus::monitor::testing;

namespace {

/// Runs `body` on a thread that has a network name space of its own, with loopback up.
template <typename Body>
void in_own_network(Body&& body) {
  bool entered = false;
  std::thread thread([&] {
    if (::unshare(CLONE_NEWNET) != 0) return;
    const host::Fd control(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request{};
    std::copy_n("lo", 3, request.ifr_name);
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    if (::ioctl(control.get(), SIOCSIFFLAGS, &request) != 0) return;
    entered = true;
    body();
  });
  thread.join();
  INFO("a network name space of the test's own is needed (root)");
  REQUIRE(entered);
}

struct Listening {
  host::Fd fd;
  std::uint16_t port = 0;
};

Listening listen_on_loopback(int backlog) {
  Listening out{host::Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), 0};
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (::bind(out.fd.get(), reinterpret_cast<sockaddr*>(&address), size) == 0 &&
      ::listen(out.fd.get(), backlog) == 0 &&
      ::getsockname(out.fd.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0)
    out.port = ntohs(address.sin_port);
  return out;
}

host::Fd connect_to(std::uint16_t port) {
  host::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    fd.reset();
  return fd;
}

struct Rig {
  explicit Rig(std::string_view name, config::Parameters given = {}) : options(std::move(given)) {
    auto made = find_collector(name)->make({.roots = roots,
                                            .clock = clock,
                                            .registry = registry,
                                            .options = options,
                                            .observed = &observed});
    if (made) collector = std::move(*made);
  }
  Status run() {
    sink.clear();
    return collector->collect(sink);
  }
  const host::Roots roots;
  base::ManualClock clock;
  knowledge::SeriesRegistry registry{10'000};
  config::Parameters options;
  Observed observed;
  RecordingSink sink{registry, RecordingSink::Keep::kLines};
  std::unique_ptr<Collector> collector;
};

}  // namespace

TEST_CASE("connections: listeners, queues, peers and who talks to whom") {
  Rig rig("connections");
  Status done;
  std::vector<host::Fd> ends;
  Listening server;
  in_own_network([&] {
    server = listen_on_loopback(5);
    ends.push_back(connect_to(server.port));
    ends.emplace_back(::accept4(server.fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
    ends.push_back(connect_to(server.port));  // waits to be accepted
    done = rig.run();
  });
  INFO((done ? std::string() : done.error().message()));
  REQUIRE(done);
  REQUIRE(std::ranges::all_of(ends, [](const host::Fd& fd) { return static_cast<bool>(fd); }));
  CHECK(rig.sink.value(R"(nexus_tcp_connections{state="listen"})") == 1);
  CHECK(rig.sink.value(R"(nexus_tcp_connections{state="established"})") == 4);
  CHECK(rig.sink.value(R"(nexus_peer_connections{peer="127.0.0.1"})") == 4);
  // Two ports towards the server; its own ends are towards one port each.
  CHECK(rig.sink.value("nexus_ephemeral_ports_used") == 2);
  CHECK(rig.sink.value("nexus_ephemeral_ports") > 1000);
  const auto map = rig.observed.connections();
  REQUIRE(map != nullptr);
  REQUIRE(map->listeners.size() == 1);
  const Listener& listener = map->listeners[0];
  CHECK(listener.address == "127.0.0.1");
  CHECK(listener.port == server.port);
  CHECK(listener.queue == 1);
  CHECK(listener.backlog == 5);
  CHECK(listener.owner.pid == ::getpid());
  CHECK(listener.owner.name == "monitor_test");
  const std::string labels =
      fmt::format(R"({{address="127.0.0.1",executable="monitor_test",port="{}")", server.port);
  const auto lines = rig.sink.text();
  CHECK(lines.find("nexus_listener_queue" + labels) != std::string::npos);
  // Both ends are this process: seen once from either side. The end that waits to be accepted is
  // nobody's yet.
  const auto with = [&](Conversation::Direction direction, pid_t local, pid_t remote) {
    return std::ranges::find_if(map->conversations, [&](const Conversation& edge) {
      return edge.direction == direction && edge.local.pid == local && edge.remote.pid == remote;
    });
  };
  const pid_t self = ::getpid();
  for (const auto& edge : {with(Conversation::Direction::kInbound, self, self),
                           with(Conversation::Direction::kOutbound, self, self),
                           with(Conversation::Direction::kOutbound, self, 0),
                           with(Conversation::Direction::kInbound, 0, self)}) {
    REQUIRE(edge != map->conversations.end());
    CHECK(edge->port == server.port);
    CHECK(edge->peer == "127.0.0.1");
    CHECK(edge->connections == 1);
  }
  CHECK(map->left_out == 0);
}

TEST_CASE("socket owners: what the kernel lists twice is looked for once") {
  const TemporaryTree tree;
  const auto hold = [&](const std::string& descriptor, int inode) {
    const auto path = std::filesystem::path(tree.path()) / "proc" / descriptor;
    std::filesystem::create_directories(path.parent_path());
    std::filesystem::create_symlink(fmt::format("socket:[{}]", inode), path);
  };
  const host::Roots roots = tree.roots();
  SocketOwners owners(roots);
  hold("100/fd/3", 5);
  owners.start_run();
  owners.want(5, true);
  owners.find(SteadyTime{}, nullptr);
  CHECK(owners.owner(5).pid == 100);
  // A new one of a process that is known, twice: no reason to look through all the others, where
  // the third would be found.
  hold("100/fd/4", 6);
  hold("200/fd/3", 7);
  owners.start_run();
  for (const std::uint32_t inode : {5U, 6U, 6U}) owners.want(inode, true);
  owners.want(7, false);
  owners.find(SteadyTime{} + std::chrono::seconds(1), nullptr);
  CHECK(owners.owner(6).pid == 100);
  CHECK(owners.owner(7).pid == 0);
  // It is, when its time has come.
  owners.start_run();
  for (const std::uint32_t inode : {5U, 6U}) owners.want(inode, true);
  owners.want(7, false);
  owners.find(SteadyTime{} + SocketOwners::kFullScan, nullptr);
  CHECK(owners.owner(7).pid == 200);
}

TEST_CASE("connections: bounded in sockets, listeners and peers, and what is left out is counted") {
  Rig rig("connections", {{"max_sockets", std::int64_t{3}}, {"max_listeners", std::int64_t{1}}});
  Status done;
  in_own_network([&] {
    std::vector<Listening> servers;
    for (int i = 0; i < 6; ++i) servers.push_back(listen_on_loopback(1));
    done = rig.run();
  });
  REQUIRE(done);
  CHECK(rig.sink.value(R"(nexus_tcp_connections{state="listen"})") == 6);
  CHECK(rig.sink.value("nexus_connections_left_out") == 3 + 2);
  CHECK(rig.observed.connections()->listeners.size() == 3);
}

TEST_CASE("tcpstat: states as node_exporter counts them") {
  Rig rig("tcpstat");
  Status done;
  in_own_network([&] {
    const Listening server = listen_on_loopback(5);
    const host::Fd client = connect_to(server.port);
    const host::Fd accepted(::accept4(server.fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
    static_cast<void>(::write(client.get(), "12345", 5));
    done = rig.run();
  });
  REQUIRE(done);
  CHECK(rig.sink.value(R"(node_tcp_connection_states{state="listen"})") == 1);
  CHECK(rig.sink.value(R"(node_tcp_connection_states{state="established"})") == 2);
  CHECK(rig.sink.has(R"(node_tcp_connection_states{state="rx_queued_bytes"})"));
}

TEST_CASE("network_route and qdisc: by rtnetlink, in a network of the test's own") {
  Rig routes("network_route");
  Rig disciplines("qdisc");
  Status routed;
  Status queued;
  int added = -1;
  in_own_network([&] {
    const host::Fd control(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    rtentry route{};
    std::string device = "lo";
    const auto put = [](sockaddr& where, const char* text) {
      auto& address = reinterpret_cast<sockaddr_in&>(where);
      address.sin_family = AF_INET;
      ::inet_pton(AF_INET, text, &address.sin_addr);
    };
    put(route.rt_dst, "192.0.2.0");
    put(route.rt_genmask, "255.255.255.0");
    route.rt_flags = RTF_UP;
    route.rt_dev = device.data();
    added = ::ioctl(control.get(), SIOCADDRT, &route);
    routed = routes.run();
    queued = disciplines.run();
  });
  REQUIRE(added == 0);
  REQUIRE(routed);
  INFO(routes.sink.text());
  CHECK(routes.sink.has(
      R"(node_network_route_info{dest="192.0.2.0/24",device="lo",priority="0",proto="boot"})"));
  CHECK(routes.sink.has(R"(node_network_routes{device="lo"})"));
  INFO(disciplines.sink.text());
  REQUIRE(queued);
  CHECK(disciplines.sink.text().find(R"(node_qdisc_bytes_total{device="lo",kind=)") !=
        std::string::npos);
}

TEST_CASE("what is asked of the kernel is never mixed into a recorded tree") {
  const TemporaryTree tree;
  for (const std::string_view name : {"connections", "tcpstat", "qdisc", "network_route", "wifi",
                                      "perf", "process_events", "logind"}) {
    CollectorRig rig(name, tree.roots());
    const Status done = rig.run();
    INFO(name);
    REQUIRE_FALSE(done);
    CHECK(done.error().code() == Errc::kNotFound);
  }
}

TEST_CASE("process events: forks, execs, exits and short lives of real processes") {
  auto events = ProcessEvents::open("/proc", std::chrono::seconds(10));
  INFO((events ? std::string() : events.error().message()));
  REQUIRE(events.has_value());
  constexpr std::uint64_t kChildren = 20;
  for (std::uint64_t i = 0; i < kChildren; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::execl("/bin/false", "false", nullptr);
      ::_exit(3);
    }
    ::waitpid(child, nullptr, 0);
  }
  const pid_t killed = ::fork();
  if (killed == 0) {
    for (;;) ::pause();
  }
  ::kill(killed, SIGKILL);
  ::waitpid(killed, nullptr, 0);
  const base::SystemClock real;
  const SteadyTime until = real.steady() + std::chrono::seconds(30);
  ProcessEvents::Counts counts;
  while (real.steady() < until) {
    counts = (*events)->counts();
    if (counts.exits_failed >= kChildren && counts.exits_killed >= 1) break;
    std::this_thread::yield();
  }
  CHECK(counts.forks >= kChildren + 1);
  CHECK(counts.execs >= kChildren);
  CHECK(counts.exits_failed >= kChildren);
  CHECK(counts.exits_killed >= 1);
  CHECK(counts.short_lived >= kChildren + 1);
  CHECK(counts.names.size() <= ProcessEvents::kNames + 1);
}
