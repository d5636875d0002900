// New containers in the place of old ones, and more or fewer of them.
//
// An old container is renamed NAME.nexus-old and kept, stopped, until all new ones are well; the
// new ones carry the labels nexus-agent.action and nexus-agent.previous-image. So what a crash
// leaves is told from its names and labels, and put back.
#include <fmt/format.h>

#include <boost/json.hpp>

#include <algorithm>

#include "execute/container_step.hpp"
#include "execute/parameter_values.hpp"
#include "execute/waiting.hpp"
#include "nexus/base/log.hpp"
#include "nexus/config/config.hpp"

namespace nexus::execute {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;

constexpr std::int64_t kMostContainers = 100;
constexpr Millis kPutBackLimit = 60s;

/// A container's place, which changes hands.
struct Place {
  std::string name;
  Container old;
  std::string fresh;  // id of the new one
  bool was_running = false;
  bool stopped = false;  // the old one, by us
};

/// Puts an old container back into its place; a time of its own, for what ended the rollout may be
/// that its time was over.
Status put_back(const Place& place, const ContainerWork& work) {
  const drivers::EngineCall call{.deadline = work.context.clock.steady() + kPutBackLimit};
  if (!place.fresh.empty()) {
    auto gone = work.engine.remove(place.fresh, true, call);
    if (!gone && gone.error().code() != Errc::kNotFound) return gone;
  }
  auto back = work.engine.rename(place.old.id, place.name, call);
  // Podman and Docker both refuse a name that it has already.
  if (!back) {
    auto now = look_at(place.old.id, work.engine, call);
    if (!now) return propagate(std::move(now));
    if (now->name != place.name) return back;
  }
  return place.was_running ? work.engine.start(place.old.id, call) : Status();
}

class Rollout {
 public:
  Rollout(ContainerWork& work, std::string image) : work_(work), image_(std::move(image)) {}

  Result<StepResult> run() {
    const auto wait = duration_parameter(work_.action.parameters, "wait", 0ms);
    for (const auto& one : work_.containers) {
      if (!places_.empty()) {
        auto& clock = work_.context.clock;
        if (auto why = pause_in_step(clock, work_.run, clock.steady() + wait))
          return give_up({*why, fmt::format("ended after {} of {} containers", places_.size(),
                                            work_.containers.size())});
      }
      places_.push_back({.name = one.name,
                         .old = one,
                         .fresh = {},
                         .was_running = one.is_meant_to_run(),
                         .stopped = false});
      if (auto ok = replace(places_.back()); !ok) return give_up(std::move(ok).error());
    }
    std::string left;
    for (const auto& place : places_) {
      // A time of its own: all new ones are well, so that this is to be brought to its end.
      auto gone = work_.engine.remove(place.old.id, true,
                                      {.deadline = work_.context.clock.steady() + kPutBackLimit});
      if (!gone)
        left += fmt::format("; {}{} is left: {}", place.name, kOldSuffix, gone.error().message());
    }
    return StepResult{
        .result = fmt::format("{} containers replaced, now of {}: {}{}", places_.size(),
                              image_.empty() ? places_.front().old.image : image_,
                              names_of(work_.containers), left),
        .output = notes_};
  }

 private:
  Status replace(Place& place) {
    const auto call = work_.call();
    drivers::CopyWish wish;
    wish.image = image_;
    wish.labels = {{std::string(kPreviousImage), place.old.image_id},
                   {std::string(kMadeBy), work_.action.id}};
    // An old image that was removed by force tells nothing, and nothing is taken for its.
    wish.old_image = work_.engine.image(place.old.image_id, call).value_or("");
    auto copy = drivers::copy_container(place.old.inspected, wish);
    if (!copy) return propagate(std::move(copy));
    for (const auto& note : copy->notes) notes_ += fmt::format("{}: {}\n", place.name, note);
    work_.run.begun();
    if (auto ok = work_.engine.rename(place.old.id, place.name + std::string(kOldSuffix), call);
        !ok)
      return ok;
    auto fresh = work_.engine.create(place.name, *copy, call);
    if (!fresh) return propagate(std::move(fresh), "make another docker:{}", place.name);
    place.fresh = *std::move(fresh);
    if (!place.was_running) return {};
    const bool beside = drivers::may_run_beside(place.old.inspected);
    if (!beside) {
      if (auto ok = stop_old(place); !ok) return ok;
    }
    if (auto ok = work_.engine.start(place.fresh, call); !ok) return ok;
    if (auto ok = wait_until_well(place.fresh, work_); !ok) return ok;
    return beside ? stop_old(place) : Status();
  }

