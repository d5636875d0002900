#include "nexus/host/subprocess.hpp"

#include <sys/wait.h>

#include <algorithm>
#include <array>

#include "host/running.hpp"
#include "nexus/base/text.hpp"

namespace nexus::host {
namespace {

constexpr Millis kAskEvery{
    100};  // how often `cancelled` is asked and the injected clock is looked at

Status check(const Command& command) {
  if (command.argv.empty()) return fail(Errc::kInvalidArgument, "run: argv is empty");
  if (!command.argv[0].starts_with('/')) {
    return fail(Errc::kInvalidArgument, "run {}: the program must be an absolute path",
                command.argv[0]);
  }
  const auto holds_nul = [](const std::string& text) {
    return text.find('\0') != std::string::npos;
  };
  if (std::ranges::any_of(command.argv, holds_nul) ||
      std::ranges::any_of(command.environment, holds_nul) || holds_nul(command.working_directory)) {
    return fail(Errc::kInvalidArgument, "run {}: an argument holds a NUL byte",
                command.argv[0].c_str());
  }
  return {};
}

std::optional<Errc> why_to_end(Clock& clock, SteadyTime deadline,
                               const std::function<bool()>& cancelled) {
  if (clock.steady() >= deadline) return Errc::kTimeout;
  if (cancelled && cancelled()) return Errc::kCancelled;
  return std::nullopt;
}

Millis next_look(Clock& clock, SteadyTime deadline) {
  const SteadyTime now = clock.steady();
  if (deadline <= now) return Millis{0};
  return std::min(kAskEvery, std::chrono::ceil<Millis>(std::min<Nanos>(deadline - now, kAskEvery)));
}

std::unexpected<Error> ended_early(Errc why, const std::string& program, std::string_view end,
                                   std::string_view tail) {
  const std::string_view reason = why == Errc::kTimeout ? "time limit reached" : "cancelled";
  if (tail.empty()) return fail(why, "run {}: {}, {}; it wrote nothing", program, reason, end);
  return fail(why, "run {}: {}, {}; its last output: {}", program, reason, end,
              base::sanitize_utf8(base::trim(tail)));
}

// Follows the command until nothing of it is left, or until it is left behind. Returns why it was
// ended early.
std::optional<Errc> follow(Running& running, const Command& command, Clock& clock,
                           SteadyTime deadline, const std::function<bool()>& cancelled,
                           const std::function<void(int pid)>& started, Exit& exit) {
  const base::SystemClock real;  // of the supervisor's grace, not of the agent
  std::optional<SteadyTime> give_up;
  std::optional<Errc> why;
  bool told = false;
  while (!running.gone()) {
    running.wait(give_up ? kAskEvery : next_look(clock, deadline), command.max_output, exit);
    if (!told && running.pid() != 0) {
      told = true;
      if (started) started(running.pid());
    }
    // Once the command itself has exited in time, ending what it left behind does not make it late.
    if (!why && !running.wait_status()) {
      why = why_to_end(clock, deadline, cancelled);
      if (why) running.end();
    }
    if (!why && !running.wait_status()) continue;
    if (!give_up) give_up = real.steady() + command.grace + command.give_up;
    if (running.gone() || real.steady() < *give_up) continue;
    running.leave_behind();
    break;
  }
  return why;
}

void decode(int wait_status, Exit& exit) {
  if (WIFSIGNALED(wait_status)) {
    exit.signal = WTERMSIG(wait_status);
    exit.status = 128 + *exit.signal;
  } else {
    exit.status = WEXITSTATUS(wait_status);
  }
}

}  // namespace

Result<Exit> run(const Command& command, Clock& clock, SteadyTime deadline,
                 const std::function<bool()>& cancelled,
                 const std::function<void(int pid)>& started) {
  if (auto valid = check(command); !valid) return std::unexpected(std::move(valid).error());
  const std::string& program = command.argv[0];
  std::optional<Errc> why = why_to_end(clock, deadline, cancelled);
  if (why) return ended_early(*why, program, "not begun", {});
  auto begun = Running::start(command);
  if (!begun) return propagate(std::move(begun));
  Running& running = **begun;

  Exit exit;
  why = follow(running, command, clock, deadline, cancelled, started, exit);
  running.drain(command.max_output, exit);
  if (running.spawn_error() != 0) {
    return std::unexpected(Error::from_errno(running.spawn_error(), "run " + program));
  }
  exit.left_behind = running.left_behind();
  if (why) {
    const auto end =
        exit.left_behind
            ? fmt::format("killed, but process {} does not end: left behind", running.pid())
            : std::string("ended");
    return ended_early(*why, program, end, running.tail());
  }
  if (!running.wait_status())
    return fail(Errc::kInternal, "run {}: its supervisor was killed", program);
  decode(*running.wait_status(), exit);
  exit.output = base::sanitize_utf8(exit.output);
  return exit;
}

}  // namespace nexus::host
