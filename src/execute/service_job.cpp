#include "execute/service_job.hpp"

#include <unistd.h>

#include <boost/json.hpp>

#include "execute/journal_json.hpp"
#include "execute/parameter_values.hpp"
#include "execute/unasked.hpp"
#include "nexus/base/text.hpp"
#include "nexus/config/config.hpp"
#include "nexus/host/privileged.hpp"
#include "nexus/plan/planner.hpp"

namespace nexus::execute {
namespace {

using drivers::UnitStatus;
using host::UnitJob;

/// A service that is active must have been so for this long: one that dies at once has not been
/// helped.
constexpr Millis kSettle{1000};
/// For systemd to accept a start.
constexpr Millis kStartAgain{10'000};

bool starts_something(UnitJob job) {
  return job == UnitJob::kStart || job == UnitJob::kRestart;
}

std::string_view past_tense(UnitJob job) {
  switch (job) {
    case UnitJob::kStart:
      return "started";
    case UnitJob::kStop:
      return "stopped";
    case UnitJob::kRestart:
      return "restarted";
    case UnitJob::kReload:
      return "reloaded";
    case UnitJob::kTryRestart:
      return "restarted, where it ran,";
  }
  return "changed";
}

bool job_under_way(const UnitStatus& status) {
  return !status.start_job.empty() || status.active_state == "activating" ||
         status.active_state == "deactivating" || status.active_state == "reloading";
}

bool ran_to_its_end(const UnitStatus& status) {
  return status.type == "oneshot" && status.active_state == "inactive" &&
         status.result == "success";
}

}  // namespace

Status check_unit(std::string_view action_type, const UnitStatus& status,
                  const config::Config& config) {
  if (status.load_state == "not-found")
    return fail(Errc::kNotFound, "there is no unit {}", status.name);
  if (status.load_state == "masked") return fail(Errc::kConflict, "{} is masked", status.name);
  const auto& extra = config.guardrails.protected_units;
  auto names = status.names;
  names.push_back(status.name);
  for (const auto& name : names) {
    if (auto reason = plan::protected_reason(action_type, name, extra))
      return fail(Errc::kPermissionDenied, "{}", *reason);
  }
  if (action_type != "start_service" && status.main_pid != 0 &&
      status.main_pid == static_cast<std::uint32_t>(::getpid())) {
    return fail(Errc::kPermissionDenied, "{} is protected: it is this agent", status.name);
  }
  return {};
}

namespace {

class UnitJobStep final : public Step {
 public:
  explicit UnitJobStep(UnitJob job) : job_(job) {}

  Status validate(const plan::Action& action, const StepContext&) const override {
    auto name = drivers::normalize_unit_name(action.target);
    if (!name) return propagate(std::move(name));
    return {};
  }

  Result<std::string> dry_run(const plan::Action& action, StepContext& context) override {
    auto status = look(action, context);
    if (!status) return propagate(std::move(status));
    return fmt::format(
        "would {} {} ({}), which is {}/{}{}, by a job of systemd in mode \"replace\"",
        to_string(job_of(action)), status->name, status->description, status->active_state,
        status->sub_state,
        status->main_pid != 0 ? fmt::format(" with main process {}", status->main_pid) : "");
  }

  std::string evidence(const plan::Action& action, StepContext& context) override {
    auto status = ask(action, context);
    if (status) return unit_evidence(*status);
    return boost::json::serialize(boost::json::object{{"error", status.error().message()}});
  }

