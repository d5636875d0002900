// Forgetting series, so that those that come and go (devices, mounts) do not use up the registry.
//
// On the writer's thread, as append() is: an id is forgotten between two batches, and one that
// somebody kept is found out before it is stored.
#include <algorithm>

#include "knowledge/history_state.hpp"

namespace nexus::knowledge {
namespace {

constexpr std::int64_t kRoundMillis = 60'000;
// Above the first share of the limit ended series are forgotten although the history still has
// them, down to the second: losing what has ended is better than refusing what begins.
constexpr std::size_t kHighPercent = 80;
constexpr std::size_t kLowPercent = 70;
// How long an ended series stays in any case, and one that is silent but did not end: it may have
// a collector that is run rarely.
constexpr std::int64_t kEndedMillis = kIdleMillis;
constexpr std::int64_t kSilentMillis = 24 * 3'600'000;

}  // namespace

void History::State::forget_series(std::int64_t now) {
  if (now >= last_round && now - kRoundMillis < last_round) return;
  last_round = now;
  const std::int64_t on_disk =
      store == nullptr ? std::numeric_limits<std::int64_t>::max() : store->oldest();
  std::vector<SeriesId> leaving;
  std::vector<std::pair<std::int64_t, SeriesId>> ended;
  for (const SeriesId id : registry.select({})) {
    const SeriesRecord* record = records.find(place(id));
    const std::optional<Sample> newest = record == nullptr ? std::nullopt : record->load(id);
    if (!newest || (record->held == 0 && newest->time < on_disk)) {
      leaving.push_back(id);
      continue;
    }
    const std::int64_t kept = is_stale_marker(newest->value) ? kEndedMillis : kSilentMillis;
    if (newest->time < now - kept) ended.emplace_back(newest->time, id);
  }
  forget_over_limit(ended, leaving);
  registry.forget(leaving);
  for (const SeriesId id : leaving) {
    SeriesRecord* record = records.find(place(id));
    if (record == nullptr || record->id() != id) continue;
    if (record->held > 0) {
      tallies.dropped_by_limit.add(record->held);
      tallies.series.subtract(1);
    }
    record->clear();
  }
  if (leaving.empty()) return;
  for (auto& [name, group] : groups) {
    const auto known = [&](SeriesId id) { return registry.known(id); };
    if (group.set != nullptr && !std::ranges::all_of(group.set->ids(), known)) group.set.reset();
  }
}

/// Those that ended first go first.
void History::State::forget_over_limit(std::vector<std::pair<std::int64_t, SeriesId>>& ended,
                                       std::vector<SeriesId>& leaving) const {
  const std::size_t left = registry.size() - std::min(registry.size(), leaving.size());
  if (left * 100 <= registry.limit() * kHighPercent) return;
  const std::size_t excess = left - registry.limit() * kLowPercent / 100;
  std::ranges::sort(ended);
  for (std::size_t i = 0; i < std::min(excess, ended.size()); ++i) {
    leaving.push_back(ended[i].second);
  }
}

}  // namespace nexus::knowledge
