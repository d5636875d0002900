#include <algorithm>
#include <array>

#include "monitor/collectors.hpp"

namespace nexus::monitor {
namespace {

// Sorted by name: find_collector() and the order of `list collectors` rely on it
// (tests/monitor/table_test.cpp).
// clang-format off
constexpr std::array kCollectors = {
    &kAgentCollector,
    &kBcachefsCollector,
    &kConnectionsCollector,
    &kContainersCollector,
    &kCpuCollector,
    &kDiskstatsCollector,
    &kDockerCollector,
    &kDrmCollector,
    &kFilefdCollector,
    &kFilesystemCollector,
    &kKsmdCollector,
    &kKubernetesCollector,
    &kLnstatCollector,
    &kLoadavgCollector,
    &kLogindCollector,
    &kMeminfoCollector,
    &kMeminfoNumaCollector,
    &kMountstatsCollector,
    &kNetdevCollector,
    &kNetworkRouteCollector,
    &kNvmesubsystemCollector,
    &kPcideviceCollector,
    &kPerfCollector,
    &kPostgresCollector,
    &kPressureCollector,
    &kProcessEventsCollector,
    &kProcessGroupsCollector,
    &kProcessesCollector,
    &kQdiscCollector,
    &kRedisCollector,
    &kSlabinfoCollector,
    &kSockstatCollector,
    &kSoftirqsCollector,
    &kStatCollector,
    &kSwapCollector,
    &kSysctlCollector,
    &kSystemdCollector,
    &kTcpstatCollector,
    &kTextfileCollector,
    &kTimeCollector,
    &kUnameCollector,
    &kVmstatCollector,
    &kWifiCollector,
    &kXfrmCollector,
    &kZoneinfoCollector,
};
// clang-format on

}  // namespace

std::span<const CollectorDescriptor* const> collectors() {
  return kCollectors;
}

const CollectorDescriptor* find_collector(std::string_view name) {
  const auto found =
      std::ranges::find(kCollectors, name, [](const CollectorDescriptor* d) { return d->name; });
  return found == kCollectors.end() ? nullptr : *found;
}

}  // namespace nexus::monitor
