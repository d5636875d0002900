// undo_action: takes back what an earlier action did, from the evidence that was taken before it.
#include <array>
#include <boost/json.hpp>

#include "execute/actions.hpp"
#include "execute/parameter_values.hpp"
#include "nexus/base/id.hpp"
#include "nexus/execute/undone.hpp"

namespace nexus::execute {
namespace {

constexpr std::array<ParameterDescriptor, 1> kParameters{{
    {.name = "action",
     .type = ParameterType::kString,
     .required = true,
     .default_value = "",
     .help = "the id of the action that is to be undone"},
}};

/// The action, and the step that can undo it.
Result<Done> undoable(const plan::Action& action, const StepContext& context) {
  const auto id = text_parameter(action.parameters, "action");
  if (!base::is_id(id) || !context.find)
    return fail(Errc::kInvalidArgument, "parameter \"action\": expected the id of an action");
  auto done = context.find(id);
  if (!done) return done;
  const auto& original = done->action;
  const auto* descriptor = find_action(original.type);
  if (descriptor == nullptr || descriptor->undo_help.empty() || done->step == nullptr)
    return fail(Errc::kUnsupported, "{} cannot be undone", original.type);
  // Whatever became of one that has begun: what is not its own any more stays.
  if (original.dry_run || !original.started || !plan::is_final(original.state))
    return fail(Errc::kConflict, "action {} is {}{}, there is nothing to undo", id,
                plan::to_string(original.state), original.dry_run ? ", a dry run" : "");
  if (is_undone(original.outcome))
    return fail(Errc::kConflict, "action {} was undone before: {}", id, original.outcome.undone);
  if (original.target != action.target)
    return fail(Errc::kConflict, "action {} was about {}, not {}", id, original.target,
                action.target);
  return done;
}

class UndoAction final : public Step {
 public:
  [[nodiscard]] Status validate(const plan::Action& action,
                                const StepContext& context) const override {
    auto done = undoable(action, context);
    if (!done) return propagate(std::move(done));
    return {};
  }

  /// As of what it undoes: one at a time on that.
  [[nodiscard]] std::string account(const plan::Action& action,
                                    const StepContext& context) const override {
    auto done = undoable(action, context);
    return done ? done->action.account : std::string();
  }

  Result<std::string> dry_run(const plan::Action& action, StepContext& context) override {
    auto done = undoable(action, context);
    if (!done) return propagate(std::move(done));
    return fmt::format("would undo {} {} ({}): {}; before it: {}", done->action.type,
                       done->action.target, done->action.id,
                       find_action(done->action.type)->undo_help, done->action.outcome.before);
  }

  std::string evidence(const plan::Action& action, StepContext& context) override {
    auto done = undoable(action, context);
    return done ? done->step->evidence(done->action, context) : std::string();
  }

  Result<StepResult> run(const plan::Action& action, StepContext& context,
                         const StepRun& run) override {
    auto done = undoable(action, context);
    if (!done) return propagate(std::move(done));
    run.begun();
    auto undone = done->step->undo(done->action, context);
    if (!undone) return propagate(std::move(undone));
    done->action.outcome.undone = *undone;
    if (auto kept = context.keep(done->action); !kept)
      return propagate(std::move(kept), "undone ({}), but not written down", *undone);
    return StepResult{.result = *std::move(undone), .output = {}};
  }

  std::optional<bool> verify(const plan::Action&, StepContext&) override { return std::nullopt; }

  Recovered recover(const plan::Action& action, StepContext& context, std::string& what) override {
    auto original = context.find ? context.find(text_parameter(action.parameters, "action"))
                                 : Result<Done>(fail(Errc::kUnavailable, "no journal"));
    if (original && is_undone(original->action.outcome)) {
      what = original->action.outcome.undone;
      return Recovered::kDone;
    }
    what = "whether it was taken back cannot be told";
    return Recovered::kUnknown;
  }
};

}  // namespace

const ActionDescriptor kUndoAction{
    .name = "undo_action",
    .help =
        "Takes back an earlier action that has begun, as its own undo would have; what somebody "
        "else "
        "has set meanwhile stays. `nexus-agent actions rollback ID` asks for it.",
    .target_help = "the target of that action",
    .parameters = kParameters,
    .make = []() -> std::unique_ptr<Step> { return std::make_unique<UndoAction>(); },
    .gentle = true,
};

}  // namespace nexus::execute
