// mountstats: NFS mounts, from /proc/1/mountstats, or this process's own where that may not be read
// (Documentation: nfsstat(8), net/sunrpc/stats.c).
//
// As node_exporter: mounts of the same export, protocol and server are one; for its events, bytes,
// transports and operations the first one's counters are taken.
#include <algorithm>
#include <array>
#include <set>
#include <tuple>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/parse.hpp"
#include "nexus/host/file.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_mountstats_nfs_age_seconds_total", MetricType::kCounter,
                     "The age of the NFS mount in seconds."},
    MetricDescriptor{"node_mountstats_nfs_mountpoint_info", MetricType::kGauge,
                     "Info metric for an NFS mountpoint."},
    MetricDescriptor{"node_mountstats_nfs_read_bytes_total", MetricType::kCounter,
                     "Number of bytes read using the read() syscall."},
    MetricDescriptor{"node_mountstats_nfs_write_bytes_total", MetricType::kCounter,
                     "Number of bytes written using the write() syscall."},
    MetricDescriptor{"node_mountstats_nfs_direct_read_bytes_total", MetricType::kCounter,
                     "Number of bytes read using the read() syscall in O_DIRECT mode."},
    MetricDescriptor{"node_mountstats_nfs_direct_write_bytes_total", MetricType::kCounter,
                     "Number of bytes written using the write() syscall in O_DIRECT mode."},
    MetricDescriptor{"node_mountstats_nfs_total_read_bytes_total", MetricType::kCounter,
                     "Number of bytes read from the NFS server, in total."},
    MetricDescriptor{"node_mountstats_nfs_total_write_bytes_total", MetricType::kCounter,
                     "Number of bytes written to the NFS server, in total."},
    MetricDescriptor{"node_mountstats_nfs_read_pages_total", MetricType::kCounter,
                     "Number of pages read directly via mmap()'d files."},
    MetricDescriptor{"node_mountstats_nfs_write_pages_total", MetricType::kCounter,
                     "Number of pages written directly via mmap()'d files."},
    MetricDescriptor{"node_mountstats_nfs_event_inode_revalidate_total", MetricType::kCounter,
                     "Number of times cached inode attributes are re-validated from the server."},
    MetricDescriptor{"node_mountstats_nfs_event_dnode_revalidate_total", MetricType::kCounter,
                     "Number of times cached dentry nodes are re-validated from the server."},
    MetricDescriptor{"node_mountstats_nfs_event_data_invalidate_total", MetricType::kCounter,
                     "Number of times an inode cache is cleared."},
    MetricDescriptor{"node_mountstats_nfs_event_attribute_invalidate_total", MetricType::kCounter,
                     "Number of times cached inode attributes are invalidated."},
    MetricDescriptor{"node_mountstats_nfs_event_vfs_open_total", MetricType::kCounter,
                     "Number of times cached inode attributes are invalidated."},
    MetricDescriptor{"node_mountstats_nfs_event_vfs_lookup_total", MetricType::kCounter,
                     "Number of times a directory lookup has occurred."},
    MetricDescriptor{"node_mountstats_nfs_event_vfs_access_total", MetricType::kCounter,
                     "Number of times permissions have been checked."},
    MetricDescriptor{"node_mountstats_nfs_event_vfs_update_page_total", MetricType::kCounter,
                     "Number of updates (and potential writes) to pages."},
    MetricDescriptor{"node_mountstats_nfs_event_vfs_read_page_total", MetricType::kCounter,
                     "Number of pages read directly via mmap()'d files."},
    MetricDescriptor{"node_mountstats_nfs_event_vfs_read_pages_total", MetricType::kCounter,
                     "Number of times a group of pages have been read."},
    MetricDescriptor{"node_mountstats_nfs_event_vfs_write_page_total", MetricType::kCounter,
                     "Number of pages written directly via mmap()'d files."},
    MetricDescriptor{"node_mountstats_nfs_event_vfs_write_pages_total", MetricType::kCounter,
                     "Number of times a group of pages have been written."},
    MetricDescriptor{"node_mountstats_nfs_event_vfs_getdents_total", MetricType::kCounter,
                     "Number of times directory entries have been read with getdents()."},
    MetricDescriptor{"node_mountstats_nfs_event_vfs_setattr_total", MetricType::kCounter,
                     "Number of times directory entries have been read with getdents()."},
    MetricDescriptor{"node_mountstats_nfs_event_vfs_flush_total", MetricType::kCounter,
                     "Number of pending writes that have been forcefully flushed to the server."},
    MetricDescriptor{"node_mountstats_nfs_event_vfs_fsync_total", MetricType::kCounter,
                     "Number of times fsync() has been called on directories and files."},
    MetricDescriptor{"node_mountstats_nfs_event_vfs_lock_total", MetricType::kCounter,
                     "Number of times locking has been attempted on a file."},
    MetricDescriptor{"node_mountstats_nfs_event_vfs_file_release_total", MetricType::kCounter,
                     "Number of times files have been closed and released."},
    MetricDescriptor{"node_mountstats_nfs_event_truncation_total", MetricType::kCounter,
                     "Number of times files have been truncated."},
    MetricDescriptor{
        "node_mountstats_nfs_event_write_extension_total", MetricType::kCounter,
        "Number of times a file has been grown due to writes beyond its existing end."},
    MetricDescriptor{"node_mountstats_nfs_event_silly_rename_total", MetricType::kCounter,
                     "Number of times a file was removed while still open by another process."},
    MetricDescriptor{"node_mountstats_nfs_event_short_read_total", MetricType::kCounter,
                     "Number of times the NFS server gave less data than expected while reading."},
    MetricDescriptor{"node_mountstats_nfs_event_short_write_total", MetricType::kCounter,
                     "Number of times the NFS server wrote less data than expected while writing."},
    MetricDescriptor{
        "node_mountstats_nfs_event_jukebox_delay_total", MetricType::kCounter,
        "Number of times the NFS server indicated EJUKEBOX; retrieving data from offline storage."},
    MetricDescriptor{"node_mountstats_nfs_event_pnfs_read_total", MetricType::kCounter,
                     "Number of NFS v4.1+ pNFS reads."},
    MetricDescriptor{"node_mountstats_nfs_event_pnfs_write_total", MetricType::kCounter,
                     "Number of NFS v4.1+ pNFS writes."},
    MetricDescriptor{"node_mountstats_nfs_transport_bind_total", MetricType::kCounter,
                     "Number of times the client has had to establish a connection from scratch to "
                     "the NFS server."},
    MetricDescriptor{"node_mountstats_nfs_transport_connect_total", MetricType::kCounter,
                     "Number of times the client has made a TCP connection to the NFS server."},
    MetricDescriptor{"node_mountstats_nfs_transport_idle_time_seconds", MetricType::kGauge,
                     "Duration since the NFS mount last saw any RPC traffic, in seconds."},
    MetricDescriptor{"node_mountstats_nfs_transport_sends_total", MetricType::kCounter,
                     "Number of RPC requests for this mount sent to the NFS server."},
    MetricDescriptor{"node_mountstats_nfs_transport_receives_total", MetricType::kCounter,
                     "Number of RPC responses for this mount received from the NFS server."},
    MetricDescriptor{"node_mountstats_nfs_transport_bad_transaction_ids_total",
                     MetricType::kCounter,
                     "Number of times the NFS server sent a response with a transaction ID unknown "
                     "to this client."},
    MetricDescriptor{"node_mountstats_nfs_transport_backlog_queue_total", MetricType::kCounter,
                     "Total number of items added to the RPC backlog queue."},
    MetricDescriptor{"node_mountstats_nfs_transport_maximum_rpc_slots", MetricType::kGauge,
                     "Maximum number of simultaneously active RPC requests ever used."},
    MetricDescriptor{"node_mountstats_nfs_transport_sending_queue_total", MetricType::kCounter,
                     "Total number of items added to the RPC transmission sending queue."},
    MetricDescriptor{"node_mountstats_nfs_transport_pending_queue_total", MetricType::kCounter,
                     "Total number of items added to the RPC transmission pending queue."},
    MetricDescriptor{"node_mountstats_nfs_operations_requests_total", MetricType::kCounter,
                     "Number of requests performed for a given operation."},
    MetricDescriptor{
        "node_mountstats_nfs_operations_transmissions_total", MetricType::kCounter,
        "Number of times an actual RPC request has been transmitted for a given operation."},
    MetricDescriptor{"node_mountstats_nfs_operations_major_timeouts_total", MetricType::kCounter,
                     "Number of times a request has had a major timeout for a given operation."},
    MetricDescriptor{
        "node_mountstats_nfs_operations_sent_bytes_total", MetricType::kCounter,
        "Number of bytes sent for a given operation, including RPC headers and payload."},
    MetricDescriptor{
        "node_mountstats_nfs_operations_received_bytes_total", MetricType::kCounter,
        "Number of bytes received for a given operation, including RPC headers and payload."},
    MetricDescriptor{"node_mountstats_nfs_operations_queue_time_seconds_total",
                     MetricType::kCounter,
                     "Duration all requests spent queued for transmission for a given operation "
                     "before they were sent, in seconds."},
    MetricDescriptor{"node_mountstats_nfs_operations_response_time_seconds_total",
                     MetricType::kCounter,
                     "Duration all requests took to get a reply back after a request for a given "
                     "operation was transmitted, in seconds."},
    MetricDescriptor{"node_mountstats_nfs_operations_request_time_seconds_total",
                     MetricType::kCounter,
                     "Duration all requests took from when a request was enqueued to when it was "
                     "completely handled for a given operation, in seconds."},
    MetricDescriptor{"node_mountstats_nfs_operations_errors_total", MetricType::kCounter,
                     "Number of errors for a given operation"},
};

