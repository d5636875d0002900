#include "execute/actions.hpp"
#include "execute/cluster.hpp"
#include "execute/node_step.hpp"

namespace nexus::execute {

const ActionDescriptor kCordonNode{
    .name = "cordon_node",
    .help = "Closes a node of Kubernetes to new pods; those on it stay.",
    .target_help = kNodeTargetHelp,
    .parameters = {},
    .make = [] { return make_node_step(NodeWish::kCordon); },
    .check_remedy = check_cluster_remedy,
    .undo_help = "the node is opened again, if it was open",
};

}  // namespace nexus::execute
