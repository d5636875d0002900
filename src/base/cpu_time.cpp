#include "nexus/base/cpu_time.hpp"

#include <ctime>

namespace nexus::base {

Nanos thread_cpu_time() noexcept {
  timespec used{};
  if (::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used) != 0) return Nanos(0);
  return std::chrono::seconds(used.tv_sec) + Nanos(used.tv_nsec);
}

}  // namespace nexus::base
