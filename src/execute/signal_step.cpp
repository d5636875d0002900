#include "execute/signal_step.hpp"

#include <array>
#include <csignal>

#include "execute/parameter_values.hpp"
#include "execute/process_step.hpp"
#include "execute/waiting.hpp"
#include "nexus/host/privileged.hpp"

namespace nexus::execute {
namespace {

using namespace std::chrono_literals;

constexpr Millis kAskEvery = 100ms;
constexpr Millis kAfterKill = 5s;  // a process that is killed and not gone by then waits for a disk

struct Signal {
  std::string_view name;
  int number;
  bool ends;  // what it is for
};
constexpr std::array<Signal, 7> kSignals{{{"TERM", SIGTERM, true},
                                          {"KILL", SIGKILL, true},
                                          {"INT", SIGINT, true},
                                          {"QUIT", SIGQUIT, true},
                                          {"HUP", SIGHUP, false},
                                          {"USR1", SIGUSR1, false},
                                          {"USR2", SIGUSR2, false}}};

Result<Signal> signal_named(std::string_view name) {
  for (const auto& known : kSignals) {
    if (known.name == name) return known;
  }
  return fail(Errc::kInvalidArgument,
              "parameter \"signal\": expected one of TERM, KILL, INT, QUIT, HUP, USR1, USR2, got "
              "\"{}\"",
              name);
}

class SignalStep final : public ProcessStep {
 public:
  explicit SignalStep(const SignalWords& words) : words_(words) {}

  Result<std::string> dry_run(const plan::Action& action, StepContext& context) override {
    auto process = touchable_process(action, context);
    if (!process) return propagate(std::move(process));
    auto signal = signal_of(action);
    if (!signal) return propagate(std::move(signal));
    const auto grace = kill_after(action);
    return fmt::format("would send SIG{} to {}{}", signal->name, show(*process),
                       signal->ends && signal->number != SIGKILL && grace > 0ms
                           ? fmt::format(", and SIGKILL when it has not ended within {}",
                                         base::format_duration(grace))
                           : "");
  }

  Result<StepResult> run(const plan::Action& action, StepContext& context,
                         const StepRun& run) override {
    auto process = touchable_process(action, context);
    if (!process) return propagate(std::move(process));
    auto signal = signal_of(action);
    if (!signal) return propagate(std::move(signal));
    auto ended = context.privileged.signal(process->id, signal->number, 0ms);
    if (!ended) return propagate(std::move(ended));
    run.begun();
    if (!signal->ends) return done(*process, fmt::format("was sent SIG{}", signal->name));
    const auto grace = signal->number == SIGKILL ? kAfterKill : kill_after(action);
    const bool kills = signal->number != SIGKILL && grace > 0ms;
    auto gone = wait(process->id, context, run, grace > 0ms ? grace : kAfterKill);
    if (!gone) return propagate(std::move(gone));
    if (*gone) return done(*process, fmt::format("ended after SIG{}", signal->name));
    if (!kills) return still_there(*process, signal->name);
    auto killed = context.privileged.signal(process->id, SIGKILL, 0ms);
    if (!killed && killed.error().code() != Errc::kNotFound) return propagate(std::move(killed));
    gone = wait(process->id, context, run, kAfterKill);
    if (!gone) return propagate(std::move(gone));
    return *gone ? done(*process, fmt::format("did not end within {} after SIG{}, and was killed",
                                              base::format_duration(grace), signal->name))
                 : still_there(*process, "KILL");
  }

  std::optional<bool> verify(const plan::Action& action, StepContext&) override {
    const auto signal = signal_of(action);
    const auto id = process_of(action);
    if (!signal || !id || !signal->ends) return std::nullopt;
    return host::has_ended(*id);
  }

  Recovered recover(const plan::Action& action, StepContext&, std::string& what) override {
    const auto signal = signal_of(action);
    const auto id = process_of(action);
    if (!signal || !id || !signal->ends) {
      what = "whether the signal was sent cannot be told";
      return Recovered::kUnknown;
    }
    const bool gone = host::has_ended(*id);
    what = fmt::format("process {} {}", action.target, gone ? "has ended" : "still runs");
    return gone ? Recovered::kDone : Recovered::kNotDone;
  }

 private:
  Status check_parameters(const plan::Action& action) const override {
    if (auto signal = signal_of(action); !signal) return propagate(std::move(signal));
    return {};
  }

  [[nodiscard]] Result<Signal> signal_of(const plan::Action& action) const {
    return signal_named(text_parameter(action.parameters, "signal", words_.signal));
  }

  [[nodiscard]] Millis kill_after(const plan::Action& action) const {
    return duration_parameter(action.parameters, words_.kill_after, 10s);
  }

  static StepResult done(const host::ProcessFacts& process, const std::string& what) {
    return {.result =
                fmt::format("process {} ({}) {}", host::to_string(process.id), process.name, what),
            .output = {}};
  }

  static StepResult still_there(const host::ProcessFacts& process, std::string_view signal) {
    auto out = done(process, fmt::format("has not ended after SIG{}{}", signal,
                                         signal == "KILL" ? ": it waits in the kernel" : ""));
    out.failed = true;
    return out;
  }

  static Result<bool> wait(const host::ProcessId& id, StepContext& context, const StepRun& run,
                           Millis most) {
    const auto until = std::min(run.deadline, context.clock.steady() + most);
    while (!host::has_ended(id)) {
      if (run.cancelled() || run.leaving())
        return fail(Errc::kCancelled, "process {} was sent a signal and has not ended yet",
                    host::to_string(id));
      const auto now = context.clock.steady();
      if (now >= run.deadline)
        return fail(Errc::kTimeout, "process {} was sent a signal and has not ended in time",
                    host::to_string(id));
      if (now >= until) return false;
      pause_until(context.clock, std::min(until, now + kAskEvery));
    }
    return true;
  }

  const SignalWords words_;
};

}  // namespace

std::unique_ptr<Step> make_signal_step(const SignalWords& words) {
  return std::make_unique<SignalStep>(words);
}

}  // namespace nexus::execute
