#include "execute/cluster.hpp"

#include <boost/json.hpp>

#include "execute/journal_json.hpp"
#include "nexus/base/text.hpp"
#include "nexus/config/config.hpp"
#include "nexus/config/load.hpp"
#include "nexus/plan/planner.hpp"

namespace nexus::execute {
namespace {

std::string_view without_prefix(std::string_view target) {
  return target.starts_with(kClusterPrefix) ? target.substr(kClusterPrefix.size()) : target;
}

}  // namespace

host::Roots roots_of(const config::Config& config) {
  return {config.collect.procfs, config.collect.sysfs, config.collect.rootfs};
}

Result<drivers::KubernetesControl> cluster_of(const StepContext& context) {
  const auto& section = context.config->connections.kubernetes;
  if (!section.enabled) return fail(Errc::kNotFound, "[kubernetes] is switched off");
  auto access =
      drivers::kubernetes_access(section, roots_of(*context.config), config::process_environment);
  if (!access) return propagate(std::move(access));
  return drivers::KubernetesControl(drivers::Kubernetes(context.clock, *std::move(access)),
                                    drivers::kubernetes_scope(section, roots_of(*context.config)));
}

drivers::KubernetesPatience brief(const StepContext& context) {
  return {context.clock.steady() + context.config->connections.kubernetes.timeout};
}

drivers::KubernetesPatience patience_of(const StepRun& run) {
  return {run.deadline, [&run] { return run.cancelled() || run.leaving(); }};
}

drivers::KubernetesPatience patience_to_undo(const plan::Action& action,
                                             const StepContext& context) {
  return {context.clock.steady() + action.timeout};
}

Result<ClusterObject> parse_object(std::string_view target, std::string_view kind) {
  const auto parts = base::split(without_prefix(target), '/');
  if (parts.size() != 3 || parts[1] != kind)
    return fail(Errc::kInvalidArgument, "target: expected kubernetes:NAMESPACE/{}/NAME, got \"{}\"",
                kind, target);
  // The names are checked as those of a workload are.
  auto names = drivers::parse_workload(fmt::format("{}/deployment/{}", parts[0], parts[2]));
  if (!names)
    return fail(Errc::kInvalidArgument, "target: \"{}\" has a name that no object can have",
                target);
  return ClusterObject{names->name_space, names->name};
}

Result<std::string> parse_node(std::string_view target) {
  const auto parts = base::split(without_prefix(target), '/');
  if (parts.size() != 2 || parts[0] != "node" ||
      !drivers::parse_workload(fmt::format("a/deployment/{}", parts[1])))
    return fail(Errc::kInvalidArgument, "target: expected kubernetes:node/NAME, got \"{}\"",
                target);
  return std::string(parts[1]);
}

Status may_change(std::string_view name_space, const config::Config& config) {
  const auto scope = drivers::kubernetes_scope(config.connections.kubernetes, roots_of(config));
  if (auto reason = drivers::refuse_name_space(scope, name_space))
    return fail(Errc::kPermissionDenied, "{}", *reason);
  return {};
}

Status may_change_node(std::string_view node, const config::Config& config) {
  const auto scope = drivers::kubernetes_scope(config.connections.kubernetes, roots_of(config));
  if (auto reason = drivers::refuse_node(scope, node))
    return fail(Errc::kPermissionDenied, "{}", *reason);
  return {};
}

Result<drivers::Workload> changeable_workload(std::string_view target,
                                              const config::Config& config) {
  auto workload = drivers::parse_workload(without_prefix(target));
  if (!workload) return propagate(std::move(workload), "target");
  if (auto may = may_change(workload->name_space, config); !may) return propagate(std::move(may));
  // Whatever is done to it: its replicas, its limits and its autoscaler are protected with it.
  if (auto why = plan::protected_reason("restart_service",
                                        std::string(kClusterPrefix) + to_string(*workload),
                                        config.guardrails.protected_units))
    return fail(Errc::kPermissionDenied, "{}", *why);
  return workload;
}

Status same_object(const plan::Action& action, std::string_view uid) {
  const std::string known = member_of(action.outcome.before, "instance");
  if (known.empty() || known == uid) return {};
  return fail(Errc::kConflict, "{} is another one now than the one that was looked at",
              action.target);
}

Status check_cluster_remedy(const config::RemedyConfig& remedy, const config::Config& config) {
  if (remedy.target.empty() || remedy.target.contains("${")) return {};
  if (auto node = parse_node(remedy.target)) return may_change_node(*node, config);
  const auto parts = base::split(without_prefix(remedy.target), '/');
  if (!remedy.target.starts_with(kClusterPrefix) || parts.size() != 3)
    return fail(
        Errc::kInvalidArgument,
        "target: expected kubernetes:NAMESPACE/KIND/NAME or kubernetes:node/NAME, got \"{}\"",
        remedy.target);
  return may_change(parts[0], config);
}

std::string error_evidence(const Error& error) {
  return boost::json::serialize(boost::json::object{{"error", error.message()}});
}

}  // namespace nexus::execute
