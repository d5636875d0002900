// Roots: where the host is. Collectors and actions read below these, so that a recorded tree is a
// test fixture.
//
// Thread safety: plain value.
#pragma once

#include <string>
#include <string_view>

namespace nexus::host {

struct Roots {
  std::string procfs = "/proc";
  std::string sysfs = "/sys";
  std::string rootfs = "/";

  [[nodiscard]] std::string proc(std::string_view path) const {
    return procfs + "/" + std::string(path);
  }
  [[nodiscard]] std::string sys(std::string_view path) const {
    return sysfs + "/" + std::string(path);
  }
  /// A path of the host as the agent sees it: "/var" below rootfs.
  [[nodiscard]] std::string root(std::string_view path) const {
    return rootfs == "/" ? std::string(path) : rootfs + std::string(path);
  }
};

}  // namespace nexus::host
