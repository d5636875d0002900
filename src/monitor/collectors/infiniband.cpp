// infiniband: state, rate and counters of every InfiniBand and RoCE port, from
// /sys/class/infiniband.
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/small_files.hpp"

namespace nexus::monitor {
namespace {

/// One counter: where it is, what it is called, and how much one of it is.
struct CounterFile {
  const char* directory;
  const char* file;
  MetricDescriptor metric;
  double factor = 1;
};
#define NEXUS_IB(directory, file, name, help, factor)                                          \
  CounterFile {                                                                                \
    directory, file,                                                                           \
        MetricDescriptor{"node_infiniband_" name "_total", MetricType::kCounter, help}, factor \
  }
// Data is counted in units of four octets.
constexpr double kLane = 4;
constexpr std::array kCounters = {
    NEXUS_IB("counters", "excessive_buffer_overrun_errors", "excessive_buffer_overrun_errors",
             "Number of times that buffers overran in consecutive flow control periods.", 1),
    NEXUS_IB("counters", "link_downed", "link_downed",
             "Number of times the link failed to recover from an error state and went down.", 1),
    NEXUS_IB("counters", "link_error_recovery", "link_error_recovery",
             "Number of times the link successfully recovered from an error state.", 1),
    NEXUS_IB("counters", "local_link_integrity_errors", "local_link_integrity_errors",
             "Number of times that local physical errors exceeded their threshold.", 1),
    NEXUS_IB("counters", "multicast_rcv_packets", "multicast_packets_received",
             "Number of multicast packets received (including errors).", 1),
    NEXUS_IB("counters", "multicast_xmit_packets", "multicast_packets_transmitted",
             "Number of multicast packets transmitted (including errors).", 1),
    NEXUS_IB("counters", "port_rcv_constraint_errors", "port_constraint_errors_received",
             "Number of packets received on the switch physical port that are discarded.", 1),
    NEXUS_IB("counters", "port_xmit_constraint_errors", "port_constraint_errors_transmitted",
             "Number of packets not transmitted from the switch physical port.", 1),
    NEXUS_IB("counters", "port_rcv_data", "port_data_received_bytes",
             "Number of data octets received on all links.", kLane),
    NEXUS_IB("counters", "port_xmit_data", "port_data_transmitted_bytes",
             "Number of data octets transmitted on all links.", kLane),
    NEXUS_IB("counters", "port_rcv_discards", "port_discards_received",
             "Number of inbound packets discarded because the port is down or congested.", 1),
    NEXUS_IB("counters", "port_xmit_discards", "port_discards_transmitted",
             "Number of outbound packets discarded because the port is down or congested.", 1),
    NEXUS_IB("counters", "port_rcv_errors", "port_errors_received",
             "Number of packets containing an error that were received on this port.", 1),
    NEXUS_IB("counters", "port_rcv_packets", "port_packets_received",
             "Number of packets received on all VLs by this port (including errors).", 1),
    NEXUS_IB("counters", "port_xmit_packets", "port_packets_transmitted",
             "Number of packets transmitted on all VLs from this port (including errors).", 1),
    NEXUS_IB("counters", "port_rcv_remote_physical_errors", "port_receive_remote_physical_errors",
             "Number of packets received that were marked as bad on their way.", 1),
    NEXUS_IB("counters", "port_rcv_switch_relay_errors", "port_receive_switch_relay_errors",
             "Number of packets that could not be forwarded by the switch.", 1),
    NEXUS_IB("counters", "port_xmit_wait", "port_transmit_wait",
             "Number of ticks during which the port had data to transmit and sent none.", 1),
    NEXUS_IB("counters", "symbol_error", "symbol_error",
             "Number of minor link errors detected on one or more physical lanes.", 1),
    NEXUS_IB("counters", "unicast_rcv_packets", "unicast_packets_received",
             "Number of unicast packets received (including errors).", 1),
    NEXUS_IB("counters", "unicast_xmit_packets", "unicast_packets_transmitted",
             "Number of unicast packets transmitted (including errors).", 1),
    NEXUS_IB("counters", "VL15_dropped", "vl15_dropped",
             "Number of incoming VL15 packets dropped for want of resources.", 1),
    NEXUS_IB("counters_ext", "port_multicast_rcv_packets", "legacy_multicast_packets_received",
             "Number of multicast packets received.", 1),
    NEXUS_IB("counters_ext", "port_multicast_xmit_packets", "legacy_multicast_packets_transmitted",
             "Number of multicast packets transmitted.", 1),
    NEXUS_IB("counters_ext", "port_rcv_data_64", "legacy_data_received_bytes",
             "Number of data octets received on all links.", kLane),
    NEXUS_IB("counters_ext", "port_rcv_packets_64", "legacy_packets_received",
             "Number of data packets received on all links.", 1),
    NEXUS_IB("counters_ext", "port_unicast_rcv_packets", "legacy_unicast_packets_received",
             "Number of unicast packets received.", 1),
    NEXUS_IB("counters_ext", "port_unicast_xmit_packets", "legacy_unicast_packets_transmitted",
             "Number of unicast packets transmitted.", 1),
    NEXUS_IB("counters_ext", "port_xmit_data_64", "legacy_data_transmitted_bytes",
             "Number of data octets transmitted on all links.", kLane),
    NEXUS_IB("counters_ext", "port_xmit_packets_64", "legacy_packets_transmitted",
             "Number of data packets transmitted on all links.", 1),
    NEXUS_IB("hw_counters", "duplicate_request", "duplicate_requests_packets",
             "Number of requests received that had been executed before.", 1),
    NEXUS_IB("hw_counters", "implied_nak_seq_err", "implied_nak_seq_errors",
             "Number of acknowledgements with a larger number than expected of a read.", 1),
    NEXUS_IB("hw_counters", "local_ack_timeout_err", "local_ack_timeout_errors",
             "Number of times that the acknowledgement timer of a sender expired.", 1),
    NEXUS_IB("hw_counters", "np_cnp_sent", "np_cnp_packets_sent",
             "Number of congestion notifications sent.", 1),
    NEXUS_IB("hw_counters", "np_ecn_marked_roce_packets", "np_ecn_marked_roce_packets_received",
             "Number of RoCEv2 packets received that were marked for congestion.", 1),
    NEXUS_IB("hw_counters", "out_of_buffer", "out_of_buffer_drops",
             "Number of drops for want of work queue elements.", 1),
    NEXUS_IB("hw_counters", "out_of_sequence", "out_of_sequence_packets_received",
             "Number of out of sequence packets received.", 1),
    NEXUS_IB("hw_counters", "packet_seq_err", "packet_sequence_errors",
             "Number of sequence errors that the other side reported.", 1),
    NEXUS_IB("hw_counters", "req_cqe_error", "req_cqes_errors",
             "Number of completions with errors at the requester.", 1),
    NEXUS_IB("hw_counters", "req_cqe_flush_error", "req_cqes_flush_errors",
             "Number of completions with flushed errors at the requester.", 1),
    NEXUS_IB("hw_counters", "req_remote_access_errors", "req_remote_access_errors",
             "Number of remote access errors at the requester.", 1),
    NEXUS_IB("hw_counters", "req_remote_invalid_request", "req_remote_invalid_request_errors",
             "Number of remote invalid request errors at the requester.", 1),
    NEXUS_IB("hw_counters", "resp_cqe_error", "resp_cqes_errors",
             "Number of completions with errors at the responder.", 1),
    NEXUS_IB("hw_counters", "resp_cqe_flush_error", "resp_cqes_flush_errors",
             "Number of completions with flushed errors at the responder.", 1),
    NEXUS_IB("hw_counters", "resp_local_length_error", "resp_local_length_errors",
             "Number of local length errors at the responder.", 1),
    NEXUS_IB("hw_counters", "resp_remote_access_errors", "resp_remote_access_errors",
             "Number of remote access errors at the responder.", 1),
    NEXUS_IB("hw_counters", "rnr_nak_retry_err", "rnr_nak_retry_packets_received",
             "Number of receiver-not-ready packets received.", 1),
    NEXUS_IB("hw_counters", "roce_adp_retrans", "roce_adp_retransmits",
             "Number of adaptive retransmissions of RoCE traffic.", 1),
    NEXUS_IB("hw_counters", "roce_adp_retrans_to", "roce_adp_retransmits_timeout",
             "Number of timeouts of RoCE traffic due to adaptive retransmission.", 1),
    NEXUS_IB("hw_counters", "roce_slow_restart", "roce_slow_restart_used",
             "Number of times RoCE slow restart was used.", 1),
    NEXUS_IB("hw_counters", "roce_slow_restart_cnps", "roce_slow_restart_cnps",
             "Number of congestion notifications made by RoCE slow restart.", 1),
    NEXUS_IB("hw_counters", "roce_slow_restart_trans", "roce_slow_restart",
             "Number of times RoCE changed to slow restart.", 1),
    NEXUS_IB("hw_counters", "rp_cnp_handled", "rp_cnp_packets_handled",
             "Number of congestion notifications that slowed transmission.", 1),
    NEXUS_IB("hw_counters", "rp_cnp_ignored", "rp_cnp_ignored_packets_received",
             "Number of congestion notifications received and ignored.", 1),
    NEXUS_IB("hw_counters", "rx_atomic_requests", "rx_atomic_requests",
             "Number of ATOMIC requests received.", 1),
    NEXUS_IB("hw_counters", "rx_dct_connect", "rx_dct_connect_requests",
             "Number of connection requests received for DCTs.", 1),
    NEXUS_IB("hw_counters", "rx_read_requests", "rx_read_requests",
             "Number of READ requests received.", 1),
    NEXUS_IB("hw_counters", "rx_write_requests", "rx_write_requests",
             "Number of WRITE requests received.", 1),
    NEXUS_IB("hw_counters", "rx_icrc_encapsulated", "rx_icrc_encapsulated_errors",
             "Number of RoCE packets with ICRC errors.", 1),
};
#undef NEXUS_IB

constexpr std::array kOther = {
    MetricDescriptor{"node_infiniband_info", MetricType::kGauge,
                     "Non-numeric data from /sys/class/infiniband/<device>, value is always 1."},
    MetricDescriptor{"node_infiniband_state_id", MetricType::kGauge,
                     "State of the InfiniBand port (0: no change, 1: down, 2: init, 3: armed, 4: "
                     "active, 5: act defer)."},
    MetricDescriptor{"node_infiniband_physical_state_id", MetricType::kGauge,
                     "Physical state of the InfiniBand port (0: no change, 1: sleep, 2: polling, "
                     "3: disable, 4: shift, 5: link up, 6: link error recover, 7: phytest)."},
    MetricDescriptor{"node_infiniband_rate_bytes_per_second", MetricType::kGauge,
                     "Maximum signal transfer rate."},
    MetricDescriptor{"node_infiniband_lifespan_seconds", MetricType::kGauge,
                     "How old what the hardware counters say may be."},
};
enum Other { kInfo, kState, kPhysical, kRate, kLifespan };

constexpr auto kMetrics = [] {
  std::array<MetricDescriptor, kCounters.size() + kOther.size()> all{};
  for (std::size_t i = 0; i < kCounters.size(); ++i) all[i] = kCounters[i].metric;
  for (std::size_t i = 0; i < kOther.size(); ++i) all[kCounters.size() + i] = kOther[i];
  return all;
}();

// Some drivers say so instead of leaving the file away.
constexpr std::string_view kNoCounter = "N/A (no PMA)";

class InfinibandCollector final : public Collector {
 public:
  explicit InfinibandCollector(const CollectorContext& context)
      : path_(context.roots.sys("class/infiniband")),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    const auto root = SmallDir::open(path_);
    if (!root || !names_.read(*root)) return fail(Errc::kNotFound, "{}: not there", path_);
    if (names_.names().empty()) return fail(Errc::kNotFound, "{}: no device", path_);
    for (const char* name : names_.names()) {
      const auto device = root->child(name);
      if (!device) continue;
      add_info(sink, *device, name);
      const auto ports = device->child("ports");
      if (!ports || !ports_.read(*ports)) continue;
      for (const char* number : ports_.names()) {
        const auto port = ports->child(number);
        if (port) add_port(sink, *port, {{{"device", name}, {"port", number}}});
      }
    }
    return complaints_.take();
  }

