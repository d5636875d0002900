// New containers in the place of old ones.
//
// An old container is renamed NAME.nexus-old and kept, stopped, until all new ones are well; only
// then the old ones are removed. The new ones carry the labels nexus-agent.action and
// nexus-agent.previous-image. So what a crash leaves is told from its names and labels, and put
// back, or, when old ones had begun to go, brought to its end. To undo a rollout is another one, to
// the image of the evidence, which is cut off and taken up in the same way.
#include <fmt/format.h>

#include <boost/json.hpp>

#include <algorithm>

#include "execute/container_step.hpp"
#include "execute/parameter_values.hpp"
#include "execute/unasked.hpp"
#include "execute/waiting.hpp"
#include "nexus/base/away.hpp"
#include "nexus/base/log.hpp"
#include "nexus/config/config.hpp"

namespace nexus::execute {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;

constexpr Millis kPutBackLimit = 60s;
constexpr Millis kAskEvery = 200ms;

/// A container's place, which changes hands.
struct Place {
  std::string name;
  Container old;      // without an id: it is gone, which comes last
  std::string fresh;  // id of the new one; empty: there is none, or nobody has heard of it
  bool was_running = false;
};

/// Gives the old container its name back. The engine may have made another one by that name of
/// which nobody has heard (it goes on with what it was asked for when the request is broken off),
/// or be about to.
Status rename_back(const Place& place, const ContainerWork& work, const drivers::EngineCall& call) {
  auto& clock = work.context.clock;
  while (true) {
    auto back = work.engine.rename(place.old.id, place.name, call);
    if (back) return back;
    // Podman and Docker both refuse a name that it has already.
    auto now = look_at(place.old.id, work.engine, call);
    if (!now) return propagate(std::move(now));
    if (now->name == place.name) return {};
    const auto there = look_at(place.name, work.engine, call);
    if (there && there->label(kMadeBy) != work.action.id) return back;
    if (!there && there.error().code() != Errc::kNotFound) return back;
    if (there) {
      auto gone = work.engine.remove(there->id, true, call);
      if (!gone && gone.error().code() != Errc::kNotFound) return gone;
    }
    if (clock.steady() >= call.deadline) return back;
    pause_until(clock, std::min(call.deadline, clock.steady() + kAskEvery));
  }
}

/// Puts an old container back into its place; a time of its own, for what ended the rollout may be
/// that its time was over. Its name comes last: by that of an old one it is found again when it
/// cannot be started so far, and known to have run.
Status put_back(const Place& place, const ContainerWork& work) {
  const drivers::EngineCall call{.deadline = work.context.clock.steady() + kPutBackLimit};
  if (!place.fresh.empty()) {
    auto gone = work.engine.remove(place.fresh, true, call);
    if (!gone && gone.error().code() != Errc::kNotFound) return gone;
  }
  if (place.was_running) {
    if (auto ok = work.engine.start(place.old.id, call); !ok) return ok;
  }
  return rename_back(place, work, call);
}

struct Settled {
  bool done = false;     // the new ones have the places
  bool touched = false;  // by us, now
  std::string names;
  /// Why not all is done: what may be done the next time before what will never be.
  std::optional<Error> failed = {};
};

/// Whether the engine may do it the next time: nobody answered, or it says that it could not (a
/// port that is taken so far). Not so what it refuses: there is no such container, its name is
/// taken.
bool may_be_done_yet(const Error& error) {
  return is_away(error) || error.code() == Errc::kInternal;
}

/// What a crash cut off: put back, the last place first. When old ones had begun to be removed, all
/// new ones were well, and the others go too.
Settled settle(const std::vector<Place>& places, const ContainerWork& work) {
  Settled out;
  out.done = std::ranges::any_of(
      places, [](const Place& place) { return place.old.id.empty() && !place.fresh.empty(); });
  for (auto place = places.rbegin(); place != places.rend(); ++place) {
    if (place->old.id.empty()) continue;
    const bool in_place = place->fresh.empty() && place->old.name == place->name;
    if (in_place && (out.done || place->old.is_meant_to_run() == place->was_running)) continue;
    out.touched = true;
    auto ok = out.done && !place->fresh.empty()
                  ? work.engine.remove(place->old.id, true,
                                       {.deadline = work.context.clock.steady() + kPutBackLimit})
                  : put_back(*place, work);
    out.names += (out.names.empty() ? "" : ", ") + place->name;
    if (ok) continue;
    if (!out.failed || !may_be_done_yet(*out.failed)) out.failed = ok.error();
    out.names += fmt::format(" (not: {})", ok.error().message());
  }
  return out;
}

class Rollout {
 public:
  Rollout(ContainerWork& work, std::string image) : work_(work), image_(std::move(image)) {}

