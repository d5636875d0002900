#include "execute/unit_instances.hpp"

#include <boost/json.hpp>

#include <algorithm>
#include <iterator>

#include "execute/parameter_values.hpp"
#include "execute/service_job.hpp"
#include "execute/unasked.hpp"
#include "execute/waiting.hpp"
#include "nexus/config/config.hpp"
#include "nexus/host/privileged.hpp"

namespace nexus::execute {
namespace {

namespace json = boost::json;
using host::UnitJob;
using namespace std::chrono_literals;

constexpr Millis kAskEvery = 100ms;

struct Look {
  std::string stem;
  Instances now;
};

Result<Look> look(const plan::Action& action, StepContext& context) {
  if (context.systemd == nullptr) return fail(Errc::kUnavailable, "there is no systemd here");
  Look out{.stem = template_of(action.target), .now = {}};
  if (out.stem.empty())
    return fail(Errc::kInvalidArgument,
                "target: expected a template such as \"web@\", whose instances are numbered, got "
                "\"{}\"",
                action.target);
  auto units = context.systemd->list_units();
  if (!units) return propagate(std::move(units));
  out.now = instances_of(out.stem, *units);
  return out;
}

std::string evidence_of(const plan::Action& action, StepContext& context) {
  auto found = look(action, context);
  if (!found) return json::serialize(json::object{{"error", found.error().message()}});
  return json::serialize(json::object{{"template", found->stem},
                                      {"replicas", found->now.up.size()},
                                      {"up", json::value_from(found->now.up)},
                                      {"failed", json::value_from(found->now.failed)}});
}

std::string numbers(const std::vector<std::int64_t>& of) {
  std::string out;
  for (const auto one : of) out += fmt::format("{}{}", out.empty() ? "" : ", ", one);
  return out.empty() ? "none" : out;
}

/// Until what the job was for is so, and stays so for a moment.
Status wait_settled(UnitJob job, const std::string& unit, StepContext& context,
                    const StepRun& run) {
  while (true) {
    auto now = context.systemd->status(unit);
    if (now && is_achieved(job, *now, context.clock.wall())) return {};
    if (now && (now->active_state == "failed" || now->active_state == "inactive"))
      return fail(Errc::kConflict, "{} is {} ({}) again", unit, now->active_state, now->result);
    if (auto why = why_to_end(context.clock, run)) return fail(*why, "{} has not settled", unit);
    pause_until(context.clock, std::min(run.deadline, context.clock.steady() + kAskEvery));
  }
}

/// One job for one instance, which must not be a protected one; it is waited for until it has
/// settled.
Status one_job(UnitJob job, const std::string& unit, const plan::Action& action,
               StepContext& context, const StepRun& run) {
  auto status = context.systemd->status(unit);
  if (!status) return propagate(std::move(status));
  if (auto ok = check_unit(action.type, *status, *context.config); !ok) return ok;
  if (status->result == "start-limit-hit" && job != UnitJob::kStop) {
    if (auto ok = context.privileged.reset_unit(status->name); !ok) return ok;
  }
  // It cannot be left to systemd: what comes after it would be missing.
  auto done =
      context.privileged.unit_job(job, status->name,
                                  {.deadline = run.deadline,
                                   .cancelled = [&] { return run.cancelled() || run.leaving(); },
                                   .queued = run.begun,
                                   .leaving = {}});
  if (!done) return propagate(std::move(done));
  return wait_settled(job, status->name, context, run);
}

/// The numbers that are an array of the evidence.
std::vector<std::int64_t> numbers_in(const json::value& evidence, std::string_view key) {
  const auto* object = evidence.if_object();
  const auto* list = object != nullptr ? object->if_contains(key) : nullptr;
  std::vector<std::int64_t> out;
  if (list == nullptr || !list->is_array()) return out;
  for (const auto& one : list->get_array()) {
    if (one.is_number()) out.push_back(one.to_number<std::int64_t>());
  }
  std::ranges::sort(out);
  return out;
}

class UnitScaleStep final : public Step {
 public:
  Status validate(const plan::Action& action, const StepContext&) const override {
    return wanted_of(action) ? Status() : std::unexpected(wanted_of(action).error());
  }

  Result<std::string> dry_run(const plan::Action& action, StepContext& context) override {
    auto change = change_of(action, context);
    if (!change) return propagate(std::move(change));
    if (change->start.empty() && change->stop.empty())
      return fmt::format("would do nothing: {} instances of {} run", change->wanted, change->stem);
    return fmt::format("would start {}N for N in {}; would stop N in {}", change->stem,
                       numbers(change->start), numbers(change->stop));
  }

  std::string evidence(const plan::Action& action, StepContext& context) override {
    return evidence_of(action, context);
  }

