// diskstats: what every block device did, from /proc/diskstats
// (Documentation/admin-guide/iostats.rst).
//
// A line has 11 numbers, 15 since Linux 4.18 (discards), 17 since 5.5 (flushes); what a kernel does
// not give is not added. What a device is comes from sysfs and from udev's database, where there is
// one; it is read when the device appears and once a minute, not in every run.
#include <array>

#include "monitor/collectors.hpp"
#include "monitor/device_filter.hpp"
#include "monitor/disk_identity.hpp"
#include "monitor/families.hpp"
#include "monitor/named_lines.hpp"
#include "nexus/host/kept_files.hpp"

namespace nexus::monitor {
namespace {

constexpr std::array kOptions = {
    OptionDescriptor{"device_include", OptionType::kRegex, "''",
                     "Devices that are taken; all when empty. Not together with device_exclude."},
    OptionDescriptor{"device_exclude", OptionType::kRegex,
                     R"('^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$')",
                     "Devices that are left out: memory disks, loops, floppies and partitions."},
};

// In the order of the numbers of a line, then what sysfs tells.
constexpr std::array kMetrics = {
    MetricDescriptor{"node_disk_reads_completed_total", MetricType::kCounter,
                     "The total number of reads completed successfully."},
    MetricDescriptor{"node_disk_reads_merged_total", MetricType::kCounter,
                     "The total number of reads merged."},
    MetricDescriptor{"node_disk_read_bytes_total", MetricType::kCounter,
                     "The total number of bytes read successfully."},
    MetricDescriptor{"node_disk_read_time_seconds_total", MetricType::kCounter,
                     "The total number of seconds spent by all reads."},
    MetricDescriptor{"node_disk_writes_completed_total", MetricType::kCounter,
                     "The total number of writes completed successfully."},
    MetricDescriptor{"node_disk_writes_merged_total", MetricType::kCounter,
                     "The number of writes merged."},
    MetricDescriptor{"node_disk_written_bytes_total", MetricType::kCounter,
                     "The total number of bytes written successfully."},
    MetricDescriptor{"node_disk_write_time_seconds_total", MetricType::kCounter,
                     "This is the total number of seconds spent by all writes."},
    MetricDescriptor{"node_disk_io_now", MetricType::kGauge,
                     "The number of I/Os currently in progress."},
    MetricDescriptor{"node_disk_io_time_seconds_total", MetricType::kCounter,
                     "Total seconds spent doing I/Os."},
    MetricDescriptor{"node_disk_io_time_weighted_seconds_total", MetricType::kCounter,
                     "The weighted # of seconds spent doing I/Os."},
    MetricDescriptor{"node_disk_discards_completed_total", MetricType::kCounter,
                     "The total number of discards completed successfully."},
    MetricDescriptor{"node_disk_discards_merged_total", MetricType::kCounter,
                     "The total number of discards merged."},
    MetricDescriptor{"node_disk_discarded_sectors_total", MetricType::kCounter,
                     "The total number of sectors discarded successfully."},
    MetricDescriptor{"node_disk_discard_time_seconds_total", MetricType::kCounter,
                     "This is the total number of seconds spent by all discards."},
    MetricDescriptor{"node_disk_flush_requests_total", MetricType::kCounter,
                     "The total number of flush requests completed successfully"},
    MetricDescriptor{"node_disk_flush_requests_time_seconds_total", MetricType::kCounter,
                     "This is the total number of seconds spent by all flush requests."},
    MetricDescriptor{"node_disk_info", MetricType::kGauge, "Info of /sys/block/<block_device>."},
    MetricDescriptor{"node_disk_device_mapper_info", MetricType::kGauge,
                     "Info about disk device mapper."},
    MetricDescriptor{"node_disk_filesystem_info", MetricType::kGauge,
                     "Info about disk filesystem."},
    MetricDescriptor{"node_disk_ata_write_cache", MetricType::kGauge,
                     "ATA disk has a write cache."},
    MetricDescriptor{"node_disk_ata_write_cache_enabled", MetricType::kGauge,
                     "ATA disk has its write cache enabled."},
    MetricDescriptor{"node_disk_ata_rotation_rate_rpm", MetricType::kGauge,
                     "ATA disk rotation rate in RPMs (0 for SSDs)."},
};
constexpr std::size_t kColumns = kMetrics.size() - 6;
constexpr std::size_t kLeastColumns = 11;
constexpr std::size_t kInfo = kColumns;
constexpr std::size_t kDeviceMapperInfo = kColumns + 1;
constexpr std::size_t kFilesystemInfo = kColumns + 2;
constexpr std::size_t kAta = kColumns + 3;

constexpr double kSector = 512;       // bytes, whatever the device's own sectors are
constexpr double kTick = 1.0 / 1000;  // seconds; the kernel counts milliseconds
constexpr std::array<double, kColumns> kFactors = {
    1, 1, kSector, kTick, 1, 1, kSector, kTick, 1, kTick, kTick, 1, 1, 1, kTick, 1, kTick};

constexpr std::size_t kMaxDevices = 65'536;
// What a device is changes when somebody makes a filesystem on it, or updates its firmware.
constexpr Millis kIdentifyAgain{60'000};

struct Device {
  bool wanted = false;
  std::string major;
  std::string minor;
  DiskIdentity identity;
  SteadyTime identified{};
};

class DiskstatsCollector final : public Collector {
 public:
  DiskstatsCollector(const CollectorContext& context, NameFilter filter)
      : path_(context.roots.proc("diskstats")),
        block_path_(context.roots.sys("block/")),
        udev_path_(context.roots.root("/run/udev/data/b")),
        clock_(context.clock),
        filter_(std::move(filter)),
        families_(families_of(context.registry, kMetrics)) {}

  Status collect(Sink& sink) override {
    now_ = clock_.steady();
    return read_named_lines(
        buffer_, path_, host::Record::kUnknown, {}, devices_, complaints_,
        [&](std::size_t number, std::string_view line) { add(sink, number, line); });
  }

 private:
  void add(Sink& sink, std::size_t number, std::string_view line) {
    std::string_view rest = line;
    const std::string_view major = next_word(rest);
    const std::string_view minor = next_word(rest);
    const std::string_view name = next_word(rest);
    if (!base::parse_uint(major) || !base::parse_uint(minor) || name.empty()) {
      return complaints_.add(path_, number, "MAJOR MINOR DEVICE NUMBERS", line);
    }
    Device* device =
        devices_.next(name, [&](std::string_view fresh) { return make_device(fresh); });
    if (device == nullptr)
      return complaints_.add(path_, number, "each device once, at most 65536", name);
    if (!device->wanted) return;
    const bool is_other = device->major != major || device->minor != minor;
    if (is_other || now_ - device->identified >= kIdentifyAgain)
      identify(*device, name, major, minor);
    add_numbers(sink, number, name, rest);
    add_info(sink, name, *device);
  }

  void add_numbers(Sink& sink, std::size_t number, std::string_view name, std::string_view rest) {
    for (std::size_t i = 0; i < kColumns; ++i) {
      const std::string_view word = next_word(rest);
      if (word.empty() && i >= kLeastColumns) return;
      if (const auto count = base::parse_uint(word)) {
        sink.add(families_[i], {{"device", name}}, static_cast<double>(*count) * kFactors[i]);
      } else {
        complaints_.add(path_, number, "at least 11 numbers", word);
      }
    }
  }

  void add_info(Sink& sink, std::string_view name, const Device& device) {
    const DiskIdentity& id = device.identity;
    sink.add(families_[kInfo],
             {{"device", name},
              {"major", device.major},
              {"minor", device.minor},
              {"path", id.path},
              {"wwn", id.wwn},
              {"model", id.model},
              {"serial", id.serial},
              {"revision", id.revision},
              {"rotational", id.rotational}},
             1);
    if (!id.fs_type.empty()) {
      sink.add(families_[kFilesystemInfo],
               {{"device", name},
                {"type", id.fs_type},
                {"usage", id.fs_usage},
                {"uuid", id.fs_uuid},
                {"version", id.fs_version}},
               1);
    }
    if (!id.dm_name.empty()) {
      sink.add(families_[kDeviceMapperInfo],
               {{"device", name},
                {"name", id.dm_name},
                {"uuid", id.dm_uuid},
                {"vg_name", id.vg_name},
                {"lv_name", id.lv_name},
                {"lv_layer", id.lv_layer}},
               1);
    }
    const std::array ata = {id.ata_write_cache, id.ata_write_cache_enabled, id.ata_rotation_rate};
    for (std::size_t i = 0; i < ata.size(); ++i) {
      if (ata[i]) sink.add(families_[kAta + i], {{"device", name}}, *ata[i]);
    }
  }

  Device make_device(std::string_view name) const { return {.wanted = filter_.accepts(name)}; }

  void identify(Device& device, std::string_view name, std::string_view major,
                std::string_view minor) const {
    device.major = major;
    device.minor = minor;
    device.identified = now_;
    device.identity = {};
    if (name.starts_with('.')) return;
    std::string directory(name);
    for (char& c : directory) {
      if (c == '/') c = '!';  // as sysfs writes "cciss/c0d0"
    }
    device.identity = read_disk_identity(
        block_path_ + directory, fmt::format("{}{}:{}", udev_path_, device.major, device.minor));
  }

  const std::string path_;
  const std::string block_path_;
  const std::string udev_path_;
  Clock& clock_;
  SteadyTime now_{};
  const NameFilter filter_;
  const std::array<FamilyId, kMetrics.size()> families_;
  host::KeptFiles buffer_;
  NameTable<Device> devices_{kMaxDevices};
  Complaints complaints_;
};

Result<std::unique_ptr<Collector>> make(const CollectorContext& context) {
  auto filter = device_filter(context, kDiskstatsCollector);
  if (!filter) return propagate(std::move(filter));
  return std::make_unique<DiskstatsCollector>(context, std::move(*filter));
}

}  // namespace

const CollectorDescriptor kDiskstatsCollector = {
    .name = "diskstats",
    .help = "Reads, writes, discards and their times of every disk.",
    .options = kOptions,
    .metrics = kMetrics,
    .make = make,
};

}  // namespace nexus::monitor