// Places in kMetrics.
constexpr std::size_t kAge = 0;
constexpr std::size_t kInfo = 1;
constexpr std::size_t kBytes = 2;
constexpr std::size_t kByteFields = 8;
constexpr std::size_t kEvents = kBytes + kByteFields;
constexpr std::size_t kEventFields = 27;
constexpr std::size_t kCongestionWait = 18;  // an event of old kernels that has no metric
constexpr std::size_t kTransport = kEvents + kEventFields - 1;
constexpr std::size_t kTransportFields = 10;
constexpr std::size_t kOperations = kTransport + kTransportFields;
constexpr std::size_t kOperationFields = 9;
static_assert(kOperations + kOperationFields == kMetrics.size());

constexpr std::size_t kMaxMounts = 4096;
constexpr std::size_t kMaxTransports = 64;

// Which number of a transport's line a metric is, after the port; nothing where it has none.
constexpr std::array<int, kTransportFields> kTcp = {0, 1, 3, 4, 5, 6, 8, 9, 10, 11};
constexpr std::array<int, kTransportFields> kUdp = {0, -1, -1, 1, 2, 3, 5, 6, 7, 8};

/// The value of `key` in "rw,vers=4.0,proto=tcp".
std::string_view option(std::string_view options, std::string_view key) {
  while (!options.empty()) {
    std::string_view one = base::take_until(options, ',');
    if (base::take_until(one, '=') == key) return one;
  }
  return {};
}

