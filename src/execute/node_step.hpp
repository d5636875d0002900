// Steps on a node of Kubernetes: closed to new pods, opened again, drained. Thread safety: as
// nexus/execute/step.hpp says.
#pragma once

#include <memory>

#include "nexus/execute/step.hpp"

namespace nexus::execute {

inline constexpr std::string_view kNodeTargetHelp = "\"kubernetes:node/NAME\"";

enum class NodeWish { kCordon, kUncordon, kDrain };
[[nodiscard]] std::unique_ptr<Step> make_node_step(NodeWish wish);

}  // namespace nexus::execute