  Result<StepResult> run() {
    if (auto ok = check_not_shared(work_.containers, work_.engine, work_.call()); !ok)
      return propagate(std::move(ok));
    const auto wait = duration_parameter(work_.action.parameters, "wait", 0ms);
    for (const auto& one : work_.containers) {
      if (!places_.empty()) {
        auto& clock = work_.context.clock;
        auto why = pause_in_step(clock, work_.run, clock.steady() + wait);
        if (!why) why = why_to_begin_no_more(work_.context, work_.run);
        if (why)
          return give_up({*why, fmt::format("ended after {} of {} containers", places_.size(),
                                            work_.containers.size())});
      }
      places_.push_back(
          {.name = one.name, .old = one, .fresh = {}, .was_running = one.is_meant_to_run()});
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

  Status stop_old(const Place& place) {
    return work_.engine.stop(place.old.id, std::nullopt, work_.call());
  }

  /// The last place first. All of them, also when operations were stopped: half of the containers
  /// of one image and half of another is what nobody has asked for.
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

  /// What was begun and not brought to its end is put back, once operations are not stopped.
  Recovered recover(const plan::Action& action, StepContext& context, std::string& what) override {
    if (context.halted && context.halted()) {
      what = "what was begun is not put back while operations are stopped";
      return Recovered::kNotReachable;
    }
    const auto run = unattended_run(context.clock.steady() + kPutBackLimit);
    auto work = engine_work(action, context, run);
    if (!work) return unasked(work.error(), what);
    ContainerClaim claim;
    auto places = places_of(*work, claim);
    if (!places) {
      const bool taken = places.error().code() == Errc::kConflict;  // it may be asked again
      const auto became = unasked(places.error(), what);
      return taken ? Recovered::kNotReachable : became;
    }
    const auto settled = settle(*places, *work);
    if (settled.done) {
      what = "new containers, which were well, have the places of the old ones";
      if (settled.touched)
        what +=
            fmt::format("; the old ones that were left {}: {}",
                        settled.failed ? "could not all be removed" : "are removed", settled.names);
      return Recovered::kDone;
    }
    if (settled.failed) {
      what = "the old containers could not be put back so far: " + settled.names;
      return Recovered::kNotReachable;
    }
    const bool gone =
        std::ranges::all_of(*places, [](const Place& place) { return place.old.id.empty(); });
    what = settled.touched ? "the old containers were put back: " + settled.names
           : gone          ? "neither the old containers nor new ones are there"
                           : "no container was replaced";
    return Recovered::kNotDone;
  }

  Result<std::string> undo(const plan::Action& action, StepContext& context) override {
    const auto run = unattended_run(context.clock.steady() + action.timeout);
    {
      auto left = engine_work(action, context, run);
      if (!left) return propagate(std::move(left));
      if (auto ok = settle_undo(*left); !ok) return propagate(std::move(ok));
    }
    auto work = look(action, context, run);
    if (!work) return propagate(std::move(work));
    ContainerClaim claim;
    if (auto ok = claim.take(work->containers); !ok) return propagate(std::move(ok));
    auto image = image_before(action);
    if (!image) return propagate(std::move(image));
    const auto name =
        image_name(*image, work->containers.front().image, work->engine, work->call());
    std::erase_if(work->containers, [&](const Container& one) { return one.image_id == *image; });
    if (work->containers.empty()) return fmt::format("undone: all are of {}, as before", name);
    for (const auto& one : work->containers) {
      if (one.label(kMadeBy) != action.id)
        return fail(Errc::kConflict, "docker:{} is not what this action made, and is left",
                    one.name);
    }
    auto done = Rollout(*work, name).run();
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
    if (auto ok = check_not_shared(work.containers, work.engine, work.call()); !ok)
      return propagate(std::move(ok));
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

  /// By the evidence, which an undo goes by: labels tell of whatever is there now.
  static Result<std::string> image_before(const plan::Action& action) {
    std::string image;
    for (const auto& then : containers_before(action.outcome.before)) {
      if (!image.empty() && then.image_id != image)
        return fail(Errc::kConflict, "its containers had different images before");
      image = then.image_id;
    }
    if (image.empty()) return fail(Errc::kNotFound, "which image it had before is not known");
    return image;
  }

  static Result<std::vector<drivers::DockerContainer>> made_by(const ContainerWork& work) {
    return work.engine.labelled({fmt::format("{}={}", kMadeBy, work.action.id)},
                                {.deadline = work.run.deadline});
  }

  /// Before it is looked at: what is seen of it is then nobody else's work.
  static Status take(ContainerClaim& claim, const std::string& id, const std::string& name) {
    Container one;
    one.id = id;
    one.name = name;
    return claim.take({one});
  }

  /// The old containers of the evidence, with those that took their places, all of them claimed.
  /// kConflict: another action works on one.
  static Result<std::vector<Place>> places_of(const ContainerWork& work, ContainerClaim& claim) {
    auto fresh = made_by(work);
    if (!fresh) return propagate(std::move(fresh));
    const auto before = containers_before(work.action.outcome.before);
    if (before.empty())
      return fail(Errc::kNotFound, "which containers there were before is not known");
    std::vector<Place> out;
    for (const auto& then : before) {
      if (auto ok = take(claim, then.id, then.name); !ok) return propagate(std::move(ok));
      auto old = look_at(then.id, work.engine, {.deadline = work.run.deadline});
      if (!old && old.error().code() != Errc::kNotFound) return propagate(std::move(old));
      Place place{.name = then.name,
                  .old = old ? *std::move(old) : Container{},
                  .fresh = {},
                  .was_running = is_meant_to_run(then.state)};
      const auto made = std::ranges::find(*fresh, place.name, &drivers::DockerContainer::name);
      if (made != fresh->end()) {
        if (auto ok = take(claim, made->id, made->name); !ok) return propagate(std::move(ok));
        place.fresh = made->id;
      }
      out.push_back(std::move(place));
    }
    return out;
  }

  /// What an earlier undo of this action has left that a crash cut off: it was to replace what the
  /// action made, so that both carry its label. Afterwards it is as before that undo, or as after.
  /// kConflict: another action works on one, as one that replaces what this action made;
  /// kUnavailable: the engine did not do it, and may the next time; else what it says of it.
  static Status settle_undo(const ContainerWork& work) {
    auto ours = made_by(work);
    if (!ours) return propagate(std::move(ours));
    const auto before = containers_before(work.action.outcome.before);
    ContainerClaim claim;
    std::vector<Place> places;
    bool any = false;
    for (const auto& one : *ours) {
      if (one.name.ends_with(kOldSuffix)) continue;
      const auto then = std::ranges::find(before, one.name, &ContainerBefore::name);
      const auto is_old = [&](const drivers::DockerContainer& other) {
        return other.name == one.name + std::string(kOldSuffix);
      };
      const bool has_old = std::ranges::any_of(*ours, is_old);
      // Not replaced so far, or with its old one gone.
      if (!has_old && then != before.end() && then->image_id == one.image_id)
        places.push_back({.name = one.name, .old = {}, .fresh = one.id, .was_running = true});
    }
    for (const auto& one : *ours) {
      if (!one.name.ends_with(kOldSuffix)) continue;
      if (auto ok = take(claim, one.id, one.name); !ok) return ok;
      auto old = look_at(one.id, work.engine, {.deadline = work.run.deadline});
      if (!old) return propagate(std::move(old));
      Place place{.name = one.name.substr(0, one.name.size() - kOldSuffix.size()),
                  .old = *std::move(old),
                  .fresh = {},
                  .was_running = true};
      const auto then = std::ranges::find(before, place.name, &ContainerBefore::name);
      if (then != before.end()) place.was_running = is_meant_to_run(then->state);
      const auto made = std::ranges::find(*ours, place.name, &drivers::DockerContainer::name);
      if (made != ours->end()) {
        if (auto ok = take(claim, made->id, made->name); !ok) return ok;
        place.fresh = made->id;
      }
      places.push_back(std::move(place));
      any = true;
    }
    if (!any) return {};
    const auto settled = settle(places, work);
    if (!settled.failed) return {};
    const auto code =
        may_be_done_yet(*settled.failed) ? Errc::kUnavailable : settled.failed->code();
    return fail(code, "an undo that was cut off could not be {} so far: {}",
                settled.done ? "ended" : "put back", settled.names);
  }

  const RolloutTo where_;
};

}  // namespace

std::unique_ptr<Step> make_container_rollout_step(RolloutTo where) {
  return std::make_unique<ContainerRolloutStep>(where);
}

}  // namespace nexus::execute
