// A wall clock that is set while people are not looking: what was counted in this boot is kept as
// wall time, for people and for the next boot, and moves with the clock, so that a cool-down of ten
// seconds stays one of ten seconds. Time in which the machine slept does not count either.
#include <algorithm>

#include "nexus/base/log.hpp"
#include "nexus/base/text.hpp"
#include "plan/planner_impl.hpp"

namespace nexus::plan {
namespace {

/// Less is the clock being disciplined, not set.
constexpr Millis kStep{1000};
/// Two readings that are further apart say nothing: this thread did not run in between.
constexpr Nanos kTogether{100'000'000};

std::optional<Millis> how_far_ahead(const Clock& clock) {
  for (int i = 0; i < 3; ++i) {
    const auto before = clock.steady();
    const auto wall = clock.wall();
    if (clock.steady() - before > kTogether) continue;
    return wall.time_since_epoch() - std::chrono::floor<Millis>(before.time_since_epoch());
  }
  return std::nullopt;
}

}  // namespace

void Planner::Impl::follow_clock() {
  const auto now = how_far_ahead(clock);
  if (!now) return;
  Millis step{};
  {
    const std::lock_guard guard(mutex);
    step = *now - ahead;
    if (std::chrono::abs(step) <= kStep) return;
    ahead = *now;
    for (auto& [key, entry] : pairs) {
      entry.state.last_end += step;
      entry.state.cooldown_until += step;
      entry.state.opened += step;
      entry.last_trouble += step;
    }
    for (auto& counted : recent) counted.time += step;
    holds.shift(step);
    shadow_rails.shift(step);
  }
  log::warning(
      "planner", "the wall clock was set {} by {}: cool-downs, rates and holds move with it",
      step > Millis(0) ? "forward" : "back", base::format_duration(std::chrono::abs(step)));
  self.counter("nexus_clock_steps_total", "Times that the wall clock was found set.").add();
  if (auto ok = store->shift(step, {boot, *now}); !ok)
    log::error("planner", "{}", ok.error().message());
}

WallTime Planner::Impl::fired_at(const analyze::Finding& finding) const {
  if (finding.received == SteadyTime{}) return finding.fired.value_or(finding.started);
  return clock.wall() - std::chrono::floor<Millis>(clock.steady() - finding.received);
}

Status open_clock(Planner::Impl& planner) {
  const auto now = how_far_ahead(planner.clock);
  auto stored = planner.store->load_clock();
  if (!stored) return propagate(std::move(stored));
  const Millis ahead =
      now.value_or(planner.clock.wall().time_since_epoch() -
                   std::chrono::floor<Millis>(planner.clock.steady().time_since_epoch()));
  planner.ahead = ahead;
  const StoredClock fresh{planner.boot, ahead};
  if (!*stored || (*stored)->boot != planner.boot) return planner.store->save(fresh);
  const auto step = ahead - (*stored)->ahead;
  return std::chrono::abs(step) > kStep ? planner.store->shift(step, fresh) : Status{};
}

}  // namespace nexus::plan
