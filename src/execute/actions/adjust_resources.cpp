// adjust_resources: sets requests and limits of a container of a workload of Kubernetes.
#include <array>
#include <boost/json.hpp>

#include "execute/actions.hpp"
#include "execute/cluster.hpp"
#include "execute/parameter_values.hpp"
#include "execute/quantities.hpp"
#include "nexus/config/config.hpp"

namespace nexus::execute {
namespace {

namespace json = boost::json;

constexpr std::array<ParameterDescriptor, 3> kParameters{{
    {.name = "container",
     .type = ParameterType::kString,
     .required = false,
     .default_value = "",
     .help = "of a pod with several containers: whose they are"},
    {.name = "requests",
     .type = ParameterType::kStrings,
     .required = false,
     .default_value = "",
     .help = "NAME=QUANTITY each, as cpu=250m; NAME=- takes one away"},
    {.name = "limits",
     .type = ParameterType::kStrings,
     .required = false,
     .default_value = "",
     .help = "NAME=QUANTITY each, as memory=512Mi; NAME=- takes one away"},
}};

struct Wish {
  drivers::QuantityChanges requests;
  drivers::QuantityChanges limits;
};

Result<Wish> wish_of(const plan::Action& action) {
  auto requests = quantities_of(action.parameters, "requests");
  if (!requests) return propagate(std::move(requests));
  auto limits = quantities_of(action.parameters, "limits");
  if (!limits) return propagate(std::move(limits));
  if (requests->empty() && limits->empty())
    return fail(Errc::kInvalidArgument, "expected requests or limits");
  return Wish{*std::move(requests), *std::move(limits)};
}

std::string described(const Wish& wish) {
  std::string out;
  if (!wish.requests.empty()) out = "requests of " + shown(wish.requests);
  if (!wish.limits.empty()) out += (out.empty() ? "" : ", ") + ("limits of " + shown(wish.limits));
  return out;
}

struct Found {
  drivers::KubernetesControl cluster;
  drivers::Workload workload;
  std::string container;
  drivers::ContainerResources resources;
  drivers::WorkloadStatus status;
};

class ResourcesStep final : public Step {
 public:
  Status validate(const plan::Action& action, const StepContext& context) const override {
    auto workload = changeable_workload(action.target, *context.config);
    if (!workload) return propagate(std::move(workload));
    auto wish = wish_of(action);
    if (!wish) return propagate(std::move(wish));
    return {};
  }

  Result<std::string> dry_run(const plan::Action& action, StepContext& context) override {
    auto now = look(action, context, brief(context));
    if (!now) return propagate(std::move(now));
    auto wish = wish_of(action);
    if (!wish) return propagate(std::move(wish));
    return fmt::format("would set {} in container {} of {}, and roll it out", described(*wish),
                       now->container, action.target);
  }

  std::string evidence(const plan::Action& action, StepContext& context) override {
    auto now = look(action, context, brief(context));
    if (!now) return error_evidence(now.error());
    return json::serialize(json::object{{"instance", now->status.uid},
                                        {"container", now->container},
                                        {"requests", to_json(now->resources.requests)},
                                        {"limits", to_json(now->resources.limits)}});
  }

  Result<StepResult> run(const plan::Action& action, StepContext& context,
                         const StepRun& run) override {
    const auto patience = patience_of(run);
    auto now = look(action, context, patience);
    if (!now) return propagate(std::move(now));
    if (auto same = same_object(action, now->status.uid); !same) return propagate(std::move(same));
    auto wish = wish_of(action);
    if (!wish) return propagate(std::move(wish));
    auto set = now->cluster.set_resources(now->workload, now->container, wish->requests,
                                          wish->limits, patience);
    if (!set)
      return unheard(set.error(), run, [&]() -> Result<std::optional<std::string>> {
        auto after = look(action, context, brief(context));
        if (!after) return propagate(std::move(after));
        if (!has(*wish, after->resources) || has(*wish, now->resources)) return std::nullopt;
        return set_back(action, *now, *wish, context);
      });
    run.begun();
    const std::string done = fmt::format("set {} in container {} of {}", described(*wish),
                                         now->container, action.target);
    auto complete = now->cluster.await_rollout(now->workload, patience, {}, now->status.failure);
    if (complete) return StepResult{.result = done + "; " + complete->message, .output = {}};
    if (complete.error().code() == Errc::kCancelled && run.leaving())
      return StepResult{
          .result = done + "; left to Kubernetes, its rollout goes on", .output = {}, .left = true};
    // Pods that do not fit anywhere with it would wait for ever.
    return std::unexpected(Error(complete.error().code(),
                                 fmt::format("{}, but {}; {}", done, complete.error().message(),
                                             set_back(action, *now, *wish, context))));
  }

