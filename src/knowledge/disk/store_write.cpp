// The writer: what a checkpoint does, in the order that keeps the promises of store.hpp.
#include <sys/stat.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "knowledge/disk/store.hpp"
#include "nexus/base/log.hpp"

namespace nexus::knowledge::disk {
namespace {

// A group waits for so many blocks before they are merged and written, unless they are old.
constexpr std::int64_t kPatienceMillis = 2 * 3'600'000;
constexpr std::size_t kMostBlocks = kMaxBlockRows / kMaxRows;
// Columns of one record: reading one of them reads them all.
constexpr std::size_t kColumnsOfRecord = 128;
// The same where times are not regular, so that each record has to have them.
constexpr std::size_t kColumnsWithTimes = 512;
// The log is begun anew when half of it, and this much, is of rows that are in `data` or were
// written again as longer blocks.
constexpr std::uint64_t kMuchLog = 256U << 10;
constexpr std::int64_t kUpkeepMillis = 60'000;
constexpr Millis kRetry{60'000};

}  // namespace

Status Store::checkpoint(std::int64_t now, SteadyTime steady) {
  const std::lock_guard guard(work_);
  if (!health_->writable && steady < retry_at_) {
    return fail(Errc::kUnavailable, "the history cannot be written; tried again every minute");
  }
  Status written = write_all(now);
  if (written) {
    if (!health_->writable.exchange(true)) log::info("history", "written to disk again");
    ++checkpoints_;
    return written;
  }
  ++health_->errors;
  retry_at_ = steady + kRetry;
  wal_->close();  // the next attempt begins the log anew
  if (health_->writable.exchange(false)) {
    log::error("history", "not written to disk, tried again every minute: {}",
               written.error().message());
  }
  return written;
}

Status Store::write_all(std::int64_t now) {
  ::mkdir(options_.directory.c_str(), 0750);  // whether it worked is seen by who writes there
  adopt_groups();
  if (Status written = write_rewinds(now); !written) return written;
  const bool hurry = hurry_.exchange(false);
  const std::int64_t patience =
      hurry ? std::numeric_limits<std::int64_t>::max() : now - kPatienceMillis;
  for (auto& [number, state] : groups_) {
    if (Status written = persist(number, state, patience, now); !written) return written;
  }
  if (now >= last_upkeep_ + kUpkeepMillis || now < last_upkeep_) {
    if (Status written = downsample(now); !written) return written;
    const Status dropped = drop_old(now);
    note_tiers();
    if (!dropped) return dropped;
    last_upkeep_ = now;
  }
  // What leaves the log has to be on the medium first.
  if (Status synced = data_->sync(); !synced) return synced;
  for (auto& [number, state] : groups_) state.group->persisted = state.data_until;
  for (const Tier& tier : tiers_) {
    if (Status synced = tier.stream->sync(); !synced) return synced;
  }
  return write_log(now);
}

void Store::adopt_groups() {
  const std::lock_guard guard(posted_mutex_);
  for (const auto& [number, group] : posted_groups_) {
    const std::int64_t until = newest_in_data(number);
    groups_[number] = {group, until, until};
    group->persisted = until;
  }
  posted_groups_.clear();
}

Status Store::write_rewinds(std::int64_t now) {
  std::vector<Rewind> rewinds;
  {
    const std::lock_guard guard(posted_mutex_);
    rewinds = rewinds_;
  }
  for (const Rewind& rewind : rewinds) {
    const RecordInfo info{
        .kind = Kind::kRewind, .group = rewind.group, .first = rewind.time, .last = rewind.time};
    std::vector<Stream*> streams = {data_.get()};
    for (const Tier& tier : tiers_) streams.push_back(tier.stream.get());
    for (Stream* stream : streams) {
      if (Status written = stream->prepare(now); !written) return written;
      if (Status written = stream->append(info, {}); !written) return written;
    }
    if (const auto found = groups_.find(rewind.group); found != groups_.end()) {
      found->second.data_until = newest_in_data(rewind.group);
      found->second.group->persisted = found->second.data_until;
    }
  }
  if (rewinds.empty()) return {};
  wal_->close();  // begun anew with what is left
  const std::lock_guard guard(posted_mutex_);
  rewinds_.erase(rewinds_.begin(), rewinds_.begin() + std::ssize(rewinds));
  return {};
}

Status Store::persist(std::uint32_t number, GroupState& state, std::int64_t patience,
                      std::int64_t now) {
  const Group::View view = state.group->view();
  const auto& blocks = *view.blocks;
  auto next = std::ranges::find_if(
      blocks, [&](const auto& block) { return block->first_time() > state.data_until; });
  while (next != blocks.end()) {
    std::size_t rows = 0;
    auto end = next;
    while (end != blocks.end() && static_cast<std::size_t>(end - next) < kMostBlocks &&
           rows + (*end)->rows() <= kMaxBlockRows) {
      rows += (*end++)->rows();
    }
    const bool enough = static_cast<std::size_t>(end - next) == kMostBlocks || end != blocks.end();
    if (!enough && (*next)->last_time() > patience) return {};
    if (Status written = persist_blocks(number, {next, end}, now); !written) return written;
    state.data_until = (*(end - 1))->last_time();
    next = end;
  }
  return {};
}

Status Store::persist_blocks(std::uint32_t number,
                             std::span<const std::shared_ptr<const Block>> blocks,
                             std::int64_t now) {
  std::vector<BlockView> views;
  std::vector<SeriesId> ids;
  for (const auto& block : blocks) {
    views.push_back(block->view());
    const std::vector<SeriesId> some = block->ids();
    ids.insert(ids.end(), some.begin(), some.end());
  }
  std::ranges::sort(ids);
  const auto doubled = std::ranges::unique(ids);
  ids.erase(doubled.begin(), doubled.end());
  if (Status ready = data_->prepare(now); !ready) return ready;
  if (Status defined = define(*data_, ids, number); !defined) return defined;
  RecordInfo info{
      .group = number, .first = blocks.front()->first_time(), .last = blocks.back()->last_time()};
  for (std::size_t first = 0; first < ids.size(); first += kColumnsOfRecord) {
    const std::size_t end = std::min(first + kColumnsOfRecord, ids.size());
    info.low = ids[first];
    info.high = ids[end - 1];
    info.flags = end == ids.size() ? 0 : kMore;
    const auto bytes = merge_blocks(views, builder_, info.low, info.high);
    NEXUS_CHECK(bytes.has_value());  // they are ours
    if (Status written = data_->append(info, *bytes); !written) return written;
  }
  return {};
}

Status Store::define(Stream& stream, std::span<const SeriesId> ids, std::uint32_t group) {
  Definitions definitions;
  for (const SeriesId id : ids) {
    if (stream.defines(id, group)) continue;
    const auto labels = registry_.share(id);
    if (labels == nullptr) continue;  // forgotten meanwhile: nobody can ask for it
    const std::uint32_t family = definitions.add(registry_.family(registry_.family_of(id)));
    definitions.series.push_back({id, family, *labels});
  }
  return stream.define(definitions, group);
}

std::uint64_t Store::live_log_bytes() const {
  std::uint64_t sum = 0;
  for (const auto& [number, state] : groups_) {
    const Group::View view = state.group->view();
    for (auto block = view.blocks->rbegin(); block != view.blocks->rend(); ++block) {
      if ((*block)->first_time() <= state.data_until) break;
      sum += (*block)->bytes();
    }
    sum += view.open->published_samples() / 2;  // a guess; what is sealed takes a third of a byte
  }
  return sum;
}

bool Store::log_is_stale() const {
  const std::uint64_t bytes = wal_->active_bytes();
  const std::uint64_t much = std::min(kMuchLog, max_bytes_ / 64);
  // The second condition is for values that do not compress, which the guess is too low for.
  return bytes > live_log_bytes() * 3 / 2 + much &&
         bytes > log_snapshot_bytes_ * 5 / 4 + std::min<std::uint64_t>(much, kMuchLog / 4);
}

Status Store::write_log(std::int64_t now) {
  const bool anew = tidy_log_.exchange(false) || wal_->active() == 0 || log_is_stale();
  if (anew) {
    if (Status rotated = wal_->rotate(now); !rotated) return rotated;
    for (auto& [number, state] : groups_) state.wal_until = state.data_until;
  }
  for (auto& [number, state] : groups_) {
    if (Status written = log_group(number, state); !written) return written;
  }
  if (Status synced = wal_->sync(); !synced) return synced;
  if (anew) {
    log_snapshot_bytes_ = wal_->active_bytes();
    wal_->drop_old();
  }
  return {};
}

Status Store::log_group(std::uint32_t number, GroupState& state) {
  const Group::View view = state.group->view();
  const auto write = [&](Bytes bytes) -> Status {
    const auto block = BlockView::parse(bytes);
    NEXUS_CHECK(block.has_value());
    const std::vector<SeriesId> ids = block->ids();
    if (Status defined = define(*wal_, ids); !defined) return defined;
    const RecordInfo info{.group = number,
                          .first = block->first_time(),
                          .last = block->last_time(),
                          .low = ids.front(),
                          .high = ids.back()};
    if (Status written = wal_->append(info, bytes); !written) return written;
    state.wal_until = block->last_time();
    return {};
  };
  for (const auto& block : *view.blocks) {
    if (block->last_time() <= state.wal_until || block->first_time() <= state.data_until) continue;
    if (Status written = write(block->view().bytes()); !written) return written;
  }
  const std::uint32_t end = view.open->rows();
  const std::uint32_t first = std::min(view.open->row_after(state.wal_until), end);
  return first == end ? Status{} : write(view.open->encode(builder_, first, end));
}

namespace {

bool are_regular(std::span<const std::int64_t> times) noexcept {
  for (std::size_t i = 2; i < times.size(); ++i) {
    if (times[i] - times[i - 1] != times[1] - times[0]) return false;
  }
  return true;
}

}  // namespace

Status Store::store_past(const PastRows& rows, std::int64_t now) {
  const std::lock_guard guard(work_);
  ::mkdir(options_.directory.c_str(), 0750);
  std::vector<SeriesId> ids;
  for (const PastSeries& series : rows.series) ids.push_back(series.id);
  if (ids.empty()) return {};
  std::vector<std::uint16_t> all(kMaxBlockRows);
  std::iota(all.begin(), all.end(), std::uint16_t{0});
  for (std::size_t row = 0; row < rows.times.size(); row += kMaxBlockRows) {
    const std::size_t count = std::min(kMaxBlockRows, rows.times.size() - row);
    const auto times = std::span(rows.times).subspan(row, count);
    if (Status ready = past_->prepare(now); !ready) return ready;
    if (Status defined = define(*past_, ids); !defined) return defined;
    const std::size_t columns = are_regular(times) ? kColumnsOfRecord : kColumnsWithTimes;
    for (std::size_t first = 0; first < ids.size(); first += columns) {
      const std::size_t end = std::min(first + columns, ids.size());
      builder_.begin(times, TimeCode::kDense);
      for (std::size_t i = first; i < end; ++i) {
        builder_.add(ids[i], std::span(all).first(count),
                     std::span(rows.series[i].values).subspan(row, count));
      }
      RecordInfo info{.group = kFirstImportGroup, .first = times.front(), .last = times.back()};
      info.low = ids[first];
      info.high = ids[end - 1];
      info.flags = end == ids.size() ? 0 : kMore;
      if (Status written = past_->append(info, builder_.finish()); !written) return written;
    }
  }
  return {};
}

Status Store::finish_past() {
  const std::lock_guard guard(work_);
  Status synced = past_->sync();
  past_->close();  // so that it can be dropped
  return synced;
}

Status Store::drop_old(std::int64_t now) {
  const std::int64_t oldest = now - retention_;
  if (Status kept_coarser = coarsen_past(past_->newest_before(oldest), now); !kept_coarser) {
    return kept_coarser;
  }
  dropped_segments_ += past_->drop_before(oldest);
  for (std::size_t place = 0; place <= tiers_.size(); ++place) {
    Stream& stream = stream_at(place);
    const std::int64_t kept = place == 0 ? retention_.load() : tiers_[place - 1].keep;
    if (Status kept_coarser = coarsen(place, stream.newest_before(now - kept), now);
        !kept_coarser) {
      return kept_coarser;
    }
    dropped_segments_ += stream.drop_before(now - kept);
  }
  while (bytes() > max_bytes_) {
    if (past_->bytes() > bytes() / 2) {  // an import is not worth what the agent saw itself
      const auto leaving = past_->newest_of_oldest();
      if (leaving && coarsen_past(*leaving, now) && past_->drop_oldest()) {
        ++dropped_segments_;
        continue;
      }
    }
    std::size_t largest = 0;
    for (std::size_t place = 1; place <= tiers_.size(); ++place) {
      if (stream_at(place).bytes() > stream_at(largest).bytes()) largest = place;
    }
    Stream& stream = stream_at(largest);
    const auto leaving = stream.newest_of_oldest();
    if (!leaving) break;
    // A tier that has to grow for it is smaller than what goes, unless it has to make room itself.
    if (Status kept_coarser = coarsen(largest, *leaving, now); !kept_coarser) return kept_coarser;
    if (!stream.drop_oldest()) break;
    ++dropped_segments_;
  }
  return {};
}

}  // namespace nexus::knowledge::disk
