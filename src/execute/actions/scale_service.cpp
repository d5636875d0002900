#include <array>

#include "execute/actions.hpp"
#include "execute/service_step.hpp"

namespace nexus::execute {
namespace {

constexpr std::array<ParameterDescriptor, 1> kParameters{{
    {.name = "replicas",
     .type = ParameterType::kInteger,
     .required = true,
     .default_value = "",
     .help = "how many"},
}};

}  // namespace

const ActionDescriptor kScaleService{
    .name = "scale_service",
    .help =
        "Has as many instances of a service run as are wanted: of a template of systemd, of a "
        "service of Compose, of a workload of Kubernetes.",
    .target_help = kServiceTargetHelp,
    .parameters = kParameters,
    .make = [] { return make_service_step(ServiceVerb::kScale); },
    .check_remedy = check_service_remedy<ServiceVerb::kScale>,
    .undo_help = "there are as many again as there were",
    .targets_units = true,
};

}  // namespace nexus::execute
