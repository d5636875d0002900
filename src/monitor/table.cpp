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
    &kBondingCollector,
    &kBtrfsCollector,
    &kBuddyinfoCollector,
    &kCgroupsCollector,
    &kConntrackCollector,
    &kCpuCollector,
    &kCpuVulnerabilitiesCollector,
    &kCpufreqCollector,
    &kDiskstatsCollector,
    &kDmiCollector,
    &kDrbdCollector,
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
    &kLoadavgCollector,
    &kMdadmCollector,
    &kMeminfoCollector,
    &kNetclassCollector,
    &kNetdevCollector,
    &kNetstatCollector,
    &kNfsCollector,
    &kNfsdCollector,
    &kNvmeCollector,
    &kOsCollector,
    &kPowersupplyclassCollector,
    &kPressureCollector,
    &kProcessesCollector,
    &kRaplCollector,
    &kSchedstatCollector,
    &kSelinuxCollector,
    &kSockstatCollector,
    &kSoftnetCollector,
    &kStatCollector,
    &kSystemdCollector,
    &kTapestatsCollector,
    &kThermalZoneCollector,
    &kTimeCollector,
    &kTimexCollector,
    &kUdpQueuesCollector,
    &kUnameCollector,
    &kVmstatCollector,
    &kWatchdogCollector,
    &kXfsCollector,
    &kZfsCollector,
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
