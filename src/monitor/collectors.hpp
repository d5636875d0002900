// Every collector's descriptor, one line each; src/monitor/table.cpp lists the same names.
#pragma once

#include "nexus/monitor/collector.hpp"

namespace nexus::monitor {

extern const CollectorDescriptor kAgentCollector;
extern const CollectorDescriptor kCpuCollector;
extern const CollectorDescriptor kDiskstatsCollector;
extern const CollectorDescriptor kDockerCollector;
extern const CollectorDescriptor kFilefdCollector;
extern const CollectorDescriptor kFilesystemCollector;
extern const CollectorDescriptor kKubernetesCollector;
extern const CollectorDescriptor kLoadavgCollector;
extern const CollectorDescriptor kMeminfoCollector;
extern const CollectorDescriptor kNetdevCollector;
extern const CollectorDescriptor kPostgresCollector;
extern const CollectorDescriptor kPressureCollector;
extern const CollectorDescriptor kProcessesCollector;
extern const CollectorDescriptor kRedisCollector;
extern const CollectorDescriptor kSockstatCollector;
extern const CollectorDescriptor kStatCollector;
extern const CollectorDescriptor kSystemdCollector;
extern const CollectorDescriptor kTimeCollector;
extern const CollectorDescriptor kUnameCollector;
extern const CollectorDescriptor kVmstatCollector;

}  // namespace nexus::monitor
