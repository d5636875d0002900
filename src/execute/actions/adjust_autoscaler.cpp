// adjust_autoscaler: makes or adjusts the HorizontalPodAutoscaler of a workload, within bounds.
#include <algorithm>
#include <array>
#include <boost/json.hpp>

#include "execute/actions.hpp"
#include "execute/cluster.hpp"
#include "execute/parameter_values.hpp"
#include "nexus/config/config.hpp"

namespace nexus::execute {
namespace {

namespace json = boost::json;
using drivers::AutoscalerState;
using drivers::AutoscalerWish;

constexpr std::int64_t kMost = 10'000;

constexpr std::array<ParameterDescriptor, 5> kParameters{{
    {.name = "min",
     .type = ParameterType::kInteger,
     .required = false,
     .default_value = "",
     .help = "fewest replicas, 1 or more; as it is when left out"},
    {.name = "max",
     .type = ParameterType::kInteger,
     .required = false,
     .default_value = "",
     .help = "most replicas; needed where there is no autoscaler yet"},
    {.name = "raise_max_by",
     .type = ParameterType::kInteger,
     .required = false,
     .default_value = "",
     .help = "instead of max: so many more (or fewer, when negative) than it is"},
    {.name = "cpu_percent",
     .type = ParameterType::kInteger,
     .required = false,
     .default_value = "",
     .help = "target utilisation of the requested CPU, 1 to 1000"},
    {.name = "at_most",
     .type = ParameterType::kInteger,
     .required = false,
     .default_value = "100",
     .help = "max never goes beyond this, however often it is raised"},
}};

std::optional<std::int64_t> whole(const plan::Action& action, std::string_view name) {
  const auto* value = find_parameter<std::int64_t>(action.parameters, name);
  return value == nullptr ? std::nullopt : std::optional(*value);
}

json::object to_json(const std::optional<AutoscalerState>& state) {
  if (!state) return {{"exists", false}};
  json::object out{{"exists", true},           {"name", state->name}, {"instance", state->uid},
                   {"min", state->min},        {"max", state->max},   {"current", state->current},
                   {"desired", state->desired}};
  if (state->cpu_percent) out["cpu_percent"] = *state->cpu_percent;
  return out;
}

class AutoscalerStep final : public Step {
 public:
  Status validate(const plan::Action& action, const StepContext& context) const override {
    auto workload = changeable_workload(action.target, *context.config);
    if (!workload) return propagate(std::move(workload));
    for (const auto* name : {"min", "max", "at_most"}) {
      if (const auto value = whole(action, name); value && (*value < 1 || *value > kMost))
        return fail(Errc::kInvalidArgument, "parameter \"{}\": expected 1 to {}", name, kMost);
    }
    if (const auto cpu = whole(action, "cpu_percent"); cpu && (*cpu < 1 || *cpu > 1000))
      return fail(Errc::kInvalidArgument, "parameter \"cpu_percent\": expected 1 to 1000");
    const auto by = whole(action, "raise_max_by");
    if (by && whole(action, "max"))
      return fail(Errc::kInvalidArgument, "expected \"max\" or \"raise_max_by\", not both");
    if (by && (*by == 0 || *by < -kMost || *by > kMost))
      return fail(Errc::kInvalidArgument, "parameter \"raise_max_by\": expected -{} to {}, not 0",
                  kMost, kMost);
    const bool any =
        whole(action, "min") || whole(action, "max") || by || whole(action, "cpu_percent");
    if (!any) return fail(Errc::kInvalidArgument, "expected min, max, raise_max_by or cpu_percent");
    return {};
  }

  Result<std::string> dry_run(const plan::Action& action, StepContext& context) override {
    auto now = look(action, context);
    if (!now) return propagate(std::move(now));
    auto wish = wish_of(action, *now);
    if (!wish) return propagate(std::move(wish));
    const std::string wanted = shown(*wish, now->value_or(AutoscalerState{}));
    if (!*now) return fmt::format("would make an autoscaler of {}: {}", action.target, wanted);
    return fmt::format("would adjust the autoscaler {} of {} ({} to {} replicas) to {}",
                       (*now)->name, action.target, (*now)->min, (*now)->max, wanted);
  }

