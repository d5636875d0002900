// btrfs: allocation, commits and devices of every mounted btrfs, from /sys/fs/btrfs; sizes and
// errors of its devices by ioctl(2) on the mount point where the host is the running one.
#include "monitor/btrfs_devices.hpp"

#include <array>

#include "monitor/collectors.hpp"
#include "monitor/families.hpp"
#include "monitor/small_files.hpp"
#include "nexus/host/file.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kMetrics = {
    MetricDescriptor{"node_btrfs_info", MetricType::kGauge, "Filesystem information."},
    MetricDescriptor{"node_btrfs_global_rsv_size_bytes", MetricType::kGauge,
                     "Size of global reserve."},
    MetricDescriptor{"node_btrfs_commits_total", MetricType::kCounter,
                     "The total number of commits that have occurred."},
    MetricDescriptor{"node_btrfs_last_commit_seconds", MetricType::kGauge,
                     "Duration of the most recent commit, in seconds."},
    MetricDescriptor{"node_btrfs_max_commit_seconds", MetricType::kGauge,
                     "Duration of the slowest commit, in seconds."},
    MetricDescriptor{"node_btrfs_commit_seconds_total", MetricType::kCounter,
                     "Sum of the duration of all commits, in seconds."},
    MetricDescriptor{"node_btrfs_reserved_bytes", MetricType::kGauge,
                     "Amount of space reserved for a data type."},
    MetricDescriptor{"node_btrfs_used_bytes", MetricType::kGauge,
                     "Amount of used space by a layout/data type."},
    MetricDescriptor{"node_btrfs_size_bytes", MetricType::kGauge,
                     "Amount of space allocated for a layout/data type."},
    MetricDescriptor{"node_btrfs_allocation_ratio", MetricType::kGauge,
                     "Data allocation ratio for a layout/data type."},
    MetricDescriptor{"node_btrfs_device_size_bytes", MetricType::kGauge,
                     "Size of a device that is part of the filesystem."},
    MetricDescriptor{"node_btrfs_device_unused_bytes", MetricType::kGauge,
                     "Unused bytes on a device that is part of the filesystem."},
    MetricDescriptor{"node_btrfs_device_errors_total", MetricType::kCounter,
                     "Errors reported for the device."},
};
enum Metric {
  kInfo,
  kReserve,
  kCommits,
  kLastCommit,
  kMaxCommit,
  kCommitTime,
  kReserved,
  kUsed,
  kSize,
  kRatio,
  kDeviceSize,
  kDeviceUnused,
  kDeviceErrors
};

struct CommitLine {
  std::string_view key;
  Metric metric;
  double divisor;
};
constexpr std::array kCommitLines = {
    CommitLine{"commits", kCommits, 1},
    CommitLine{"last_commit_ms", kLastCommit, 1000},
    CommitLine{"max_commit_ms", kMaxCommit, 1000},
    CommitLine{"total_commit_ms", kCommitTime, 1000},
};

/// How many bytes of disk a byte of data takes; 0 for no profile of btrfs.
double allocation_ratio(std::string_view profile, double devices) {
  if (profile == "single" || profile == "raid0") return 1;
  if (profile == "dup" || profile == "raid1" || profile == "raid10") return 2;
  if (profile == "raid1c3") return 3;
  if (profile == "raid1c4") return 4;
  if (profile == "raid5") return devices > 1 ? devices / (devices - 1) : 0;
  if (profile == "raid6") return devices > 2 ? devices / (devices - 2) : 0;
  return 0;
}

constexpr std::size_t kUuidSize = 36;

