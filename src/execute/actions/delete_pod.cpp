// delete_pod: deletes one stuck pod of Kubernetes, for its controller to make another.
#include <array>
#include <boost/json.hpp>

#include "execute/actions.hpp"
#include "execute/cluster.hpp"
#include "execute/journal_json.hpp"
#include "execute/parameter_values.hpp"
#include "nexus/config/config.hpp"

namespace nexus::execute {
namespace {

namespace json = boost::json;
using drivers::PodState;

constexpr std::string_view kKind = "pod";

constexpr std::array<ParameterDescriptor, 3> kParameters{{
    {.name = "grace",
     .type = ParameterType::kDuration,
     .required = false,
     .default_value = "",
     .help =
         "for it to end; without it the pod's own; 0s does not wait for its node, and is refused "
         "for pods of stateful sets"},
    {.name = "if_ready",
     .type = ParameterType::kBool,
     .required = false,
     .default_value = "false",
     .help = "also a pod that is ready"},
    {.name = "min_age",
     .type = ParameterType::kDuration,
     .required = false,
     .default_value = "1m",
     .help = "a pod younger than this may still come up, and is left alone"},
}};

class DeletePodStep final : public Step {
 public:
  Status validate(const plan::Action& action, const StepContext& context) const override {
    auto pod = parse_object(action.target, kKind);
    if (!pod) return propagate(std::move(pod));
    if (auto may = may_change(pod->name_space, *context.config); !may) return may;
    return unprotected(fmt::format("{}/{}/{}", pod->name_space, kKind, pod->name), context);
  }

  Result<std::string> dry_run(const plan::Action& action, StepContext& context) override {
    auto pod = look(action, context);
    if (!pod) return propagate(std::move(pod));
    if (auto ok = check(action, *pod, context); !ok) return propagate(std::move(ok));
    return fmt::format("would delete {} on node {} ({}{}{}), which {} {} would make again",
                       action.target, pod->node, pod->phase, pod->reason.empty() ? "" : ", ",
                       pod->reason, pod->owner_kind, pod->owner_name);
  }

  std::string evidence(const plan::Action& action, StepContext& context) override {
    auto pod = look(action, context);
    if (!pod) return error_evidence(pod.error());
    return json::serialize(json::object{{"instance", pod->uid},
                                        {"node", pod->node},
                                        {"phase", pod->phase},
                                        {"reason", pod->reason},
                                        {"ready", pod->ready},
                                        {"deleting", pod->deleting.has_value()},
                                        {"owner", pod->owner_kind + "/" + pod->owner_name}});
  }

  Result<StepResult> run(const plan::Action& action, StepContext& context,
                         const StepRun& run) override {
    auto pod = look(action, context);
    if (!pod) return propagate(std::move(pod));
    if (auto same = same_object(action, pod->uid); !same) return propagate(std::move(same));
    if (auto ok = check(action, *pod, context); !ok) return propagate(std::move(ok));
    auto name = parse_object(action.target, kKind);
    auto cluster = cluster_of(context);
    if (!name || !cluster) return fail(Errc::kUnavailable, "[kubernetes] is not what it was");
    run.begun();
    auto gone = cluster->delete_pod(name->name_space, name->name, pod->uid, grace_of(action),
                                    patience_of(run));
    if (!gone && gone.error().code() == Errc::kCancelled && run.leaving())
      return StepResult{.result = gone.error().message(), .output = {}, .left = true};
    if (!gone) return propagate(std::move(gone));
    return StepResult{.result = fmt::format("deleted {}, which {} {} makes again", action.target,
                                            pod->owner_kind, pod->owner_name),
                      .output = {}};
  }

  std::optional<bool> verify(const plan::Action& action, StepContext& context) override {
    return is_gone(action, look(action, context));
  }

  std::string account(const plan::Action& action, const StepContext&) const override {
    const auto pod = parse_object(action.target, kKind);
    return pod ? pod_account(*pod) : std::string();
  }

  Recovered recover(const plan::Action& action, StepContext& context, std::string& what) override {
    auto pod = look(action, context);
    if (is_gone(action, pod)) {
      what = action.target + " is gone";
      return Recovered::kDone;
    }
    if (!pod) return unasked(pod.error(), what);
    what = fmt::format("{} is still there", action.target);
    return pod->deleting ? Recovered::kUnderWay : Recovered::kNotDone;
  }

 private:
  static std::optional<Millis> grace_of(const plan::Action& action) {
    if (!action.parameters.contains("grace")) return std::nullopt;
    return duration_parameter(action.parameters, "grace", Millis(0));
  }

  static Result<PodState> look(const plan::Action& action, StepContext& context) {
    auto pod = parse_object(action.target, kKind);
    if (!pod) return propagate(std::move(pod));
    auto cluster = cluster_of(context);
    if (!cluster) return propagate(std::move(cluster));
    return cluster->pod(pod->name_space, pod->name, brief(context));
  }

  /// The pod of the evidence: a stateful set makes another of the same name.
  static bool is_gone(const plan::Action& action, const Result<PodState>& now) {
    const std::string known = member_of(action.outcome.before, "instance");
    if (!now) return now.error().code() == Errc::kNotFound && !known.empty();
    return !known.empty() && now->uid != known;
  }

  static Status unprotected(const std::string& what, const StepContext& context) {
    if (auto why = protected_in_cluster(what, *context.config))
      return fail(Errc::kPermissionDenied, "{}", *why);
    return {};
  }

  static Status check(const plan::Action& action, const PodState& pod, StepContext& context) {
    const auto name = parse_object(action.target, kKind);
    if (name && !pod.workload.empty()) {
      if (auto ok = unprotected(fmt::format("{}/{}", name->name_space, pod.workload), context); !ok)
        return propagate(std::move(ok), "{} is of it", action.target);
    }
    if (pod.owner_kind.empty())
      return fail(Errc::kPermissionDenied, "{} has no controller: nothing would make it again",
                  action.target);
    if (pod.mirror)
      return fail(Errc::kUnsupported,
                  "{} is of a file of the kubelet, which makes it again at once", action.target);
    const auto* anyway = find_parameter<bool>(action.parameters, "if_ready");
    if (pod.ready && !pod.deleting && (anyway == nullptr || !*anyway))
      return fail(Errc::kConflict, "{} is ready", action.target);
    const auto grace = grace_of(action);
    if (grace && *grace == Millis(0) && pod.owner_kind == "StatefulSet")
      return fail(Errc::kConflict,
                  "{} is of a stateful set: deleted without its node's consent there could be two "
                  "of it",
                  action.target);
    const auto least = duration_parameter(action.parameters, "min_age", Millis(60'000));
    const double age =
        static_cast<double>(base::to_unix_millis(context.clock.wall())) / 1000 - pod.created;
    if (age * 1000 < static_cast<double>(least.count()))
      return fail(Errc::kConflict, "{} is only {:.0f} s old", action.target, age);
    return {};
  }
};

}  // namespace

const ActionDescriptor kDeletePod{
    .name = "delete_pod",
    .help =
        "Deletes a pod of Kubernetes that is stuck, for its controller to make another: exactly "
        "the pod that was looked at, and none that nothing would make again.",
    .target_help = "\"kubernetes:NAMESPACE/pod/NAME\"",
    .parameters = kParameters,
    .make = []() -> std::unique_ptr<Step> { return std::make_unique<DeletePodStep>(); },
    .check_remedy = check_cluster_remedy,
};

}  // namespace nexus::execute
