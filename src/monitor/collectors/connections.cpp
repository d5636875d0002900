// connections: TCP by state, who listens and how full its queue is, who talks to whom, retransmits
// and round-trip times, by inet_diag.
//
// Who holds a socket comes from the descriptors of processes (socket_owners.hpp). The whole map is
// published for the other rooms (GET /health/connections); as series there are only the listeners,
// the peers with the most connections, and sums. A map that nobody looks at any more is filled
// anew, so that a run on a host where nothing changes allocates nothing.
#include <algorithm>
#include <array>
#include <map>
#include <memory_resource>
#include <tuple>

#include "monitor/families.hpp"
#include "monitor/parse.hpp"
#include "monitor/small_files.hpp"
#include "monitor/socket_owners.hpp"
#include "monitor/tcp_sockets.hpp"
#include "nexus/host/kept_files.hpp"
#include "nexus/monitor/collector.hpp"

namespace nexus::monitor {

extern const CollectorDescriptor kConnectionsCollector;  // of table.cpp

namespace {

constexpr std::array kOptions = {
    OptionDescriptor{"max_listeners", OptionType::kInteger, "50",
                     "Listeners that have series; the map has up to 1024."},
    OptionDescriptor{"max_peers", OptionType::kInteger, "20",
                     "Peers that have series: those with the most connections. The others together "
                     "are \"(other)\"."},
    OptionDescriptor{"max_sockets", OptionType::kInteger, "50000",
                     "Sockets that are looked at one by one; the states of all are counted."},
};

enum Metric : std::size_t {
  kStates,
  kQueue,
  kBacklog,
  kAccepted,
  kPeers,
  kRetransmits,
  kRoundTrip,
  kConversations,
  kPortsUsed,
  kPorts,
  kLeftOut,
};
constexpr std::array kMetrics = {
    MetricDescriptor{"nexus_tcp_connections", MetricType::kGauge, "TCP sockets by state."},
    MetricDescriptor{"nexus_listener_queue", MetricType::kGauge,
                     "Connections that wait to be accepted."},
    MetricDescriptor{"nexus_listener_backlog", MetricType::kGauge,
                     "How many connections may wait to be accepted."},
    MetricDescriptor{"nexus_listener_connections", MetricType::kGauge,
                     "Established connections that came in through a listener."},
    MetricDescriptor{"nexus_peer_connections", MetricType::kGauge,
                     "Established connections with a peer."},
    MetricDescriptor{"nexus_tcp_retransmitted_segments_total", MetricType::kCounter,
                     "Segments sent again by connections while they were looked at."},
    MetricDescriptor{"nexus_tcp_round_trip_seconds", MetricType::kGauge,
                     "Mean of the smoothed round-trip times of established connections that do not "
                     "stay on the host."},
    MetricDescriptor{"nexus_conversations", MetricType::kGauge,
                     "Pairs of a process and a peer that have connections."},
    MetricDescriptor{"nexus_ephemeral_ports_used", MetricType::kGauge,
                     "Ephemeral ports in use towards the address and port with the most: "
                     "connections to another one may use the same ports."},
    MetricDescriptor{"nexus_ephemeral_ports", MetricType::kGauge,
                     "Ports that the kernel gives to outgoing connections (ip_local_port_range)."},
    MetricDescriptor{"nexus_connections_left_out", MetricType::kGauge,
                     "Sockets, listeners and conversations beyond the limits, in the last run."},
};

constexpr std::size_t kMaxConversations = 1024;
constexpr std::size_t kMaxListeners = 1024;
constexpr std::uint32_t kAllStates = 0xfff;  // but new_syn_recv, which syn_recv stands for

using Direction = Conversation::Direction;

class ConnectionsCollector final : public Collector {
 public:
  explicit ConnectionsCollector(const CollectorContext& context)
      : clock_(context.clock),
        observed_(context.observed),
        is_live_(is_live(context.roots)),
        max_listeners_(count_option(context, "max_listeners")),
        max_peers_(count_option(context, "max_peers")),
        max_sockets_(count_option(context, "max_sockets")),
        families_(families_of(context.registry, kMetrics)),
        port_range_path_(context.roots.proc("sys/net/ipv4/ip_local_port_range")),
        owners_(context.roots) {}

  Status collect(Sink& sink) override {
    if (!is_live_) return fail(Errc::kNotFound, "these are not the connections of this host");
    start_run();
    left_out_ = 0;
    read_port_range();
    if (Status dumped = dump(); !dumped) return dumped;
    const auto table = observed_ != nullptr ? observed_->processes() : nullptr;
    owners_.find(clock_.steady(), table.get());
    const auto map = free_map();
    map->time = clock_.wall();
    take_listeners(*map);
    take_conversations(*map);
    emit(sink, *map);
    map->left_out = left_out_;
    if (observed_ != nullptr) observed_->publish(map);
    return complaints_.take();
  }