  Result<StepResult> run(const plan::Action& action, StepContext& context,
                         const StepRun& run) override {
    auto change = change_of(action, context);
    if (!change) return propagate(std::move(change));
    return carry_out(*change, action, context, run);
  }

  std::optional<bool> verify(const plan::Action& action, StepContext& context) override {
    auto change = change_of(action, context);
    return change && change->start.empty() && change->stop.empty();
  }

  Recovered recover(const plan::Action& action, StepContext& context, std::string& what) override {
    auto change = change_of(action, context);
    if (!change) {
      const auto became = unasked(change.error(), what);
      return context.systemd != nullptr ? became : Recovered::kUnknown;
    }
    what = fmt::format("of {} {} are still to be started, and {} to be stopped", change->stem,
                       change->start.size(), change->stop.size());
    return change->start.empty() && change->stop.empty() ? Recovered::kDone : Recovered::kNotDone;
  }

  Result<std::string> undo(const plan::Action& action, StepContext& context) override {
    json::error_code error;
    const auto before = json::parse(action.outcome.before, error);
    const auto* count =
        !error && before.is_object() ? before.get_object().if_contains("replicas") : nullptr;
    if (count == nullptr || !count->is_number())
      return fail(Errc::kNotFound, "how many there were before is not known");
    const auto up = numbers_in(before, "up");
    const auto was = count->to_number<std::int64_t>();
    if (std::ssize(up) != was)
      return fail(Errc::kNotFound, "which instances were up before is not known");
    auto found = look(action, context);
    if (!found) return propagate(std::move(found));
    auto wanted = wanted_of(action);
    if (!wanted) return propagate(std::move(wanted));
    const auto there = std::ssize(found->now.up);
    if (there < std::min(was, *wanted) || there > std::max(was, *wanted))
      return fail(Errc::kConflict, "{} are up now, which this action did not start, and are left",
                  there);
    // By what ran before, and not by numbers: what has one too high may have run all the time.
    Change change{.stem = found->stem, .wanted = was, .start = {}, .stop = {}};
    std::ranges::set_difference(up, found->now.up, std::back_inserter(change.start));
    std::ranges::set_difference(found->now.up, up, std::back_inserter(change.stop));
    std::ranges::reverse(change.stop);
    const auto run = unattended_run(context.clock.steady() + action.timeout);
    auto done = carry_out(change, action, context, run);
    if (!done) return propagate(std::move(done));
    return "undone: " + done->result;
  }

 private:
  struct Change {
    std::string stem;
    std::int64_t wanted = 0;
    std::vector<std::int64_t> start;
    std::vector<std::int64_t> stop;  // highest first
  };

  static Result<std::int64_t> wanted_of(const plan::Action& action) {
    const auto* wanted = find_parameter<std::int64_t>(action.parameters, "replicas");
    if (wanted == nullptr || *wanted < 0 || *wanted > kMostInstances)
      return fail(Errc::kInvalidArgument, "parameter \"replicas\": expected 0 to {}",
                  kMostInstances);
    return *wanted;
  }

  static Result<Change> change_of(const plan::Action& action, StepContext& context) {
    auto wanted = wanted_of(action);
    if (!wanted) return propagate(std::move(wanted));
    auto found = look(action, context);
    if (!found) return propagate(std::move(found));
    if (!found->now.up.empty() && found->now.up.back() > kMostInstances)
      return fail(Errc::kUnsupported,
                  "{}{} is up: what its instances are called after is not how many there are "
                  "(more than {}, such as ports), and they are not scaled",
                  found->stem, found->now.up.back(), kMostInstances);
    Change out{.stem = found->stem, .wanted = *wanted, .start = {}, .stop = {}};
    for (std::int64_t i = 1; i <= *wanted; ++i) {
      if (!std::ranges::binary_search(found->now.up, i)) out.start.push_back(i);
    }
    for (const auto one : found->now.up) {
      if (one > *wanted) out.stop.insert(out.stop.begin(), one);
    }
    return out;
  }

  static Result<StepResult> carry_out(const Change& change, const plan::Action& action,
                                      StepContext& context, const StepRun& run) {
    for (const auto& [job, list] :
         {std::pair(UnitJob::kStart, &change.start), std::pair(UnitJob::kStop, &change.stop)}) {
      for (const auto one : *list) {
        if (auto why = why_to_begin_no_more(context, run))
          return fail(*why, "{} instances of {} were wanted: ended before {} of {}", change.wanted,
                      change.stem, to_string(job), instance_of(change.stem, one));
        const auto unit = instance_of(change.stem, one);
        if (auto done = one_job(job, unit, action, context, run); !done)
          return propagate(std::move(done), "{} instances of {} were wanted", change.wanted,
                           change.stem);
      }
    }
    return StepResult{
        .result = fmt::format("{} instances of {}: started {}, stopped {}", change.wanted,
                              change.stem, numbers(change.start), numbers(change.stop)),
        .output = {}};
  }
};

class UnitRolloutStep final : public Step {
 public:
  Status validate(const plan::Action& action, const StepContext& context) const override {
    for (const auto* name : {"image", "container"}) {
      if (!text_parameter(action.parameters, name).empty())
        return fail(Errc::kInvalidArgument, "parameter \"{}\": units of systemd have none", name);
    }
    if (!template_of(action.target).empty()) return {};
    return one_->validate(action, context);
  }

