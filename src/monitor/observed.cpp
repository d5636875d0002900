#include "nexus/monitor/observed.hpp"

#include <algorithm>

namespace nexus::monitor {

const ObservedProcess* ProcessTable::find(std::int32_t pid) const noexcept {
  const auto found = std::ranges::lower_bound(processes, pid, {}, &ObservedProcess::pid);
  return found != processes.end() && found->pid == pid ? &*found : nullptr;
}

}  // namespace nexus::monitor
