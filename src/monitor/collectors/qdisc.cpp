// qdisc: queueing disciplines at the root of every device, by rtnetlink.
#include <linux/gen_stats.h>
#include <linux/pkt_sched.h>

#include <array>

#include "monitor/collectors.hpp"
#include "monitor/device_filter.hpp"
#include "monitor/families.hpp"
#include "monitor/links.hpp"
#include "monitor/tcp_sockets.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kOptions = {
    OptionDescriptor{"device_include", OptionType::kRegex, "''", "Devices that are taken."},
    OptionDescriptor{"device_exclude", OptionType::kRegex, "''", "Devices that are left out."},
};

enum Metric : std::size_t { kBytes, kPackets, kDrops, kRequeues, kOverlimits, kLength, kBacklog };
constexpr std::array kMetrics = {
    MetricDescriptor{"node_qdisc_bytes_total", MetricType::kCounter, "Number of bytes sent."},
    MetricDescriptor{"node_qdisc_packets_total", MetricType::kCounter, "Number of packets sent."},
    MetricDescriptor{"node_qdisc_drops_total", MetricType::kCounter, "Number of packets dropped."},
    MetricDescriptor{"node_qdisc_requeues_total", MetricType::kCounter,
                     "Number of packets dequeued, not transmitted, and requeued."},
    MetricDescriptor{"node_qdisc_overlimits_total", MetricType::kCounter,
                     "Number of overlimit packets."},
    MetricDescriptor{"node_qdisc_current_queue_length", MetricType::kGauge,
                     "Number of packets currently in queue to be sent."},
    MetricDescriptor{"node_qdisc_backlog", MetricType::kGauge,
                     "Number of bytes currently in queue to be sent."},
};

struct Discipline {
  std::string_view kind;
  std::uint64_t bytes = 0;
  std::uint64_t packets = 0;
  gnet_stats_queue queue{};
};

class QdiscCollector final : public Collector {
 public:
  QdiscCollector(const CollectorContext& context, NameFilter filter)
      : is_live_(is_live(context.roots)),
        filter_(std::move(filter)),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    if (!is_live_) return fail(Errc::kNotFound, "these are not the devices of this host");
    auto netlink = Netlink::open(NETLINK_ROUTE);
    if (!netlink) return propagate(std::move(netlink));
    const auto names = link_names(*netlink);
    if (!names) return std::unexpected(names.error());
    NetlinkRequest request(RTM_GETQDISC, NLM_F_DUMP);
    request.put(tcmsg{});
    return netlink->ask(request, [&](unsigned, Bytes payload) {
      const auto message = read_as<tcmsg>(payload);
      // Only those at the root, as node_exporter; the others are parts of them.
      if (!message || message->tcm_parent != TC_H_ROOT) return;
      const auto name = names->find(message->tcm_ifindex);
      if (name == names->end() || !filter_.accepts(name->second)) return;
      add(sink, name->second, payload.subspan(NLMSG_ALIGN(sizeof(tcmsg))));
    });
  }

 private:
  void add(Sink& sink, const std::string& device, Bytes attributes) const {
    Discipline found;
    for_each_attribute(attributes, [&](unsigned type, Bytes value) {
      if (type == TCA_KIND) found.kind = text_of(value);
      if (type == TCA_STATS2) read_stats(found, value);
    });
    const std::array<LabelView, 2> labels = {LabelView{"device", device},
                                             LabelView{"kind", found.kind}};
    const auto add = [&](Metric metric, std::uint64_t value) {
      sink.add(families_[metric], labels, static_cast<double>(value));
    };
    add(kBytes, found.bytes);
    add(kPackets, found.packets);
    add(kDrops, found.queue.drops);
    add(kRequeues, found.queue.requeues);
    add(kOverlimits, found.queue.overlimits);
    add(kLength, found.queue.qlen);
    add(kBacklog, found.queue.backlog);
  }

  static void read_stats(Discipline& out, Bytes stats) {
    for_each_attribute(stats, [&](unsigned type, Bytes value) {
      if (type == TCA_STATS_BASIC) {
        const auto basic = read_padded<gnet_stats_basic>(value);
        out.bytes = basic.bytes;
        if (out.packets == 0) out.packets = basic.packets;
      }
      if (type == TCA_STATS_PKT64) out.packets = read_padded<std::uint64_t>(value);
      if (type == TCA_STATS_QUEUE) out.queue = read_padded<gnet_stats_queue>(value);
    });
  }

  const bool is_live_;
  const NameFilter filter_;
  const std::array<FamilyId, kMetrics.size()> families_;
};

}  // namespace

const CollectorDescriptor kQdiscCollector = {
    .name = "qdisc",
    .help = "Queueing disciplines of network devices.",
    .enabled_by_default = false,
    .options = kOptions,
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      auto filter = device_filter(context, kQdiscCollector);
      if (!filter) return propagate(std::move(filter));
      return std::make_unique<QdiscCollector>(context, std::move(*filter));
    },
};

}  // namespace nexus::monitor