  Status stop_old(Place& place) {
    place.stopped = true;
    return work_.engine.stop(place.old.id, std::nullopt, work_.call());
  }

  /// The last place first.
  std::unexpected<Error> give_up(Error error) {
    std::string text = error.message() + "; put back: ";
    std::string names;
    for (auto place = places_.rbegin(); place != places_.rend(); ++place) {
      auto back = put_back(*place, work_);
      names += (names.empty() ? "" : ", ") + place->name;
      if (!back) names += fmt::format(" (not: {})", back.error().message());
    }
    return std::unexpected(Error(error.code(), text + names));
  }

  ContainerWork& work_;
  const std::string image_;
  std::vector<Place> places_;
  std::string notes_;
};

class ContainerRolloutStep final : public ContainerStep {
 public:
  explicit ContainerRolloutStep(RolloutTo where) : where_(where) {}

  std::optional<bool> verify(const plan::Action& action, StepContext& context) override {
    const auto containers = now(action, context);
    if (!containers) return false;
    return std::ranges::all_of(
        *containers, [](const Container& one) { return one.runs() && one.health != "unhealthy"; });
  }

  /// What was begun and not brought to its end is put back.
  Recovered recover(const plan::Action& action, StepContext& context, std::string& what) override {
    auto engine = engine_of(*context.config, context.clock);
    if (!engine) {
      what = engine.error().message();
      return Recovered::kUnknown;
    }
    const auto run = unattended_run(context.clock.steady() + kPutBackLimit);
    ContainerWork work{.engine = *std::move(engine),
                       .containers = {},
                       .action = action,
                       .context = context,
                       .run = run};
    auto places = places_of(work);
    if (!places) {
      what = places.error().message();
      const auto code = places.error().code();
      const bool away = code == Errc::kUnavailable || code == Errc::kTimeout;
      return away ? Recovered::kNotReachable : Recovered::kUnknown;
    }
    return settle(*places, work, what);
  }

  Result<std::string> undo(const plan::Action& action, StepContext& context) override {
    const auto run = unattended_run(context.clock.steady() + action.timeout);
    auto work = look(action, context, run);
    if (!work) return propagate(std::move(work));
    for (const auto& one : work->containers) {
      if (one.label(kMadeBy) != action.id)
        return fail(Errc::kConflict, "docker:{} is not what this action made, and is left",
                    one.name);
    }
    auto image = previous_image(*work);
    if (!image) return propagate(std::move(image));
    auto done = Rollout(*work, *image).run();
    if (!done) return propagate(std::move(done));
    return "undone: " + done->result;
  }

 private:
  Status check(const plan::Action& action, const std::string&) const override {
    for (const auto* name : {"container", "revision"}) {
      if (action.parameters.contains(name))
        return fail(Errc::kInvalidArgument, "parameter \"{}\": of Kubernetes only", name);
    }
    return {};
  }

  Result<std::string> would(const ContainerWork& work) override {
    auto image = image_for(work);
    if (!image) return propagate(std::move(image));
    std::string out;
    for (const auto& one : work.containers) {
      auto copy = drivers::copy_container(one.inspected, {.image = *image, .old_image = {}});
      if (!copy) return propagate(std::move(copy));
      out += fmt::format(
          "{}would make another container {} of {} in the place of {}, {}", out.empty() ? "" : "\n",
          one.name, image->empty() ? one.image : *image, one.id.substr(0, 12),
          drivers::may_run_beside(one.inspected) ? "and stop the old one when the new one is well"
                                                 : "once the old one is stopped");
      for (const auto& note : copy->notes) out += "; " + note;
    }
    return out;
  }

  Result<StepResult> carry_out(ContainerWork& work) override {
    auto image = image_for(work);
    if (!image) return propagate(std::move(image));
    return Rollout(work, *std::move(image)).run();
  }

