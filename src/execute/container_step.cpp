#include "execute/container_step.hpp"

#include <fmt/format.h>

#include <boost/json.hpp>

#include <algorithm>
#include <mutex>
#include <set>

#include "execute/parameter_values.hpp"
#include "execute/unasked.hpp"
#include "execute/waiting.hpp"
#include "nexus/base/text.hpp"
#include "nexus/config/config.hpp"

namespace nexus::execute {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;

constexpr Millis kAskEvery = 200ms;
constexpr Millis kSettle = 1s;      // so long one without a health check has to run
constexpr Millis kWellBy = 5min;    // health checks have start periods
constexpr Millis kLookLimit = 10s;  // to look at containers outside of a run

StepRun looking(StepContext& context) {
  return unattended_run(context.clock.steady() + kLookLimit);
}

/// What the evidence says of a container; null: it is not in it.
const ContainerBefore* known(const std::vector<ContainerBefore>& before, const std::string& id) {
  const auto found = std::ranges::find(before, id, &ContainerBefore::id);
  return found == before.end() ? nullptr : &*found;
}

/// A remedy was judged about these containers, not about others that have their names now.
Status are_what_was_judged(const plan::Action& action, const std::vector<Container>& containers) {
  if (action.remedy.empty()) return {};
  for (const auto& one : containers) {
    const auto made = base::parse_time(one.created);
    // Nothing was judged either about one that was made in the millisecond of the decision.
    if (made && *made >= action.created)
      return fail(Errc::kConflict,
                  "docker:{} is another container since it was decided on: it was made at {}",
                  one.name, one.created);
  }
  const auto before = containers_before(action.outcome.before);
  if (before.empty()) return {};
  for (const auto& one : containers) {
    if (known(before, one.id) == nullptr)
      return fail(Errc::kConflict,
                  "docker:{} is another container now ({}), about which nothing was decided",
                  one.name, one.id.substr(0, 12));
  }
  return {};
}

/// For steps an engine that does not run is away: after a boot it may come up later than the agent.
Result<drivers::DockerControl> engine_for(const StepContext& context) {
  auto engine = engine_of(*context.config, context.clock);
  if (!engine && context.config->connections.docker.enabled)
    return fail(Errc::kUnavailable, "{}", engine.error().message());
  return engine;
}

std::mutex& claims_mutex() {
  static std::mutex one;
  return one;
}
std::set<std::string>& claimed_ids() {  // guarded by claims_mutex()
  static std::set<std::string> ids;
  return ids;
}

bool is_well(const Container& container) {
  return container.runs() && (container.health.empty() || container.health == "healthy");
}

class ContainerJobStep final : public ContainerStep {
 public:
  explicit ContainerJobStep(ServiceVerb verb) : verb_(verb) {}

  std::optional<bool> verify(const plan::Action& action, StepContext& context) override {
    const auto containers = now(action, context);
    if (!containers) return false;
    return std::ranges::all_of(*containers, [&](const Container& one) {
      return verb_ == ServiceVerb::kStop ? !one.runs() : is_well(one);
    });
  }

  Recovered recover(const plan::Action& action, StepContext& context, std::string& what) override {
    const auto containers = now(action, context);
    if (!containers) return unasked(containers.error(), what);
    const auto before = containers_before(action.outcome.before);
    what.clear();
    bool done = true;
    for (const auto& one : *containers) {
      what += fmt::format("{}docker:{} is {}", what.empty() ? "" : ", ", one.name, one.state);
      const auto* then = known(before, one.id);
      const bool anew = then != nullptr && then->started != one.started;
      done = done && (verb_ == ServiceVerb::kStop      ? !one.runs()
                      : verb_ == ServiceVerb::kRestart ? one.runs() && anew
                                                       : one.runs());
    }
    if (verb_ == ServiceVerb::kReload) return Recovered::kUnknown;
    return done ? Recovered::kDone : Recovered::kNotDone;
  }

