#include "monitor/disk_identity.hpp"

#include <array>

#include "nexus/base/text.hpp"
#include "nexus/host/file.hpp"

namespace nexus::monitor {
namespace {

/// Without control characters, as udev does: firmware writes what it likes.
std::string printable(std::string_view text) {
  std::string result(base::trim(text));
  for (char& c : result) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '_';
  }
  return result;
}

std::string attribute(const std::string& path) {
  const auto text = host::read_file(path);
  return text ? printable(*text) : std::string();
}

/// As udev's scsi_id and ata_id write a model: blanks inside are underscores.
std::string with_underscores(std::string text) {
  for (char& c : text) {
    if (c == ' ') c = '_';
  }
  return text;
}

/// Page 0x80 of a SCSI disk's vital product data: a header of four bytes, the last its length.
std::string unit_serial(const std::string& path) {
  const auto page = host::read_file(path);
  constexpr std::size_t kHeader = 4;
  if (!page || page->size() <= kHeader || static_cast<unsigned char>((*page)[1]) != 0x80) return {};
  const auto length = static_cast<unsigned char>((*page)[3]);
  return with_underscores(printable(std::string_view(*page).substr(kHeader, length)));
}

/// "naa.5000c500a1b2c3d4" is 0x5000c500a1b2c3d4; other kinds of ids have no short form.
std::string scsi_wwn(const std::string& wwid) {
  constexpr std::string_view kNaa = "naa.";
  constexpr std::size_t kDigits = 16;
  if (!wwid.starts_with(kNaa) || wwid.size() < kNaa.size() + kDigits) return {};
  return "0x" + wwid.substr(kNaa.size(), kDigits);
}

void read_device_mapper(const std::string& directory, DiskIdentity& identity) {
  identity.dm_name = attribute(directory + "/dm/name");
  if (identity.dm_name.empty()) return;
  identity.dm_uuid = attribute(directory + "/dm/uuid");
  if (identity.dm_uuid.starts_with("LVM-")) split_lvm_name(identity.dm_name, identity);
}

/// What the kernel itself tells.
DiskIdentity read_sysfs(const std::string& directory) {
  DiskIdentity identity;
  read_device_mapper(directory, identity);
  const std::string device = directory + "/device/";
  std::string model = attribute(device + "model");
  if (model.empty()) return identity;
  identity.revision = attribute(device + "firmware_rev");
  if (!identity.revision.empty()) {  // NVMe
    identity.model = std::move(model);
    identity.serial = attribute(device + "serial");
    identity.wwn = attribute(directory + "/wwid");
    return identity;
  }
  identity.model = with_underscores(std::move(model));
  identity.revision = attribute(device + "rev");
  identity.serial = unit_serial(device + "vpd_pg80");
  identity.wwn = scsi_wwn(attribute(device + "wwid"));
  return identity;
}

/// Properties are lines "E:KEY=VALUE" (systemd's udev database, a file for every device).
void read_udev(const std::string& path, DiskIdentity& identity) {
  const auto text = host::read_file(path);
  if (!text) return;
  std::string serial;
  std::string short_serial;
  bool is_ata = false;
  DiskIdentity found;
  std::string_view rest = *text;
  while (!rest.empty()) {
    std::string_view value = base::take_until(rest, '\n');
    if (!value.starts_with("E:")) continue;
    value.remove_prefix(2);
    const std::string_view key = base::take_until(value, '=');
    if (key == "ID_PATH") found.path = printable(value);
    if (key == "ID_WWN") found.wwn = printable(value);
    if (key == "ID_MODEL") found.model = printable(value);
    if (key == "ID_REVISION") found.revision = printable(value);
    if (key == "SCSI_IDENT_SERIAL") serial = printable(value);
    if (key == "ID_SERIAL_SHORT") short_serial = printable(value);
    if (key == "ID_FS_TYPE") found.fs_type = printable(value);
    if (key == "ID_FS_USAGE") found.fs_usage = printable(value);
    if (key == "ID_FS_UUID") found.fs_uuid = printable(value);
    if (key == "ID_FS_VERSION") found.fs_version = printable(value);
    if (key == "ID_ATA") is_ata = true;
    if (key == "ID_ATA_WRITE_CACHE") found.ata_write_cache = base::parse_double(value);
    if (key == "ID_ATA_WRITE_CACHE_ENABLED")
      found.ata_write_cache_enabled = base::parse_double(value);
    if (key == "ID_ATA_ROTATION_RATE_RPM") found.ata_rotation_rate = base::parse_double(value);
  }
  found.serial = serial.empty() ? short_serial : serial;
  const auto prefer = [](std::string& mine, std::string& theirs) {
    if (!theirs.empty()) mine = std::move(theirs);
  };
  prefer(identity.path, found.path);
  prefer(identity.wwn, found.wwn);
  prefer(identity.model, found.model);
  prefer(identity.revision, found.revision);
  prefer(identity.serial, found.serial);
  identity.fs_type = std::move(found.fs_type);
  identity.fs_usage = std::move(found.fs_usage);
  identity.fs_uuid = std::move(found.fs_uuid);
  identity.fs_version = std::move(found.fs_version);
  if (!is_ata) return;
  identity.ata_write_cache = found.ata_write_cache;
  identity.ata_write_cache_enabled = found.ata_write_cache_enabled;
  identity.ata_rotation_rate = found.ata_rotation_rate;
}

}  // namespace

void split_lvm_name(std::string_view name, DiskIdentity& identity) {
  const std::array parts = {&identity.vg_name, &identity.lv_name, &identity.lv_layer};
  std::size_t part = 0;
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (name[i] == '-' && i + 1 < name.size() && name[i + 1] == '-') {
      ++i;
    } else if (name[i] == '-' && part + 1 < parts.size()) {
      ++part;
      continue;
    }
    parts[part]->push_back(name[i]);
  }
}

DiskIdentity read_disk_identity(const std::string& directory, const std::string& udev) {
  DiskIdentity identity = read_sysfs(directory);
  identity.rotational = attribute(directory + "/queue/rotational");
  if (!udev.empty()) read_udev(udev, identity);
  return identity;
}

}  // namespace nexus::monitor
