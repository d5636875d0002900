// Pairs and the names of their targets: an alias that was decided about before systemd could be
// asked is the same unit.
#include <algorithm>

#include "nexus/base/log.hpp"
#include "plan/planner_impl.hpp"

namespace nexus::plan {
namespace {

/// Both were about the same unit: what was counted adds up, what holds back longer holds.
void merge(PairState& into, const PairState& from) {
  into.attempts += from.attempts;
  into.unanswered += from.unanswered;
  into.openings = std::max(into.openings, from.openings);
  into.last_end = std::max(into.last_end, from.last_end);
  into.cooldown_until = std::max(into.cooldown_until, from.cooldown_until);
  if (!from.open) return;
  if (!into.open) into.why = from.why;
  into.open = true;
  into.opened = std::max(into.opened, from.opened);
}

std::vector<PairKey> keys_of(const std::map<PairKey, PairEntry>& pairs) {
  std::vector<PairKey> out;
  for (const auto& [key, entry] : pairs) out.push_back(key);
  return out;
}

}  // namespace

std::optional<std::pair<StoredPair, StoredPair>> Planner::Impl::move_pair(const PairKey& from,
                                                                          const PairKey& to) {
  const auto alias = pairs.find(from);
  if (alias == pairs.end()) return std::nullopt;
  auto& unit = pairs[to];
  merge(unit.state, alias->second.state);
  unit.state.version = ++version;
  unit.last_trouble = std::max(unit.last_trouble, alias->second.last_trouble);
  pairs.erase(alias);
  return std::pair(StoredPair{from, PairState{.version = ++version}}, StoredPair{to, unit.state});
}

void Planner::Impl::move_aliases(const Settings& now) {
  std::vector<PairKey> keys;
  {
    const std::lock_guard guard(mutex);
    keys = keys_of(pairs);
  }
  for (const auto& key : keys) {
    const auto* remedy = now.remedies->impl->find(key.remedy);
    if (remedy == nullptr) continue;
    const PairKey to{key.remedy, unit_of(naming_type(remedy->definition), key.target)};
    if (to == key) continue;
    std::optional<std::pair<StoredPair, StoredPair>> moved;
    {
      const std::lock_guard guard(mutex);
      moved = move_pair(key, to);
    }
    if (!moved) continue;
    log::info("planner", "what remedy {} has counted on {} is that of {}", key.remedy, key.target,
              to.target);
    if (auto ok = store->move(moved->first, moved->second); !ok)
      log::error("planner", "{}", ok.error().message());
    withdraw_breaker(key);
  }
}

std::vector<PairKey> Planner::Impl::pairs_of(std::string_view remedy, std::string_view target) {
  const auto now = current();
  const auto* known = now.remedies == nullptr ? nullptr : now.remedies->impl->find(remedy);
  const auto one_name = [&](std::string_view name) {
    return known == nullptr ? std::string(name) : unit_of(naming_type(known->definition), name);
  };
  std::vector<PairKey> out;
  {
    const std::lock_guard guard(mutex);
    out = keys_of(pairs);
  }
  const auto wanted = one_name(target);
  std::erase_if(out, [&](const PairKey& key) {
    return key.remedy != remedy || (key.target != target && one_name(key.target) != wanted);
  });
  return out;
}

}  // namespace nexus::plan
