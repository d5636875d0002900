// Sizes and errors of the devices of mounted btrfs, which only ioctl(2) on a mount point tells.
//
// Thread safety: one thread at a time. A mount that does not answer holds the caller: a collector
// that uses it is left behind by its deadline like any other.
#pragma once

#include <array>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/host/file.hpp"
#include "nexus/host/roots.hpp"

namespace nexus::monitor {

inline constexpr std::array<std::string_view, 5> kBtrfsErrors = {"write", "read", "flush",
                                                                 "corruption", "generation"};

struct BtrfsDevice {
  std::string name;  // without its directory
  std::string uuid;
  double total_bytes = 0;
  double used_bytes = 0;
  std::array<double, kBtrfsErrors.size()> errors{};
};

class BtrfsDevices {
 public:
  explicit BtrfsDevices(const host::Roots& roots) : roots_(roots) {}
  /// Asks every btrfs mounted on the running host; nothing for a recorded tree.
  void refresh();
  /// Null when the filesystem did not tell.
  [[nodiscard]] const std::vector<BtrfsDevice>* find(std::string_view uuid) const;

 private:
  void ask(const std::string& mountpoint);

  const host::Roots roots_;
  host::FileBuffer buffer_;
  std::map<std::string, std::vector<BtrfsDevice>, std::less<>> filesystems_;
};

}  // namespace nexus::monitor