  [[nodiscard]] Result<std::string> image_for(const ContainerWork& work) const {
    if (where_ == RolloutTo::kEarlier) return previous_image(work);
    auto image = text_parameter(work.action.parameters, "image");
    if (image.empty()) return image;
    // We have nobody's password to a registry: it has to be here.
    if (auto here = work.engine.image(image, work.call()); !here)
      return propagate(std::move(here), "parameter \"image\"");
    return image;
  }

  static Result<std::string> previous_image(const ContainerWork& work) {
    std::string image;
    for (const auto& one : work.containers) {
      const auto before = one.label(kPreviousImage);
      if (before.empty())
        return fail(Errc::kNotFound,
                    "docker:{} was not rolled out by this agent: its image before is not known",
                    one.name);
      if (!image.empty() && before != image)
        return fail(Errc::kConflict, "its containers had different images before");
      image = before;
    }
    return image_name(image, work.containers.front().image, work.engine, work.call());
  }

  /// The old containers of the evidence that are still there, with those that took their places.
  static Result<std::vector<Place>> places_of(const ContainerWork& work) {
    const drivers::EngineCall call{.deadline = work.run.deadline};
    auto fresh = work.engine.labelled({fmt::format("{}={}", kMadeBy, work.action.id)}, call);
    if (!fresh) return propagate(std::move(fresh));
    json::error_code error;
    const auto evidence = json::parse(work.action.outcome.before, error);
    const auto* object = error ? nullptr : evidence.if_object();
    const auto* list = object != nullptr ? object->if_contains("containers") : nullptr;
    if (list == nullptr || !list->is_array())
      return fail(Errc::kNotFound, "which containers there were before is not known");
    std::vector<Place> out;
    for (const auto& entry : list->get_array()) {
      const auto text = [&](const char* key) { return std::string(entry.at(key).as_string()); };
      auto old = look_at(text("id"), work.engine, call);
      if (!old && old.error().code() == Errc::kNotFound) continue;
      if (!old) return propagate(std::move(old));
      const Container then{.state = text("state")};
      Place place{.name = text("name"),
                  .old = *std::move(old),
                  .fresh = {},
                  .was_running = then.is_meant_to_run(),
                  .stopped = false};
      const auto made = std::ranges::find(*fresh, place.name, &drivers::DockerContainer::name);
      if (made != fresh->end()) place.fresh = made->id;
      out.push_back(std::move(place));
    }
    return out;
  }

  static Recovered settle(const std::vector<Place>& places, const ContainerWork& work,
                          std::string& what) {
    if (places.empty()) {
      what = "the old containers are gone, new ones have their places";
      return Recovered::kDone;
    }
    bool touched = false;
    std::string names;
    for (auto place = places.rbegin(); place != places.rend(); ++place) {
      if (place->fresh.empty() && place->old.name == place->name &&
          place->old.is_meant_to_run() == place->was_running)
        continue;
      touched = true;
      auto back = put_back(*place, work);
      names += (names.empty() ? "" : ", ") + place->name;
      if (!back) names += fmt::format(" (not: {})", back.error().message());
    }
    what = touched ? "the old containers were put back: " + names : "no container was replaced";
    return Recovered::kNotDone;
  }

  const RolloutTo where_;
};

class ContainerScaleStep final : public ContainerStep {
 public:
  std::optional<bool> verify(const plan::Action& action, StepContext& context) override {
    const auto wanted = wanted_of(action);
    const auto containers = now(action, context);
    return wanted && containers && std::ranges::count_if(*containers, &Container::runs) == *wanted;
  }

  Recovered recover(const plan::Action& action, StepContext& context, std::string& what) override {
    const auto containers = now(action, context);
    if (!containers) {
      what = containers.error().message();
      const auto code = containers.error().code();
      const bool away = code == Errc::kUnavailable || code == Errc::kTimeout;
      return away ? Recovered::kNotReachable : Recovered::kUnknown;
    }
    what = fmt::format("{} containers run", std::ranges::count_if(*containers, &Container::runs));
    return verify(action, context).value_or(false) ? Recovered::kDone : Recovered::kNotDone;
  }

