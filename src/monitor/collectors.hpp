// Every collector's descriptor, one line each; src/monitor/table.cpp lists the same names.
#pragma once

#include "nexus/monitor/collector.hpp"

namespace nexus::monitor {

extern const CollectorDescriptor kAgentCollector;
extern const CollectorDescriptor kArpCollector;
extern const CollectorDescriptor kBcacheCollector;
extern const CollectorDescriptor kBondingCollector;
extern const CollectorDescriptor kBtrfsCollector;
extern const CollectorDescriptor kBuddyinfoCollector;
extern const CollectorDescriptor kCgroupsCollector;
extern const CollectorDescriptor kConntrackCollector;
extern const CollectorDescriptor kCpuCollector;
extern const CollectorDescriptor kCpuVulnerabilitiesCollector;
extern const CollectorDescriptor kCpufreqCollector;
extern const CollectorDescriptor kDiskstatsCollector;
extern const CollectorDescriptor kDmiCollector;
extern const CollectorDescriptor kDrbdCollector;
extern const CollectorDescriptor kEdacCollector;
extern const CollectorDescriptor kEntropyCollector;
extern const CollectorDescriptor kEthtoolCollector;
extern const CollectorDescriptor kFibrechannelCollector;
extern const CollectorDescriptor kFilefdCollector;
extern const CollectorDescriptor kFilesystemCollector;
extern const CollectorDescriptor kHwmonCollector;
extern const CollectorDescriptor kInfinibandCollector;
extern const CollectorDescriptor kInterruptsCollector;
extern const CollectorDescriptor kIpvsCollector;
extern const CollectorDescriptor kKernelHungCollector;
extern const CollectorDescriptor kLoadavgCollector;
extern const CollectorDescriptor kMdadmCollector;
extern const CollectorDescriptor kMeminfoCollector;
extern const CollectorDescriptor kNetclassCollector;
extern const CollectorDescriptor kNetdevCollector;
extern const CollectorDescriptor kNetstatCollector;
extern const CollectorDescriptor kNfsCollector;
extern const CollectorDescriptor kNfsdCollector;
extern const CollectorDescriptor kNvmeCollector;
extern const CollectorDescriptor kOsCollector;
extern const CollectorDescriptor kPowersupplyclassCollector;
extern const CollectorDescriptor kPressureCollector;
extern const CollectorDescriptor kProcessesCollector;
extern const CollectorDescriptor kRaplCollector;
extern const CollectorDescriptor kSchedstatCollector;
extern const CollectorDescriptor kSelinuxCollector;
extern const CollectorDescriptor kSockstatCollector;
extern const CollectorDescriptor kSoftnetCollector;
extern const CollectorDescriptor kStatCollector;
extern const CollectorDescriptor kSystemdCollector;
extern const CollectorDescriptor kTapestatsCollector;
extern const CollectorDescriptor kThermalZoneCollector;
extern const CollectorDescriptor kTimeCollector;
extern const CollectorDescriptor kTimexCollector;
extern const CollectorDescriptor kUdpQueuesCollector;
extern const CollectorDescriptor kUnameCollector;
extern const CollectorDescriptor kVmstatCollector;
extern const CollectorDescriptor kWatchdogCollector;
extern const CollectorDescriptor kXfsCollector;
extern const CollectorDescriptor kZfsCollector;

}  // namespace nexus::monitor
