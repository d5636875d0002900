#include "publish/settling.hpp"

#include <algorithm>

namespace nexus::publish {
namespace {

constexpr int kFactor = 2;  // as long again as it was there, and once more: gaps are uneven

bool settles(const analyze::Finding& finding) {
  return finding.kind == analyze::FindingKind::kVital ||
         finding.kind == analyze::FindingKind::kAlert;
}

/// The steady moment of a wall time that has passed.
SteadyTime steady_of(WallTime wall, const Now& now) {
  return now.steady - std::max(Millis(0), std::chrono::duration_cast<Millis>(now.wall - wall));
}

Millis between(SteadyTime from, SteadyTime to) {
  return std::chrono::duration_cast<Millis>(to - from);
}

}  // namespace

bool Settling::holds(const analyze::Finding& finding, const Alert* told, const Now& now) {
  if (!settles(finding)) return false;
  const bool fires = finding.state == analyze::FindingState::kFiring;
  auto found = spells_.find(finding.fingerprint);
  if (found == spells_.end()) {
    if (most_ == Millis(0) || spells_.size() >= kMost || (!fires && told == nullptr)) return false;
    Spell fresh;
    // What a restart brought back began before.
    fresh.begin = steady_of(told != nullptr ? told->starts : finding.fired.value_or(now.wall), now);
    found = spells_.emplace(finding.fingerprint, std::move(fresh)).first;
  }
  Spell& spell = found->second;
  const bool less = told != nullptr && (!fires || finding.severity < told->severity);
  if (less) {
    const auto at = finding.resolved ? steady_of(*finding.resolved, now) : now.steady;
    return went_away(spell, finding, at, now.steady);
  }
  if (!fires) return false;
  came_back(spell, finding.fingerprint, now.steady);
  if (told != nullptr && finding.severity > told->severity) spell.begin = now.steady;
  return false;
}

void Settling::came_back(Spell& spell, const std::string& print, SteadyTime now) {
  if (!spell.ended) return;
  learn(spell, between(*spell.ended, now));
  spell.flaps = spell.due.has_value();
  release(spell, print);
  spell.ended.reset();
  spell.begin = now;
}

bool Settling::went_away(Spell& spell, const analyze::Finding& finding, SteadyTime at,
                         SteadyTime now) {
  if (!spell.ended) {
    learn(spell, between(spell.begin, at));
    spell.ended = at;
    const auto due = at + std::min(most_, kFactor * spell.longest);
    if (due > now) {
      spell.due = due;
      due_.emplace(due, finding.fingerprint);
    }
  }
  if (!spell.due) return false;
  spell.last = finding;
  return true;
}

void Settling::learn(Spell& spell, Millis lasted) const {
  if (lasted <= most_) spell.longest = std::max(spell.longest, lasted);
}

void Settling::release(Spell& spell, const std::string& print) {
  if (!spell.due) return;
  due_.erase({*spell.due, print});
  spell.due.reset();
  spell.last = {};
}

bool Settling::flaps(const std::string& finding) const {
  const auto found = spells_.find(finding);
  return found != spells_.end() && found->second.flaps;
}

bool Settling::is_held(const std::string& finding) const {
  const auto found = spells_.find(finding);
  return found != spells_.end() && found->second.due.has_value();
}

std::vector<analyze::Finding> Settling::due(const Now& now) {
  std::vector<analyze::Finding> out;
  while (!due_.empty() && due_.begin()->first <= now.steady) {
    const auto print = due_.begin()->second;
    Spell& spell = spells_.at(print);
    spell.flaps = false;
    if (spell.last.state == analyze::FindingState::kFiring) {  // it goes on, less severe
      spell.begin = *spell.ended;
      spell.ended.reset();
    }
    out.push_back(std::move(spell.last));
    release(spell, print);
  }
  return out;
}

SteadyTime Settling::next() const noexcept {
  return due_.empty() ? base::kForever : due_.begin()->first;
}

void Settling::tidy(const Now& now) {
  std::erase_if(spells_, [&](const auto& entry) {
    const Spell& spell = entry.second;
    return spell.ended && !spell.due && now.steady - *spell.ended >= kRemembered;
  });
}

}  // namespace nexus::publish
