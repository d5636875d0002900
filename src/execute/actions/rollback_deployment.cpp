#include <array>

#include "execute/actions.hpp"
#include "execute/service_step.hpp"

namespace nexus::execute {
namespace {

constexpr std::array<ParameterDescriptor, 1> kParameters{{
    {.name = "revision",
     .type = ParameterType::kInteger,
     .required = false,
     .default_value = "0",
     .help = "of Kubernetes: that revision; 0: the one before"},
}};

}  // namespace

const ActionDescriptor kRollbackDeployment{
    .name = "rollback_deployment",
    .help = "Goes back to the version that a service had before its last rollout.",
    .target_help = kServiceTargetHelp,
    .parameters = kParameters,
    .make = [] { return make_service_step(ServiceVerb::kUndo); },
    .check_remedy = check_service_remedy<ServiceVerb::kUndo>,
    .targets_units = true,
};

}  // namespace nexus::execute
