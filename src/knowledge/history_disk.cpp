// The history's side of the disk: what is taken in at the start, and the thread that writes.
#include "knowledge/history_state.hpp"

namespace nexus::knowledge {

Group& History::State::group(std::uint32_t number) {
  const auto [entry, is_new] = groups.try_emplace(number);
  if (is_new) {
    tallies.open_bytes.add(entry->second.open().bytes());
    if (store != nullptr) store->add_group(number, entry->second);
  }
  return entry->second;
}

/// So that select() finds the series, and nobody forgets it while the disk has it. Its newest
/// sample is not known, only a time after which there is none.
void History::State::note_on_disk(SeriesId id, std::int64_t last) {
  SeriesRecord& record = records.make(place(id));
  if (place(id) >= places.load(std::memory_order_relaxed)) places.store(place(id) + 1);
  if (record.id() != id) record.assign(id);
  const std::optional<Sample> newest = record.load(id);
  if (!newest || newest->time < last) record.store({last, stale_marker()});
}

Status History::open_disk(Clock& clock, HistoryDisk disk) {
  State& s = *state_;
  NEXUS_CHECK(s.store == nullptr && s.groups.empty());
  std::shared_ptr<const disk::Cipher> cipher;
  if (!disk.key_file.empty()) {
    auto read = disk::Cipher::from_file(disk.key_file);
    if (!read) return propagate(std::move(read));
    cipher = std::move(*read);
  }
  const Millis interval = disk.checkpoint;
  const bool attended = disk.by == HistoryDisk::Opened::kAgent;
  s.clock = &clock;
  s.store = std::make_unique<disk::Store>(s.registry, std::move(disk), std::move(cipher));
  s.store->load([&](SeriesId id, std::int64_t last) { s.note_on_disk(id, last); });
  for (const auto& [number, newest] : s.store->newest_of_groups()) {
    s.group(number).last_time = newest;
  }
  s.store->replay([&](const BatchView& row) {
    if (row.time > s.group(row.group).last_time) append(row);
  });
  if (!attended) return {};
  s.disk_thread = std::make_unique<base::LoopThread>(clock, "history-disk", [this, interval] {
    (void)checkpoint();  // said and counted there
    return state_->clock->steady() + interval;
  });
  return {};
}

Status History::checkpoint() {
  State& s = *state_;
  if (s.store == nullptr) return {};
  return s.store->checkpoint(base::to_unix_millis(s.clock->wall()), s.clock->steady());
}

void History::close_disk() {
  State& s = *state_;
  if (s.disk_thread == nullptr) return;
  s.disk_thread->stop();
  s.disk_thread.reset();
  s.store->retry_now();
  (void)checkpoint();
}

std::int64_t History::step_for(std::int64_t start) const {
  return state_->store == nullptr ? 0 : state_->store->step_for(start);
}

Status History::store_past(const PastRows& rows) {
  State& s = *state_;
  if (s.store == nullptr) return fail(Errc::kUnsupported, "there is no history on disk");
  if (Status stored = s.store->store_past(rows, base::to_unix_millis(s.clock->wall())); !stored) {
    return stored;
  }
  const std::lock_guard guard(s.past_mutex);
  for (const PastSeries& series : rows.series) {
    std::int64_t& last = s.past.try_emplace(series.id, rows.times.back()).first->second;
    last = std::max(last, rows.times.back());
  }
  return {};
}

Status History::finish_past() {
  return state_->store == nullptr ? Status{} : state_->store->finish_past();
}

void History::adopt_past() {
  State& s = *state_;
  std::unordered_map<SeriesId, std::int64_t> past;
  {
    const std::lock_guard guard(s.past_mutex);
    past.swap(s.past);
  }
  for (const auto& [id, last] : past) {
    if (s.registry.known(id)) s.note_on_disk(id, last);
  }
}

}  // namespace nexus::knowledge