class BtrfsCollector final : public Collector {
 public:
  explicit BtrfsCollector(const CollectorContext& context)
      : path_(context.roots.sys("fs/btrfs")),
        devices_(context.roots),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    const auto root = SmallDir::open(path_);
    if (!root || !names_.read(*root)) return fail(Errc::kNotFound, "{}: not there", path_);
    bool any = false;
    bool listed = false;
    for (const char* name : names_.names()) {
      const auto filesystem =
          std::string_view(name).size() == kUuidSize ? root->child(name) : std::nullopt;
      if (!filesystem) continue;  // "features"
      if (!std::exchange(listed, true)) devices_.refresh();
      any = true;
      add(sink, *filesystem, name);
    }
    if (!any) return fail(Errc::kNotFound, "{}: no filesystem", path_);
    return complaints_.take();
  }

 private:
  void add(Sink& sink, const SmallDir& filesystem, std::string_view uuid) {
    const LabelView label{"uuid", uuid};
    const auto labels = std::span(&label, 1);
    const auto text = files_.text(filesystem, "label");
    sink.add(families_[kInfo], {{"uuid", uuid}, {"label", text.value_or(std::string_view())}}, 1);
    add_commits(sink, filesystem, labels);
    double devices = 0;
    const auto directory = filesystem.child("devices");
    if (directory && members_.read(*directory))
      devices = static_cast<double>(members_.names().size());
    const auto allocation = filesystem.child("allocation");
    if (allocation) {
      if (const auto reserve = files_.number(*allocation, "global_rsv_size"))
        sink.add(families_[kReserve], labels, *reserve);
      for (const char* kind : {"data", "metadata", "system", "mixed"}) {
        const auto group = allocation->child(kind);
        if (group) add_group(sink, *group, uuid, kind, devices);
      }
    }
    if (!add_devices(sink, uuid) && directory) add_sizes(sink, *directory, uuid);
  }

  void add_commits(Sink& sink, const SmallDir& filesystem, std::span<const LabelView> labels) {
    const auto text = files_.text(filesystem, "commit_stats");  // since Linux 6.0
    if (!text) return;
    Lines lines(*text);
    for (std::string_view line; lines.next(line);) {
      std::string_view rest = line;
      const std::string_view key = next_word(rest);
      for (const CommitLine& one : kCommitLines) {
        if (key != one.key) continue;
        const std::string_view word = next_word(rest);
        if (const auto value = parse_number(word)) {
          sink.add(families_[one.metric], labels, *value / one.divisor);
        } else {
          complaints_.add(filesystem.path() + "/commit_stats", lines.number(), "a number", word);
        }
      }
    }
  }

  void add_group(Sink& sink, const SmallDir& group, std::string_view uuid, std::string_view kind,
                 double devices) {
    if (const auto reserved = files_.number(group, "bytes_reserved"))
      sink.add(families_[kReserved], {{"uuid", uuid}, {"block_group_type", kind}}, *reserved);
    if (!layouts_.read(group)) return;
    for (const char* name : layouts_.names()) {
      const double ratio = allocation_ratio(name, devices);
      const auto layout = ratio > 0 ? group.child(name) : std::nullopt;
      if (!layout) continue;
      const std::array<LabelView, 3> labels = {
          {{"uuid", uuid}, {"block_group_type", kind}, {"mode", name}}};
      if (const auto used = files_.number(*layout, "used_bytes"))
        sink.add(families_[kUsed], labels, *used);
      if (const auto size = files_.number(*layout, "total_bytes"))
        sink.add(families_[kSize], labels, *size);
      sink.add(families_[kRatio], labels, ratio);
    }
  }

  /// False when the kernel was not asked, or did not answer.
  bool add_devices(Sink& sink, std::string_view uuid) const {
    const std::vector<BtrfsDevice>* devices = devices_.find(uuid);
    if (devices == nullptr) return false;
    for (const BtrfsDevice& device : *devices) {
      const std::array<LabelView, 3> labels = {
          {{"uuid", uuid}, {"device", device.name}, {"btrfs_dev_uuid", device.uuid}}};
      sink.add(families_[kDeviceSize], labels, device.total_bytes);
      sink.add(families_[kDeviceUnused], labels, device.total_bytes - device.used_bytes);
      for (std::size_t i = 0; i < kBtrfsErrors.size(); ++i) {
        sink.add(families_[kDeviceErrors],
                 {{"uuid", uuid},
                  {"device", device.name},
                  {"btrfs_dev_uuid", device.uuid},
                  {"type", kBtrfsErrors[i]}},
                 device.errors[i]);
      }
    }
    return true;
  }

  void add_sizes(Sink& sink, const SmallDir& directory, std::string_view uuid) {
    constexpr double kSector = 512;
    for (const char* name : members_.names()) {
      const auto device = directory.child(name);
      const auto sectors = device ? files_.number(*device, "size") : std::nullopt;
      if (sectors)
        sink.add(families_[kDeviceSize], {{"uuid", uuid}, {"device", name}}, *sectors * kSector);
    }
  }

  const std::string path_;
  BtrfsDevices devices_;
  const std::array<FamilyId, kMetrics.size()> families_;
  NameList names_;
  NameList members_;
  NameList layouts_;
  Complaints complaints_;
  SmallFiles files_{complaints_};
};

}  // namespace

const CollectorDescriptor kBtrfsCollector = {
    .name = "btrfs",
    .help = "Allocation, commits and devices of btrfs.",
    .default_interval = Millis(10'000),
    .metrics = kMetrics,
    .make = make_plain<BtrfsCollector>,
};

}  // namespace nexus::monitor
