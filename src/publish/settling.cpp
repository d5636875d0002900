#include "publish/settling.hpp"

#include <algorithm>

namespace nexus::publish {
namespace {

// Of the longest that it was there or away. A first end is held no longer than it takes to see a
// threshold that is crossed at even distances; of what is known to come back, distances are uneven.
constexpr double kFirst = 1.5;
constexpr double kOfReturns = 4;

Millis between(SteadyTime from, SteadyTime to) {
  return std::chrono::duration_cast<Millis>(to - from);
}

}  // namespace

Settling::Spell* Settling::find_or_begin(std::uint64_t alert, SteadyTime since) {
  const auto found = spells_.find(alert);
  if (found != spells_.end()) return &found->second;
  if (most_ == Millis(0) || spells_.size() >= kMost) return nullptr;
  Spell fresh;
  fresh.begin = since;
  return &spells_.emplace(alert, fresh).first->second;
}

void Settling::learn(Spell& spell, SteadyTime from, SteadyTime to) const {
  const auto lasted = between(from, to);
  if (lasted <= most_) spell.longest = std::max(spell.longest, lasted);
}

void Settling::fires(std::uint64_t alert, SteadyTime since, SteadyTime now) {
  Spell* const spell = find_or_begin(alert, since);
  if (spell == nullptr || !spell->end) return;
  learn(*spell, spell->end->at, now);
  // What is steady for long and dips for long is not what flapped before.
  spell->came_back = now < spell->end->told;
  spell->end.reset();
  spell->begin = now;
}

SteadyTime Settling::ended(std::uint64_t alert, SteadyTime since, SteadyTime at, SteadyTime now) {
  Spell* const spell = find_or_begin(alert, since);
  if (spell == nullptr) return now;
  if (!spell->end) {
    learn(*spell, spell->begin, at);
    const bool is_long = between(spell->begin, at) > most_;
    const double factor = spell->came_back ? kOfReturns : kFirst;
    const auto wait =
        is_long ? Millis(0)
                : std::min(most_, std::chrono::duration_cast<Millis>(factor * spell->longest));
    spell->end = End{at, at + wait};
  }
  return spell->end->told;
}

std::optional<Settling::End> Settling::end_of(std::uint64_t alert) const {
  const auto found = spells_.find(alert);
  return found == spells_.end() ? std::nullopt : found->second.end;
}

bool Settling::flaps(std::uint64_t alert, SteadyTime now) const {
  const auto found = spells_.find(alert);
  if (found == spells_.end() || !found->second.came_back) return false;
  return found->second.end || between(found->second.begin, now) <= most_;
}

void Settling::tidy(const std::function<bool(std::uint64_t)>& fires, SteadyTime now) {
  std::erase_if(spells_, [&](const auto& entry) {
    const auto& [alert, spell] = entry;
    return spell.end ? now >= spell.end->told && now - spell.end->at >= kRemembered : !fires(alert);
  });
}

std::size_t Settling::held(SteadyTime now) const {
  return static_cast<std::size_t>(std::ranges::count_if(spells_, [&](const auto& entry) {
    return entry.second.end && now < entry.second.end->told;
  }));
}

}  // namespace nexus::publish
