#include <array>

#include "execute/actions.hpp"
#include "execute/cluster.hpp"
#include "execute/node_step.hpp"

namespace nexus::execute {
namespace {

constexpr std::array<ParameterDescriptor, 3> kParameters{{
    {.name = "grace",
     .type = ParameterType::kDuration,
     .required = false,
     .default_value = "",
     .help = "for each pod to end; without it the pod's own"},
    {.name = "unmanaged",
     .type = ParameterType::kBool,
     .required = false,
     .default_value = "false",
     .help = "also evict pods that no controller would make again"},
    {.name = "local_data",
     .type = ParameterType::kBool,
     .required = false,
     .default_value = "false",
     .help = "also evict pods with emptyDir volumes, whose data goes with them"},
}};

}  // namespace

const ActionDescriptor kDrainNode{
    .name = "drain_node",
    .help =
        "Closes a node of Kubernetes to new pods and evicts those on it, as fast as their "
        "disruption budgets allow; pods of daemon sets and of the kubelet's own files stay.",
    .target_help = kNodeTargetHelp,
    .parameters = kParameters,
    .make = [] { return make_node_step(NodeWish::kDrain); },
    .check_remedy = check_cluster_remedy,
    .undo_help = "the node is opened again, if it was open; pods stay where they are by then",
};

}  // namespace nexus::execute
