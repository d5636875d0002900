// The lines of /proc/PID/mountinfo (proc(5)).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace nexus::monitor {

struct Mount {
  std::string device;
  std::string mountpoint;
  std::string fstype;
  bool readonly = false;
  std::string major;  // of the device number; 0 where there is no block device
  std::string minor;
  bool project_quota = false;  // statfs(2) may tell of a project, and read its quota from the disk
  bool operator==(const Mount&) const = default;
};

/// Nothing when the line is not one of mountinfo.
[[nodiscard]] std::optional<Mount> parse_mountinfo_line(std::string_view line);

/// Undoes the kernel's escapes: \040 for a space, \134 for a backslash, ...
[[nodiscard]] std::string unescape_octal(std::string_view text);

}  // namespace nexus::monitor
