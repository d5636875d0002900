// DiskIdentity: what names a block device, as far as sysfs tells it.
//
// node_exporter takes this from udev's database. Derived here as udev's rules derive it: model,
// serial and revision of SCSI, SATA and NVMe disks, wwn, and name, uuid, volume group and logical
// volume of a device-mapper device. Left empty, because only udev makes it up: path (ID_PATH). A
// SATA disk's model is what the SCSI layer keeps of it, 16 bytes. Thread safety: plain value; the
// functions read files.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace nexus::monitor {

struct DiskIdentity {
  std::string model;
  std::string serial;
  std::string revision;
  std::string wwn;
  std::string path;        // as udev calls it; empty without udev
  std::string rotational;  // 0 or 1
  // Of a device-mapper device only:
  std::string dm_name;
  std::string dm_uuid;
  std::string vg_name;
  std::string lv_name;
  std::string lv_layer;
  // From udev's database only:
  std::string fs_type;
  std::string fs_usage;
  std::string fs_uuid;
  std::string fs_version;
  std::optional<double> ata_write_cache;
  std::optional<double> ata_write_cache_enabled;
  std::optional<double> ata_rotation_rate;
};

/// `directory` is /sys/block/NAME, `udev` the device's file below /run/udev/data, whose word counts
/// more where there is one. What cannot be read stays empty.
[[nodiscard]] DiskIdentity read_disk_identity(const std::string& directory,
                                              const std::string& udev = {});

/// Splits the name of a device that LVM made, "vg-lv-layer" with "--" for "-" within a part.
void split_lvm_name(std::string_view name, DiskIdentity& identity);

}  // namespace nexus::monitor
