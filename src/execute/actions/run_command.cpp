// run_command: one of the commands listed as [[command]] in the configuration. Neither a remedy nor
// a person gives anything but its name: the argv is the configuration's alone, and no shell reads
// it.
#include <boost/json.hpp>

#include <algorithm>

#include "execute/actions.hpp"
#include "nexus/host/subprocess.hpp"

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

Status check_command(std::string_view target, const config::Config& config) {
  auto command = find_command(target, config);
  if (!command) return propagate(std::move(command));
  return {};
}

boost::json::array argv_of(const config::CommandConfig& command) {
  boost::json::array out;
  for (const auto& word : command.argv) out.emplace_back(word);
  return out;
}

class RunCommand final : public Step {
 public:
  Status validate(const plan::Action& action, const StepContext& context) const override {
    return check_command(action.target, *context.config);
  }

  Result<std::string> dry_run(const plan::Action& action, StepContext& context) override {
    auto command = find_command(action.target, *context.config);
    if (!command) return propagate(std::move(command));
    return fmt::format("would run {}", boost::json::serialize(argv_of(*command)));
  }

  std::string evidence(const plan::Action& action, StepContext& context) override {
    auto command = find_command(action.target, *context.config);
    if (!command) return "{}";
    return boost::json::serialize(boost::json::object{{"argv", argv_of(*command)}});
  }

  Result<StepResult> run(const plan::Action& action, StepContext& context,
                         const StepRun& run) override {
    auto command = find_command(action.target, *context.config);
    if (!command) return propagate(std::move(command));
    const auto begun = context.clock.steady();
    const auto deadline =
        command->timeout ? std::min(run.deadline, begun + *command->timeout) : run.deadline;
    auto exit = host::run({.argv = command->argv}, context.clock, deadline, run.cancelled,
                          [&](int) { run.begun(); });
    if (!exit) return propagate(std::move(exit), "command \"{}\"", action.target);
    const auto took = std::chrono::duration_cast<Millis>(context.clock.steady() - begun);
    const std::string how = exit->signal ? fmt::format("was ended by signal {}", *exit->signal)
                                         : fmt::format("ended with exit status {}", exit->status);
    return StepResult{
        .result = fmt::format("command \"{}\" {} after {} ms", action.target, how, took.count()),
        .output = exit->output_truncated ? exit->output + "\n[truncated]" : std::move(exit->output),
        .failed = exit->status != 0};
  }

  /// The exit status has said it; anything else is for a `verify` expression.
  std::optional<bool> verify(const plan::Action&, StepContext&) override { return std::nullopt; }

  Recovered recover(const plan::Action& action, StepContext&, std::string& what) override {
    what = fmt::format("how far command \"{}\" got cannot be told", action.target);
    return Recovered::kUnknown;
  }
};

}  // namespace

const ActionDescriptor kRunCommand{
    .name = "run_command",
    .help = "Runs a command listed as [[command]], without a shell, in a process group of its own.",
    .target_help = "the name of a [[command]]",
    .parameters = {},
    .make = []() -> std::unique_ptr<Step> { return std::make_unique<RunCommand>(); },
    .check_target = check_command,
};

}  // namespace nexus::execute
