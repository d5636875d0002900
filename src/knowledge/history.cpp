#include "nexus/knowledge/history.hpp"

#include <algorithm>

#include "knowledge/disk/tier_block.hpp"
#include "knowledge/history_state.hpp"
#include "knowledge/merge_samples.hpp"

namespace nexus::knowledge {
namespace {

// A batch older than its group's last by less is late or a small correction of the clock: refused.
// By more, the clock was set back.
constexpr std::int64_t kClockStepMillis = 60'000;

}  // namespace

std::shared_ptr<const IdSet> History::State::set_for(Group& group, std::span<const SeriesId> ids) {
  if (group.set != nullptr && group.set->is(ids)) return group.set;
  auto set = std::make_shared<const IdSet>(ids, [&](SeriesId id) { return registry.known(id); });
  for (const SeriesId id : set->ids()) {
    SeriesRecord& record = records.make(place(id));
    if (place(id) >= places.load(std::memory_order_relaxed)) places.store(place(id) + 1);
    if (record.id() != id) record.assign(id);
    const Membership* member = record.groups();
    while (member != nullptr && member->group != &group) member = member->next;
    if (member != nullptr) continue;
    const Membership longer{&group, record.groups()};
    record.set_groups(
        &memberships.try_emplace(std::pair(longer.group, longer.next), longer).first->second);
  }
  group.set = set;
  return set;
}

void History::State::count_row(std::span<const SeriesId> ids, std::span<const double> values,
                               std::int64_t time) {
  std::uint64_t revived = 0;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    SeriesRecord& record = records.at(place(ids[i]));
    record.store({time, values[i]});
    if (record.held++ == 0) ++revived;
  }
  tallies.series.add(revived);
  tallies.samples.add(ids.size());
  tallies.appended.add(ids.size());
}

void History::State::seal(Group& group) {
  tallies.open_bytes.subtract(group.open().bytes());
  tallies.sealed_bytes.add(group.seal(builder));
  tallies.open_bytes.add(group.open().bytes());
  tallies.blocks.add(1);
}

void History::State::drop_oldest(Group& group, Tally& reason) {
  const auto [block, bytes] = group.drop_oldest();
  forget(*block, bytes, reason);
}

void History::State::forget(const Block& block, std::size_t bytes, Tally& reason) {
  const std::vector<SeriesId> ids = block.ids();
  std::uint64_t emptied = 0;
  for (std::size_t column = 0; column < ids.size(); ++column) {
    SeriesRecord& record = records.at(place(ids[column]));
    if (record.id() != ids[column]) continue;  // forgotten, and out of the count since then
    record.held -= block.samples_of(column);
    if (record.held == 0) ++emptied;
  }
  tallies.series.subtract(emptied);
  tallies.samples.subtract(block.samples());
  tallies.sealed_bytes.subtract(bytes);
  tallies.blocks.subtract(1);
  reason.add(block.samples());
}

/// The wall clock was set back to `time`: what the group holds from then on has not happened yet.
/// It is dropped, by whole blocks, so that nobody takes it for the present.
void History::State::rewind(Group& group, std::int64_t time) {
  if (group.open().rows() > 0) seal(group);
  while (!group.blocks().empty() && group.blocks().back()->last_time() >= time) {
    const auto [block, bytes] = group.drop_newest();
    forget(*block, bytes, tallies.dropped_by_clock);
    for (const SeriesId id : block->ids()) {
      SeriesRecord& record = records.at(place(id));
      if (record.id() != id) continue;
      if (record.load(id)->time >= time) record.store({time - 1, stale_marker()});
    }
  }
  group.last_time = group.blocks().empty() ? std::numeric_limits<std::int64_t>::min()
                                           : group.blocks().back()->last_time();
  tallies.newest.store(time, std::memory_order_relaxed);
}

void History::State::drop_by_size() {
  const std::uint64_t limit = max_bytes.load(std::memory_order_relaxed);
  while (bytes() > limit) {
    Group* on_disk = nullptr;  // with the oldest block that is there too
    Group* oldest = nullptr;
    Group* largest = nullptr;
    for (auto& [name, group] : groups) {
      const auto is_older = [&](const Group* than) {
        return than == nullptr || group.oldest() < than->oldest();
      };
      if (!group.blocks().empty()) {
        const bool there = group.blocks().front()->last_time() <= group.persisted.load();
        if (there && is_older(on_disk)) on_disk = &group;
        if (is_older(oldest)) oldest = &group;
      }
      if (group.open().rows() > 0 &&
          (largest == nullptr || group.open().bytes() > largest->open().bytes())) {
        largest = &group;
      }
    }
    if (on_disk != nullptr) {
      drop_oldest(*on_disk, tallies.moved_to_disk);
    } else if (oldest != nullptr) {
      drop_oldest(*oldest, tallies.dropped_by_size);
    } else if (largest != nullptr) {
      seal(*largest);
    } else {
      return;
    }
  }
}

