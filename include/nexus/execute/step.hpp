// The contract of an action: one file in src/execute/actions, one descriptor, one class; one line
// in src/execute/table.cpp.
//
// A step says what it would do (dry_run), does it under a deadline and a cancellation it must heed,
// takes evidence before and after, and, after the agent died in the middle, finds out what became
// of it (recover). It never decides whether it may: that is the planner's. Thread safety: one
// object is used by several workers at once; steps keep no state of their own.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"
#include "nexus/config/operate.hpp"
#include "nexus/plan/action.hpp"

namespace nexus::drivers {
class Systemd;
}
namespace nexus::host {
class Privileged;
struct ListedCommand;
}  // namespace nexus::host

namespace nexus::execute {

enum class ParameterType { kBool, kInteger, kNumber, kString, kStrings, kDuration };

struct ParameterDescriptor {
  std::string_view name;
  ParameterType type;
  bool required;
  std::string_view default_value;
  std::string_view help;
};

/// Something for people, beside the findings.
struct Notice {
  config::Severity severity = config::Severity::kWarning;
  std::string name;     // groups what belongs together
  std::string subject;  // what it is about
  std::string text;
  config::StringMap labels;
};
using Notifier = std::function<Status(const Notice&)>;

class Step;

/// Another action, and the step that did it.
struct Done {
  plan::Action action;
  Step* step = nullptr;
};

/// What a step may use.
struct StepContext {
  Clock& clock;
  drivers::Systemd* systemd;                     // null where there is no systemd
  std::shared_ptr<const config::Config> config;  // listed commands
  host::Privileged& privileged;                  // all that needs rights on this host
  Notifier notify = {};                          // empty where nobody is told
  /// An action of the journal, to undo it; the second keeps what became of that.
  std::function<Result<Done>(std::string_view id)> find = {};
  std::function<Status(const plan::Action&)> keep = {};
  /// The kill switch; empty: there is none. Whoever has several parts begins no further one of them
  /// (execute/waiting.hpp); what it has begun may be put back.
  std::function<bool()> halted = {};
};

struct StepRun {
  SteadyTime deadline{};
  /// Somebody wants it ended: what was begun is ended too, as far as that can be.
  std::function<bool()> cancelled;
  /// The agent ends. What ends with the agent anyway is ended as if cancelled; what goes on by
  /// itself is left alone (StepResult::left), and recover() finds it at the next start.
  std::function<bool()> leaving;
  /// To be called, on run()'s thread, when the step has begun to change the world (the job is
  /// queued, the process runs).
  std::function<void()> begun;
  /// Of the fleet lock, where one is held: greater than those of all earlier grants. It is handed
  /// to what can check it: a command's environment, a request's header. Units of systemd have no
  /// use for it.
  std::optional<std::int64_t> fencing_token = {};
};

struct StepResult {
  std::string result;  // one sentence
  std::string output;
  bool failed =
      false;  // it ran to its end, but what it did went wrong; the output is kept all the same
  bool left = false;  // the agent ends before it does: it goes on by itself
};

/// kNotReachable: whoever knows cannot be asked for the moment; kUnknown: it cannot be told, and
/// never will be.
enum class Recovered { kDone, kUnderWay, kNotDone, kNotReachable, kUnknown };

/// One value that an action has set and that stays until somebody changes it.
struct SetValue {
  std::string parameter;  // of the action, that it was set by
  std::string name;       // "net.core.somaxconn", "MemoryHigh"
  std::string wanted;     // as it was set
  std::string found;      // as it is
  // The same as numbers (bytes, percent), where they are one.
  std::optional<double> wanted_number;
  std::optional<double> found_number;
  bool as_set = true;
};

class Step {
 public:
  virtual ~Step() = default;
  /// Beyond types and presence, which the descriptor says: is this target possible at all?
  [[nodiscard]] virtual Status validate(const plan::Action& action,
                                        const StepContext& context) const = 0;
  /// What run() would do, for people; changes nothing.
  [[nodiscard]] virtual Result<std::string> dry_run(const plan::Action& action,
                                                    StepContext& context) = 0;
  /// Evidence as JSON: the state of the target. Kept as before and after.
  [[nodiscard]] virtual std::string evidence(const plan::Action& action, StepContext& context) = 0;
  [[nodiscard]] virtual Result<StepResult> run(const plan::Action& action, StepContext& context,
                                               const StepRun& run) = 0;
  /// The action's own check when no `verify` is configured; nothing: the step has nothing to
  /// verify.
  [[nodiscard]] virtual std::optional<bool> verify(const plan::Action& action,
                                                   StepContext& context) = 0;
  /// After a restart of the agent: with the evidence taken before, was it done? Asked again while
  /// it is under way or not reachable.
  [[nodiscard]] virtual Recovered recover(const plan::Action& action, StepContext& context,
                                          std::string& what) = 0;
  /// What the rails count it on, when that is not its target: a process comes back under another
  /// pid, and what is done to it again and again is done to its unit. Empty: the target.
  [[nodiscard]] virtual std::string account(const plan::Action& action,
                                            const StepContext& context) const {
    std::ignore = action;
    std::ignore = context;
    return {};
  }
  /// Of one that was done: what it has set, beside what is there now. None: it sets nothing that
  /// stays, or what it was set on is gone. An error: it cannot be told for the moment.
  [[nodiscard]] virtual Result<std::vector<SetValue>> values(const plan::Action& action,
                                                             StepContext& context) {
    std::ignore = action;
    std::ignore = context;
    return std::vector<SetValue>();
  }
  /// Takes back what run() did, from the evidence taken before it; one sentence about what is now.
  /// Called when the action was done and has not helped (its verification failed), and the
  /// descriptor says that it can be undone.
  [[nodiscard]] virtual Result<std::string> undo(const plan::Action& action, StepContext& context) {
    std::ignore = context;
    return fail(Errc::kUnsupported, "{} cannot be undone", action.type);
  }
};

struct ActionDescriptor {
  std::string_view name;
  std::string_view help;
  std::string_view target_help;
  std::span<const ParameterDescriptor> parameters;
  std::unique_ptr<Step> (*make)();
  /// What of a configured remedy this action cannot do, for `check config`. Values with "${label}"
  /// are not known yet.
  Status (*check_remedy)(const config::RemedyConfig& remedy,
                         const config::Config& config) = nullptr;
  /// How it is undone when it does not help; empty: it cannot be.
  std::string_view undo_help;
  /// What else `describe` says, line by line: what the action knows by itself.
  std::string (*details)() = nullptr;
  /// It destroys no traces: nothing is kept of the host before it.
  bool gentle = false;
  /// Its targets are services by the names of nexus/config/service_name.hpp, whatever its own name:
  /// plan::is_unit_action() says the same.
  bool targets_units = false;
  /// What it sets stays, and Step::values() tells it.
  bool sets_values = false;
};

/// All actions, by name. One line each in src/execute/table.cpp.
[[nodiscard]] std::span<const ActionDescriptor* const> actions();
[[nodiscard]] const ActionDescriptor* find_action(std::string_view name);
/// Unknown type, missing, unknown or mistyped parameters.
[[nodiscard]] Status check_parameters(const ActionDescriptor& descriptor,
                                      const config::Parameters& parameters);
/// The [[command]]s of a configuration, for whoever runs them (host::LocalPrivileged).
[[nodiscard]] std::vector<host::ListedCommand> listed_commands(const config::Config& config);
/// Checks remedies and commands of a configuration against the table (action names, parameters,
/// listed commands).
[[nodiscard]] std::vector<config::Problem> check_remedies(const config::Config& config);

}  // namespace nexus::execute
