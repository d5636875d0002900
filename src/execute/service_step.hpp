// What restart_service, scale_service, rolling_update, ... have in common: they do nothing
// themselves, but find the manager of their target and hand on to its step (service_manager.hpp).
// Thread safety: as nexus/execute/step.hpp says.
#pragma once

#include <memory>

#include "nexus/execute/service_manager.hpp"

namespace nexus::execute {

[[nodiscard]] std::unique_ptr<Step> make_service_step(ServiceVerb verb);

/// For check_remedy of a descriptor: whether there is a manager that can do this to that target.
template <ServiceVerb verb>
[[nodiscard]] Status check_service_remedy(const config::RemedyConfig& remedy,
                                          const config::Config& config);
[[nodiscard]] Status check_service_target(ServiceVerb verb, const config::RemedyConfig& remedy,
                                          const config::Config& config);

template <ServiceVerb verb>
Status check_service_remedy(const config::RemedyConfig& remedy, const config::Config& config) {
  return check_service_target(verb, remedy, config);
}

inline constexpr std::string_view kServiceTargetHelp =
    "a service: \"web.service\" (\".service\" may be left out), \"web@\" for all instances of a "
    "template, \"docker:NAME\", \"docker:PROJECT/SERVICE\", \"kubernetes:NAMESPACE/KIND/NAME\", "
    "\"process:PID:START\"";

}  // namespace nexus::execute
