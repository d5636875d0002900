// fibrechannel: identity and counters of every Fibre Channel port, from /sys/class/fc_host.
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/small_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_fibrechannel_info", MetricType::kGauge,
                     "Non-numeric data from /sys/class/fc_host/<host>, value is always 1."},
    MetricDescriptor{"node_fibrechannel_dumped_frames_total", MetricType::kCounter,
                     "Number of dumped frames."},
    MetricDescriptor{"node_fibrechannel_error_frames_total", MetricType::kCounter,
                     "Number of errors in frames."},
    MetricDescriptor{"node_fibrechannel_invalid_crc_total", MetricType::kCounter,
                     "Invalid cyclic redundancy check count."},
    MetricDescriptor{"node_fibrechannel_rx_frames_total", MetricType::kCounter,
                     "Number of frames received."},
    MetricDescriptor{"node_fibrechannel_rx_words_total", MetricType::kCounter,
                     "Number of words received by the host port."},
    MetricDescriptor{"node_fibrechannel_tx_frames_total", MetricType::kCounter,
                     "Number of frames transmitted by the host port."},
    MetricDescriptor{"node_fibrechannel_tx_words_total", MetricType::kCounter,
                     "Number of words transmitted by the host port."},
    MetricDescriptor{"node_fibrechannel_seconds_since_last_reset_total", MetricType::kCounter,
                     "Number of seconds since the last host port reset."},
    MetricDescriptor{"node_fibrechannel_invalid_tx_words_total", MetricType::kCounter,
                     "Number of invalid words transmitted by the host port."},
    MetricDescriptor{"node_fibrechannel_link_failure_total", MetricType::kCounter,
                     "Number of times the host port link has failed."},
    MetricDescriptor{"node_fibrechannel_loss_of_sync_total", MetricType::kCounter,
                     "Number of failures on either bit or transmission word boundaries."},
    MetricDescriptor{"node_fibrechannel_loss_of_signal_total", MetricType::kCounter,
                     "Number of times the signal has been lost."},
    MetricDescriptor{"node_fibrechannel_nos_total", MetricType::kCounter,
                     "Number of Not_Operational Primitive Sequences received by the host port."},
    MetricDescriptor{"node_fibrechannel_fcp_packet_aborts_total", MetricType::kCounter,
                     "Number of aborted packets."},
};
constexpr std::array kCounters = {
    NumberFile{"dumped_frames", 1},
    NumberFile{"error_frames", 2},
    NumberFile{"invalid_crc_count", 3},
    NumberFile{"rx_frames", 4},
    NumberFile{"rx_words", 5},
    NumberFile{"tx_frames", 6},
    NumberFile{"tx_words", 7},
    NumberFile{"seconds_since_last_reset", 8},
    NumberFile{"invalid_tx_word_count", 9},
    NumberFile{"link_failure_count", 10},
    NumberFile{"loss_of_sync_count", 11},
    NumberFile{"loss_of_signal_count", 12},
    NumberFile{"nos_count", 13},
    NumberFile{"fcp_packet_aborts", 14},
};

constexpr std::array kFields = {
    "speed",       "port_state",    "port_type",         "port_id",          "port_name",
    "fabric_name", "symbolic_name", "supported_classes", "supported_speeds", "dev_loss_tmo"};

class FibrechannelCollector final : public Collector {
 public:
  explicit FibrechannelCollector(const CollectorContext& context)
      : path_(context.roots.sys("class/fc_host")),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    const auto root = SmallDir::open(path_);
    if (!root || !names_.read(*root)) return fail(Errc::kNotFound, "{}: not there", path_);
    if (names_.names().empty()) return fail(Errc::kNotFound, "{}: no port", path_);
    for (const char* name : names_.names()) {
      if (const auto host = root->child(name)) add(sink, *host, name);
    }
    return complaints_.take();
  }

 private:
  void add(Sink& sink, const SmallDir& host, std::string_view name) {
    std::array<LabelView, kFields.size() + 1> labels;
    labels[0] = {"fc_host", name};
    for (std::size_t i = 0; i < kFields.size(); ++i) {
      std::string_view value = files_.text(host, kFields[i]).value_or(std::string_view());
      if (value.starts_with("0x")) value.remove_prefix(2);  // names and ids of ports
      values_[i] = value;
      labels[i + 1] = {kFields[i], values_[i]};
    }
    sink.add(families_[0], labels, 1);
    const auto statistics = host.child("statistics");
    if (!statistics) return;
    for (const NumberFile& one : kCounters) {
      // A driver that does not count something says so with all bits set.
      const auto text = files_.text(*statistics, one.file);
      if (!text || *text == "0xffffffffffffffff") continue;
      if (const auto value = parse_number(*text)) {
        sink.add(families_[one.metric], {{"fc_host", name}}, *value);
      } else {
        complaints_.add(statistics->path() + "/" + one.file, 1, "a number", *text);
      }
    }
  }

  const std::string path_;
  const std::array<FamilyId, kMetrics.size()> families_;
  NameList names_;
  std::array<std::string, kFields.size()> values_;
  Complaints complaints_;
  SmallFiles files_{complaints_};
};

}  // namespace

const CollectorDescriptor kFibrechannelCollector = {
    .name = "fibrechannel",
    .help = "Identity and counters of Fibre Channel ports.",
    .default_interval = Millis(10'000),
    .metrics = kMetrics,
    .make = make_plain<FibrechannelCollector>,
};

}  // namespace nexus::monitor