 private:
  [[nodiscard]] FamilyId other(Other metric) const { return families_[kCounters.size() + metric]; }

  void add_info(Sink& sink, const SmallDir& device, std::string_view name) {
    constexpr std::array kTexts = {"board_id", "fw_ver", "hca_type"};
    for (std::size_t i = 0; i < kTexts.size(); ++i)
      texts_[i] = files_.text(device, kTexts[i]).value_or(std::string_view());
    sink.add(other(kInfo),
             {{"device", name},
              {"board_id", texts_[0]},
              {"firmware_version", texts_[1]},
              {"hca_type", texts_[2]}},
             1);
  }

  void add_port(Sink& sink, const SmallDir& port, const std::array<LabelView, 2>& labels) {
    add_id(sink, port, "state", other(kState), labels);
    add_id(sink, port, "phys_state", other(kPhysical), labels);
    add_rate(sink, port, labels);
    std::optional<SmallDir> directory;
    const char* open = nullptr;
    for (std::size_t i = 0; i < kCounters.size(); ++i) {
      const CounterFile& one = kCounters[i];
      if (open == nullptr || std::string_view(open) != one.directory) {
        directory.reset();
        if (auto next = port.child(open = one.directory)) directory.emplace(std::move(*next));
      }
      if (!directory) continue;
      if (const auto value = files_.number(*directory, one.file, kNoCounter))
        sink.add(families_[i], labels, *value * one.factor);
    }
    // The last directory is that of the hardware counters.
    if (!directory) return;
    if (const auto lifespan = files_.number(*directory, "lifespan"))
      sink.add(other(kLifespan), labels, *lifespan / 1000);
  }