  Result<std::string> undo(const plan::Action& action, StepContext& context) override {
    if (verb_ != ServiceVerb::kStop) return Step::undo(action, context);
    const auto before = containers_before(action.outcome.before);
    const auto run = unattended_run(context.clock.steady() + action.timeout);
    auto work = look(action, context, run);
    if (!work) return propagate(std::move(work));
    ContainerClaim claim;
    if (auto ok = claim.take(work->containers); !ok) return propagate(std::move(ok));
    std::string started;
    for (const auto& one : work->containers) {
      const auto* then = known(before, one.id);
      if (one.runs() || then == nullptr || !is_meant_to_run(then->state)) continue;
      if (auto why = why_to_begin_no_more(context, run))
        return fail(*why, "ended before docker:{} was started again", one.name);
      auto ok = work->engine.start(one.id, work->call());
      if (ok) ok = wait_until_well(one.id, *work);
      if (!ok) return propagate(std::move(ok), "start docker:{} again", one.name);
      started += (started.empty() ? "" : ", ") + one.name;
    }
    return started.empty() ? std::string("undone: what ran before runs")
                           : "undone: started again: " + started;
  }

 private:
  Status check(const plan::Action& action, const std::string&) const override {
    if (find_parameter<bool>(action.parameters, "only_if_running") != nullptr)
      return fail(Errc::kInvalidArgument,
                  "parameter \"only_if_running\": of units of systemd only");
    return {};
  }

  Result<std::string> would(const ContainerWork& work) override {
    std::string out;
    for (const auto& one : work.containers) {
      out += fmt::format("{}would {} container {} ({}), which is {}{}{}", out.empty() ? "" : "\n",
                         to_string(verb_), one.name, one.image, one.state,
                         one.health.empty() ? "" : ", " + one.health,
                         one.pid != 0 ? fmt::format(", with main process {}", one.pid) : "");
    }
    return out;
  }

  Result<StepResult> carry_out(ContainerWork& work) override {
    std::size_t done = 0;
    for (const auto& one : work.containers) {
      if (done > 0) {
        if (auto why = why_to_begin_no_more(work.context, work.run))
          return fail(*why, "{} of {} containers done, and no further one begun", done,
                      work.containers.size());
      }
      if (auto ok = one_of(one, work); !ok) {
        // Of several the others would never have their turn: that is interrupted, and said.
        const bool goes_on = ok.error().code() == Errc::kCancelled && work.run.leaving();
        if (goes_on && work.containers.size() == 1)
          return StepResult{.result = fmt::format("{} {}: left to the engine, which goes on",
                                                  to_string(verb_), one.name),
                            .output = {},
                            .left = true};
        return propagate(std::move(ok), "{} of {} containers done, then docker:{}", done,
                         work.containers.size(), one.name);
      }
      ++done;
    }
    return StepResult{.result = fmt::format("{}: {}", past_tense(), names_of(work.containers)),
                      .output = {}};
  }

  Status one_of(const Container& one, const ContainerWork& work) const {
    const auto& parameters = work.action.parameters;
    std::optional<Millis> grace;
    if (parameters.contains("timeout")) grace = duration_parameter(parameters, "timeout", 10s);
    const auto call = work.call();
    Status asked;
    work.run.begun();
    switch (verb_) {
      case ServiceVerb::kStart:
        asked = work.engine.start(one.id, call);
        break;
      case ServiceVerb::kRestart:
        asked = work.engine.restart(one.id, grace, call);
        break;
      case ServiceVerb::kReload:
        return work.engine.signal(one.id, "HUP", call);
      case ServiceVerb::kStop: {
        const auto* kill = find_parameter<bool>(parameters, "kill");
        if (kill != nullptr && *kill && one.runs())
          asked = work.engine.signal(one.id, "KILL", call);
        return asked ? work.engine.stop(one.id, grace, call) : asked;
      }
      default:
        return fail(Errc::kInternal, "no such job of a container");
    }
    return asked ? wait_until_well(one.id, work) : asked;
  }

  [[nodiscard]] std::string_view past_tense() const {
    switch (verb_) {
      case ServiceVerb::kStart:
        return "started";
      case ServiceVerb::kStop:
        return "stopped";
      case ServiceVerb::kRestart:
        return "restarted";
      default:
        return "sent SIGHUP to";
    }
  }

  const ServiceVerb verb_;
};

}  // namespace

ContainerClaim::~ContainerClaim() {
  const std::lock_guard guard(claims_mutex());
  for (const auto& id : ids_) claimed_ids().erase(id);
}

Status ContainerClaim::take(const std::vector<Container>& containers) {
  const std::lock_guard guard(claims_mutex());
  for (const auto& one : containers) {
    if (!claimed_ids().insert(one.id).second)
      return fail(Errc::kConflict, "docker:{} is being worked on by another action", one.name);
    ids_.push_back(one.id);
  }
  return {};
}