  std::optional<bool> verify(const plan::Action& action, StepContext& context) override {
    auto now = look(action, context, brief(context));
    auto wish = wish_of(action);
    return now && wish && has(*wish, now->resources);
  }

  Recovered recover(const plan::Action& action, StepContext& context, std::string& what) override {
    auto now = look(action, context, brief(context));
    if (!now) return unasked(now.error(), what);
    const bool done = verify(action, context).value_or(false);
    what = fmt::format("{} {} what was asked for", action.target, done ? "has" : "does not have");
    if (!done) return Recovered::kNotDone;
    auto status = now->cluster.status(now->workload, brief(context));
    if (!status) return unasked(status.error(), what);
    return status->phase == drivers::RolloutPhase::kProgressing ? Recovered::kUnderWay
                                                                : Recovered::kDone;
  }

  Result<std::string> undo(const plan::Action& action, StepContext& context) override {
    const auto patience = patience_to_undo(action, context);
    auto now = look(action, context, patience);
    if (!now) return propagate(std::move(now));
    auto wish = wish_of(action);
    if (!wish) return propagate(std::move(wish));
    boost::system::error_code wrong;
    const auto before = json::parse(action.outcome.before, wrong);
    if (wrong || !before.is_object() || !before.get_object().contains("requests"))
      return fail(Errc::kNotFound, "what they were before is not known");
    const Wish back{back_to(wish->requests, before.get_object().if_contains("requests")),
                    back_to(wish->limits, before.get_object().if_contains("limits"))};
    // Of an undo that a crash cut off they are set back; their rollout may still go on.
    const bool as_before = has(back, now->resources);
    if (!as_before) {
      if (!has(*wish, now->resources))
        return fail(Errc::kConflict, "{} is not as it was set any more, and is left as it is",
                    action.target);
      auto set = now->cluster.set_resources(now->workload, now->container, back.requests,
                                            back.limits, patience);
      if (!set) return propagate(std::move(set));
    }
    auto complete = now->cluster.await_rollout(now->workload, patience, {}, now->status.failure);
    if (!complete) return propagate(std::move(complete), "set back, but");
    return fmt::format("undone in {}: {}{}", action.target, described(back),
                       as_before ? ", as before" : "");
  }

 private:
  /// What became of it, in words.
  static std::string set_back(const plan::Action& action, const Found& before, const Wish& wish,
                              const StepContext& context) {
    const json::value requests(to_json(before.resources.requests));
    const json::value limits(to_json(before.resources.limits));
    auto back = before.cluster.set_resources(
        before.workload, before.container, back_to(wish.requests, &requests),
        back_to(wish.limits, &limits), patience_to_undo(action, context));
    return back ? "set back to what it was" : "it could not be set back: " + back.error().message();
  }

  static bool has(const Wish& wish, const drivers::ContainerResources& now) {
    return are_so(wish.requests, now.requests) && are_so(wish.limits, now.limits);
  }

  static Result<Found> look(const plan::Action& action, StepContext& context,
                            const drivers::KubernetesPatience& patience) {
    auto workload = changeable_workload(action.target, *context.config);
    if (!workload) return propagate(std::move(workload));
    auto cluster = cluster_of(context);
    if (!cluster) return propagate(std::move(cluster));
    auto status = cluster->status(*workload, patience);
    if (!status) return propagate(std::move(status));
    auto all = cluster->resources(*workload, patience);
    if (!all) return propagate(std::move(all));
    std::string container = text_parameter(action.parameters, "container");
    if (container.empty() && all->size() == 1) container = all->begin()->first;
    const auto found = all->find(container);
    if (found == all->end()) {
      std::string names;
      for (const auto& [name, resources] : *all) names += (names.empty() ? "" : ", ") + name;
      return fail(Errc::kInvalidArgument, "parameter \"container\": expected one of {}", names);
    }
    return Found{*std::move(cluster), *std::move(workload), found->first, found->second,
                 *std::move(status)};
  }
};

}  // namespace

const ActionDescriptor kAdjustResources{
    .name = "adjust_resources",
    .help =
        "Sets requests and limits of a container of a workload of Kubernetes, and waits until "
        "its pods have them.",
    .target_help = "\"kubernetes:NAMESPACE/KIND/NAME\"",
    .parameters = kParameters,
    .make = []() -> std::unique_ptr<Step> { return std::make_unique<ResourcesStep>(); },
    .check_remedy = check_cluster_remedy,
    .undo_help = "they are set back and rolled out again",
};

}  // namespace nexus::execute
