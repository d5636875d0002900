// Kubernetes: deployments, stateful sets and daemon sets.
#include <algorithm>

#include "execute/cluster.hpp"
#include "execute/services.hpp"
#include "execute/workload_step.hpp"
#include "nexus/config/config.hpp"

namespace nexus::execute {
namespace {

using drivers::RolloutPhase;

ServiceCondition condition_of(const drivers::WorkloadStatus& status) {
  switch (status.phase) {
    case RolloutPhase::kFailed:
      return ServiceCondition::kFailed;
    case RolloutPhase::kProgressing:
      return ServiceCondition::kChanging;
    case RolloutPhase::kComplete:
    case RolloutPhase::kPaused:
      break;
  }
  if (status.wanted == 0) return ServiceCondition::kDown;
  return status.available > 0 ? ServiceCondition::kUp : ServiceCondition::kFailed;
}

std::string rollout_of(RolloutPhase phase) {
  return phase == RolloutPhase::kProgressing ? "under_way" : std::string(to_string(phase));
}

ServiceState state_of(const drivers::Workload& workload, const drivers::WorkloadStatus& status) {
  ServiceState out;
  out.name = std::string(kClusterPrefix) + to_string(workload);
  out.kind = "kubernetes";
  out.state = fmt::format("{} of {} available", status.available, status.wanted);
  out.condition = condition_of(status);
  for (const auto& [container, image] : status.images)
    out.description += (out.description.empty() ? "" : ", ") + image;
  out.instance = status.uid;
  out.replicas = status.wanted;
  out.ready = status.ready;
  out.updated = status.updated;
  out.rollout = rollout_of(status.phase);
  out.more = {{"message", status.message}, {"generation", fmt::format("{}", status.generation)}};
  if (status.revision > 0) out.more.emplace("revision", fmt::format("{}", status.revision));
  if (!status.restarted_at.empty()) out.more.emplace("restarted_at", status.restarted_at);
  return out;
}

class Workloads final : public ServiceManager {
 public:
  Status check(ServiceVerb verb, const std::string& name,
               const config::Config& config) const override {
    auto workload = changeable_workload(name, config);
    if (!workload) return propagate(std::move(workload));
    if (verb == ServiceVerb::kScale && workload->kind == drivers::WorkloadKind::kDaemonSet)
      return fail(Errc::kUnsupported, "{}: a daemon set has one pod a node and cannot be scaled",
                  name);
    return {};
  }

  Result<std::vector<ServiceState>> list(StepContext& context, std::size_t limit,
                                         SteadyTime deadline) override {
    auto cluster = cluster_of(context);
    if (!cluster) return propagate(std::move(cluster));
    const auto& section = context.config->connections.kubernetes;
    // Who may not see the whole cluster sees what may be changed.
    std::vector<std::string> where{section.name_space};
    std::vector<ServiceState> out;
    for (std::size_t i = 0; i < where.size() && out.size() < limit; ++i) {
      auto found = cluster->workloads(where[i], limit, {deadline});
      if (!found && found.error().code() == Errc::kPermissionDenied && where.size() == 1 &&
          !section.change_in.empty()) {
        where.insert(where.end(), section.change_in.begin(), section.change_in.end());
        continue;
      }
      if (!found) return propagate(std::move(found));
      for (const auto& one : found->items) {
        if (out.size() < limit) out.push_back(state_of(one.workload, one.status));
      }
    }
    std::ranges::sort(out, {}, &ServiceState::name);
    return out;
  }

  Result<ServiceState> status(const std::string& name, Look, StepContext& context,
                              SteadyTime deadline) override {
    auto workload = drivers::parse_workload(name);
    if (!workload) return propagate(std::move(workload));
    auto cluster = cluster_of(context);
    if (!cluster) return propagate(std::move(cluster));
    auto status = cluster->status(*workload, {deadline});
    if (!status) return propagate(std::move(status));
    return state_of(*workload, *status);
  }

  Step* step(ServiceVerb verb) override {
    switch (verb) {
      case ServiceVerb::kRestart:
        return restart_.get();
      case ServiceVerb::kScale:
        return scale_.get();
      case ServiceVerb::kRollout:
        return rollout_.get();
      case ServiceVerb::kUndo:
        return undo_.get();
      case ServiceVerb::kStart:
      case ServiceVerb::kStop:
      case ServiceVerb::kReload:
      case ServiceVerb::kEnable:
      case ServiceVerb::kDisable:
      case ServiceVerb::kReset:
        return nullptr;
    }
    return nullptr;
  }

  std::string why_not(ServiceVerb verb) const override {
    switch (verb) {
      case ServiceVerb::kStart:
      case ServiceVerb::kStop:
        return "a workload of Kubernetes is started and stopped by its number of replicas: "
               "scale_service";
      case ServiceVerb::kReload:
        return "Kubernetes has no reload: its pods are replaced, by restart_service";
      case ServiceVerb::kEnable:
      case ServiceVerb::kDisable:
      case ServiceVerb::kReset:
      case ServiceVerb::kRestart:
      case ServiceVerb::kScale:
      case ServiceVerb::kRollout:
      case ServiceVerb::kUndo:
        break;
    }
    return "Kubernetes has nothing of the kind";
  }

 private:
  const std::unique_ptr<Step> restart_ = make_workload_restart_step();
  const std::unique_ptr<Step> scale_ = make_workload_scale_step();
  const std::unique_ptr<Step> rollout_ = make_workload_rollout_step();
  const std::unique_ptr<Step> undo_ = make_workload_undo_step();
};

}  // namespace

const ServiceManagerDescriptor kKubernetesServices{
    .kind = "kubernetes",
    .help = "deployments, stateful sets and daemon sets of Kubernetes",
    .target_help = "\"kubernetes:NAMESPACE/KIND/NAME\", KIND deployment, statefulset or daemonset",
    .make = []() -> std::unique_ptr<ServiceManager> { return std::make_unique<Workloads>(); },
};

}  // namespace nexus::execute
