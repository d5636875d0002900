// renice_process: gives one process less of the processor, or its old share back.
#include <boost/json.hpp>

#include <array>

#include "execute/actions.hpp"
#include "execute/parameter_values.hpp"
#include "execute/process_step.hpp"
#include "nexus/host/privileged.hpp"

namespace nexus::execute {
namespace {

constexpr std::array<ParameterDescriptor, 2> kParameters{{
    {.name = "nice",
     .type = ParameterType::kInteger,
     .required = false,
     .default_value = "10",
     .help = "of all its threads, -20 (first) to 19 (last)"},
    {.name = "name",
     .type = ParameterType::kString,
     .required = false,
     .default_value = "",
     .help = "refuse to when the process is called otherwise (/proc/PID/comm)"},
}};

Result<int> nice_of(const config::Parameters& parameters) {
  const auto* given = find_parameter<std::int64_t>(parameters, "nice");
  const auto nice = given != nullptr ? *given : 10;
  if (nice < -20 || nice > 19)
    return fail(Errc::kInvalidArgument, "parameter \"nice\": expected -20 to 19, got {}", nice);
  return static_cast<int>(nice);
}

/// What it was, from the evidence.
std::optional<int> nice_before(const plan::Action& action) {
  boost::json::error_code error;
  const auto value = boost::json::parse(action.outcome.before, error);
  if (error || !value.is_object()) return std::nullopt;
  const auto* nice = value.get_object().if_contains("nice");
  if (nice == nullptr || !nice->is_int64()) return std::nullopt;
  return static_cast<int>(nice->get_int64());
}

class ReniceProcess final : public ProcessStep {
 public:
  Result<std::string> dry_run(const plan::Action& action, StepContext& context) override {
    auto process = touchable_process(action, context);
    if (!process) return propagate(std::move(process));
    auto nice = nice_of(action.parameters);
    if (!nice) return propagate(std::move(nice));
    return fmt::format("would set the nice value of {} from {} to {}", show(*process),
                       process->nice, *nice);
  }

  Result<StepResult> run(const plan::Action& action, StepContext& context,
                         const StepRun& run) override {
    auto process = touchable_process(action, context);
    if (!process) return propagate(std::move(process));
    auto nice = nice_of(action.parameters);
    if (!nice) return propagate(std::move(nice));
    run.begun();
    if (auto ok = context.privileged.set_nice(process->id, *nice); !ok)
      return propagate(std::move(ok));
    return StepResult{
        .result = fmt::format("the nice value of process {} ({}) was {}, and is {}",
                              host::to_string(process->id), process->name, process->nice, *nice),
        .output = {}};
  }

  std::optional<bool> verify(const plan::Action& action, StepContext&) override {
    const auto nice = nice_of(action.parameters);
    const auto id = process_of(action);
    if (!nice || !id) return false;
    const auto now = host::process_facts(*id);
    // One that has ended meanwhile takes nothing from anybody.
    return now ? now->nice == *nice : now.error().code() == Errc::kNotFound;
  }

  Recovered recover(const plan::Action& action, StepContext& context, std::string& what) override {
    const bool done = verify(action, context).value_or(false);
    what = fmt::format("process {} {}", action.target, done ? "has it" : "has another nice value");
    return done ? Recovered::kDone : Recovered::kNotDone;
  }

  Result<std::string> undo(const plan::Action& action, StepContext& context) override {
    const auto before = nice_before(action);
    if (!before) return fail(Errc::kNotFound, "what it was before is not known");
    auto id = process_of(action);
    if (!id) return propagate(std::move(id));
    const auto ours = nice_of(action.parameters);
    const auto now = host::process_facts(*id);
    if (!now) return std::unexpected(now.error());
    if (now->nice == *before)
      return fmt::format("undone: the nice value is {}, as before", *before);
    if (ours && now->nice != *ours)
      return fmt::format("left at {}: somebody else has set the nice value since", now->nice);
    if (auto ok = context.privileged.set_nice(*id, *before); !ok) return propagate(std::move(ok));
    return fmt::format("undone: the nice value is {} again", *before);
  }

 private:
  Status check_parameters(const plan::Action& action) const override {
    if (auto nice = nice_of(action.parameters); !nice) return propagate(std::move(nice));
    return {};
  }
};

}  // namespace

const ActionDescriptor kReniceProcess{
    .name = "renice_process",
    .help = "Gives one process more or less of the processor than others (its nice value).",
    .target_help = kProcessTargetHelp,
    .parameters = kParameters,
    .make = []() -> std::unique_ptr<Step> { return std::make_unique<ReniceProcess>(); },
    .check_remedy = check_process_remedy,
    .undo_help = "it gets the nice value back that it had",
};

}  // namespace nexus::execute
