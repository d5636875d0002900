#include "execute/service_step.hpp"

#include "execute/parameter_values.hpp"
#include "nexus/config/config.hpp"

namespace nexus::execute {
namespace {

Result<ServiceManager*> manager_of(const config::ServiceName& name) {
  auto* manager = service_manager(name.kind);
  if (manager == nullptr)
    return fail(Errc::kUnsupported, "target: this agent has no manager for \"{}:\"", name.kind);
  return manager;
}

/// Hands on to the step that the target's manager has for the verb.
class ServiceStep final : public Step {
 public:
  explicit ServiceStep(ServiceVerb verb) : verb_(verb) {}

  Status validate(const plan::Action& action, const StepContext& context) const override {
    const auto name = config::parse_service_name(action.target);
    auto manager = manager_of(name);
    if (!manager) return propagate(std::move(manager));
    if (auto ok = (*manager)->check(verb_, name.name, *context.config); !ok) return ok;
    auto step = step_for(action.target);
    if (!step) return propagate(std::move(step));
    return (*step)->validate(action, context);
  }

  Result<std::string> dry_run(const plan::Action& action, StepContext& context) override {
    auto step = step_for(action.target);
    if (!step) return propagate(std::move(step));
    return (*step)->dry_run(action, context);
  }

  std::string evidence(const plan::Action& action, StepContext& context) override {
    auto step = step_for(action.target);
    return step ? (*step)->evidence(action, context) : std::string();
  }

  Result<StepResult> run(const plan::Action& action, StepContext& context,
                         const StepRun& run) override {
    auto step = step_for(action.target);
    if (!step) return propagate(std::move(step));
    return (*step)->run(action, context, run);
  }

  std::optional<bool> verify(const plan::Action& action, StepContext& context) override {
    auto step = step_for(action.target);
    return step ? (*step)->verify(action, context) : std::nullopt;
  }

  Recovered recover(const plan::Action& action, StepContext& context, std::string& what) override {
    auto step = step_for(action.target);
    if (step) return (*step)->recover(action, context, what);
    what = step.error().message();
    return Recovered::kUnknown;
  }

  [[nodiscard]] std::string account(const plan::Action& action,
                                    const StepContext& context) const override {
    auto step = step_for(action.target);
    return step ? (*step)->account(action, context) : std::string();
  }

  Result<std::string> undo(const plan::Action& action, StepContext& context) override {
    auto step = step_for(action.target);
    if (!step) return propagate(std::move(step));
    return (*step)->undo(action, context);
  }

 private:
  [[nodiscard]] Result<Step*> step_for(const std::string& target) const {
    const auto name = config::parse_service_name(target);
    auto manager = manager_of(name);
    if (!manager) return propagate(std::move(manager));
    if (auto* step = (*manager)->step(verb_)) return step;
    return fail(Errc::kUnsupported, "cannot {} {}: {}", to_string(verb_), target,
                (*manager)->why_not(verb_));
  }

  const ServiceVerb verb_;
};

}  // namespace

std::unique_ptr<Step> make_service_step(ServiceVerb verb) {
  return std::make_unique<ServiceStep>(verb);
}

Status check_service_target(ServiceVerb verb, const config::RemedyConfig& remedy,
                            const config::Config& config) {
  if (remedy.target.empty() || is_template(remedy.target)) return {};
  const auto name = config::parse_service_name(remedy.target);
  auto manager = manager_of(name);
  if (!manager) return propagate(std::move(manager));
  if ((*manager)->step(verb) == nullptr)
    return fail(Errc::kUnsupported, "target: cannot {} {}: {}", to_string(verb), remedy.target,
                (*manager)->why_not(verb));
  if (auto ok = (*manager)->check(verb, name.name, config); !ok)
    return propagate(std::move(ok), "target");
  return {};
}

std::string_view to_string(ServiceVerb verb) noexcept {
  switch (verb) {
    case ServiceVerb::kStart:
      return "start";
    case ServiceVerb::kStop:
      return "stop";
    case ServiceVerb::kRestart:
      return "restart";
    case ServiceVerb::kReload:
      return "reload";
    case ServiceVerb::kScale:
      return "scale";
    case ServiceVerb::kRollout:
      return "roll out";
    case ServiceVerb::kUndo:
      return "roll back";
    case ServiceVerb::kEnable:
      return "enable";
    case ServiceVerb::kDisable:
      return "disable";
    case ServiceVerb::kReset:
      return "reset";
  }
  return "";
}

std::string_view to_string(ServiceCondition condition) noexcept {
  switch (condition) {
    case ServiceCondition::kUp:
      return "up";
    case ServiceCondition::kDown:
      return "down";
    case ServiceCondition::kFailed:
      return "failed";
    case ServiceCondition::kChanging:
      return "changing";
    case ServiceCondition::kUnknown:
      return "unknown";
  }
  return "unknown";
}

}  // namespace nexus::execute
