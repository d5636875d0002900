// More or fewer containers of a service of Compose: by copies of one that there is, which carry the
// label nexus-agent.scaled-by.
#include <fmt/format.h>

#include <boost/json.hpp>

#include <algorithm>

#include "execute/container_step.hpp"
#include "execute/parameter_values.hpp"
#include "execute/unasked.hpp"
#include "execute/waiting.hpp"
#include "nexus/base/log.hpp"

namespace nexus::execute {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;

constexpr std::int64_t kMostContainers = 100;
constexpr Millis kRemoveLimit = 60s;
constexpr Millis kUnheardLimit = 10s;
constexpr Millis kAskEvery = 200ms;

class ContainerScaleStep final : public ContainerStep {
 public:
  std::optional<bool> verify(const plan::Action& action, StepContext& context) override {
    const auto wanted = wanted_of(action);
    const auto containers = now(action, context);
    return wanted && containers && std::ranges::count_if(*containers, &Container::runs) == *wanted;
  }

  Recovered recover(const plan::Action& action, StepContext& context, std::string& what) override {
    const auto containers = now(action, context);
    if (!containers) return unasked(containers.error(), what);
    what = fmt::format("{} containers run", std::ranges::count_if(*containers, &Container::runs));
    return verify(action, context).value_or(false) ? Recovered::kDone : Recovered::kNotDone;
  }

  Result<std::string> undo(const plan::Action& action, StepContext& context) override {
    const auto before = containers_before(action.outcome.before);
    if (before.empty()) return fail(Errc::kNotFound, "how many there were before is not known");
    const auto was = std::ranges::count(before, "running", &ContainerBefore::state);
    auto back = action;
    back.parameters.insert_or_assign("replicas", std::int64_t{was});
    const auto run = unattended_run(context.clock.steady() + action.timeout);
    auto work = look(back, context, run);
    if (!work) return propagate(std::move(work));
    const auto wanted = wanted_of(action).value_or(was);
    const auto there = std::ranges::count_if(work->containers, &Container::runs);
    if (there < std::min(was, wanted) || there > std::max(was, wanted))
      return fail(Errc::kConflict, "{} run now, which this action did not make, and are left",
                  there);
    ContainerClaim claim;
    if (auto ok = claim.take(work->containers); !ok) return propagate(std::move(ok));
    auto change = way_back(*work, before, was);
    if (!change) return propagate(std::move(change));
    auto done = apply(*change, *work);
    if (!done) return propagate(std::move(done));
    return "undone: " + done->result;
  }

 private:
  struct Change {
    std::vector<Container> start;  // that are there, and do not run
    std::vector<std::int64_t> make;
    std::vector<Container> end;   // stopped and removed, highest number first
    std::vector<Container> stop;  // and kept
  };

  static Result<std::int64_t> wanted_of(const plan::Action& action) {
    const auto* wanted = find_parameter<std::int64_t>(action.parameters, "replicas");
    if (wanted == nullptr || *wanted < 1 || *wanted > kMostContainers)
      return fail(Errc::kInvalidArgument,
                  "parameter \"replicas\": expected 1 to {} (without a container there is none to "
                  "make another like; stop_service stops all)",
                  kMostContainers);
    return *wanted;
  }

  Status check(const plan::Action& action, const std::string&) const override {
    if (auto wanted = wanted_of(action); !wanted) return propagate(std::move(wanted));
    return {};
  }

  /// "shop-web-" of "shop-web-1"; empty: the name was given by hand, and there can be one only.
  static std::string stem_of(const Container& one) {
    const auto number = std::to_string(one.number());
    if (one.number() < 1 || !one.name.ends_with(number)) return {};
    auto stem = one.name.substr(0, one.name.size() - number.size());
    return stem.ends_with('-') || stem.ends_with('_') ? stem : std::string();
  }

  static Result<Change> change_of(const ContainerWork& work) {
    auto wanted = wanted_of(work.action);
    if (!wanted) return propagate(std::move(wanted));
    Change out;
    auto running = std::ranges::count_if(work.containers, &Container::runs);
    for (auto one = work.containers.rbegin(); one != work.containers.rend(); ++one) {
      if (!one->runs() || running <= *wanted) continue;
      out.end.push_back(*one);
      --running;
    }
    return with_more(std::move(out), work, running, *wanted);
  }

  /// From the evidence: what the action made goes, what it started stops; of those that it removed
  /// there are as many again.
  static Result<Change> way_back(const ContainerWork& work,
                                 const std::vector<ContainerBefore>& before, std::int64_t was) {
    Change out;
    auto running = std::ranges::count_if(work.containers, &Container::runs);
    for (auto one = work.containers.rbegin(); one != work.containers.rend(); ++one) {
      if (!one->runs() || running <= was) continue;
      const auto then = std::ranges::find(before, one->id, &ContainerBefore::id);
      const bool made = one->label(kScaledBy) == work.action.id;
      const bool started = then != before.end() && then->state != "running";
      if (!made && !started) continue;  // it ran before, or is somebody else's
      (made ? out.end : out.stop).push_back(*one);
      --running;
    }
    return with_more(std::move(out), work, running, was);
  }

  /// Adds what is to run besides the `running` ones: those that are there first.
  static Result<Change> with_more(Change out, const ContainerWork& work, std::int64_t running,
                                  std::int64_t wanted) {
    for (const auto& one : work.containers) {
      if (one.runs() || running >= wanted) continue;
      out.start.push_back(one);
      ++running;
    }
    for (std::int64_t number = 1; running < wanted; ++number) {
      if (std::ranges::find(work.containers, number, &Container::number) != work.containers.end())
        continue;
      out.make.push_back(number);
      ++running;
    }
    if (!out.make.empty() && stem_of(work.containers.front()).empty())
      return fail(Errc::kUnsupported,
                  "docker:{} was given its name by hand (container_name): there can be one only",
                  work.containers.front().name);
    return out;
  }