drivers::EngineCall ContainerWork::call() const {
  return {.deadline = run.deadline, .ended = [this] { return run.cancelled() || run.leaving(); }};
}

std::string names_of(const std::vector<Container>& containers) {
  std::string out;
  for (const auto& one : containers) out += (out.empty() ? "" : ", ") + one.name;
  return out;
}

Status wait_until_well(const std::string& id, const ContainerWork& work) {
  auto& clock = work.context.clock;
  const auto until = std::min(work.run.deadline, clock.steady() + kWellBy);
  std::string started;
  SteadyTime since{};  // it has run since then, as far as was seen
  while (true) {
    auto one = look_at(id, work.engine, work.call());
    if (!one) return propagate(std::move(one));
    if (one->health == "unhealthy")
      return fail(Errc::kConflict, "docker:{} is unhealthy", one->name);
    if (one->state == "exited" || one->state == "dead")
      return fail(Errc::kConflict, "docker:{} has ended again (exit code {})", one->name,
                  one->exit_code);
    const auto now = clock.steady();
    // One that the engine starts again and again runs whenever it is looked at.
    if (!one->runs() || one->started != started) {
      started = one->started;
      since = now;
    }
    if (is_well(*one) && (!one->health.empty() || now >= since + kSettle)) return {};
    if (auto why = why_to_end(clock, work.run))
      return fail(*why, "docker:{} is {}{} so far", one->name, one->state,
                  one->health.empty() ? "" : ", " + one->health);
    if (now >= until)
      return fail(Errc::kTimeout, "docker:{} is {}{} after {}", one->name, one->state,
                  one->health.empty() ? "" : ", " + one->health, base::format_duration(kWellBy));
    pause_until(clock, std::min(until, now + kAskEvery));
  }
}

std::string ContainerStep::name_of(const plan::Action& action) {
  return config::parse_service_name(action.target).name;
}

Status ContainerStep::validate(const plan::Action& action, const StepContext&) const {
  const auto name = name_of(action);
  if (auto ok = check_container_name(name); !ok) return ok;
  return check(action, name);
}

Result<std::vector<Container>> ContainerStep::now(const plan::Action& action,
                                                  StepContext& context) {
  auto engine = engine_for(context);
  if (!engine) return propagate(std::move(engine));
  return containers_of(name_of(action), *engine, {.deadline = context.clock.steady() + kLookLimit});
}

std::string ContainerStep::evidence(const plan::Action& action, StepContext& context) {
  const auto containers = now(action, context);
  if (!containers) return json::serialize(json::object{{"error", containers.error().message()}});
  return container_evidence(*containers);
}

Result<ContainerWork> ContainerStep::engine_work(const plan::Action& action, StepContext& context,
                                                 const StepRun& run) {
  auto engine = engine_for(context);
  if (!engine) return propagate(std::move(engine));
  return ContainerWork{.engine = *std::move(engine),
                       .containers = {},
                       .action = action,
                       .context = context,
                       .run = run};
}

Result<ContainerWork> ContainerStep::look(const plan::Action& action, StepContext& context,
                                          const StepRun& run) {
  auto work = engine_work(action, context, run);
  if (!work) return work;
  auto found =
      containers_of(name_of(action), work->engine,
                    {.deadline = std::min(run.deadline, context.clock.steady() + kLookLimit)});
  if (!found) return propagate(std::move(found));
  for (const auto& one : *found) {
    if (auto why = container_protected(one, work->engine.engine().socket(), *context.config))
      return fail(Errc::kPermissionDenied, "{}", *why);
  }
  work->containers = *std::move(found);
  return work;
}

Result<std::string> ContainerStep::dry_run(const plan::Action& action, StepContext& context) {
  const auto run = looking(context);
  auto work = look(action, context, run);
  if (!work) return propagate(std::move(work));
  return would(*work);
}

Result<StepResult> ContainerStep::run(const plan::Action& action, StepContext& context,
                                      const StepRun& run) {
  auto work = look(action, context, run);
  if (!work) return propagate(std::move(work));
  if (auto same = are_what_was_judged(action, work->containers); !same)
    return propagate(std::move(same));
  ContainerClaim claim;
  if (auto ok = claim.take(work->containers); !ok) return propagate(std::move(ok));
  return carry_out(*work);
}

std::unique_ptr<Step> make_container_job_step(ServiceVerb verb) {
  return std::make_unique<ContainerJobStep>(verb);
}

}  // namespace nexus::execute
