#include "execute/workload_step.hpp"

#include <boost/json.hpp>

#include "execute/cluster.hpp"
#include "execute/journal_json.hpp"
#include "execute/parameter_values.hpp"
#include "nexus/config/config.hpp"

namespace nexus::execute {
namespace {

namespace json = boost::json;
using drivers::KubernetesControl;
using drivers::RolloutPhase;
using drivers::Workload;
using drivers::WorkloadStatus;

constexpr std::int64_t kMostReplicas = 10'000;

json::object to_json(const WorkloadStatus& status) {
  json::object images;
  for (const auto& [container, image] : status.images) images[container] = image;
  return {{"instance", status.uid},
          {"generation", status.generation},
          {"revision", status.revision},
          {"restarted_at", status.restarted_at},
          {"wanted", status.wanted},
          {"updated", status.updated},
          {"available", status.available},
          {"images", std::move(images)},
          {"rollout", std::string(to_string(status.phase))},
          {"message", status.message},
          {"failure", status.failure}};
}

json::object evidence_of(const plan::Action& action) {
  boost::system::error_code wrong;
  auto value = json::parse(action.outcome.before, wrong);
  return !wrong && value.is_object() ? value.get_object() : json::object();
}

std::optional<std::uint64_t> number_in(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  if (value == nullptr) return std::nullopt;
  boost::system::error_code wrong;
  const auto number = value->to_number<std::uint64_t>(wrong);
  return wrong ? std::nullopt : std::optional(number);
}

/// What a step works with while it runs.
struct WorkloadWork {
  KubernetesControl cluster;
  Workload workload;
  WorkloadStatus before;
};

/// What all of them do: look, act, wait.
class WorkloadStep : public Step {
 public:
  Status validate(const plan::Action& action, const StepContext& context) const override {
    auto workload = changeable_workload(action.target, *context.config);
    if (!workload) return propagate(std::move(workload));
    return check(action, *workload);
  }

  std::string evidence(const plan::Action& action, StepContext& context) override {
    auto status = now(action, context);
    return status ? json::serialize(to_json(*status)) : error_evidence(status.error());
  }

  Result<std::string> dry_run(const plan::Action& action, StepContext& context) final {
    auto work = look(action, context, brief(context));
    if (!work) return propagate(std::move(work));
    auto what = would(action, *work, context);
    if (!what) return what;
    return fmt::format("would {}; {} of {} replicas are available now, its rollout is {}", *what,
                       work->before.available, work->before.wanted, to_string(work->before.phase));
  }

  Result<StepResult> run(const plan::Action& action, StepContext& context,
                         const StepRun& run) final {
    const auto patience = patience_of(run);
    auto work = look(action, context, patience);
    if (!work) return propagate(std::move(work));
    if (auto same = same_object(action, work->before.uid); !same) return propagate(std::move(same));
    auto done = act(action, *work, context, patience);
    if (!done) return unheard(done.error(), run, [&] { return made(action, *work, context); });
    run.begun();
    auto complete = work->cluster.await_rollout(work->workload, patience, {}, work->before.failure);
    if (complete)
      return StepResult{.result = fmt::format("{}; {}", *done, complete->message), .output = {}};
    if (complete.error().code() == Errc::kCancelled && run.leaving())
      return StepResult{.result = fmt::format("{}; left to Kubernetes, its rollout goes on", *done),
                        .output = {},
                        .left = true};
    const std::string back = given_up(action, *work, context);
    return std::unexpected(Error(complete.error().code(),
                                 fmt::format("{}, but {}{}{}", *done, complete.error().message(),
                                             back.empty() ? "" : "; ", back)));
  }

  std::optional<bool> verify(const plan::Action& action, StepContext& context) override {
    auto status = now(action, context);
    return status && status->phase == RolloutPhase::kComplete;
  }

  Recovered recover(const plan::Action& action, StepContext& context, std::string& what) override {
    auto status = now(action, context);
    if (!status) return unasked(status.error(), what);
    what = fmt::format("{}: {}", action.target, status->message);
    if (!is_asked_for(action, *status)) return Recovered::kNotDone;
    const bool failed_before = status->phase == RolloutPhase::kFailed &&
                               status->failure == member_of(action.outcome.before, "failure");
    return status->phase == RolloutPhase::kProgressing || failed_before ? Recovered::kUnderWay
                                                                        : Recovered::kDone;
  }

 protected:
  static Result<WorkloadWork> look(const plan::Action& action, StepContext& context,
                                   const drivers::KubernetesPatience& patience) {
    auto workload = changeable_workload(action.target, *context.config);
    if (!workload) return propagate(std::move(workload));
    auto cluster = cluster_of(context);
    if (!cluster) return propagate(std::move(cluster));
    auto status = cluster->status(*workload, patience);
    if (!status) return propagate(std::move(status));
    return WorkloadWork{*std::move(cluster), *std::move(workload), *std::move(status)};
  }