  Result<std::string> dry_run(const plan::Action& action, StepContext& context) override {
    if (template_of(action.target).empty()) return one_->dry_run(action, context);
    auto found = look(action, context);
    if (!found) return propagate(std::move(found));
    return fmt::format("would restart {}N one after the other, for N in {}", found->stem,
                       numbers(found->now.up));
  }

  std::string evidence(const plan::Action& action, StepContext& context) override {
    return template_of(action.target).empty() ? one_->evidence(action, context)
                                              : evidence_of(action, context);
  }

  Result<StepResult> run(const plan::Action& action, StepContext& context,
                         const StepRun& run) override {
    if (template_of(action.target).empty()) return one_->run(action, context, run);
    auto found = look(action, context);
    if (!found) return propagate(std::move(found));
    const auto wait = duration_parameter(action.parameters, "wait", 0ms);
    std::size_t done = 0;
    for (const auto number : found->now.up) {
      if (done > 0) {
        auto why = pause_in_step(context.clock, run, context.clock.steady() + wait);
        if (!why) why = why_to_begin_no_more(context, run);
        if (why) return fail(*why, "{} of {} instances were restarted", done, found->now.up.size());
      }
      const auto unit = instance_of(found->stem, number);
      if (auto ok = restart(unit, action, context, run); !ok)
        return propagate(std::move(ok), "{} of {} instances were restarted, then", done,
                         found->now.up.size());
      ++done;
    }
    return StepResult{.result = fmt::format("restarted {} instances of {}, one after the other",
                                            done, found->stem),
                      .output = {}};
  }

  std::optional<bool> verify(const plan::Action& action, StepContext& context) override {
    if (template_of(action.target).empty()) return one_->verify(action, context);
    return std::nullopt;  // each was waited for
  }

  Recovered recover(const plan::Action& action, StepContext& context, std::string& what) override {
    if (template_of(action.target).empty()) return one_->recover(action, context, what);
    what = "how many of its instances were restarted is not known";
    return Recovered::kUnknown;
  }

 private:
  /// As restart_service: one that is given up in the middle is not left down.
  Status restart(const std::string& unit, const plan::Action& action, StepContext& context,
                 const StepRun& run) {
    auto part = action;
    part.target = unit;
    part.parameters.clear();
    part.remedy.clear();  // what was judged is the template
    auto done = one_->run(part, context, run);
    if (!done) return propagate(std::move(done));
    // The others would never have their turn: that is interrupted, and said.
    if (done->left) return fail(Errc::kCancelled, "{}: {}", unit, done->result);
    return wait_settled(UnitJob::kRestart, unit, context, run);
  }

  const std::unique_ptr<Step> one_ = make_unit_job_step(UnitJob::kRestart);
};

}  // namespace

std::string template_of(std::string_view name) {
  if (name.ends_with(".service")) name.remove_suffix(8);
  return name.size() > 1 && name.ends_with('@') ? std::string(name) : std::string();
}

std::string instance_of(std::string_view stem, std::int64_t number) {
  return fmt::format("{}{}.service", stem, number);
}

Instances instances_of(std::string_view stem, std::span<const drivers::UnitSummary> units) {
  Instances out;
  for (const auto& unit : units) {
    std::string_view name = unit.name;
    if (!name.starts_with(stem) || !name.ends_with(".service")) continue;
    name.remove_prefix(stem.size());
    name.remove_suffix(8);
    const auto number = base::parse_uint(name);
    if (!number || *number == 0 || *number > 1'000'000 || name.starts_with('0')) continue;
    const auto& state = unit.active_state;
    if (state == "active" || state == "activating" || state == "reloading")
      out.up.push_back(static_cast<std::int64_t>(*number));
    if (state == "failed") out.failed.push_back(static_cast<std::int64_t>(*number));
  }
  std::ranges::sort(out.up);
  std::ranges::sort(out.failed);
  return out;
}

std::unique_ptr<Step> make_unit_scale_step() {
  return std::make_unique<UnitScaleStep>();
}
std::unique_ptr<Step> make_unit_rollout_step() {
  return std::make_unique<UnitRolloutStep>();
}

}  // namespace nexus::execute
