// Every collector's descriptor, one line each; src/monitor/table.cpp lists the same names.
#pragma once

#include "nexus/monitor/collector.hpp"

namespace nexus::monitor {

extern const CollectorDescriptor kAgentCollector;
extern const CollectorDescriptor kBcachefsCollector;
extern const CollectorDescriptor kConnectionsCollector;
extern const CollectorDescriptor kContainersCollector;
extern const CollectorDescriptor kCpuCollector;
extern const CollectorDescriptor kDiskstatsCollector;
extern const CollectorDescriptor kDockerCollector;
extern const CollectorDescriptor kDrmCollector;
extern const CollectorDescriptor kFilefdCollector;
extern const CollectorDescriptor kFilesystemCollector;
extern const CollectorDescriptor kKsmdCollector;
extern const CollectorDescriptor kKubernetesCollector;
extern const CollectorDescriptor kLnstatCollector;
extern const CollectorDescriptor kLoadavgCollector;
extern const CollectorDescriptor kLogindCollector;
extern const CollectorDescriptor kMeminfoCollector;
extern const CollectorDescriptor kMeminfoNumaCollector;
extern const CollectorDescriptor kMountstatsCollector;
extern const CollectorDescriptor kNetdevCollector;
extern const CollectorDescriptor kNetworkRouteCollector;
extern const CollectorDescriptor kNvmesubsystemCollector;
extern const CollectorDescriptor kPcideviceCollector;
extern const CollectorDescriptor kPerfCollector;
extern const CollectorDescriptor kPostgresCollector;
extern const CollectorDescriptor kPressureCollector;
extern const CollectorDescriptor kProcessEventsCollector;
extern const CollectorDescriptor kProcessGroupsCollector;
extern const CollectorDescriptor kProcessesCollector;
extern const CollectorDescriptor kQdiscCollector;
extern const CollectorDescriptor kRedisCollector;
extern const CollectorDescriptor kSlabinfoCollector;
extern const CollectorDescriptor kSockstatCollector;
extern const CollectorDescriptor kSoftirqsCollector;
extern const CollectorDescriptor kStatCollector;
extern const CollectorDescriptor kSwapCollector;
extern const CollectorDescriptor kSysctlCollector;
extern const CollectorDescriptor kSystemdCollector;
extern const CollectorDescriptor kTcpstatCollector;
extern const CollectorDescriptor kTextfileCollector;
extern const CollectorDescriptor kTimeCollector;
extern const CollectorDescriptor kUnameCollector;
extern const CollectorDescriptor kVmstatCollector;
extern const CollectorDescriptor kWifiCollector;
extern const CollectorDescriptor kXfrmCollector;
extern const CollectorDescriptor kZoneinfoCollector;

}  // namespace nexus::monitor
