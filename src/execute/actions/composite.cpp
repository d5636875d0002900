// composite: a ladder of steps, which the executor climbs (execute/ladder.cpp): each is an action
// of its own.
#include "execute/actions.hpp"

namespace nexus::execute {
namespace {

class Composite final : public Step {
 public:
  [[nodiscard]] Status validate(const plan::Action& action, const StepContext&) const override {
    if (!action.rungs.empty()) return {};
    return fail(Errc::kInvalidArgument, "it has its steps from a remedy ([[remedy.steps]])");
  }
  Result<std::string> dry_run(const plan::Action& action, StepContext& context) override {
    return unsupported(validate(action, context));
  }
  std::string evidence(const plan::Action&, StepContext&) override { return {}; }
  Result<StepResult> run(const plan::Action& action, StepContext& context,
                         const StepRun&) override {
    return unsupported(validate(action, context));
  }
  std::optional<bool> verify(const plan::Action&, StepContext&) override { return std::nullopt; }
  Recovered recover(const plan::Action&, StepContext&, std::string& what) override {
    what = "a ladder without steps";
    return Recovered::kNotDone;
  }

 private:
  static std::unexpected<Error> unsupported(Status valid) {
    if (!valid) return std::unexpected(std::move(valid).error());
    return fail(Errc::kUnsupported, "its steps are done one by one");
  }
};

}  // namespace

const ActionDescriptor kComposite{
    .name = "composite",
    .help =
        "Does the steps of its remedy ([[remedy.steps]]) one after the other, each verified, until "
        "one has helped; with all_steps all of them, undoing what was done when one does not help.",
    .target_help = "what the steps are about that name no target of their own",
    .parameters = {},
    .make = []() -> std::unique_ptr<Step> { return std::make_unique<Composite>(); },
    .undo_help = {},
    .gentle = true,
};

}  // namespace nexus::execute
