// drbd: replication of block devices over the network, from /proc/drbd of DRBD 8.
#include <algorithm>
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/parse.hpp"
#include "nexus/host/file.hpp"

namespace nexus::monitor {
namespace {

constexpr double kKib = 1024;

struct Number {
  std::string_view key;
  double factor;
  MetricDescriptor metric;
};
constexpr std::array kNumbers = {
    Number{"ns",
           kKib,
           {"node_drbd_network_sent_bytes_total", MetricType::kCounter,
            "Total number of bytes sent via the network."}},
    Number{"nr",
           1,  // as in node_exporter, although these are KiB too
           {"node_drbd_network_received_bytes_total", MetricType::kCounter,
            "Total number of bytes received via the network."}},
    Number{"dw",
           kKib,
           {"node_drbd_disk_written_bytes_total", MetricType::kCounter,
            "Net data written on local hard disk; in bytes."}},
    Number{"dr",
           kKib,
           {"node_drbd_disk_read_bytes_total", MetricType::kCounter,
            "Net data read from local hard disk; in bytes."}},
    Number{"al",
           1,
           {"node_drbd_activitylog_writes_total", MetricType::kCounter,
            "Number of updates of the activity log area of the meta data."}},
    Number{"bm",
           1,
           {"node_drbd_bitmap_writes_total", MetricType::kCounter,
            "Number of updates of the bitmap area of the meta data."}},
    Number{"lo",
           1,
           {"node_drbd_local_pending", MetricType::kGauge,
            "Number of open requests to the local I/O sub-system."}},
    Number{"pe",
           1,
           {"node_drbd_remote_pending", MetricType::kGauge,
            "Number of requests sent to the peer that it has not answered yet."}},
    Number{"ua",
           1,
           {"node_drbd_remote_unacknowledged", MetricType::kGauge,
            "Number of requests received from the peer that have not been answered yet."}},
    Number{"ap",
           1,
           {"node_drbd_application_pending", MetricType::kGauge,
            "Number of block I/O requests forwarded to DRBD that it has not answered yet."}},
    Number{"ep",
           1,
           {"node_drbd_epochs", MetricType::kGauge, "Number of Epochs currently on the fly."}},
    Number{"oos",
           kKib,
           {"node_drbd_out_of_sync_bytes", MetricType::kGauge,
            "Amount of data known to be out of sync; in bytes."}},
};
constexpr std::array kStates = {
    MetricDescriptor{"node_drbd_node_role_is_primary", MetricType::kGauge,
                     "Whether the role of the node is in the primary state."},
    MetricDescriptor{"node_drbd_disk_state_is_up_to_date", MetricType::kGauge,
                     "Whether the disk of the node is up to date."},
    MetricDescriptor{"node_drbd_connected", MetricType::kGauge,
                     "Whether DRBD is connected to the peer."},
};
constexpr auto kMetrics = [] {
  std::array<MetricDescriptor, kNumbers.size() + kStates.size()> all{};
  for (std::size_t i = 0; i < kNumbers.size(); ++i) all[i] = kNumbers[i].metric;
  for (std::size_t i = 0; i < kStates.size(); ++i) all[kNumbers.size() + i] = kStates[i];
  return all;
}();
constexpr std::size_t kRole = kNumbers.size();
constexpr std::size_t kDisk = kRole + 1;
constexpr std::size_t kConnected = kRole + 2;

class DrbdCollector final : public Collector {
 public:
  explicit DrbdCollector(const CollectorContext& context)
      : path_(context.roots.proc("drbd")), families_(families_of(context.registry, kMetrics)) {}

  /// " 1: cs:Connected ro:Primary/Primary ds:UpToDate/UpToDate C r-----" and a line of numbers.
  Status collect(Sink& sink) override {
    auto text = buffer_.read(path_);
    if (!text) return propagate(std::move(text));
    if (!text->starts_with("version:")) complaints_.add(path_, 1, "version:", text->substr(0, 32));
    device_.clear();
    Lines lines(*text);
    for (std::string_view line; lines.next(line);) {
      std::string_view rest = line;
      for (auto word = next_word(rest); !word.empty(); word = next_word(rest))
        add(sink, lines.number(), word);
    }
    return complaints_.take();
  }

 private:
  void add(Sink& sink, std::size_t number, std::string_view word) {
    std::string_view value = word;
    const std::string_view key = base::take_until(value, ':');
    if (key.size() == word.size()) return;  // no colon in it
    if (value.empty() && base::parse_uint(key)) {
      device_.assign("drbd").append(key);
      return;
    }
    if (device_.empty()) return;
    const auto found = std::ranges::find(kNumbers, key, &Number::key);
    if (found != kNumbers.end()) {
      const auto parsed = base::parse_uint(value);
      if (!parsed) return complaints_.add(path_, number, "KEY:NUMBER", word);
      const auto index = static_cast<std::size_t>(found - kNumbers.begin());
      sink.add(families_[index], {{"device", device_}},
               static_cast<double>(*parsed) * found->factor);
    } else if (key == "cs") {
      sink.add(families_[kConnected], {{"device", device_}}, value == "Connected" ? 1 : 0);
    } else if (key == "ro") {
      add_pair(sink, number, kRole, word, value, "Primary");
    } else if (key == "ds") {
      add_pair(sink, number, kDisk, word, value, "UpToDate");
    }
  }

  void add_pair(Sink& sink, std::size_t number, std::size_t metric, std::string_view word,
                std::string_view remote, std::string_view good) {
    const std::string_view local = base::take_until(remote, '/');
    if (local.empty() || remote.empty())
      return complaints_.add(path_, number, "LOCAL/REMOTE", word);
    sink.add(families_[metric], {{"device", device_}, {"node", "local"}}, local == good ? 1 : 0);
    sink.add(families_[metric], {{"device", device_}, {"node", "remote"}}, remote == good ? 1 : 0);
  }

  const std::string path_;
  const std::array<FamilyId, kMetrics.size()> families_;
  host::FileBuffer buffer_;
  std::string device_;
  Complaints complaints_;
};

}  // namespace

const CollectorDescriptor kDrbdCollector = {
    .name = "drbd",
    .help = "Replication of block devices over the network by DRBD 8.",
    .enabled_by_default = false,
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<DrbdCollector>(context);
    },
};

}  // namespace nexus::monitor
