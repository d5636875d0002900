// Steps on a workload of Kubernetes: restarted, scaled, updated, rolled back; each awaited until
// its rollout is complete. A rollout to another image that does not get on is set back. Thread
// safety: as nexus/execute/step.hpp says.
#pragma once

#include <memory>

#include "nexus/execute/step.hpp"

namespace nexus::execute {

[[nodiscard]] std::unique_ptr<Step> make_workload_restart_step();
/// Parameter `replicas`.
[[nodiscard]] std::unique_ptr<Step> make_workload_scale_step();
/// Parameters `image` and `container`; a restart without.
[[nodiscard]] std::unique_ptr<Step> make_workload_rollout_step();
/// Parameter `revision`; 0: the one before.
[[nodiscard]] std::unique_ptr<Step> make_workload_undo_step();

}  // namespace nexus::execute
