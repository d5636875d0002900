#include <array>

#include "execute/actions.hpp"
#include "execute/sysctl_step.hpp"

namespace nexus::execute {
namespace {

std::optional<std::int64_t> tracked_connections() {
  return first_number("/proc/sys/net/netfilter/nf_conntrack_count");
}

constexpr std::array<AllowedSysctl, 13> kAllowed{{
    {"net.core.netdev_budget", 100, 10'000},
    {"net.core.netdev_max_backlog", 100, 1'000'000},
    {"net.core.rmem_max", 65'536, 1LL << 30},
    {"net.core.somaxconn", 128, 65'535},
    {"net.core.wmem_max", 65'536, 1LL << 30},
    {"net.ipv4.tcp_fin_timeout", 5, 120},
    {"net.ipv4.tcp_keepalive_time", 30, 14'400},
    {"net.ipv4.tcp_max_syn_backlog", 128, 1'000'000},
    {"net.ipv4.tcp_rmem", 4'096, 1LL << 30},
    {"net.ipv4.tcp_slow_start_after_idle", 0, 1},
    {"net.ipv4.tcp_tw_reuse", 0, 2},
    {"net.ipv4.tcp_wmem", 4'096, 1LL << 30},
    {"net.netfilter.nf_conntrack_max", 4'096, 16'777'216, "", tracked_connections},
}};

}  // namespace

const ActionDescriptor kNetworkOptimization{
    .name = "network_optimization",
    .help =
        "Sets a kernel parameter of the network within its range, reads it back, and takes it back "
        "when it did not help.",
    .target_help = kSysctlTargetHelp,
    .parameters = kSysctlParameters,
    .make = [] { return make_sysctl_step(kAllowed, "net."); },
    .undo_help = kSysctlUndo,
    .details = [] { return list_sysctls(kAllowed); },
    .sets_values = true,
};

}  // namespace nexus::execute
