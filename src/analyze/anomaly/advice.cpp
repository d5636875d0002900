#include "analyze/anomaly/advice.hpp"

#include <array>

namespace nexus::analyze {
namespace {

struct Advice {
  std::string_view prefix;
  std::array<std::string_view, 2> texts;
};

// The first prefix that fits counts.
constexpr std::array kAdvice = {
    Advice{"cpu_steal",
           {"Ask the hypervisor's operator for its load", "Compare with cpu_usage_percent"}},
    Advice{"cpu_iowait",
           {"See which disk is busy: disk_io_utilization_percent", "See pressure_io_some_percent"}},
    Advice{"cpu_", {"See which processes use the processor", "See pressure_cpu_some_percent"}},
    Advice{"memory_",
           {"See which processes grew", "See pressure_memory_some_percent and swap_usage_percent"}},
    Advice{"swap_", {"See which processes are swapped out", "See memory_available_bytes"}},
    Advice{"pressure_",
           {"See which processes wait and for what", "Compare with the use of the same resource"}},
    Advice{"disk_usage",
           {"See what grew on the filesystem", "See its forecast for when it will be full"}},
    Advice{"disk_free",
           {"See what grew on the filesystem", "See its forecast for when it will be full"}},
    Advice{"disk_", {"See which processes read and write", "See disk_io_utilization_percent"}},
    Advice{"network_",
           {"See which connections carry the traffic", "Check errors and drops of the interface"}},
    Advice{"tcp_",
           {"See which peers and ports the sockets belong to",
            "Check for a service that leaks connections"}},
    Advice{"process_",
           {"See which programs start or end processes", "Check units that restart by themselves"}},
    Advice{"agent_", {"See the agent's own metrics, nexus_*", "Compare with the number of series"}},
};

}  // namespace

std::vector<std::string> advice_for(std::string_view metric) {
  for (const Advice& advice : kAdvice) {
    if (metric.starts_with(advice.prefix)) return {advice.texts.begin(), advice.texts.end()};
  }
  return {"Compare with what changed on the host at that time", "See the history of the vital"};
}

}  // namespace nexus::analyze
