// The descriptors of all managers of services, for the table. One line each; the files in services/
// define them.
#pragma once

#include "nexus/execute/service_manager.hpp"

namespace nexus::execute {

extern const ServiceManagerDescriptor kDockerServices;
extern const ServiceManagerDescriptor kKubernetesServices;
extern const ServiceManagerDescriptor kProcessServices;
extern const ServiceManagerDescriptor kUnitServices;

}  // namespace nexus::execute