  Result<std::string> undo(const plan::Action& action, StepContext& context) override {
    json::error_code error;
    const auto before = json::parse(action.outcome.before, error);
    const auto* object = error ? nullptr : before.if_object();
    const auto* count = object != nullptr ? object->if_contains("replicas") : nullptr;
    if (count == nullptr || !count->is_number())
      return fail(Errc::kNotFound, "how many there were before is not known");
    auto back = action;
    back.parameters.insert_or_assign("replicas", count->to_number<std::int64_t>());
    if (auto ok = wanted_of(back); !ok) return propagate(std::move(ok));
    const auto run = unattended_run(context.clock.steady() + action.timeout);
    auto work = look(back, context, run);
    if (!work) return propagate(std::move(work));
    const auto was = wanted_of(back).value();
    const auto wanted = wanted_of(action).value_or(was);
    const auto there = std::ranges::count_if(work->containers, &Container::runs);
    if (there < std::min(was, wanted) || there > std::max(was, wanted))
      return fail(Errc::kConflict, "{} run now, which this action did not make, and are left",
                  there);
    auto done = carry_out(*work);
    if (!done) return propagate(std::move(done));
    return "undone: " + done->result;
  }

 private:
  struct Change {
    std::vector<Container> start;  // that are there, and do not run
    std::vector<std::int64_t> make;
    std::vector<Container> end;  // highest number first
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

  Status check(const plan::Action& action, const std::string& name) const override {
    if (!is_compose(name))
      return fail(Errc::kInvalidArgument,
                  "target: only services of Compose can be more or fewer: expected "
                  "\"docker:PROJECT/SERVICE\", got \"{}\"",
                  action.target);
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
    for (const auto& one : work.containers) {
      if (one.runs() || running >= *wanted) continue;
      out.start.push_back(one);
      ++running;
    }
    for (std::int64_t number = 1; running < *wanted; ++number) {
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
                        .labels = {{std::string(kComposeNumber), std::to_string(number)}},
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
    for (const auto& one : change->end) add("stop and remove (never its volumes)", one.name);
    return out.empty() ? "would do nothing: there are as many as are wanted" : out;
  }

  Result<StepResult> carry_out(ContainerWork& work) override {
    auto change = change_of(work);
    if (!change) return propagate(std::move(change));
    const auto call = work.call();
    work.run.begun();
    for (const auto& one : change->start) {
      auto ok = work.engine.start(one.id, call);
      if (ok) ok = wait_until_well(one.id, work);
      if (!ok) return propagate(std::move(ok), "start docker:{}", one.name);
    }
    std::string made;
    for (const auto number : change->make) {
      auto name = make_one(work, number);
      if (!name) return propagate(std::move(name));
      made += (made.empty() ? "" : ", ") + *name;
    }
    for (const auto& one : change->end) {
      auto ok = work.engine.stop(one.id, std::nullopt, call);
      if (ok) ok = work.engine.remove(one.id, false, call);
      if (!ok) return propagate(std::move(ok), "end docker:{}", one.name);
    }
    return StepResult{
        .result = fmt::format("started {}; made {}; removed {}", or_none(names_of(change->start)),
                              or_none(made), or_none(names_of(change->end))),
        .output = {}};
  }

  static std::string or_none(std::string names) { return names.empty() ? "none" : names; }

  /// One that does not get well is removed again: half a container is none.
  static Result<std::string> make_one(const ContainerWork& work, std::int64_t number) {
    const auto& like = work.containers.front();
    auto copy = copy_of(work, number);
    if (!copy) return propagate(std::move(copy));
    const auto name = stem_of(like) + std::to_string(number);
    auto id = work.engine.create(name, *copy, work.call());
    if (!id) return propagate(std::move(id), "make docker:{}", name);
    auto ok = work.engine.start(*id, work.call());
    if (ok) ok = wait_until_well(*id, work);
    if (ok) return name;
    const drivers::EngineCall last{.deadline = work.context.clock.steady() + kPutBackLimit};
    if (auto gone = work.engine.remove(*id, true, last); !gone)
      log::warning("executor", "docker:{} is left: {}", name, gone.error().message());
    return propagate(std::move(ok), "docker:{} was made and removed again", name);
  }
};

}  // namespace

std::unique_ptr<Step> make_container_rollout_step(RolloutTo where) {
  return std::make_unique<ContainerRolloutStep>(where);
}
std::unique_ptr<Step> make_container_scale_step() {
  return std::make_unique<ContainerScaleStep>();
}

}  // namespace nexus::execute
