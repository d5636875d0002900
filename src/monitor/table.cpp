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
    &kArpCollector,
    &kBcacheCollector,
    &kBcachefsCollector,
    &kBondingCollector,
    &kBoottimeCollector,
    &kBtrfsCollector,
    &kBuddyinfoCollector,
    &kCgroupsCollector,
    &kConnectionsCollector,
    &kConntrackCollector,
    &kContainersCollector,
    &kCpuCollector,
    &kCpuVulnerabilitiesCollector,
    &kCpufreqCollector,
    &kDiskstatsCollector,
    &kDmiCollector,
    &kDockerCollector,
    &kDrbdCollector,
    &kDrmCollector,
    &kEdacCollector,
    &kEntropyCollector,
    &kEthtoolCollector,
    &kFibrechannelCollector,
    &kFilefdCollector,
    &kFilesystemCollector,
    &kHwmonCollector,
    &kInfinibandCollector,
    &kInterruptsCollector,
    &kIpvsCollector,
    &kKernelHungCollector,
    &kKsmdCollector,
    &kKubernetesCollector,
    &kLnstatCollector,
    &kLoadavgCollector,
    &kLogindCollector,
    &kMdadmCollector,
    &kMeminfoCollector,
    &kMeminfoNumaCollector,
    &kMountstatsCollector,
    &kNetclassCollector,
    &kNetdevCollector,
    &kNetstatCollector,
    &kNetworkRouteCollector,
    &kNfsCollector,
    &kNfsdCollector,
    &kNvmeCollector,
    &kNvmesubsystemCollector,
    &kOsCollector,
    &kPcideviceCollector,
    &kPerfCollector,
    &kPostgresCollector,
    &kPowersupplyclassCollector,
    &kPressureCollector,
    &kProcessEventsCollector,
    &kProcessGroupsCollector,
    &kProcessesCollector,
    &kQdiscCollector,
    &kRaplCollector,
    &kRedisCollector,
    &kSchedstatCollector,
    &kSelinuxCollector,
    &kSlabinfoCollector,
    &kSockstatCollector,
    &kSoftirqsCollector,
    &kSoftnetCollector,
    &kStatCollector,
    &kSwapCollector,
    &kSysctlCollector,
    &kSystemdCollector,
    &kTapestatsCollector,
    &kTcpstatCollector,
    &kTextfileCollector,
    &kThermalZoneCollector,
    &kTimeCollector,
    &kTimexCollector,
    &kUdpQueuesCollector,
    &kUnameCollector,
    &kVmstatCollector,
    &kWatchdogCollector,
    &kWifiCollector,
    &kXfrmCollector,
    &kXfsCollector,
    &kZfsCollector,
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
