#include <array>

#include "execute/actions.hpp"
#include "execute/service_step.hpp"

namespace nexus::execute {
namespace {

constexpr std::array<ParameterDescriptor, 3> kParameters{{
    {.name = "image",
     .type = ParameterType::kString,
     .required = false,
     .default_value = "",
     .help = "of containers: another image, which the engine has to have already; without it the "
             "one of the same name"},
    {.name = "container",
     .type = ParameterType::kString,
     .required = false,
     .default_value = "",
     .help = "of a pod with several containers: whose image it is"},
    {.name = "wait",
     .type = ParameterType::kDuration,
     .required = false,
     .default_value = "0s",
     .help = "between two instances"},
}};

}  // namespace

const ActionDescriptor kRollingUpdate{
    .name = "rolling_update",
    .help =
        "Has new instances of a service take the place of the old ones, one after the other, each "
        "only when the one before is well.",
    .target_help = kServiceTargetHelp,
    .parameters = kParameters,
    .make = [] { return make_service_step(ServiceVerb::kRollout); },
    .check_remedy = check_service_remedy<ServiceVerb::kRollout>,
    .undo_help = "the earlier version is rolled out again",
    .targets_units = true,
};

}  // namespace nexus::execute
