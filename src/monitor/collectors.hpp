// Every collector's descriptor, one line each; src/monitor/table.cpp lists the same names.
#pragma once

#include "nexus/monitor/collector.hpp"

namespace nexus::monitor {

extern const CollectorDescriptor kTimeCollector;
extern const CollectorDescriptor kUnameCollector;

}  // namespace nexus::monitor