/// Bytes that cannot be dropped without loss: open blocks, and those that wait for others of their
/// group to be written together.
std::uint64_t History::State::only_in_memory() const {
  std::uint64_t sum = tallies.open_bytes.get();
  for (const auto& [name, group] : groups) {
    const std::int64_t persisted = group.persisted.load();
    const Group::Blocks& blocks = group.blocks();
    for (auto block = blocks.rbegin(); block != blocks.rend(); ++block) {
      if ((*block)->last_time() <= persisted) break;
      sum += (*block)->bytes();
    }
  }
  return sum;
}

void History::State::note_oldest() {
  std::int64_t oldest = std::numeric_limits<std::int64_t>::max();
  for (const auto& [name, group] : groups) oldest = std::min(oldest, group.oldest());
  const bool empty = oldest == std::numeric_limits<std::int64_t>::max();
  tallies.oldest.store(empty ? 0 : oldest, std::memory_order_relaxed);
  if (empty) tallies.newest.store(0, std::memory_order_relaxed);
}

History::History(SeriesRegistry& registry, HistoryLimits limits)
    : state_(std::make_unique<State>(registry, limits)) {}
History::~History() {
  close_disk();
}

void History::append(const BatchView& batch) {
  State& s = *state_;
  if (batch.ids.empty()) return;
  Group& group = s.group(batch.group);
  if (batch.time <= group.last_time) {
    if (group.last_time - batch.time < kClockStepMillis) {
      s.tallies.out_of_order.add(batch.ids.size());
      return;
    }
    s.rewind(group, batch.time);
    if (s.store != nullptr) s.store->rewind(batch.group, batch.time);
  }
  const std::shared_ptr<const IdSet> set = s.set_for(group, batch.ids);
  s.tallies.unknown.add(set->unknown());
  if (set->ids().empty()) return;
  const std::size_t bytes_before = group.open().bytes();
  const std::span<const double> values = group.append(batch.time, set, batch.values);
  s.tallies.open_bytes.add(group.open().bytes() - bytes_before);
  s.tallies.out_of_order.add(batch.ids.size() - set->unknown() -
                             values.size());  // ids that the batch had twice
  s.count_row(set->ids(), values, batch.time);
  Tallies& t = s.tallies;
  if (batch.time > t.newest.load(std::memory_order_relaxed)) t.newest.store(batch.time);
  const std::int64_t oldest = t.oldest.load(std::memory_order_relaxed);
  if (oldest == 0 || batch.time < oldest) t.oldest.store(batch.time, std::memory_order_relaxed);
  if (group.open().full()) s.seal(group);
}

void History::maintain(std::int64_t now) {
  State& s = *state_;
  const std::int64_t retention = s.retention.load(std::memory_order_relaxed);
  for (auto& [name, group] : s.groups) {
    const std::int64_t idle = std::min(retention, kIdleMillis);
    if (group.open().rows() > 0 && group.open().last_time() < now - idle) s.seal(group);
    while (!group.blocks().empty() && group.blocks().front()->last_time() < now - retention) {
      s.drop_oldest(group, s.tallies.dropped_by_age);
    }
  }
  if (s.disk_thread != nullptr && s.only_in_memory() > s.max_bytes.load() / 4 * 3) {
    s.store->hurry();
    s.disk_thread->wake();
  }
  s.drop_by_size();
  s.note_oldest();
  adopt_past();
  s.forget_series(now);
}

void History::set_limits(HistoryLimits limits, std::uint64_t disk_bytes) {
  state_->retention.store(limits.retention.count(), std::memory_order_relaxed);
  state_->max_bytes.store(limits.bytes, std::memory_order_relaxed);
  if (state_->store != nullptr) state_->store->set_limits(limits.retention, disk_bytes);
}

std::vector<SeriesId> History::select(std::span<const Matcher> matchers, std::int64_t start,
                                      std::int64_t) const {
  std::vector<SeriesId> ids = state_->registry.select(matchers);
  std::erase_if(ids, [&](SeriesId id) {
    const std::optional<Sample> newest = latest(id);
    return !newest || newest->time <= start;
  });
  return ids;
}

std::shared_ptr<const void> History::pin() const {
  return state_->registry.pin();
}

const Labels& History::labels(SeriesId id) const {
  return state_->registry.labels(id);
}