  static Result<WorkloadStatus> now(const plan::Action& action, StepContext& context) {
    auto work = look(action, context, brief(context));
    if (!work) return propagate(std::move(work));
    return std::move(work->before);
  }

  /// RFC 3339, the same for one action however often it is asked.
  static std::string stamp_of(const plan::Action& action, const StepContext& context) {
    return base::to_rfc3339(action.started.value_or(context.clock.wall()));
  }

 private:
  /// What was made although its answer did not come, and what has become of it.
  Result<std::optional<std::string>> made(const plan::Action& action, const WorkloadWork& work,
                                          StepContext& context) {
    auto status = now(action, context);
    if (!status) return propagate(std::move(status));
    if (!is_asked_for(action, *status) || is_asked_for(action, work.before)) return std::nullopt;
    std::string more = given_up(action, work, context);
    return more.empty() ? status->message : more;
  }

  [[nodiscard]] virtual Status check(const plan::Action& action,
                                     const Workload& workload) const = 0;
  [[nodiscard]] virtual Result<std::string> would(const plan::Action& action,
                                                  const WorkloadWork& work,
                                                  StepContext& context) const = 0;
  /// Sends the change; what was done, in one sentence.
  [[nodiscard]] virtual Result<std::string> act(const plan::Action& action,
                                                const WorkloadWork& work, StepContext& context,
                                                const drivers::KubernetesPatience& patience) = 0;
  /// Whether the workload is as the action wanted it, rolled out or not.
  [[nodiscard]] virtual bool is_asked_for(const plan::Action& action,
                                          const WorkloadStatus& now) const = 0;
  /// What becomes of a rollout that is not complete: said behind the error. Empty: nothing.
  [[nodiscard]] virtual std::string given_up(const plan::Action&, const WorkloadWork&,
                                             StepContext&) {
    return {};
  }
};

class RestartStep final : public WorkloadStep {
  Status check(const plan::Action& action, const Workload&) const override {
    for (const auto* name : {"only_if_running", "timeout"}) {
      if (action.parameters.contains(name))
        return fail(Errc::kInvalidArgument,
                    "parameter \"{}\": not of Kubernetes, whose pods are replaced one by one",
                    name);
    }
    return {};
  }
  Result<std::string> would(const plan::Action&, const WorkloadWork& work,
                            StepContext&) const override {
    return fmt::format("replace the pods of {} one after the other", to_string(work.workload));
  }
  Result<std::string> act(const plan::Action& action, const WorkloadWork& work,
                          StepContext& context,
                          const drivers::KubernetesPatience& patience) override {
    auto done = work.cluster.restart(work.workload, stamp_of(action, context), patience);
    if (!done) return propagate(std::move(done));
    return fmt::format("restarted {}", to_string(work.workload));
  }
  bool is_asked_for(const plan::Action& action, const WorkloadStatus& now) const override {
    return action.started && now.restarted_at == base::to_rfc3339(*action.started);
  }
};

class ScaleStep final : public WorkloadStep {
 public:
  Result<std::string> undo(const plan::Action& action, StepContext& context) override {
    const auto patience = patience_to_undo(action, context);
    auto work = look(action, context, patience);
    if (!work) return propagate(std::move(work));
    const auto was = number_in(evidence_of(action), "wanted");
    if (!was) return fail(Errc::kNotFound, "how many there were is not known");
    if (work->before.wanted == *was)
      return fmt::format("undone: {} is scaled to {}, as before", to_string(work->workload), *was);
    if (work->before.wanted != wanted(action))
      return fail(Errc::kConflict, "{} has been scaled to {} since, and is left so",
                  to_string(work->workload), work->before.wanted);
    auto back = work->cluster.scale(work->workload, static_cast<std::uint32_t>(*was), patience);
    if (!back) return propagate(std::move(back));
    return fmt::format("undone: {} is scaled to {} again", to_string(work->workload), *was);
  }

