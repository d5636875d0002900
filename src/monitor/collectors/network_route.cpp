// network_route: the routing table, by rtnetlink.
//
// Every route is a series; a router with a full table is cut by the series budget.
#include <arpa/inet.h>
#include <net/if.h>

#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/links.hpp"
#include "monitor/tcp_sockets.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_network_route_info", MetricType::kGauge,
                     "network routing table information"},
    MetricDescriptor{"node_network_routes", MetricType::kGauge, "network routes by interface"},
};

struct Route {
  std::string source;
  std::string destination;
  std::string gateway;
  std::uint32_t priority = 0;
  int device = 0;
  Bytes hops;  // of a route over several
};

std::string address(std::uint8_t family, Bytes bytes) {
  const std::size_t size = family == AF_INET6 ? 16 : 4;
  std::array<char, INET6_ADDRSTRLEN> out{};
  if (bytes.size() < size ||
      ::inet_ntop(family, bytes.data(), out.data(), static_cast<socklen_t>(out.size())) == nullptr)
    return {};
  return out.data();
}

/// Of include/uapi/linux/rtnetlink.h, as node_exporter spells them.
std::string_view protocol_name(std::uint8_t protocol) {
  struct Name {
    std::uint8_t number;
    std::string_view name;
  };
  constexpr std::array kNames = {Name{0, "unspec"}, Name{1, "redirect"},  Name{2, "kernel"},
                                 Name{3, "boot"},   Name{4, "static"},    Name{8, "gated"},
                                 Name{9, "ra"},     Name{10, "mrt"},      Name{11, "zebra"},
                                 Name{12, "bird"},  Name{13, "dnrouted"}, Name{14, "xorp"},
                                 Name{15, "ntk"},   Name{16, "dhcp"},     Name{17, "mrouted"},
                                 Name{42, "babel"}, Name{186, "bgp"},     Name{187, "isis"},
                                 Name{188, "ospf"}, Name{189, "rip"},     Name{192, "eigrp"}};
  for (const Name& known : kNames) {
    if (known.number == protocol) return known.name;
  }
  return "unknown";
}

class NetworkRouteCollector final : public Collector {
 public:
  explicit NetworkRouteCollector(const CollectorContext& context)
      : is_live_(is_live(context.roots)), families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    if (!is_live_) return fail(Errc::kNotFound, "these are not the routes of this host");
    auto netlink = Netlink::open(NETLINK_ROUTE);
    if (!netlink) return propagate(std::move(netlink));
    auto names = link_names(*netlink);
    if (!names) return propagate(std::move(names));
    names_ = std::move(*names);
    counts_.clear();
    NetlinkRequest request(RTM_GETROUTE, NLM_F_DUMP);
    request.put(rtmsg{});
    const Status asked = netlink->ask(request, [&](unsigned, Bytes payload) {
      const auto message = read_as<rtmsg>(payload);
      // Unicast routes, as node_exporter.
      if (message && message->rtm_type == RTN_UNICAST)
        add(sink, *message, payload.subspan(NLMSG_ALIGN(sizeof(rtmsg))));
    });
    for (const auto& [device, count] : counts_)
      sink.add(families_[1], {{"device", device}}, static_cast<double>(count));
    return asked;
  }

 private:
  void add(Sink& sink, const rtmsg& message, Bytes attributes) {
    Route route;
    for_each_attribute(attributes, [&](unsigned type, Bytes value) {
      if (type == RTA_DST) route.destination = address(message.rtm_family, value);
      // The preferred source, as node_exporter has it.
      if (type == RTA_PREFSRC) route.source = address(message.rtm_family, value);
      if (type == RTA_GATEWAY) route.gateway = address(message.rtm_family, value);
      if (type == RTA_PRIORITY) route.priority = read_padded<std::uint32_t>(value);
      if (type == RTA_OIF) route.device = read_padded<int>(value);
      if (type == RTA_MULTIPATH) route.hops = value;
    });
    route.destination = message.rtm_dst_len == 0
                            ? "default"
                            : fmt::format("{}/{}", route.destination, message.rtm_dst_len);
    if (route.hops.empty()) return add_hop(sink, message, route, "");
    while (const auto hop = read_as<rtnexthop>(route.hops)) {
      if (hop->rtnh_len < sizeof(rtnexthop) || hop->rtnh_len > route.hops.size()) return;
      Route one = route;
      one.device = hop->rtnh_ifindex;
      for_each_attribute(route.hops.subspan(sizeof(rtnexthop), hop->rtnh_len - sizeof(rtnexthop)),
                         [&](unsigned type, Bytes value) {
                           if (type == RTA_GATEWAY)
                             one.gateway = address(message.rtm_family, value);
                         });
      add_hop(sink, message, one, std::to_string(hop->rtnh_hops + 1));
      route.hops =
          route.hops.subspan(std::min<std::size_t>(RTNH_ALIGN(hop->rtnh_len), route.hops.size()));
    }
  }

  void add_hop(Sink& sink, const rtmsg& message, const Route& route, std::string_view weight) {
    const auto name = names_.find(route.device);
    const std::string device = name == names_.end() ? "" : name->second;
    const std::string priority = std::to_string(route.priority);
    sink.add(families_[0],
             {{"dest", route.destination},
              {"device", device},
              {"gw", route.gateway},
              {"priority", priority},
              {"proto", protocol_name(message.rtm_protocol)},
              {"src", route.source},
              {"weight", weight}},
             1);
    ++counts_[device];
  }

  const bool is_live_;
  const std::array<FamilyId, kMetrics.size()> families_;
  LinkNames names_;
  std::map<std::string, std::size_t> counts_;
};

}  // namespace

const CollectorDescriptor kNetworkRouteCollector = {
    .name = "network_route",
    .help = "The routing table.",
    .enabled_by_default = false,
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<NetworkRouteCollector>(context);
    },
};

}  // namespace nexus::monitor
