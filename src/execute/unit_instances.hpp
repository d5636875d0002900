// Instances of a template of systemd, name@1 .. name@n: how many run, more or fewer of them, and
// each restarted after the other. Instances that are no number are left alone. Thread safety: as
// nexus/execute/step.hpp says.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/drivers/systemd.hpp"
#include "nexus/execute/step.hpp"

namespace nexus::execute {

inline constexpr std::int64_t kMostInstances = 100;

/// "web@" of "web@", "web@.service"; empty: it is no template of services.
[[nodiscard]] std::string template_of(std::string_view name);
[[nodiscard]] std::string instance_of(std::string_view stem, std::int64_t number);

struct Instances {
  std::vector<std::int64_t> up;  // numbers, in order; on their way counts as up
  std::vector<std::int64_t> failed;
};
[[nodiscard]] Instances instances_of(std::string_view stem,
                                     std::span<const drivers::UnitSummary> units);

/// To the parameter `replicas`; undone by going back to as many as there were.
[[nodiscard]] std::unique_ptr<Step> make_unit_scale_step();
/// Of a template all that run, one after the other, each settled before the next (and the parameter
/// `wait` later); of a unit itself.
[[nodiscard]] std::unique_ptr<Step> make_unit_rollout_step();

}  // namespace nexus::execute