 private:
  static std::uint32_t wanted(const plan::Action& action) {
    const auto* replicas = find_parameter<std::int64_t>(action.parameters, "replicas");
    return replicas == nullptr ? 0 : static_cast<std::uint32_t>(*replicas);
  }
  Status check(const plan::Action& action, const Workload& workload) const override {
    const auto* replicas = find_parameter<std::int64_t>(action.parameters, "replicas");
    if (replicas == nullptr || *replicas < 0 || *replicas > kMostReplicas)
      return fail(Errc::kInvalidArgument, "parameter \"replicas\": expected 0 to {}",
                  kMostReplicas);
    if (workload.kind == drivers::WorkloadKind::kDaemonSet)
      return fail(Errc::kUnsupported, "{}: a daemon set has one pod a node and cannot be scaled",
                  to_string(workload));
    return {};
  }
  Result<std::string> would(const plan::Action& action, const WorkloadWork& work,
                            StepContext&) const override {
    return fmt::format("scale {} from {} to {}", to_string(work.workload), work.before.wanted,
                       wanted(action));
  }
  Result<std::string> act(const plan::Action& action, const WorkloadWork& work, StepContext&,
                          const drivers::KubernetesPatience& patience) override {
    auto before = work.cluster.scale(work.workload, wanted(action), patience);
    if (!before) return propagate(std::move(before));
    return fmt::format("scaled {} from {} to {}", to_string(work.workload), *before,
                       wanted(action));
  }
  bool is_asked_for(const plan::Action& action, const WorkloadStatus& now) const override {
    return now.wanted == wanted(action);
  }
  /// Replicas that find no place, or that a quota forbids, would be wanted for ever.
  std::string given_up(const plan::Action& action, const WorkloadWork& work,
                       StepContext& context) override {
    auto back =
        work.cluster.scale(work.workload, work.before.wanted, patience_to_undo(action, context));
    return back ? fmt::format("it is scaled back to {}", work.before.wanted)
                : "it could not be scaled back: " + back.error().message();
  }
};

class RolloutStep final : public WorkloadStep {
 public:
  Result<std::string> undo(const plan::Action& action, StepContext& context) override {
    const auto patience = patience_to_undo(action, context);
    auto work = look(action, context, patience);
    if (!work) return propagate(std::move(work));
    if (text_parameter(action.parameters, "image").empty())
      return fail(Errc::kUnsupported, "the pods were replaced by ones of the same image");
    auto image = image_of(action, *work);
    if (!image) return propagate(std::move(image));
    const auto& [container, wanted] = *image;
    const auto was = image_in(action, container);
    if (!was) return fail(Errc::kNotFound, "which image it had is not known");
    const std::string& now = work->before.images.at(container);
    if (now != wanted && now != *was)
      return fail(Errc::kConflict, "{} runs {} since, and is left so", to_string(work->workload),
                  now);
    // Of an undo that a crash cut off the image is set back; its rollout may still go on.
    auto back = now == *was ? fmt::format("{} has {}, as before", to_string(work->workload), *was)
                            : set_back(*work, container, *was, patience);
    if (!back) return back;
    auto complete = work->cluster.await_rollout(work->workload, patience, {}, work->before.failure);
    if (!complete) return propagate(std::move(complete), "{}, but", *back);
    return "undone: " + *back;
  }

 private:
  Status check(const plan::Action& action, const Workload&) const override {
    if (action.parameters.contains("wait"))
      return fail(Errc::kInvalidArgument,
                  "parameter \"wait\": not of Kubernetes, whose workloads say it themselves "
                  "(minReadySeconds)");
    if (action.parameters.contains("container") &&
        text_parameter(action.parameters, "image").empty())
      return fail(Errc::kInvalidArgument, "parameter \"container\": needs an \"image\"");
    return {};
  }

  /// Which container gets which image.
  static Result<std::pair<std::string, std::string>> image_of(const plan::Action& action,
                                                              const WorkloadWork& work) {
    const std::string image = text_parameter(action.parameters, "image");
    std::string container = text_parameter(action.parameters, "container");
    if (container.empty() && work.before.images.size() == 1)
      container = work.before.images.begin()->first;
    if (!work.before.images.contains(container)) {
      std::string names;
      for (const auto& [name, now] : work.before.images)
        names += (names.empty() ? "" : ", ") + name;
      return fail(Errc::kInvalidArgument, "parameter \"container\": expected one of {}", names);
    }
    return std::pair(container, image);
  }

  /// What ran in the container before the action, by its evidence; nothing: it is not known.
  static std::optional<std::string> image_in(const plan::Action& action,
                                             const std::string& container) {
    const json::object before = evidence_of(action);
    const auto* images = before.if_contains("images");
    const auto* known = images != nullptr && images->is_object()
                            ? images->get_object().if_contains(container)
                            : nullptr;
    if (known == nullptr || !known->is_string()) return std::nullopt;
    return std::string(known->get_string());
  }

  static Result<std::string> set_back(const WorkloadWork& work, const std::string& container,
                                      const std::string& image,
                                      const drivers::KubernetesPatience& patience) {
    auto back = work.cluster.set_images(work.workload, {{container, image}}, patience);
    if (!back) return propagate(std::move(back));
    return fmt::format("{} is set back to {}", to_string(work.workload), image);
  }