class MountstatsCollector final : public Collector {
 public:
  explicit MountstatsCollector(const CollectorContext& context)
      : paths_{context.roots.proc("1/mountstats"), context.roots.proc("self/mountstats")},
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    const std::string* path = &paths_[0];
    auto text = buffer_.read(*path);
    if (!text) {
      path = &paths_[1];
      text = buffer_.read(*path);
    }
    if (!text) return std::unexpected(text.error());
    seen_.clear();
    info_seen_.clear();
    mounts_ = 0;
    in_mount_ = false;
    Lines lines(*text);
    for (std::string_view line; lines.next(line);) add(sink, *path, lines.number(), line);
    if (mounts_ == 0) return fail(Errc::kNotFound, "no NFS mount");
    return complaints_.take();
  }

 private:
  void add(Sink& sink, const std::string& path, std::size_t number, std::string_view line) {
    std::string_view rest = line;
    const std::string_view word = next_word(rest);
    if (word == "device") return begin(rest);
    if (!in_mount_) return;
    if (word == "opts:") return take_options(sink, base::trim(rest));
    if (!counts_) return;
    bool good = true;
    if (word == "age:") {
      good = read_numbers(rest) && !numbers_.empty();
      if (good) sink.add(families_[kAge], labels(), numbers_[0]);
    } else if (word == "bytes:") {
      good = read_numbers(rest) && numbers_.size() >= kByteFields;
      for (std::size_t i = 0; good && i < kByteFields; ++i)
        sink.add(families_[kBytes + i], labels(), numbers_[i]);
    } else if (word == "events:") {
      good = read_numbers(rest) && numbers_.size() >= kEventFields;
      if (good) add_events(sink);
    } else if (word == "xprt:") {
      good = add_transport(sink, rest);
    } else if (word == "per-op") {
      operations_ = true;
    } else if (operations_ && word.ends_with(':')) {
      good = add_operation(sink, word.substr(0, word.size() - 1), rest);
    }
    if (!good) complaints_.add(path, number, "numbers of an NFS mount", line);
  }

  /// 192.168.1.1:/srv mounted on /mnt with fstype nfs4 statvers=1.1
  void begin(std::string_view rest) {
    in_mount_ = counts_ = operations_ = false;
    transports_ = 0;
    device_ = base::sanitize_utf8(next_word(rest));
    const std::size_t on = rest.find(" on ");
    const std::size_t type = rest.find(" with fstype ");
    if (on == std::string_view::npos || type == std::string_view::npos || type < on + 4) return;
    point_ = base::sanitize_utf8(rest.substr(on + 4, type - on - 4));
    rest = rest.substr(type + 13);
    const std::string_view kind = next_word(rest);
    in_mount_ =
        (kind == "nfs" || kind == "nfs4") && rest.find("statvers=") != std::string_view::npos;
  }

  void take_options(Sink& sink, std::string_view options) {
    protocol_ = base::sanitize_utf8(option(options, "proto"));
    server_ = base::sanitize_utf8(option(options, "mountaddr"));
    if (++mounts_ > kMaxMounts) return;
    if (info_seen_.emplace(device_, protocol_, server_ + " " + point_).second) {
      sink.add(families_[kInfo],
               {{"export", device_},
                {"mountaddr", server_},
                {"mountpoint", point_},
                {"protocol", protocol_}},
               1);
    }
    counts_ = seen_.emplace(device_, protocol_, server_).second;
  }

  bool read_numbers(std::string_view rest) {
    numbers_.clear();
    for (std::string_view word = next_word(rest); !word.empty(); word = next_word(rest)) {
      const auto value = base::parse_uint(word);
      if (!value || numbers_.size() >= 64) return false;
      numbers_.push_back(static_cast<double>(*value));
    }
    return true;
  }

  void add_events(Sink& sink) {
    std::size_t place = kEvents;
    for (std::size_t i = 0; i < kEventFields; ++i) {
      if (i != kCongestionWait) sink.add(families_[place++], labels(), numbers_[i]);
    }
  }

  bool add_transport(Sink& sink, std::string_view rest) {
    const std::string_view kind = next_word(rest);
    if (!read_numbers(rest) || numbers_.empty()) return false;
    if (kind != "tcp" && kind != "udp") return true;  // rdma has other columns
    if (transports_ >= kMaxTransports) return true;
    const std::string index = std::to_string(transports_++);
    const auto& places = kind == "tcp" ? kTcp : kUdp;
    const std::array<LabelView, 4> all = {labels()[0], labels()[1], labels()[2],
                                          LabelView{"transport", index}};
    for (std::size_t i = 0; i < kTransportFields; ++i) {
      // The port stands first; columns that an older kernel does not give are 0.
      const auto at = static_cast<std::size_t>(places[i] + 1);
      const double value = places[i] < 0 || at >= numbers_.size() ? 0 : numbers_[at];
      sink.add(families_[kTransport + i], all, value);
    }
    return true;
  }

  bool add_operation(Sink& sink, std::string_view name, std::string_view rest) {
    if (!read_numbers(rest) || numbers_.size() < kOperationFields - 1) return false;
    const std::string operation = base::sanitize_utf8(name);
    const std::array<LabelView, 4> all = {labels()[0], labels()[1],
                                          LabelView{"operation", operation}, labels()[2]};
    for (std::size_t i = 0; i < kOperationFields; ++i) {
      const double value = i < numbers_.size() ? numbers_[i] : 0;  // errors came with Linux 5.3
      const bool is_time = i >= 5 && i <= 7;
      sink.add(families_[kOperations + i], all, is_time ? value / 1000 : value);
    }
    return true;
  }

  [[nodiscard]] std::array<LabelView, 3> labels() const {
    return {LabelView{"export", device_}, LabelView{"mountaddr", server_},
            LabelView{"protocol", protocol_}};
  }

  using Mount = std::tuple<std::string, std::string, std::string>;

  const std::array<std::string, 2> paths_;
  const std::array<FamilyId, kMetrics.size()> families_;
  host::FileBuffer buffer_;
  std::set<Mount> seen_;
  std::set<Mount> info_seen_;
  std::vector<double> numbers_;
  std::string device_;
  std::string point_;
  std::string protocol_;
  std::string server_;
  bool in_mount_ = false;
  bool counts_ = false;      // the first of its export, protocol and server
  bool operations_ = false;  // after "per-op statistics"
  std::size_t transports_ = 0;
  std::size_t mounts_ = 0;
  Complaints complaints_;
};

}  // namespace

const CollectorDescriptor kMountstatsCollector = {
    .name = "mountstats",
    .help = "NFS mounts: bytes, events, transports and operations.",
    .enabled_by_default = false,
    .metrics = kMetrics,
    .make = [](const CollectorContext& context) -> Result<std::unique_ptr<Collector>> {
      return std::make_unique<MountstatsCollector>(context);
    },
};

}  // namespace nexus::monitor