  Result<StepResult> run(const plan::Action& action, StepContext& context,
                         const StepRun& run) override {
    auto status = look(action, context);
    if (!status) return propagate(std::move(status));
    if (auto same = is_what_was_judged(action, *status); !same) return propagate(std::move(same));
    const auto job = job_of(action);
    bool reset = false;
    if (starts_something(job) && status->result == "start-limit-hit") {
      if (auto ok = context.privileged.reset_unit(status->name); !ok)
        return propagate(std::move(ok));
      reset = true;
    }
    auto outcome = queue(job, status->name, context, run);
    if (!reset && starts_something(job) && !outcome && hit_start_limit(action, context)) {
      // Our own start was one too many for StartLimitBurst=: how often is enough is the breaker's
      // to say, not its.
      if (auto ok = context.privileged.reset_unit(status->name); !ok)
        return propagate(std::move(ok));
      reset = true;
      outcome = queue(job, status->name, context, run);
    }
    if (!outcome) return std::unexpected(given_up(std::move(outcome).error(), *status, context));
    if (outcome->result == "left" || outcome->result == "asked") {
      return StepResult{
          .result = fmt::format("{} {}: {}", to_string(job), status->name,
                                outcome->result == "left"
                                    ? "left to systemd, its job goes on"
                                    : "asked of systemd, which has not acknowledged it"),
          .output = {},
          .left = true};
    }
    return StepResult{.result = fmt::format("{} {} in {} ms{}", past_tense(job), status->name,
                                            outcome->took.count(),
                                            reset ? ", after its start limit was reset" : ""),
                      .output = {}};
  }

  std::optional<bool> verify(const plan::Action& action, StepContext& context) override {
    const auto job = job_of(action);
    if (job == UnitJob::kTryRestart && !was_up(action)) return std::nullopt;
    auto status = ask(action, context);
    return status && is_achieved(job, *status, context.clock.wall());
  }

  Recovered recover(const plan::Action& action, StepContext& context, std::string& what) override {
    auto status = ask(action, context);
    if (!status) {
      const auto became = unasked(status.error(), what);
      return context.systemd != nullptr ? became : Recovered::kUnknown;
    }
    return what_became(job_of(action), action.outcome.before, *status, what);
  }

  Result<std::string> undo(const plan::Action& action, StepContext& context) override {
    if (job_ != UnitJob::kStop) return Step::undo(action, context);
    if (!was_up(action)) return std::string("nothing to undo: it did not run before");
    auto status = look(action, context);
    if (!status) return propagate(std::move(status));
    if (status->active_state == "active")
      return fmt::format("undone: {} runs, as before", status->name);
    auto started = context.privileged.unit_job(
        UnitJob::kStart, status->name, {.deadline = context.clock.steady() + action.timeout});
    if (!started) return propagate(std::move(started));
    return fmt::format("undone: {} was started again", status->name);
  }

 private:
  [[nodiscard]] UnitJob job_of(const plan::Action& action) const {
    const auto* only = find_parameter<bool>(action.parameters, "only_if_running");
    return job_ == UnitJob::kRestart && only != nullptr && *only ? UnitJob::kTryRestart : job_;
  }

  static bool was_up(const plan::Action& action) {
    const auto state = member_of(action.outcome.before, "active_state");
    return state == "active" || state == "reloading" || state == "activating";
  }

  /// The rails were asked about a unit and the run of it that the evidence shows, not about
  /// whatever has its name now.
  static Status is_what_was_judged(const plan::Action& action, const UnitStatus& status) {
    if (action.remedy.empty()) return {};
    if (status.name != action.target) {
      return fail(Errc::kConflict, "{} is {} now, about which nothing was decided", action.target,
                  status.name);
    }
    const auto judged = member_of(action.outcome.before, "invocation_id");
    if (judged.empty() || status.invocation_id.empty() || judged == status.invocation_id) return {};
    return fail(Errc::kConflict, "{} was started anew by somebody else meanwhile", action.target);
  }

  static Result<UnitStatus> ask(const plan::Action& action, StepContext& context) {
    if (context.systemd == nullptr) return fail(Errc::kUnavailable, "there is no systemd here");
    auto name = drivers::normalize_unit_name(action.target);
    if (!name) return propagate(std::move(name));
    return context.systemd->status(*name);
  }

  static Result<UnitStatus> look(const plan::Action& action, StepContext& context) {
    auto status = ask(action, context);
    if (!status) return status;
    if (auto ok = check_unit(action.type, *status, *context.config); !ok)
      return propagate(std::move(ok));
    return status;
  }

  static Result<host::JobOutcome> queue(UnitJob job, const std::string& unit, StepContext& context,
                                        const StepRun& run) {
    return context.privileged.unit_job(job, unit,
                                       {.deadline = run.deadline,
                                        .cancelled = run.cancelled,
                                        .queued = run.begun,
                                        .leaving = run.leaving});
  }

