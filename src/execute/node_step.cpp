#include "execute/node_step.hpp"

#include <fmt/ranges.h>
#include <boost/json.hpp>

#include "execute/cluster.hpp"
#include "execute/parameter_values.hpp"
#include "nexus/config/config.hpp"

namespace nexus::execute {
namespace {

namespace json = boost::json;

std::string joined(const std::vector<std::string>& all) {
  return all.empty() ? "none" : fmt::format("{}", fmt::join(all, ", "));
}

/// What evidence() said; nothing: it is not known.
std::optional<bool> schedulable_in(std::string_view evidence) {
  boost::system::error_code wrong;
  const auto value = json::parse(json::string_view(evidence.data(), evidence.size()), wrong);
  const auto* known =
      wrong || !value.is_object() ? nullptr : value.get_object().if_contains("schedulable");
  return known != nullptr && known->is_bool() ? std::optional(known->get_bool()) : std::nullopt;
}

drivers::DrainWish drain_of(const plan::Action& action, const StepContext& context) {
  drivers::DrainWish out;
  out.protects = [config = context.config](std::string_view what) {
    return protected_in_cluster(what, *config);
  };
  if (action.parameters.contains("grace"))
    out.grace = duration_parameter(action.parameters, "grace", Millis(0));
  const auto flag = [&](std::string_view name) {
    const auto* value = find_parameter<bool>(action.parameters, name);
    return value != nullptr && *value;
  };
  out.unmanaged = flag("unmanaged");
  out.local_data = flag("local_data");
  return out;
}

class NodeStep final : public Step {
 public:
  explicit NodeStep(NodeWish wish) : wish_(wish) {}

  Status validate(const plan::Action& action, const StepContext& context) const override {
    auto node = parse_node(action.target);
    if (!node) return propagate(std::move(node));
    if (auto why = protected_in_cluster("node/" + *node, *context.config))
      return fail(Errc::kPermissionDenied, "{}", *why);
    return may_change_node(*node, *context.config);
  }

  Result<std::string> dry_run(const plan::Action& action, StepContext& context) override {
    auto node = parse_node(action.target);
    if (!node) return node;
    auto open = is_open(action, context);
    if (!open) return propagate(std::move(open));
    const std::string now = *open ? "is open to new pods" : "is closed to new pods";
    if (wish_ == NodeWish::kUncordon)
      return fmt::format("would open node {} to new pods; it {} now", *node, now);
    if (wish_ == NodeWish::kCordon)
      return fmt::format("would close node {} to new pods; it {} now", *node, now);
    auto cluster = cluster_of(context);
    if (!cluster) return propagate(std::move(cluster));
    auto plan = cluster->plan_drain(*node, drain_of(action, context), brief(context));
    if (!plan) return propagate(std::move(plan));
    if (!plan->refuse.empty())
      return fail(Errc::kConflict, "node {} would not be drained: {}", *node, joined(plan->refuse));
    return fmt::format("would close node {} to new pods (it {} now) and evict {}; left: {}", *node,
                       now, joined(plan->evict), joined(plan->left));
  }

  std::string evidence(const plan::Action& action, StepContext& context) override {
    auto open = is_open(action, context);
    return open ? json::serialize(json::object{{"schedulable", *open}})
                : error_evidence(open.error());
  }

  Result<StepResult> run(const plan::Action& action, StepContext& context,
                         const StepRun& run) override {
    auto node = parse_node(action.target);
    if (!node) return propagate(std::move(node));
    auto cluster = cluster_of(context);
    if (!cluster) return propagate(std::move(cluster));
    const auto patience = patience_of(run);
    run.begun();
    if (wish_ == NodeWish::kDrain) {
      auto gone = cluster->drain(*node, drain_of(action, context), patience);
      if (!gone) return propagate(std::move(gone));
      return StepResult{
          .result = fmt::format("drained node {}: {} pods evicted", *node, gone->size()),
          .output = fmt::format("{}", fmt::join(*gone, "\n"))};
    }
    const bool wanted = wish_ == NodeWish::kUncordon;
    auto before = cluster->set_schedulable(*node, wanted, patience);
    if (!before) return propagate(std::move(before));
    return StepResult{
        .result = fmt::format("node {} is {} to new pods{}", *node, wanted ? "open" : "closed",
                              *before == wanted ? ", and was already" : ""),
        .output = {}};
  }

  std::optional<bool> verify(const plan::Action& action, StepContext& context) override {
    auto open = is_open(action, context);
    if (!open || *open != (wish_ == NodeWish::kUncordon)) return false;
    if (wish_ != NodeWish::kDrain) return true;
    auto plan = plan_of(action, context);
    return plan && plan->evict.empty();
  }

  /// What a drain had not evicted yet stays: whether it goes on is for whoever asked to decide.
  Recovered recover(const plan::Action& action, StepContext& context, std::string& what) override {
    auto open = is_open(action, context);
    if (!open) return unasked(open.error(), what);
    what = fmt::format("{} is {} to new pods", action.target, *open ? "open" : "closed");
    if (wish_ == NodeWish::kDrain) {
      auto plan = plan_of(action, context);
      if (!plan) return unasked(plan.error(), what);
      what += fmt::format("; still to be evicted: {}", joined(plan->evict));
    }
    return verify(action, context).value_or(false) ? Recovered::kDone : Recovered::kNotDone;
  }

  /// Opens or closes it again; evicted pods do not come back to where they were.
  Result<std::string> undo(const plan::Action& action, StepContext& context) override {
    auto node = parse_node(action.target);
    if (!node) return node;
    const auto before = schedulable_in(action.outcome.before);
    if (!before) return fail(Errc::kNotFound, "how node {} was before is not known", *node);
    const bool wanted = wish_ == NodeWish::kUncordon;
    if (*before == wanted || schedulable_in(action.outcome.after) == before)
      return fail(Errc::kConflict, "node {} was not {} by it, and is left as it is", *node,
                  wanted ? "opened" : "closed");
    auto open = is_open(action, context);
    if (!open) return propagate(std::move(open));
    if (*open == *before)
      return fmt::format("undone: node {} is {} to new pods, as before", *node,
                         *open ? "open" : "closed");
    auto cluster = cluster_of(context);
    if (!cluster) return propagate(std::move(cluster));
    auto set = cluster->set_schedulable(*node, *before, patience_to_undo(action, context));
    if (!set) return propagate(std::move(set));
    return fmt::format("undone: node {} is {} to new pods", *node, *before ? "open" : "closed");
  }

 private:
  static Result<bool> is_open(const plan::Action& action, StepContext& context) {
    auto node = parse_node(action.target);
    if (!node) return propagate(std::move(node));
    auto cluster = cluster_of(context);
    if (!cluster) return propagate(std::move(cluster));
    return cluster->schedulable(*node, brief(context));
  }

  static Result<drivers::DrainPlan> plan_of(const plan::Action& action, StepContext& context) {
    auto node = parse_node(action.target);
    if (!node) return propagate(std::move(node));
    auto cluster = cluster_of(context);
    if (!cluster) return propagate(std::move(cluster));
    return cluster->plan_drain(*node, drain_of(action, context), brief(context));
  }

  const NodeWish wish_;
};

}  // namespace

std::unique_ptr<Step> make_node_step(NodeWish wish) {
  return std::make_unique<NodeStep>(wish);
}

}  // namespace nexus::execute
