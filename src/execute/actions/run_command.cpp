// run_command: one of the commands listed as [[command]] in the configuration. Neither a remedy nor
// a person gives anything but its name: the argv is the configuration's alone, and no shell reads
// it.
#include <boost/json.hpp>

#include <algorithm>
#include <array>

#include "execute/actions.hpp"
#include "execute/waiting.hpp"
#include "nexus/config/config.hpp"
#include "nexus/host/privileged.hpp"

namespace nexus::execute {
namespace {

Result<config::CommandConfig> find_command(std::string_view name, const config::Config& config) {
  const auto it = std::ranges::find(
      config.commands, name, [](const auto& command) { return std::string_view(command.name); });
  if (it == config.commands.end()) {
    return fail(Errc::kNotFound, "\"{}\" is not listed as a [[command]]", name);
  }
  return *it;
}

std::string command_name(const config::Parameters& parameters, std::string_view target) {
  const auto given = parameters.find("command");
  const auto* name = given != parameters.end() ? std::get_if<std::string>(&given->second) : nullptr;
  return name != nullptr ? *name : std::string(target);
}

Status check_command(const config::RemedyConfig& remedy, const config::Config& config) {
  const auto name = command_name(remedy.parameters, remedy.target);
  if (name.empty() || name.contains("${")) return {};
  auto command = find_command(name, config);
  if (!command) return propagate(std::move(command));
  return {};
}

boost::json::array argv_of(const config::CommandConfig& command) {
  boost::json::array out;
  for (const auto& word : command.argv) out.emplace_back(word);
  return out;
}

constexpr std::array<ParameterDescriptor, 1> kParameters{{
    {.name = "command",
     .type = ParameterType::kString,
     .required = false,
     .default_value = "the target",
     .help = "the name of a [[command]]"},
}};

Result<config::CommandConfig> command_of(const plan::Action& action, const StepContext& context) {
  return find_command(command_name(action.parameters, action.target), *context.config);
}

class RunCommand final : public Step {
 public:
  [[nodiscard]] Status validate(const plan::Action& action,
                                const StepContext& context) const override {
    auto command = command_of(action, context);
    if (!command) return propagate(std::move(command));
    return {};
  }

  Result<std::string> dry_run(const plan::Action& action, StepContext& context) override {
    auto command = command_of(action, context);
    if (!command) return propagate(std::move(command));
    return fmt::format("would run {}", boost::json::serialize(argv_of(*command)));
  }

  std::string evidence(const plan::Action& action, StepContext& context) override {
    auto command = command_of(action, context);
    if (!command) return "{}";
    return boost::json::serialize(boost::json::object{{"argv", argv_of(*command)}});
  }

  Result<StepResult> run(const plan::Action& action, StepContext& context,
                         const StepRun& run) override {
    auto command = command_of(action, context);
    if (!command) return propagate(std::move(command));
    const auto begun = context.clock.steady();
    const auto deadline =
        command->timeout ? std::min(run.deadline, begun + *command->timeout) : run.deadline;
    auto wait = as_child(run);
    wait.deadline = deadline;
    auto exit = context.privileged.run_listed({.name = command->name, .argv = command->argv},
                                              run.fencing_token, wait);
    if (!exit) return propagate(std::move(exit));
    const auto took = std::chrono::duration_cast<Millis>(context.clock.steady() - begun);
    const std::string how = exit->signal ? fmt::format("was ended by signal {}", *exit->signal)
                                         : fmt::format("ended with exit status {}", exit->status);
    return StepResult{
        .result = fmt::format("command \"{}\" {} after {} ms{}", command->name, how, took.count(),
                              exit->left_behind
                                  ? "; a process that it started was killed and does not end, it "
                                    "was left behind"
                                  : ""),
        .output = exit->output_truncated ? exit->output + "\n[truncated]" : std::move(exit->output),
        .failed = exit->status != 0};
  }

  /// The exit status has said it; anything else is for a `verify` expression.
  std::optional<bool> verify(const plan::Action&, StepContext&) override { return std::nullopt; }

  Recovered recover(const plan::Action& action, StepContext&, std::string& what) override {
    what = fmt::format("how far command \"{}\" got cannot be told",
                       command_name(action.parameters, action.target));
    return Recovered::kUnknown;
  }
};

}  // namespace

std::vector<host::ListedCommand> listed_commands(const config::Config& config) {
  std::vector<host::ListedCommand> out;
  for (const auto& command : config.commands)
    out.push_back({.name = command.name, .argv = command.argv});
  return out;
}

const ActionDescriptor kRunCommand{
    .name = "run_command",
    .help =
        "Runs a command listed as [[command]], without a shell, in a process group of its own. "
        "Under "
        "a fleet lock it finds the fencing token in its environment, NEXUS_FENCING_TOKEN.",
    .target_help = "the name of a [[command]], or with the parameter `command` what it is about",
    .parameters = kParameters,
    .make = []() -> std::unique_ptr<Step> { return std::make_unique<RunCommand>(); },
    .check_remedy = check_command,
};

}  // namespace nexus::execute
