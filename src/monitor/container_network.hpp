// What the interfaces of a container count: /proc/PID/net/dev of a process in it, when that process
// has a network name space of its own (else it is the host's, and not the container's).
//
// Thread safety: one thread at a time.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "nexus/base/function_ref.hpp"
#include "nexus/host/file.hpp"
#include "nexus/host/roots.hpp"

namespace nexus::monitor {

/// Since the interface was made.
struct InterfaceCounts {
  enum Count : std::size_t { kBytes, kPackets, kErrors, kDropped, kCounts };
  std::array<double, kCounts> received{};
  std::array<double, kCounts> sent{};
};

class ContainerNetwork {
 public:
  static constexpr std::size_t kMost = 16;  // interfaces of one name space; the rest is left out

  explicit ContainerNetwork(const host::Roots& roots);

  /// Of the host itself.
  using Visit = base::FunctionRef<void(std::string_view name, const InterfaceCounts& counts)>;
  void for_host(Visit visit);
  /// Nothing when the process is gone, shares the host's network or may not be looked at.
  void for_process(std::int32_t pid, Visit visit);

 private:
  void read(std::string_view process, Visit visit);

  const std::string procfs_;
  std::string path_;
  host::FileBuffer buffer_;
};

}  // namespace nexus::monitor
