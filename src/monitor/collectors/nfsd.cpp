// nfsd: what this host served as an NFS server, from /proc/net/rpc/nfsd (fs/nfsd/stats.c).
#include <algorithm>
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/rpc_stats.hpp"
#include "nexus/host/kept_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_nfsd_reply_cache_hits_total", MetricType::kCounter,
                     "Total number of NFSd Reply Cache hits (client lost server response)."},
    MetricDescriptor{"node_nfsd_reply_cache_misses_total", MetricType::kCounter,
                     "Total number of NFSd Reply Cache an operation that requires caching "
                     "(idempotent)."},
    MetricDescriptor{"node_nfsd_reply_cache_nocache_total", MetricType::kCounter,
                     "Total number of NFSd Reply Cache non-idempotent operations "
                     "(rename/delete/...)."},
    MetricDescriptor{"node_nfsd_file_handles_stale_total", MetricType::kCounter,
                     "Total number of NFSd stale file handles."},
    MetricDescriptor{"node_nfsd_disk_bytes_read_total", MetricType::kCounter,
                     "Total NFSd bytes read."},
    MetricDescriptor{"node_nfsd_disk_bytes_written_total", MetricType::kCounter,
                     "Total NFSd bytes written."},
    MetricDescriptor{"node_nfsd_server_threads", MetricType::kGauge,
                     "Total number of NFSd kernel threads that are running."},
    MetricDescriptor{"node_nfsd_read_ahead_cache_size_blocks", MetricType::kGauge,
                     "How large the read ahead cache is in blocks."},
    MetricDescriptor{"node_nfsd_read_ahead_cache_not_found_total", MetricType::kCounter,
                     "Total number of NFSd read ahead cache not found."},
    MetricDescriptor{"node_nfsd_packets_total", MetricType::kCounter,
                     "Total NFSd network packets (sent+received) by protocol type."},
    MetricDescriptor{"node_nfsd_connections_total", MetricType::kCounter,
                     "Total number of NFSd TCP connections."},
    MetricDescriptor{"node_nfsd_rpc_errors_total", MetricType::kCounter,
                     "Total number of NFSd RPC errors by error type."},
    MetricDescriptor{"node_nfsd_server_rpcs_total", MetricType::kCounter,
                     "Total number of NFSd RPCs."},
    MetricDescriptor{"node_nfsd_requests_total", MetricType::kCounter,
                     "Total number NFSd Requests by method and protocol."},
};
constexpr std::size_t kRequests = kMetrics.size() - 1;

/// A number of a line, by its place behind the word that begins the line.
struct Place {
  std::string_view line;
  std::size_t column;
  std::size_t metric;
  LabelView label = {};
};
constexpr std::array kPlaces = {
    Place{"rc", 0, 0},
    Place{"rc", 1, 1},
    Place{"rc", 2, 2},
    Place{"fh", 0, 3},
    Place{"io", 0, 4},
    Place{"io", 1, 5},
    Place{"th", 0, 6},
    Place{"ra", 0, 7},
    Place{"ra", 11, 8},
    Place{"net", 1, 9, {"proto", "udp"}},
    Place{"net", 2, 9, {"proto", "tcp"}},
    Place{"net", 3, 10},
    Place{"rpc", 0, 12},
    Place{"rpc", 2, 11, {"error", "fmt"}},
    Place{"rpc", 3, 11, {"error", "auth"}},
    Place{"rpc", 4, 11, {"error", "cInt"}},
};

// The operations of a COMPOUND by their number (RFC 7530); those without a name have no series.
constexpr std::array<std::string_view, 40> kNfs4Operations = {"",
                                                              "",
                                                              "",
                                                              "Access",
                                                              "Close",
                                                              "Commit",
                                                              "Create",
                                                              "DelegPurge",
                                                              "DelegReturn",
                                                              "GetAttr",
                                                              "GetFH",
                                                              "Link",
                                                              "Lock",
                                                              "Lockt",
                                                              "Locku",
                                                              "Lookup",
                                                              "LookupRoot",
                                                              "Nverify",
                                                              "Open",
                                                              "OpenAttr",
                                                              "OpenConfirm",
                                                              "OpenDgrd",
                                                              "PutFH",
                                                              "",
                                                              "",
                                                              "Read",
                                                              "ReadDir",
                                                              "ReadLink",
                                                              "Remove",
                                                              "Rename",
                                                              "Renew",
                                                              "RestoreFH",
                                                              "SaveFH",
                                                              "SecInfo",
                                                              "SetAttr",
                                                              "",
                                                              "",
                                                              "Verify",
                                                              "Write",
                                                              "RelLockOwner"};

/// The methods without the first, which does nothing.
template <std::size_t N>
constexpr auto without_null(std::array<std::string_view, N> methods) {
  methods[0] = {};
  return methods;
}
constexpr auto kMethods2 = without_null(kNfs2Methods);
constexpr auto kMethods3 = without_null(kNfs3Methods);

class NfsdCollector final : public Collector {
 public:
  explicit NfsdCollector(const CollectorContext& context)
      : path_(context.roots.proc("net/rpc/nfsd")),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    auto text = buffer_.read(path_);
    if (!text) return propagate(std::move(text));
    if (text->empty()) complaints_.add(path_, "empty, expected RPC statistics");
    Lines lines(*text);
    for (std::string_view line; lines.next(line);) add(sink, lines.number(), line);
    return complaints_.take();
  }

 private:
  void add(Sink& sink, std::size_t number, std::string_view line) {
    std::string_view rest = line;
    const std::string_view key = next_word(rest);
    if (key == "proc2" || key == "proc3" || key == "proc4ops") {
      (void)next_word(rest);  // how many there are
      const auto methods = key == "proc2"   ? std::span<const std::string_view>(kMethods2)
                           : key == "proc3" ? std::span<const std::string_view>(kMethods3)
                                            : std::span<const std::string_view>(kNfs4Operations);
      return add_rpc_methods(sink, families_[kRequests], key.substr(4, 1), methods, rest, path_,
                             number, complaints_);
    }
    if (key == "wdeleg_getattr") {
      constexpr std::array<std::string_view, 1> kMethod = {"WdelegGetattr"};
      return add_rpc_methods(sink, families_[kRequests], "4", kMethod, rest, path_, number,
                             complaints_);
    }
    std::size_t column = 0;
    for (auto word = next_word(rest); !word.empty(); word = next_word(rest), ++column) {
      const auto place = std::ranges::find_if(
          kPlaces, [&](const Place& one) { return one.line == key && one.column == column; });
      if (place == kPlaces.end()) continue;
      const auto value = base::parse_uint(word);
      if (!value) {
        complaints_.add(path_, number, "numbers", word);
        continue;
      }
      const std::size_t labels = place->label.name.empty() ? 0 : 1;
      sink.add(families_[place->metric], std::span(&place->label, labels),
               static_cast<double>(*value));
    }
  }

  const std::string path_;
  const std::array<FamilyId, kMetrics.size()> families_;
  host::KeptFiles buffer_;
  Complaints complaints_;
};

}  // namespace

const CollectorDescriptor kNfsdCollector = {
    .name = "nfsd",
    .help = "What this host served as an NFS server.",
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<NfsdCollector>(context);
    },
};

}  // namespace nexus::monitor