  /// "4: ACTIVE"
  void add_id(Sink& sink, const SmallDir& port, const char* file, FamilyId family,
              const std::array<LabelView, 2>& labels) {
    const auto text = files_.text(port, file);
    if (!text) return;
    std::string_view rest = *text;
    if (const auto id = base::parse_uint(base::take_until(rest, ':'))) {
      sink.add(family, labels, static_cast<double>(*id));
    } else {
      complaints_.add(port.path() + "/" + file, 1, "NUMBER: NAME", *text);
    }
  }

  /// "40 Gb/sec (4X QDR)"
  void add_rate(Sink& sink, const SmallDir& port, const std::array<LabelView, 2>& labels) {
    const auto text = files_.text(port, "rate");
    if (!text) return;
    std::string_view rest = *text;
    const auto gigabits = base::parse_double(next_word(rest));
    if (gigabits && next_word(rest) == "Gb/sec") {
      sink.add(other(kRate), labels, *gigabits * 1e9 / 8);
    } else {
      complaints_.add(port.path() + "/rate", 1, "NUMBER Gb/sec", *text);
    }
  }

  const std::string path_;
  const std::array<FamilyId, kMetrics.size()> families_;
  NameList names_;
  NameList ports_;
  std::array<std::string, 3> texts_;
  Complaints complaints_;
  SmallFiles files_{complaints_};
};

}  // namespace

const CollectorDescriptor kInfinibandCollector = {
    .name = "infiniband",
    .help = "State, rate and counters of InfiniBand and RoCE ports.",
    .default_interval = Millis(5'000),
    .metrics = kMetrics,
    .make = make_plain<InfinibandCollector>,
};

}  // namespace nexus::monitor