  std::string evidence(const plan::Action& action, StepContext& context) override {
    auto now = look(action, context);
    return now ? json::serialize(to_json(*now)) : error_evidence(now.error());
  }

  Result<StepResult> run(const plan::Action& action, StepContext& context,
                         const StepRun& run) override {
    auto now = look(action, context);
    if (!now) return propagate(std::move(now));
    if (*now) {
      if (auto same = same_object(action, (*now)->uid); !same) return propagate(std::move(same));
    }
    auto wish = wish_of(action, *now);
    if (!wish) return propagate(std::move(wish));
    auto workload = changeable_workload(action.target, *context.config);
    auto cluster = cluster_of(context);
    if (!workload || !cluster) return fail(Errc::kUnavailable, "[kubernetes] is not what it was");
    auto done = cluster->set_autoscaler(*workload, *wish, patience_of(run));
    if (!done)
      return unheard(done.error(), run, [&]() -> Result<std::optional<std::string>> {
        auto after = look(action, context);
        if (!after) return propagate(std::move(after));
        if (!*after || !is_so(action, **after) || (*now && is_so(action, **now)))
          return std::nullopt;
        return undo(action, context);
      });
    run.begun();
    return StepResult{
        .result = fmt::format(
            "{} the autoscaler {}: {} to {} replicas{}", done->before ? "adjusted" : "made",
            done->after.name, done->after.min, done->after.max,
            done->after.cpu_percent ? fmt::format(" at {}% CPU", *done->after.cpu_percent) : ""),
        .output = {}};
  }

  std::optional<bool> verify(const plan::Action& action, StepContext& context) override {
    auto now = look(action, context);
    return now && *now && is_so(action, **now);
  }

  Recovered recover(const plan::Action& action, StepContext& context, std::string& what) override {
    auto now = look(action, context);
    if (!now) return unasked(now.error(), what);
    const bool done = *now && is_so(action, **now);
    what = fmt::format("the autoscaler of {} {}", action.target, done ? "is set" : "is not set");
    return done ? Recovered::kDone : Recovered::kNotDone;
  }

  Result<std::string> undo(const plan::Action& action, StepContext& context) override {
    const auto patience = patience_to_undo(action, context);
    auto now = look(action, context);
    if (!now) return propagate(std::move(now));
    auto workload = changeable_workload(action.target, *context.config);
    auto cluster = cluster_of(context);
    if (!workload || !cluster) return fail(Errc::kUnavailable, "[kubernetes] is not what it was");
    boost::system::error_code wrong;
    const auto before = json::parse(action.outcome.before, wrong);
    if (wrong || !before.is_object() || !before.get_object().contains("exists"))
      return fail(Errc::kNotFound, "what the autoscaler was before is not known");
    const auto& was = before.get_object();
    const bool existed = was.at("exists").as_bool();
    const AutoscalerWish wish = existed ? way_back(action, was) : AutoscalerWish{};
    if (existed ? *now && has(wish, **now) : !*now)
      return fmt::format("undone: the autoscaler of {} {}", action.target,
                         existed ? "is as before" : "is not there, as before");
    if (!*now || !is_so(action, **now))
      return fail(Errc::kConflict,
                  "the autoscaler of {} is not as it was set any more, and is left", action.target);
    if (!existed) {
      auto gone =
          cluster->remove_autoscaler(workload->name_space, (*now)->name, (*now)->uid, patience);
      if (!gone) return propagate(std::move(gone));
      return fmt::format("undone: the autoscaler {} is removed again", (*now)->name);
    }
    auto back = cluster->set_autoscaler(*workload, wish, patience);
    if (!back) return propagate(std::move(back));
    return fmt::format("undone: the autoscaler {} has {} to {} replicas again", back->after.name,
                       back->after.min, back->after.max);
  }

 private:
  static Result<std::optional<AutoscalerState>> look(const plan::Action& action,
                                                     StepContext& context) {
    auto workload = changeable_workload(action.target, *context.config);
    if (!workload) return propagate(std::move(workload));
    auto cluster = cluster_of(context);
    if (!cluster) return propagate(std::move(cluster));
    return cluster->autoscaler(*workload, brief(context));
  }