 private:
  static std::size_t count_option(const CollectorContext& context, std::string_view name) {
    const std::int64_t value = option_integer(context, kConnectionsCollector, name);
    return static_cast<std::size_t>(std::clamp<std::int64_t>(value, 0, 1'000'000));
  }

  /// A map that nobody else holds: the one that was shown before the present one, mostly.
  std::shared_ptr<ConnectionMap> free_map() {
    for (auto& map : maps_) {
      if (map == nullptr) map = std::make_shared<ConnectionMap>();
      if (map.use_count() != 1) continue;
      // Who held it let go of it in another thread, and use_count() promises no order: the end of a
      // copy does, so that all that was read there has been read before anything is written here.
      {
        const auto copy = map;
      }
      return map;
    }
    return std::make_shared<ConnectionMap>();
  }

  /// What a run needs only while it lasts is in one block of memory, used again by the next.
  void start_run() {
    ports_.clear();
    conversations_.clear();
    peers_.clear();
    ends_.clear();
    destinations_.clear();
    scratch_.release();
  }

  Status dump() {
    states_.fill(0);
    sockets_.clear();
    overflow_ = 0;
    owners_.start_run();
    return source_.for_each([this](const TcpSocket& s) {
      ++states_[s.state];
      take_port(s);
      if (s.state != kTcpEstablished && s.state != kTcpListen) return;
      if (sockets_.size() >= max_sockets_) return static_cast<void>(++overflow_);
      owners_.want(s.inode, s.state == kTcpListen);
      sockets_.push_back(s);
    });
  }

  /// "32768	60999"; without it ports are not counted.
  void read_port_range() {
    first_port_ = last_port_ = 0;
    const auto text = files_.read(port_range_path_);
    if (!text) return;
    const std::string_view line = base::trim(*text);
    const auto blank = std::min(line.find_first_of(" \t"), line.size());
    const auto first = parse_number(line.substr(0, blank));
    const auto last = parse_number(base::trim(line.substr(blank)));
    if (first && last && *first >= 1 && *first <= *last && *last <= 65'535) {
      first_port_ = static_cast<std::uint16_t>(*first);
      last_port_ = static_cast<std::uint16_t>(*last);
    } else {
      complaints_.add(port_range_path_, 1, "two ports", line);
    }
  }

  /// A port is used up from one address towards one address and port: who comes in has a port of
  /// its own there, so that accepted connections never look like many. What waits for its end on
  /// the loopback gives its port to the next one (net.ipv4.tcp_tw_reuse, as it is by default).
  void take_port(const TcpSocket& socket) {
    if (socket.state == kTcpListen || last_port_ == 0 || socket.local_port < first_port_ ||
        socket.local_port > last_port_)
      return;
    if (socket.state == kTcpTimeWait && socket.remote.is_loopback()) return;
    const Destination to(socket.local, socket.remote, socket.remote_port);
    const auto known = destinations_.find(to);
    if (known != destinations_.end()) {
      ++known->second;
    } else if (destinations_.size() < max_sockets_) {
      destinations_.emplace(to, 1);
    } else {
      ++left_out_;
    }
  }

  void take_listeners(ConnectionMap& map) {
    std::size_t count = 0;
    for (const TcpSocket& socket : sockets_) {
      if (socket.state != kTcpListen) continue;
      ports_.try_emplace(socket.local_port, 0);
      if (count >= kMaxListeners) {
        ++left_out_;
        continue;
      }
      if (count == map.listeners.size()) map.listeners.emplace_back();
      Listener& next = map.listeners[count];
      socket.local.write_to(next.address);
      next.port = socket.local_port;
      // Several sockets may share an address (SO_REUSEPORT): their queues are one.
      const auto end = map.listeners.begin() + static_cast<std::ptrdiff_t>(count);
      const auto same = std::find_if(map.listeners.begin(), end, [&](const Listener& l) {
        return l.port == next.port && l.address == next.address;
      });
      if (same != end) {
        same->queue += socket.receive_queue;
        same->backlog += socket.send_queue;
        continue;
      }
      next.queue = socket.receive_queue;
      next.backlog = socket.send_queue;
      next.owner = owners_.owner(socket.inode);
      ++count;
    }
    map.listeners.resize(count);
    std::ranges::sort(map.listeners, [](const Listener& a, const Listener& b) {
      return std::tie(a.port, a.address) < std::tie(b.port, b.address);
    });
  }

