#include "monitor/btrfs_devices.hpp"

#include <fcntl.h>
#include <linux/btrfs.h>
#include <sys/ioctl.h>

#include <span>

#include "monitor/mountinfo.hpp"
#include "monitor/parse.hpp"
#include "nexus/host/fd.hpp"

namespace nexus::monitor {
namespace {

constexpr std::uint64_t kMaxDevices = 1024;

std::string format_uuid(std::span<const std::uint8_t> bytes) {
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += fmt::format("{:02x}", bytes[i]);
  }
  return text;
}

}  // namespace

void BtrfsDevices::refresh() {
  filesystems_.clear();
  if (roots_.procfs != "/proc") return;
  auto text = buffer_.read(roots_.proc("1/mountinfo"));
  if (!text) text = buffer_.read(roots_.proc("self/mountinfo"));
  if (!text) return;
  std::vector<std::string> mountpoints;
  Lines lines(*text);
  for (std::string_view line; lines.next(line);) {
    const auto mount = parse_mountinfo_line(line);
    if (mount && mount->fstype == "btrfs") mountpoints.push_back(roots_.root(mount->mountpoint));
  }
  for (const std::string& mountpoint : mountpoints) ask(mountpoint);
}

void BtrfsDevices::ask(const std::string& mountpoint) {
  const host::Fd fd(::open(mountpoint.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  btrfs_ioctl_fs_info_args info{};
  if (!fd || ::ioctl(fd.get(), BTRFS_IOC_FS_INFO, &info) != 0) return;
  auto [place, is_new] = filesystems_.try_emplace(format_uuid(info.fsid));
  if (!is_new) return;  // mounted at another place too
  for (std::uint64_t id = 0; id <= info.max_id && id < kMaxDevices; ++id) {
    btrfs_ioctl_dev_info_args device{};
    device.devid = id;
    // Ids have gaps: devices come and go.
    if (::ioctl(fd.get(), BTRFS_IOC_DEV_INFO, &device) != 0) continue;
    btrfs_ioctl_get_dev_stats stats{};
    stats.devid = id;
    stats.nr_items = BTRFS_DEV_STAT_VALUES_MAX;
    if (::ioctl(fd.get(), BTRFS_IOC_GET_DEV_STATS, &stats) != 0) continue;
    const std::string_view path(reinterpret_cast<const char*>(device.path));
    BtrfsDevice one{.name = std::string(path.substr(path.rfind('/') + 1)),
                    .uuid = format_uuid(device.uuid),
                    .total_bytes = static_cast<double>(device.total_bytes),
                    .used_bytes = static_cast<double>(device.bytes_used)};
    for (std::size_t i = 0; i < one.errors.size(); ++i)
      one.errors[i] = static_cast<double>(stats.values[i]);
    place->second.push_back(std::move(one));
  }
  if (place->second.empty()) filesystems_.erase(place);
}

const std::vector<BtrfsDevice>* BtrfsDevices::find(std::string_view uuid) const {
  const auto found = filesystems_.find(uuid);
  return found == filesystems_.end() ? nullptr : &found->second;
}

}  // namespace nexus::monitor
