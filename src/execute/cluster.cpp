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

/// Whether controllers draw such endings of names, which have no vowels and no digit like one.
bool is_drawn(std::string_view text, std::size_t least, std::size_t most) {
  return text.size() >= least && text.size() <= most &&
         text.find_first_not_of("bcdfghjklmnpqrstvwxz2456789") == std::string_view::npos;
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

std::string pod_account(const ClusterObject& pod) {
  const auto shown = [&](std::string_view kind, std::string_view name) {
    return fmt::format("{}{}/{}/{}", kClusterPrefix, pod.name_space, kind, name);
  };
  const std::string_view name = pod.name;
  const auto dash = name.rfind('-');
  if (dash == std::string_view::npos || !is_drawn(name.substr(dash + 1), 5, 5))
    return shown("pod", name);
  const auto stem = name.substr(0, dash);
  const auto hash = stem.rfind('-');
  if (hash != std::string_view::npos && is_drawn(stem.substr(hash + 1), 6, 10))
    return shown("deployment", stem.substr(0, hash));
  return shown("daemonset", stem);
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
  if (auto why = protected_in_cluster(to_string(*workload), config))
    return fail(Errc::kPermissionDenied, "{}", *why);
  return workload;
}

std::optional<std::string> protected_in_cluster(std::string_view what,
                                                const config::Config& config) {
  // Whatever is done to it: its replicas, its limits and its pods are protected with a workload.
  return plan::protected_reason("restart_service", fmt::format("{}{}", kClusterPrefix, what),
                                config.guardrails.protected_units);
}

Result<StepResult> unheard(const Error& error, const StepRun& run,
                           const std::function<Result<std::optional<std::string>>()>& made) {
  const bool cancelled = error.code() == Errc::kCancelled;
  if (!cancelled && !is_away(error)) return std::unexpected(error);
  if (cancelled && run.leaving())
    return StepResult{.result = "the API's answer was not waited for", .output = {}, .left = true};
  const auto what = made();
  const std::string more = !what   ? "; whether it was changed is not known"
                           : *what ? "; it was changed all the same; " + **what
                                   : std::string();
  return std::unexpected(Error(error.code(), error.message() + more));
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
