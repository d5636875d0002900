// Docker and Podman: containers, and services of Compose by their labels.
#include <algorithm>
#include <map>

#include "execute/container.hpp"
#include "execute/container_step.hpp"
#include "execute/services.hpp"
#include "nexus/config/config.hpp"
#include "nexus/plan/planner.hpp"

namespace nexus::execute {
namespace {

/// Of the list, which does not say everything of each.
ServiceState state_of(const drivers::DockerContainer& container) {
  ServiceState out;
  out.name = "docker:" + container.name;
  out.kind = "docker";
  out.state = container.state;
  out.description = container.image;
  out.instance = container.id;
  if (container.state == "running")
    out.condition = container.status.contains("(unhealthy)")          ? ServiceCondition::kFailed
                    : container.status.contains("(health: starting)") ? ServiceCondition::kChanging
                                                                      : ServiceCondition::kUp;
  if (container.state == "exited")
    out.condition = container.status.starts_with("Exited (0)") ? ServiceCondition::kDown
                                                               : ServiceCondition::kFailed;
  if (container.state == "created" || container.state == "paused")
    out.condition = ServiceCondition::kDown;
  if (container.state == "restarting") out.condition = ServiceCondition::kChanging;
  const auto project = container.labels.find(kComposeProject);
  const auto service = container.labels.find(kComposeService);
  if (project != container.labels.end() && service != container.labels.end())
    out.more.emplace("compose", project->second + "/" + service->second);
  return out;
}

class Containers final : public ServiceManager {
 public:
  Status check(ServiceVerb verb, const std::string& name,
               const config::Config& config) const override {
    if (auto ok = check_container_name(name); !ok) return ok;
    if (verb == ServiceVerb::kScale && !is_compose(name))
      return fail(Errc::kInvalidArgument,
                  "only services of Compose can be more or fewer: expected "
                  "\"docker:PROJECT/SERVICE\", got \"docker:{}\"",
                  name);
    if (auto why = plan::protected_reason("restart_service", "docker:" + name,
                                          config.guardrails.protected_units))
      return fail(Errc::kPermissionDenied, "{}", *why);
    return {};
  }

  Result<std::vector<ServiceState>> list(StepContext& context, std::size_t limit,
                                         SteadyTime deadline) override {
    auto engine = engine_of(*context.config, context.clock);
    if (!engine) return propagate(std::move(engine));
    auto containers = engine->engine().containers(deadline, limit);
    if (!containers) return propagate(std::move(containers));
    std::vector<ServiceState> out;
    std::map<std::string, ServiceState, std::less<>> compose;
    for (const auto& one : *containers) {
      out.push_back(state_of(one));
      const auto known = out.back().more.find("compose");
      if (known != out.back().more.end()) add(compose, known->second, out.back());
    }
    for (auto& [name, state] : compose) out.push_back(std::move(state));
    std::ranges::sort(out, {}, &ServiceState::name);
    if (out.size() > limit) out.resize(limit);
    return out;
  }

  Result<ServiceState> status(const std::string& name, Look, StepContext& context,
                              SteadyTime deadline) override {
    if (auto ok = check_container_name(name); !ok) return propagate(std::move(ok));
    auto engine = engine_of(*context.config, context.clock);
    if (!engine) return propagate(std::move(engine));
    auto containers = containers_of(name, *engine, {.deadline = deadline});
    if (!containers) return propagate(std::move(containers));
    if (!is_compose(name)) return execute::state_of(containers->front());
    std::map<std::string, ServiceState, std::less<>> compose;
    for (const auto& one : *containers) add(compose, name, execute::state_of(one));
    return compose.at(name);
  }

  Step* step(ServiceVerb verb) override {
    switch (verb) {
      case ServiceVerb::kStart:
        return start_.get();
      case ServiceVerb::kStop:
        return stop_.get();
      case ServiceVerb::kRestart:
        return restart_.get();
      case ServiceVerb::kReload:
        return reload_.get();
      case ServiceVerb::kScale:
        return scale_.get();
      case ServiceVerb::kRollout:
        return rollout_.get();
      case ServiceVerb::kUndo:
        return back_.get();
      case ServiceVerb::kEnable:
      case ServiceVerb::kDisable:
      case ServiceVerb::kReset:
        return nullptr;
    }
    return nullptr;
  }

  std::string why_not(ServiceVerb verb) const override {
    return verb == ServiceVerb::kReset
               ? "an engine keeps no failure that could be forgotten"
               : "whether a container comes up with the engine is its restart policy";
  }

 private:
  /// One more container of a service of Compose.
  static void add(std::map<std::string, ServiceState, std::less<>>& compose,
                  const std::string& name, const ServiceState& one) {
    auto& all = compose[name];
    if (all.name.empty()) {
      all.name = "docker:" + name;
      all.kind = "docker";
      all.description = one.description;
      all.replicas = 0;
      all.ready = 0;
      all.condition = ServiceCondition::kUp;
    }
    all.replicas = *all.replicas + 1;
    const bool up = one.condition == ServiceCondition::kUp;
    all.ready = *all.ready + (up ? 1 : 0);
    // The worst that is so of one is said of all: failed, changing, down.
    const auto badness = [](ServiceCondition condition) {
      switch (condition) {
        case ServiceCondition::kUp:
          return 0;
        case ServiceCondition::kUnknown:
          return 1;
        case ServiceCondition::kDown:
          return 2;
        case ServiceCondition::kChanging:
          return 3;
        case ServiceCondition::kFailed:
          return 4;
      }
      return 0;
    };
    if (badness(one.condition) > badness(all.condition)) all.condition = one.condition;
    all.state = fmt::format("{} of {} up", *all.ready, *all.replicas);
  }

  const std::unique_ptr<Step> start_ = make_container_job_step(ServiceVerb::kStart);
  const std::unique_ptr<Step> stop_ = make_container_job_step(ServiceVerb::kStop);
  const std::unique_ptr<Step> restart_ = make_container_job_step(ServiceVerb::kRestart);
  const std::unique_ptr<Step> reload_ = make_container_job_step(ServiceVerb::kReload);
  const std::unique_ptr<Step> scale_ = make_container_scale_step();
  const std::unique_ptr<Step> rollout_ = make_container_rollout_step(RolloutTo::kNewer);
  const std::unique_ptr<Step> back_ = make_container_rollout_step(RolloutTo::kEarlier);
};

}  // namespace

const ServiceManagerDescriptor kDockerServices{
    .kind = "docker",
    .help = "containers of Docker or Podman, and services of Compose by their labels",
    .target_help = "\"docker:NAME\", a container; \"docker:PROJECT/SERVICE\", all of Compose's",
    .make = []() -> std::unique_ptr<ServiceManager> { return std::make_unique<Containers>(); },
};

}  // namespace nexus::execute
