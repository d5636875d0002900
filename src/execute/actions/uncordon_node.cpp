#include "execute/actions.hpp"
#include "execute/cluster.hpp"
#include "execute/node_step.hpp"

namespace nexus::execute {

const ActionDescriptor kUncordonNode{
    .name = "uncordon_node",
    .help = "Opens a node of Kubernetes to new pods again.",
    .target_help = kNodeTargetHelp,
    .parameters = {},
    .make = [] { return make_node_step(NodeWish::kUncordon); },
    .check_remedy = check_cluster_remedy,
    .undo_help = "the node is closed again, if it was closed",
};

}  // namespace nexus::execute