  Result<std::string> would(const plan::Action& action, const WorkloadWork& work,
                            StepContext&) const override {
    if (text_parameter(action.parameters, "image").empty())
      return fmt::format("replace the pods of {} one after the other", to_string(work.workload));
    auto image = image_of(action, work);
    if (!image) return propagate(std::move(image));
    return fmt::format("roll out {} in container {} of {}, which has {}", image->second,
                       image->first, to_string(work.workload), work.before.images.at(image->first));
  }

  Result<std::string> act(const plan::Action& action, const WorkloadWork& work,
                          StepContext& context,
                          const drivers::KubernetesPatience& patience) override {
    if (text_parameter(action.parameters, "image").empty()) {
      auto done = work.cluster.restart(work.workload, stamp_of(action, context), patience);
      if (!done) return propagate(std::move(done));
      return fmt::format("replaced the pods of {}", to_string(work.workload));
    }
    auto image = image_of(action, work);
    if (!image) return propagate(std::move(image));
    auto done = work.cluster.set_images(work.workload, {{image->first, image->second}}, patience);
    if (!done) return propagate(std::move(done));
    return fmt::format("rolled out {} in {}", image->second, to_string(work.workload));
  }

  bool is_asked_for(const plan::Action& action, const WorkloadStatus& now) const override {
    const std::string image = text_parameter(action.parameters, "image");
    if (image.empty())
      return action.started && now.restarted_at == base::to_rfc3339(*action.started);
    const std::string container = text_parameter(action.parameters, "container");
    for (const auto& [name, value] : now.images) {
      if (value == image && (container.empty() || name == container)) return true;
    }
    return false;
  }

  std::string given_up(const plan::Action& action, const WorkloadWork& work,
                       StepContext& context) override {
    if (text_parameter(action.parameters, "image").empty()) return {};
    auto image = image_of(action, work);
    if (!image) return {};
    auto back = set_back(work, image->first, work.before.images.at(image->first),
                         patience_to_undo(action, context));
    return back ? *back : "it could not be set back: " + back.error().message();
  }
};

class UndoStep final : public WorkloadStep {
  Status check(const plan::Action& action, const Workload&) const override {
    const auto* revision = find_parameter<std::int64_t>(action.parameters, "revision");
    if (revision != nullptr && *revision < 0)
      return fail(Errc::kInvalidArgument, "parameter \"revision\": expected 0 or more");
    return {};
  }
  static std::uint64_t revision_of(const plan::Action& action) {
    const auto* revision = find_parameter<std::int64_t>(action.parameters, "revision");
    return revision == nullptr ? 0 : static_cast<std::uint64_t>(*revision);
  }
  Result<std::string> would(const plan::Action& action, const WorkloadWork& work,
                            StepContext& context) const override {
    auto all = work.cluster.revisions(work.workload, brief(context));
    if (!all) return propagate(std::move(all));
    const std::uint64_t wanted = revision_of(action);
    for (std::size_t i = 0; i < all->size(); ++i) {
      const auto& one = (*all)[i];
      if (wanted == 0 ? i != 1 : one.number != wanted) continue;
      std::string images;
      for (const auto& [name, image] : one.images)
        images += fmt::format("{}{}", images.empty() ? "" : ", ", image);
      return fmt::format("roll {} back to revision {} ({})", to_string(work.workload), one.number,
                         images);
    }
    return fail(Errc::kNotFound, "{} has no such revision", to_string(work.workload));
  }
  Result<std::string> act(const plan::Action& action, const WorkloadWork& work, StepContext&,
                          const drivers::KubernetesPatience& patience) override {
    auto done = work.cluster.undo(work.workload, revision_of(action), patience);
    if (!done) return propagate(std::move(done));
    if (!done->changed)
      return fmt::format("{} is as revision {} was already", to_string(work.workload), done->to);
    return fmt::format("rolled {} back from revision {} to {}", to_string(work.workload),
                       done->from, done->to);
  }
  /// Which revision it went to is not to be told afterwards (it has a new number); that the
  /// template changed is.
  bool is_asked_for(const plan::Action& action, const WorkloadStatus& now) const override {
    const auto before = number_in(evidence_of(action), "generation");
    return before && now.generation > *before;
  }
};

}  // namespace

std::unique_ptr<Step> make_workload_restart_step() {
  return std::make_unique<RestartStep>();
}
std::unique_ptr<Step> make_workload_scale_step() {
  return std::make_unique<ScaleStep>();
}
std::unique_ptr<Step> make_workload_rollout_step() {
  return std::make_unique<RolloutStep>();
}
std::unique_ptr<Step> make_workload_undo_step() {
  return std::make_unique<UndoStep>();
}

}  // namespace nexus::execute
