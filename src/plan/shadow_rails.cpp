#include "plan/shadow_rails.hpp"

#include <algorithm>

namespace nexus::plan {
namespace {

constexpr Millis kHour{3'600'000};

}  // namespace

ShadowRails::Entry& ShadowRails::entry_of(const PairKey& key) {
  if (pairs_.size() >= kMost && !pairs_.contains(key)) {
    pairs_.erase(std::ranges::min_element(
        pairs_, {}, [](const auto& known) { return known.second.last_trouble; }));
  }
  return pairs_[key];
}

void ShadowRails::restore(const std::vector<ShadowEntry>& entries) {
  for (const auto& begun : entries) {
    auto& [state, last_trouble] = entry_of({begun.remedy, begun.target});
    ++state.attempts;
    state.last_end = std::max(state.last_end, begun.time);
    last_trouble = std::max(last_trouble, begun.time);
    recent_.push_back({begun.time, begun.target, Counts::kAction});
  }
  std::ranges::sort(recent_, {}, &RecentAction::time);
}

void ShadowRails::add_to(Situation& s, const PairKey& key, const Rails& rails) {
  auto& [state, last_trouble] = entry_of(key);
  std::ignore = settle(state, last_trouble, rails, s.now);
  last_trouble = s.now;
  // Of one that has acted before its own counters hold.
  if (s.pair.fresh() && s.pair.cooldown_until <= s.now) s.pair = state;
  while (!recent_.empty() && recent_.front().time + kHour <= s.now) recent_.pop_front();
  for (const auto& [time, target, counts] : recent_) {
    if (s.hour_total++ == 0) s.total_frees = time + kHour;
    if (target == s.target && s.hour_target++ == 0) s.target_frees = time + kHour;
  }
}

void ShadowRails::act(const PairKey& key, const Rails& rails, WallTime now) {
  auto& state = entry_of(key).state;
  ++state.attempts;
  state.last_end = now;
  state.cooldown_until = now + cooldown_after(state.attempts, rails, 0.5);
  recent_.push_back({now, key.target, Counts::kAction});
}

void ShadowRails::give_up(const PairKey& key, WallTime now) {
  auto& state = entry_of(key).state;
  state.open = true;
  state.opened = now;
  ++state.openings;
}

void ShadowRails::shift(Millis by) {
  for (auto& [key, entry] : pairs_) {
    entry.state.last_end += by;
    entry.state.cooldown_until += by;
    entry.state.opened += by;
    entry.last_trouble += by;
  }
  for (auto& counted : recent_) counted.time += by;
}

}  // namespace nexus::plan