  /// What a job that was given up has left behind is looked at and said; a service that only our
  /// restart has stopped is not left down.
  [[nodiscard]] Error given_up(Error error, const UnitStatus& before, StepContext& context) const {
    if (error.code() != Errc::kTimeout && error.code() != Errc::kCancelled) return error;
    auto now = context.systemd->status(before.name);
    if (!now) {
      return {error.code(), fmt::format("{}; the state of {} is not known: {}", error.message(),
                                        before.name, now.error().message())};
    }
    auto text = fmt::format("{}; {} is {} ({})", error.message(), before.name, now->active_state,
                            now->sub_state);
    if (job_ == UnitJob::kRestart && left_stopped(before, *now))
      text += start_again(before.name, context);
    return {error.code(), std::move(text)};
  }

  [[nodiscard]] static std::string start_again(const std::string& unit, StepContext& context) {
    bool accepted = false;
    const auto started =
        context.privileged.unit_job(UnitJob::kStart, unit,
                                    {.deadline = context.clock.steady() + kStartAgain,
                                     .cancelled = {},
                                     .queued = [&] { accepted = true; },
                                     .leaving = [&] { return accepted; }});
    if (started) return ": the restart had stopped it, a job to start it again is queued";
    return fmt::format(": the restart had stopped it, and it could not be started again: {}",
                       started.error().message());
  }

  static bool hit_start_limit(const plan::Action& action, StepContext& context) {
    auto status = ask(action, context);
    return status && status->result == "start-limit-hit";
  }

  const UnitJob job_;
};

}  // namespace

std::unique_ptr<Step> make_unit_job_step(UnitJob job) {
  return std::make_unique<UnitJobStep>(job);
}

bool is_achieved(UnitJob job, const UnitStatus& status, WallTime now) {
  switch (job) {
    case UnitJob::kStop:
      return status.active_state == "inactive" || status.active_state == "failed";
    case UnitJob::kReload:
      return status.active_state == "active";
    case UnitJob::kStart:
    case UnitJob::kRestart:
    case UnitJob::kTryRestart:
      break;
  }
  if (ran_to_its_end(status)) return true;
  // A job that waits has not happened: the unit is as it was before it.
  return status.active_state == "active" && status.start_job.empty() &&
         status.active_enter + kSettle <= now;
}

Recovered what_became(UnitJob job, std::string_view before, const UnitStatus& now,
                      std::string& what) {
  what = fmt::format("{} is {}/{}", now.name, now.active_state, now.sub_state);
  if (job == UnitJob::kReload) return Recovered::kUnknown;
  if (job_under_way(now)) {
    what += ", its job is still under way";
    return Recovered::kUnderWay;
  }
  if (job == UnitJob::kStop)
    return is_achieved(job, now, {}) ? Recovered::kDone : Recovered::kNotDone;
  if (before.empty()) return Recovered::kUnknown;
  if (job == UnitJob::kTryRestart && member_of(before, "active_state") == "inactive")
    return Recovered::kDone;  // there was nothing to restart
  // systemd has forgotten the run of a unit that it unloaded since.
  if (!now.invocation_id.empty() && now.invocation_id != member_of(before, "invocation_id")) {
    what += ", run anew since";
    return Recovered::kDone;
  }
  // A start finds what somebody else had started before; a restart has to have made a new run.
  const bool running = job == UnitJob::kStart && now.active_state == "active";
  return running ? Recovered::kDone : Recovered::kNotDone;
}

bool left_stopped(const UnitStatus& before, const UnitStatus& now) {
  const bool was_up = before.active_state == "active" || before.active_state == "reloading" ||
                      before.active_state == "activating";
  const bool is_down = now.active_state == "deactivating" || now.active_state == "inactive" ||
                       now.active_state == "failed";
  return was_up && is_down && now.start_job.empty() && !ran_to_its_end(now);
}

std::string unit_evidence(const UnitStatus& status) {
  return boost::json::serialize(boost::json::object{{"unit", status.name},
                                                    {"load_state", status.load_state},
                                                    {"active_state", status.active_state},
                                                    {"sub_state", status.sub_state},
                                                    {"result", status.result},
                                                    {"main_pid", status.main_pid},
                                                    {"restarts", status.restarts},
                                                    {"invocation_id", status.invocation_id}});
}

}  // namespace nexus::execute