History::State::Found History::State::find(SeriesId id) const {
  Found found;
  const SeriesRecord* record = records.find(place(id));
  const Membership* member = record == nullptr ? nullptr : record->groups();
  for (; member != nullptr; member = member->next) found.views.push_back(member->group->view());
  if (found.views.size() == 1) found.from = found.views[0].oldest();
  return found;
}

// The memory is looked at first: what leaves it meanwhile is on disk by then, and what both have is
// taken from memory.
void History::read(SeriesId id, std::int64_t start, std::int64_t end, Column& out) const {
  const State::Found found = state_->find(id);
  const disk::Store* store = state_->store.get();
  const std::int64_t step = step_for(start);
  const auto hash = [&] { return labels(id).hash(); };  // what most reads do without
  const std::int64_t before = found.from > end ? end : found.from - 1;
  const bool past = store != nullptr && before < end && store->keeps_past() &&
                    store->has_past(hash(), before, end);
  const bool plain = found.views.size() <= 1 && !past && step == 0;
  Column several;
  Column& to = plain ? out : several;
  if (store != nullptr && start < before) store->read(hash(), start, before, to);
  for (const Group::View& view : found.views) view.read(id, start, end, to);
  if (plain) return;
  if (past) store->read_past(hash(), std::max(start, before), end, to);
  if (step == 0) return merge_samples(several, out);
  Column merged;
  merge_samples(several, merged);
  const Family& family = state_->registry.family(state_->registry.family_of(id));
  disk::condense(merged, step, disk::flavour_of(family, labels(id)), out);
}

Aggregate History::aggregate(SeriesId id, std::int64_t start, std::int64_t end) const {
  Aggregate result;
  const State::Found found = state_->find(id);
  const disk::Store* store = state_->store.get();
  if (found.views.size() > 1 ||
      (store != nullptr &&
       (store->step_for(start) != 0 ||
        (store->keeps_past() && store->has_past(labels(id).hash(), start, end))))) {
    Column all;  // samples of several groups may be the same; those of tiers stand for others
    read(id, start, end, all);
    for (const double value : all.values) result.add(value);
    return result;
  }
  const std::int64_t before = found.from > end ? end : found.from - 1;
  if (store != nullptr && start < before) {
    store->aggregate(labels(id).hash(), start, before, result);
  }
  for (const Group::View& view : found.views) view.aggregate(id, start, end, result);
  return result;
}

std::optional<Sample> History::last(SeriesId id, std::int64_t start, std::int64_t end) const {
  const std::optional<Sample> newest = latest(id);
  if (!newest || newest->time <= start) return std::nullopt;
  // The newest of a series that is only on disk is not looked up before somebody asks.
  const bool known = state_->store == nullptr || !is_stale_marker(newest->value);
  if (newest->time <= end && known) return newest;
  return Queryable::last(id, start, end);
}

std::optional<Sample> History::latest(SeriesId id) const {
  const SeriesRecord* record = state_->records.find(state_->place(id));
  return record == nullptr ? std::nullopt : record->load(id);
}

void History::for_each_latest(std::int64_t since,
                              const std::function<void(SeriesId, Sample)>& visit) const {
  const std::size_t places = state_->places.load(std::memory_order_acquire);
  for (std::size_t place = 0; place < places; ++place) {
    const SeriesRecord* record = state_->records.find(place);
    const auto newest = record == nullptr ? std::nullopt : record->load();
    if (newest && newest->sample.time > since && !is_stale_marker(newest->sample.value)) {
      visit(newest->id, newest->sample);
    }
  }
}

HistoryStats History::stats() const {
  const Tallies& t = state_->tallies;
  HistoryStats stats;
  stats.series = t.series.get();
  stats.samples = t.samples.get();
  stats.open_bytes = t.open_bytes.get();
  stats.bytes = t.sealed_bytes.get() + stats.open_bytes;
  stats.blocks = t.blocks.get();
  stats.appended = t.appended.get();
  stats.out_of_order = t.out_of_order.get();
  stats.dropped_by_age = t.dropped_by_age.get();
  stats.dropped_by_size = t.dropped_by_size.get();
  stats.dropped_by_clock = t.dropped_by_clock.get();
  stats.dropped_by_limit = t.dropped_by_limit.get();
  stats.unknown = t.unknown.get();
  stats.registered = state_->registry.size();
  stats.registered_limit = state_->registry.limit();
  stats.series_refused = state_->registry.refused();
  stats.series_forgotten = state_->registry.forgotten();
  stats.oldest = t.oldest.load(std::memory_order_relaxed);
  stats.newest = t.newest.load(std::memory_order_relaxed);
  if (state_->store != nullptr) state_->store->fill(stats);
  return stats;
}

}  // namespace nexus::knowledge
