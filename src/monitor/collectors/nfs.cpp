// nfs: what this host asked of NFS servers, from /proc/net/rpc/nfs.
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/rpc_stats.hpp"
#include "nexus/host/kept_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_nfs_packets_total", MetricType::kCounter,
                     "Total NFSd network packets (sent+received) by protocol type."},
    MetricDescriptor{"node_nfs_connections_total", MetricType::kCounter,
                     "Total number of NFSd TCP connections."},
    MetricDescriptor{"node_nfs_rpcs_total", MetricType::kCounter,
                     "Total number of RPCs performed."},
    MetricDescriptor{"node_nfs_rpc_retransmissions_total", MetricType::kCounter,
                     "Number of RPC transmissions performed."},
    MetricDescriptor{"node_nfs_rpc_authentication_refreshes_total", MetricType::kCounter,
                     "Number of RPC authentication refreshes performed."},
    MetricDescriptor{"node_nfs_requests_total", MetricType::kCounter,
                     "Number of NFS procedures invoked."},
};
enum Metric { kPackets, kConnections, kRpcs, kRetransmissions, kRefreshes, kRequests };

// include/linux/nfs4.h, NFSPROC4_CLNT_*
constexpr std::array<std::string_view, 59> kNfs4Methods = {"Null",
                                                           "Read",
                                                           "Write",
                                                           "Commit",
                                                           "Open",
                                                           "OpenConfirm",
                                                           "OpenNoattr",
                                                           "OpenDowngrade",
                                                           "Close",
                                                           "Setattr",
                                                           "FsInfo",
                                                           "Renew",
                                                           "SetClientID",
                                                           "SetClientIDConfirm",
                                                           "Lock",
                                                           "Lockt",
                                                           "Locku",
                                                           "Access",
                                                           "Getattr",
                                                           "Lookup",
                                                           "LookupRoot",
                                                           "Remove",
                                                           "Rename",
                                                           "Link",
                                                           "Symlink",
                                                           "Create",
                                                           "Pathconf",
                                                           "StatFs",
                                                           "ReadLink",
                                                           "ReadDir",
                                                           "ServerCaps",
                                                           "DelegReturn",
                                                           "GetACL",
                                                           "SetACL",
                                                           "FsLocations",
                                                           "ReleaseLockowner",
                                                           "Secinfo",
                                                           "FsidPresent",
                                                           "ExchangeID",
                                                           "CreateSession",
                                                           "DestroySession",
                                                           "Sequence",
                                                           "GetLeaseTime",
                                                           "ReclaimComplete",
                                                           "LayoutGet",
                                                           "GetDeviceInfo",
                                                           "LayoutCommit",
                                                           "LayoutReturn",
                                                           "SecinfoNoName",
                                                           "TestStateID",
                                                           "FreeStateID",
                                                           "GetDeviceList",
                                                           "BindConnToSession",
                                                           "DestroyClientID",
                                                           "Seek",
                                                           "Allocate",
                                                           "DeAllocate",
                                                           "LayoutStats",
                                                           "Clone"};

class NfsCollector final : public Collector {
 public:
  explicit NfsCollector(const CollectorContext& context)
      : path_(context.roots.proc("net/rpc/nfs")),
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
    if (key == "net") {
      (void)next_word(rest);  // the sum
      add_number(sink, number, kPackets, {{"protocol", "udp"}}, rest);
      add_number(sink, number, kPackets, {{"protocol", "tcp"}}, rest);
      add_number(sink, number, kConnections, {}, rest);
    } else if (key == "rpc") {
      add_number(sink, number, kRpcs, {}, rest);
      add_number(sink, number, kRetransmissions, {}, rest);
      add_number(sink, number, kRefreshes, {}, rest);
    } else if (key == "proc2" || key == "proc3" || key == "proc4") {
      (void)next_word(rest);  // how many there are
      const std::string_view proto = key.substr(4);
      const auto methods = proto == "2"   ? std::span<const std::string_view>(kNfs2Methods)
                           : proto == "3" ? std::span<const std::string_view>(kNfs3Methods)
                                          : std::span<const std::string_view>(kNfs4Methods);
      add_rpc_methods(sink, families_[kRequests], proto, methods, rest, path_, number, complaints_);
    } else {
      complaints_.add(path_, number, "net, rpc or proc2 to proc4", key);
    }
  }

  void add_number(Sink& sink, std::size_t number, Metric metric,
                  std::initializer_list<LabelView> labels, std::string_view& rest) {
    const std::string_view word = next_word(rest);
    if (const auto value = base::parse_uint(word)) {
      sink.add(families_[metric], labels, static_cast<double>(*value));
    } else {
      complaints_.add(path_, number, "a number", word);
    }
  }

  const std::string path_;
  const std::array<FamilyId, kMetrics.size()> families_;
  host::KeptFiles buffer_;
  Complaints complaints_;
};

}  // namespace

const CollectorDescriptor kNfsCollector = {
    .name = "nfs",
    .help = "What this host asked of NFS servers.",
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<NfsCollector>(context);
    },
};

}  // namespace nexus::monitor
