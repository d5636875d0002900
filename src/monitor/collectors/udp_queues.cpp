// udp_queues: bytes that wait in the queues of UDP sockets, from /proc/net/udp and udp6.
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/parse.hpp"
#include "nexus/host/kept_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_udp_queues", MetricType::kGauge,
                     "Number of allocated memory in the kernel for UDP datagrams in bytes."},
};

constexpr std::size_t kSkipped = 4;  // sl, local and remote address, state

class UdpQueuesCollector final : public Collector {
 public:
  explicit UdpQueuesCollector(const CollectorContext& context)
      : v4_path_(context.roots.proc("net/udp")),
        v6_path_(context.roots.proc("net/udp6")),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    const bool v4 = add(sink, v4_path_, "v4");
    const bool v6 = add(sink, v6_path_, "v6");
    if (!v4 && !v6) return fail(Errc::kNotFound, "{}: not there, nor udp6", v4_path_);
    return complaints_.take();
  }

 private:
  bool add(Sink& sink, const std::string& path, std::string_view version) {
    const auto text = buffer_.read(path);
    if (!text) return false;
    if (text->empty()) {
      complaints_.add(path, "empty, expected a heading");
      return true;
    }
    double transmit = 0;
    double receive = 0;
    Lines lines(*text);
    for (std::string_view line; lines.next(line);) {
      if (lines.number() == 1) continue;
      std::string_view rest = line;
      for (std::size_t i = 0; i < kSkipped; ++i) (void)next_word(rest);
      const std::string_view word = next_word(rest);
      std::string_view received = word;
      const auto tx = base::parse_uint(base::take_until(received, ':'), 16);
      const auto rx = base::parse_uint(received, 16);
      if (!tx || !rx) {
        complaints_.add(path, lines.number(), "TX_QUEUE:RX_QUEUE, hexadecimal", word);
        continue;
      }
      transmit += static_cast<double>(*tx);
      receive += static_cast<double>(*rx);
    }
    sink.add(families_[0], {{"ip", version}, {"queue", "tx"}}, transmit);
    sink.add(families_[0], {{"ip", version}, {"queue", "rx"}}, receive);
    return true;
  }

  const std::string v4_path_;
  const std::string v6_path_;
  const std::array<FamilyId, kMetrics.size()> families_;
  host::KeptFiles buffer_;
  Complaints complaints_;
};

}  // namespace

const CollectorDescriptor kUdpQueuesCollector = {
    .name = "udp_queues",
    .help = "Bytes that wait in the queues of UDP sockets.",
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<UdpQueuesCollector>(context);
    },
};

}  // namespace nexus::monitor