  static Result<drivers::ContainerCopy> copy_of(const ContainerWork& work, std::int64_t number) {
    const auto& one = work.containers.front();
    return drivers::copy_container(
        one.inspected, {.image = image_of(one, work.engine, work.call()),
                        .old_image = {},
                        .labels = {{std::string(kComposeNumber), std::to_string(number)},
                                   {std::string(kScaledBy), work.action.id}},
                        .beside = true});
  }

  Result<std::string> would(const ContainerWork& work) override {
    auto change = change_of(work);
    if (!change) return propagate(std::move(change));
    std::string out;
    const auto add = [&](std::string_view what, const std::string& name) {
      out += fmt::format("{}would {} {}", out.empty() ? "" : "\n", what, name);
    };
    for (const auto& one : change->start) add("start", one.name);
    for (const auto number : change->make) {
      auto copy = copy_of(work, number);
      if (!copy) return propagate(std::move(copy));
      add("make and start", fmt::format("{}{}, like {}", stem_of(work.containers.front()), number,
                                        work.containers.front().name));
      for (const auto& note : copy->notes) out += "; " + note;
    }
    if (!change->end.empty()) {
      if (auto ok = check_not_shared(change->end, work.engine, work.call()); !ok)
        return propagate(std::move(ok));
    }
    for (const auto& one : change->end) add("stop and remove (never its volumes)", one.name);
    return out.empty() ? "would do nothing: there are as many as are wanted" : out;
  }

  Result<StepResult> carry_out(ContainerWork& work) override {
    auto change = change_of(work);
    if (!change) return propagate(std::move(change));
    return apply(*change, work);
  }

  static Result<StepResult> apply(const Change& change, const ContainerWork& work) {
    const auto call = work.call();
    if (!change.end.empty()) {
      if (auto ok = check_not_shared(change.end, work.engine, call); !ok)
        return propagate(std::move(ok));
    }
    work.run.begun();
    for (const auto& one : change.start) {
      if (auto why = why_to_begin_no_more(work.context, work.run))
        return fail(*why, "ended before docker:{} was started", one.name);
      auto ok = work.engine.start(one.id, call);
      if (ok) ok = wait_until_well(one.id, work);
      if (!ok) return propagate(std::move(ok), "start docker:{}", one.name);
    }
    std::string made;
    for (const auto number : change.make) {
      if (auto why = why_to_begin_no_more(work.context, work.run))
        return fail(*why, "ended; made {}, which stay", or_none(made));
      auto name = make_one(work, number);
      if (!name) return propagate(std::move(name));
      made += (made.empty() ? "" : ", ") + *name;
    }
    for (const auto* list : {&change.stop, &change.end}) {
      for (const auto& one : *list) {
        if (auto why = why_to_begin_no_more(work.context, work.run))
          return fail(*why, "ended before docker:{} was stopped", one.name);
        auto ok = work.engine.stop(one.id, std::nullopt, call);
        if (ok && list == &change.end) ok = work.engine.remove(one.id, false, call);
        if (!ok) return propagate(std::move(ok), "end docker:{}", one.name);
      }
    }
    auto result = fmt::format("started {}; made {}; removed {}", or_none(names_of(change.start)),
                              or_none(made), or_none(names_of(change.end)));
    if (!change.stop.empty()) result += "; stopped " + names_of(change.stop);
    return StepResult{.result = std::move(result), .output = {}};
  }

  static std::string or_none(std::string names) { return names.empty() ? "none" : names; }

  /// One that does not get well is removed again: half a container is none.
  static Result<std::string> make_one(const ContainerWork& work, std::int64_t number) {
    const auto& like = work.containers.front();
    auto copy = copy_of(work, number);
    if (!copy) return propagate(std::move(copy));
    const auto name = stem_of(like) + std::to_string(number);
    auto id = work.engine.create(name, *copy, work.call());
    if (!id) {
      remove_unheard(name, id.error(), work);
      return propagate(std::move(id), "make docker:{}", name);
    }
    auto ok = work.engine.start(*id, work.call());
    if (ok) ok = wait_until_well(*id, work);
    if (ok) return name;
    const drivers::EngineCall last{.deadline = work.context.clock.steady() + kRemoveLimit};
    if (auto gone = work.engine.remove(*id, true, last); !gone)
      log::warning("executor", "docker:{} is left: {}", name, gone.error().message());
    return propagate(std::move(ok), "docker:{} was made and removed again", name);
  }

  /// The engine goes on with what it was asked for when the request is broken off: what it makes of
  /// it is waited for, and removed.
  static void remove_unheard(const std::string& name, const Error& error,
                             const ContainerWork& work) {
    if (!is_away(error) && error.code() != Errc::kCancelled) return;
    auto& clock = work.context.clock;
    const drivers::EngineCall call{.deadline = clock.steady() + kUnheardLimit};
    while (clock.steady() < call.deadline) {
      const auto there = look_at(name, work.engine, call);
      if (there && there->label(kScaledBy) != work.action.id) return;
      if (there) {
        if (auto gone = work.engine.remove(there->id, true, call); !gone)
          log::warning("executor", "docker:{} is left: {}", name, gone.error().message());
        return;
      }
      pause_until(clock, std::min(call.deadline, clock.steady() + kAskEvery));
    }
  }
};

}  // namespace

std::unique_ptr<Step> make_container_scale_step() {
  return std::make_unique<ContainerScaleStep>();
}

}  // namespace nexus::execute