  void take_conversations(ConnectionMap& map) {
    round_trips_.fill({});
    index_local_ends();
    for (const TcpSocket& socket : sockets_) {
      if (socket.state == kTcpEstablished) take_connection(socket);
    }
    ++run_;
    overflowed_before_ = overflow_ > 0;
    std::erase_if(retransmits_, [this](const auto& e) { return e.second.run + 1 != run_; });
    // The largest first; equal ones stay in the order of their keys.
    ranked_.clear();
    for (const auto& [key, place] : conversations_)
      ranked_.push_back({edges_[place].connections, ranked_.size(), place});
    std::ranges::sort(ranked_, [](const Ranked& a, const Ranked& b) {
      return std::tie(b.connections, a.order) < std::tie(a.connections, b.order);
    });
    map.conversations.resize(ranked_.size());
    for (std::size_t i = 0; i < ranked_.size(); ++i) {
      Conversation& edge = map.conversations[i];
      edge = edges_[ranked_[i].place];
      edge.round_trip /= std::max(1U, edge.connections);
    }
  }

  /// The other end of a connection that stays on the host is a socket, too.
  void index_local_ends() {
    for (const TcpSocket& socket : sockets_) {
      if (socket.state != kTcpEstablished) continue;
      if (socket.local == socket.remote || socket.remote.is_loopback())
        ends_.emplace(std::tuple(socket.local, socket.local_port, socket.remote_port),
                      socket.inode);
    }
  }

  void take_connection(const TcpSocket& socket) {
    count_retransmits(socket);
    const auto listening = ports_.find(socket.local_port);
    const Direction direction =
        listening != ports_.end() ? Direction::kInbound : Direction::kOutbound;
    if (direction == Direction::kInbound) ++listening->second;
    const auto other = ends_.find(std::tuple(socket.remote, socket.remote_port, socket.local_port));
    const bool stays = other != ends_.end();
    if (!stays && !socket.remote.is_loopback()) {
      RoundTrip& sum = round_trips_[direction == Direction::kInbound ? 0 : 1];
      sum.seconds += socket.round_trip / 1e6;
      ++sum.count;
    }
    ++peers_[socket.remote];
    const std::uint16_t port =
        direction == Direction::kInbound ? socket.local_port : socket.remote_port;
    const SocketOwner& local = owners_.owner(socket.inode);
    const SocketOwner& remote = stays ? owners_.owner(other->second) : owners_.owner(0);
    const auto key = std::tuple(direction, local.pid, remote.pid, socket.remote, port);
    auto found = conversations_.find(key);
    if (found == conversations_.end()) {
      if (conversations_.size() >= kMaxConversations) return static_cast<void>(++left_out_);
      const std::size_t place = conversations_.size();
      found = conversations_.emplace(key, place).first;
      if (place == edges_.size()) edges_.emplace_back();
      Conversation& fresh = edges_[place];
      fresh.direction = direction;
      fresh.local = local;
      fresh.remote = remote;
      socket.remote.write_to(fresh.peer);
      fresh.port = port;
      fresh.connections = 0;
      fresh.retransmits = 0;
      fresh.round_trip = 0;
    }
    Conversation& edge = edges_[found->second];
    ++edge.connections;
    edge.retransmits += socket.retransmits;
    edge.round_trip += socket.round_trip / 1e6;
  }

  void count_retransmits(const TcpSocket& socket) {
    if (!socket.has_info) return;
    auto [entry, fresh] = retransmits_.try_emplace(socket.cookie);
    // What a connection sent again before it was first looked at counts if it is new. When not all
    // sockets are looked at nobody knows whether it is: it may have been left out before.
    const bool unknown = run_ == 0 || overflow_ > 0 || overflowed_before_;
    const std::uint32_t before = fresh && unknown ? socket.retransmits : entry->second.segments;
    if (socket.retransmits > before) retransmitted_ += socket.retransmits - before;
    entry->second = {socket.retransmits, run_};
  }

  void emit(Sink& sink, const ConnectionMap& map) {
    for (std::size_t state = 1; state + 1 < kTcpStates.size(); ++state)
      sink.add(families_[kStates], {{"state", kTcpStates[state]}},
               static_cast<double>(states_[state]));
    std::size_t shown = 0;
    for (const Listener& listener : map.listeners) {
      if (++shown > max_listeners_) {
        ++left_out_;
        continue;
      }
      port_ = std::to_string(listener.port);
      const std::array<LabelView, 4> labels = {
          LabelView{"address", listener.address}, LabelView{"executable", listener.owner.name},
          LabelView{"port", port_}, LabelView{"unit", listener.owner.unit}};
      sink.add(families_[kQueue], labels, listener.queue);
      sink.add(families_[kBacklog], labels, listener.backlog);
      sink.add(families_[kAccepted], labels, ports_[listener.port]);
    }
    emit_peers(sink);
    sink.add(families_[kRetransmits], static_cast<double>(retransmitted_));
    constexpr std::array<std::string_view, 2> kDirections = {"inbound", "outbound"};
    for (std::size_t i = 0; i < kDirections.size(); ++i) {
      const RoundTrip& sum = round_trips_[i];
      if (sum.count > 0)
        sink.add(families_[kRoundTrip], {{"direction", kDirections[i]}},
                 sum.seconds / static_cast<double>(sum.count));
    }
    sink.add(families_[kConversations], static_cast<double>(map.conversations.size()));
    if (last_port_ > 0) {
      std::uint32_t most = 0;
      for (const auto& [to, ports] : destinations_) most = std::max(most, ports);
      sink.add(families_[kPortsUsed], most);
      sink.add(families_[kPorts], last_port_ - first_port_ + 1);
    }
    left_out_ += overflow_;
    sink.add(families_[kLeftOut], static_cast<double>(left_out_));
  }