  /// In numbers, from what is: max stays within at_most.
  static Result<AutoscalerWish> wish_of(const plan::Action& action,
                                        const std::optional<AutoscalerState>& now) {
    AutoscalerWish out;
    const std::int64_t at_most = whole(action, "at_most").value_or(100);
    if (const auto min = whole(action, "min")) out.min = static_cast<std::uint32_t>(*min);
    if (const auto cpu = whole(action, "cpu_percent"))
      out.cpu_percent = static_cast<std::uint32_t>(*cpu);
    if (const auto max = whole(action, "max")) {
      if (*max > at_most)
        return fail(Errc::kInvalidArgument, "max: {} is beyond at_most, {}", *max, at_most);
      out.max = static_cast<std::uint32_t>(*max);
    }
    if (const auto by = whole(action, "raise_max_by")) {
      if (!now)
        return fail(Errc::kNotFound, "{} has no autoscaler that could be raised", action.target);
      // One that is beyond at_most already is not brought down by being raised.
      const std::int64_t most = std::max<std::int64_t>(at_most, now->max);
      const std::int64_t bounded = std::clamp<std::int64_t>(now->max + *by, now->min, most);
      if (bounded == now->max)
        return fail(Errc::kConflict,
                    "its autoscaler has {} to {} replicas already, and at_most is {}", now->min,
                    now->max, at_most);
      out.max = static_cast<std::uint32_t>(bounded);
    }
    return out;
  }

  /// To what the evidence says of one that existed.
  static AutoscalerWish way_back(const plan::Action& action, const json::object& was) {
    boost::system::error_code wrong;
    AutoscalerWish out{.min = was.at("min").to_number<std::uint32_t>(wrong),
                       .max = was.at("max").to_number<std::uint32_t>(wrong),
                       .cpu_percent = {}};
    if (const auto* cpu = was.if_contains("cpu_percent"))
      out.cpu_percent = cpu->to_number<std::uint32_t>(wrong);
    else
      out.no_cpu_percent = whole(action, "cpu_percent").has_value();
    return out;
  }

  /// Whether nothing of the wish is left to be done.
  static bool has(const AutoscalerWish& wish, const AutoscalerState& now) {
    return wish.min.value_or(now.min) == now.min && wish.max.value_or(now.max) == now.max &&
           (!wish.cpu_percent || wish.cpu_percent == now.cpu_percent) &&
           (!wish.no_cpu_percent || !now.cpu_percent);
  }

  static std::string shown(const AutoscalerWish& wish, const AutoscalerState& now) {
    std::string out =
        fmt::format("{} to {} replicas", wish.min.value_or(now.min), wish.max.value_or(now.max));
    if (wish.cpu_percent) out += fmt::format(" at {}% CPU", *wish.cpu_percent);
    return out;
  }

  static bool is_so(const plan::Action& action, const AutoscalerState& now) {
    const auto fits = [&](std::string_view name, std::int64_t is) {
      const auto wanted = whole(action, name);
      return !wanted || *wanted == is;
    };
    if (!fits("min", now.min) || !fits("max", now.max)) return false;
    if (const auto cpu = whole(action, "cpu_percent"); cpu && now.cpu_percent != *cpu) return false;
    const auto by = whole(action, "raise_max_by");
    if (!by) return true;
    boost::system::error_code wrong;
    const auto before = json::parse(action.outcome.before, wrong);
    const auto* max =
        wrong || !before.is_object() ? nullptr : before.get_object().if_contains("max");
    return max != nullptr && max->to_number<std::int64_t>(wrong) != now.max;
  }
};

}  // namespace

const ActionDescriptor kAdjustAutoscaler{
    .name = "adjust_autoscaler",
    .help =
        "Makes the HorizontalPodAutoscaler of a workload of Kubernetes, or adjusts its bounds "
        "and CPU target; other metrics stay.",
    .target_help = "\"kubernetes:NAMESPACE/KIND/NAME\" of the workload, not of the autoscaler",
    .parameters = kParameters,
    .make = []() -> std::unique_ptr<Step> { return std::make_unique<AutoscalerStep>(); },
    .check_remedy = check_cluster_remedy,
    .undo_help = "the bounds are set back, one that was made is removed",
};

}  // namespace nexus::execute
