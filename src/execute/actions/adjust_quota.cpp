// adjust_quota: sets what a namespace of Kubernetes may take, by its ResourceQuota.
#include <array>
#include <boost/json.hpp>

#include "execute/actions.hpp"
#include "execute/cluster.hpp"
#include "execute/quantities.hpp"
#include "nexus/config/config.hpp"

namespace nexus::execute {
namespace {

namespace json = boost::json;

constexpr std::string_view kKind = "resourcequota";

constexpr std::array<ParameterDescriptor, 1> kParameters{{
    {.name = "hard",
     .type = ParameterType::kStrings,
     .required = true,
     .default_value = "",
     .help = "NAME=QUANTITY each, as pods=20 or requests.memory=8Gi; NAME=- takes one away"},
}};

class QuotaStep final : public Step {
 public:
  Status validate(const plan::Action& action, const StepContext& context) const override {
    auto quota = parse_object(action.target, kKind);
    if (!quota) return propagate(std::move(quota));
    if (auto may = may_change(quota->name_space, *context.config); !may) return may;
    if (auto why = protected_in_cluster(
            fmt::format("{}/{}/{}", quota->name_space, kKind, quota->name), *context.config))
      return fail(Errc::kPermissionDenied, "{}", *why);
    auto changes = quantities_of(action.parameters, "hard");
    if (!changes) return propagate(std::move(changes));
    if (changes->empty())
      return fail(Errc::kInvalidArgument, "parameter \"hard\": expected at least one quantity");
    return {};
  }

  Result<std::string> dry_run(const plan::Action& action, StepContext& context) override {
    auto now = look(action, context);
    if (!now) return propagate(std::move(now));
    auto changes = quantities_of(action.parameters, "hard");
    if (!changes) return propagate(std::move(changes));
    return fmt::format("would set in the quota {}: {}; it is {}", action.target, shown(*changes),
                       json::serialize(to_json(now->hard)));
  }

  std::string evidence(const plan::Action& action, StepContext& context) override {
    auto now = look(action, context);
    if (!now) return error_evidence(now.error());
    return json::serialize(json::object{
        {"instance", now->uid}, {"hard", to_json(now->hard)}, {"used", to_json(now->used)}});
  }

  Result<StepResult> run(const plan::Action& action, StepContext& context,
                         const StepRun& run) override {
    auto now = look(action, context);
    if (!now) return propagate(std::move(now));
    if (auto same = same_object(action, now->uid); !same) return propagate(std::move(same));
    auto changes = quantities_of(action.parameters, "hard");
    if (!changes) return propagate(std::move(changes));
    if (auto set = write(action, *changes, context, patience_of(run)); !set)
      return unheard(set.error(), run, [&]() -> Result<std::optional<std::string>> {
        auto after = look(action, context);
        if (!after) return propagate(std::move(after));
        if (!are_so(*changes, after->hard) || are_so(*changes, now->hard)) return std::nullopt;
        return undo(action, context);
      });
    run.begun();
    return StepResult{.result = fmt::format("set in {}: {}", action.target, shown(*changes)),
                      .output = {}};
  }

  std::optional<bool> verify(const plan::Action& action, StepContext& context) override {
    auto now = look(action, context);
    auto changes = quantities_of(action.parameters, "hard");
    return now && changes && are_so(*changes, now->hard);
  }

  Recovered recover(const plan::Action& action, StepContext& context, std::string& what) override {
    auto now = look(action, context);
    if (!now) return unasked(now.error(), what);
    const bool done = verify(action, context).value_or(false);
    what = fmt::format("{} {} what was asked for", action.target, done ? "has" : "does not have");
    return done ? Recovered::kDone : Recovered::kNotDone;
  }

  Result<std::string> undo(const plan::Action& action, StepContext& context) override {
    auto now = look(action, context);
    if (!now) return propagate(std::move(now));
    boost::system::error_code wrong;
    const auto before = json::parse(action.outcome.before, wrong);
    const auto* hard =
        wrong || !before.is_object() ? nullptr : before.get_object().if_contains("hard");
    if (hard == nullptr) return fail(Errc::kNotFound, "what the quota was is not known");
    auto changes = quantities_of(action.parameters, "hard");
    if (!changes) return propagate(std::move(changes));
    const auto back = back_to(*changes, hard);
    if (are_so(back, now->hard))
      return fmt::format("undone in {}: {}, as before", action.target, shown(back));
    if (!are_so(*changes, now->hard))
      return fail(Errc::kConflict, "{} is not as it was set any more, and is left as it is",
                  action.target);
    if (auto set = write(action, back, context, patience_to_undo(action, context)); !set)
      return propagate(std::move(set));
    return fmt::format("undone in {}: {}", action.target, shown(back));
  }

 private:
  static Result<drivers::QuotaState> look(const plan::Action& action, StepContext& context) {
    auto quota = parse_object(action.target, kKind);
    if (!quota) return propagate(std::move(quota));
    auto cluster = cluster_of(context);
    if (!cluster) return propagate(std::move(cluster));
    return cluster->quota(quota->name_space, quota->name, brief(context));
  }

  static Status write(const plan::Action& action, const drivers::QuantityChanges& changes,
                      StepContext& context, const drivers::KubernetesPatience& patience) {
    auto quota = parse_object(action.target, kKind);
    if (!quota) return propagate(std::move(quota));
    auto cluster = cluster_of(context);
    if (!cluster) return propagate(std::move(cluster));
    auto set = cluster->set_quota(quota->name_space, quota->name, changes, patience);
    if (!set) return propagate(std::move(set));
    return {};
  }
};

}  // namespace

const ActionDescriptor kAdjustQuota{
    .name = "adjust_quota",
    .help =
        "Sets hard limits of a ResourceQuota of Kubernetes, reads them back, and sets them back "
        "when it did not help.",
    .target_help = "\"kubernetes:NAMESPACE/resourcequota/NAME\"",
    .parameters = kParameters,
    .make = []() -> std::unique_ptr<Step> { return std::make_unique<QuotaStep>(); },
    .check_remedy = check_cluster_remedy,
    .undo_help = "the limits that were changed are set back",
};

}  // namespace nexus::execute