  void emit_peers(Sink& sink) {
    order_.clear();
    for (const auto& [address, count] : peers_) order_.emplace_back(count, address);
    const auto first = static_cast<std::ptrdiff_t>(std::min(max_peers_, order_.size()));
    std::partial_sort(order_.begin(), order_.begin() + first, order_.end(), std::greater<>());
    std::uint64_t others = 0;
    for (std::size_t i = 0; i < order_.size(); ++i) {
      if (static_cast<std::ptrdiff_t>(i) >= first) {
        others += order_[i].first;
      } else {
        order_[i].second.write_to(peer_);
        sink.add(families_[kPeers], {{"peer", peer_}}, static_cast<double>(order_[i].first));
      }
    }
    sink.add(families_[kPeers], {{"peer", "(other)"}}, static_cast<double>(others));
  }

  struct Sent {
    std::uint32_t segments = 0;
    std::uint64_t run = 0;
  };
  struct RoundTrip {
    double seconds = 0;
    std::uint64_t count = 0;
  };
  struct Ranked {
    std::uint32_t connections = 0;
    std::size_t order = 0;  // by key
    std::size_t place = 0;  // in edges_
  };
  using Key = std::tuple<Direction, std::int32_t, std::int32_t, SocketAddress, std::uint16_t>;
  using End = std::tuple<SocketAddress, std::uint16_t, std::uint16_t>;
  using Destination = std::tuple<SocketAddress, SocketAddress, std::uint16_t>;

  Clock& clock_;
  Observed* const observed_;
  const bool is_live_;
  const std::size_t max_listeners_;
  const std::size_t max_peers_;
  const std::size_t max_sockets_;
  const std::array<FamilyId, kMetrics.size()> families_;
  const std::string port_range_path_;
  host::KeptFiles files_;
  Complaints complaints_;
  SocketOwners owners_;
  TcpSockets source_{kAllStates, true};
  std::array<std::uint64_t, kTcpStates.size()> states_{};
  std::vector<TcpSocket> sockets_;
  std::array<std::byte, 64U << 10> block_;  // more is allocated as it is needed
  std::pmr::monotonic_buffer_resource scratch_{block_.data(), block_.size()};
  // Of one run:
  std::pmr::map<std::uint16_t, std::uint32_t> ports_{&scratch_};  // and connections through them
  std::pmr::map<Key, std::size_t> conversations_{&scratch_};      // places in edges_
  std::pmr::map<SocketAddress, std::uint64_t> peers_{&scratch_};
  std::pmr::map<End, std::uint32_t> ends_{&scratch_};
  std::pmr::map<Destination, std::uint32_t> destinations_{&scratch_};  // and ports towards each
  // Strings and lists that are written over by the next run:
  std::vector<Conversation> edges_;
  std::vector<Ranked> ranked_;
  std::array<std::shared_ptr<ConnectionMap>, 3> maps_;   // shown, held by a reader, to be filled
  std::unordered_map<std::uint64_t, Sent> retransmits_;  // by cookie; of established sockets only
  std::array<RoundTrip, 2> round_trips_{};
  std::vector<std::pair<std::uint64_t, SocketAddress>> order_;
  std::uint64_t retransmitted_ = 0;
  std::uint64_t run_ = 0;
  std::uint64_t overflow_ = 0;
  bool overflowed_before_ = false;  // in the run before
  std::uint64_t left_out_ = 0;
  std::uint16_t first_port_ = 0;  // of the ephemeral ones
  std::uint16_t last_port_ = 0;   // 0: unknown
  std::string port_;
  std::string peer_;
};

}  // namespace

const CollectorDescriptor kConnectionsCollector = {
    .name = "connections",
    .help = "TCP by state, listeners and their queues, peers, retransmits, who talks to whom.",
    .default_interval = Millis(10'000),  // a message for every socket of the host
    .options = kOptions,
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<ConnectionsCollector>(context);
    },
};

}  // namespace nexus::monitor
