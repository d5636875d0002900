// tcpstat: TCP sockets by state, and bytes that wait in their queues, by inet_diag.
#include <array>

#include "monitor/families.hpp"
#include "monitor/tcp_sockets.hpp"
#include "nexus/monitor/collector.hpp"

namespace nexus::monitor {

extern const CollectorDescriptor kTcpstatCollector;  // of table.cpp

namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_tcp_connection_states", MetricType::kGauge,
                     "Number of connection states."},
};

constexpr std::uint32_t kAllStates = 0xfff;

class TcpstatCollector final : public Collector {
 public:
  explicit TcpstatCollector(const CollectorContext& context)
      : is_live_(is_live(context.roots)), families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    if (!is_live_) return fail(Errc::kNotFound, "these are not the connections of this host");
    std::array<double, kTcpStates.size()> counts{};
    double received = 0;
    double sent = 0;
    const Status asked = sockets_.for_each([&](const TcpSocket& socket) {
      ++counts[socket.state];
      received += socket.receive_queue;
      sent += socket.send_queue;
    });
    if (!asked) return asked;
    for (std::size_t state = 1; state + 1 < kTcpStates.size(); ++state)
      sink.add(families_[0], {{"state", kTcpStates[state]}}, counts[state]);
    sink.add(families_[0], {{"state", "rx_queued_bytes"}}, received);
    sink.add(families_[0], {{"state", "tx_queued_bytes"}}, sent);
    return {};
  }

 private:
  const bool is_live_;
  const std::array<FamilyId, kMetrics.size()> families_;
  TcpSockets sockets_{kAllStates, false};
};

}  // namespace

const CollectorDescriptor kTcpstatCollector = {
    .name = "tcpstat",
    .help = "TCP sockets by state.",
    .enabled_by_default = false,
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<TcpstatCollector>(context);
    },
};

}  // namespace nexus::monitor
