#include "knowledge/disk/store.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "nexus/base/log.hpp"

namespace nexus::knowledge::disk {
namespace {

constexpr std::size_t kCacheBytes = 8U << 20;
// A group waits for so many blocks before they are merged and written, unless they are old.
constexpr std::int64_t kPatienceMillis = 2 * 3'600'000;
constexpr std::size_t kMostBlocks = kMaxBlockRows / kMaxRows;
// Columns of one record: reading one of them reads them all.
constexpr std::size_t kColumnsOfRecord = 128;
constexpr std::uint64_t kMostLog = 4U << 20;  // written before the log is begun anew
constexpr std::int64_t kUpkeepMillis = 60'000;
constexpr Millis kRetry{60'000};
// Of the registry's limit, for series that are only on disk.
constexpr std::size_t kRegistryPercent = 80;
constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::min();

StreamOptions stream_options(const HistoryDisk& disk, std::string name, Millis kept,
                             const std::shared_ptr<const Cipher>& cipher,
                             const std::shared_ptr<Health>& health) {
  StreamOptions options;
  options.directory = disk.directory;
  options.name = std::move(name);
  options.cipher = cipher;
  options.health = health;
  // A segment is dropped whole: what is kept too long is an eighth at most.
  options.segment_millis = std::max<std::int64_t>(kept.count() / 8, 60'000);
  options.segment_bytes = std::clamp<std::uint64_t>(disk.bytes / 16, 64U << 10, 16U << 20);
  return options;
}

}  // namespace

Store::Store(SeriesRegistry& registry, HistoryDisk options, std::shared_ptr<const Cipher> cipher)
    : registry_(registry),
      options_(std::move(options)),
      retention_(options_.retention.count()),
      max_bytes_(options_.bytes),
      cache_(kCacheBytes) {
  const auto stream = [&](std::string name, Millis kept) {
    return stream_options(options_, std::move(name), kept, cipher, health_);
  };
  data_ = std::make_unique<Stream>(stream("data", options_.retention));
  StreamOptions log = stream("wal", options_.retention);
  log.indexed = false;
  wal_ = std::make_unique<Stream>(std::move(log));
  for (const HistoryTier& tier : options_.tiers) {
    Tier& made = tiers_.emplace_back();
    made.step = tier.step.count();
    made.keep = tier.keep.count();
    made.stream =
        std::make_unique<Stream>(stream("tier" + std::to_string(made.step / 1000), tier.keep));
  }
}

void Store::load(const std::function<void(SeriesId, std::int64_t)>& found) {
  if (::mkdir(options_.directory.c_str(), 0750) != 0 && errno != EEXIST) {
    log::error("history", "{}", Error::from_errno("make " + options_.directory).message());
    ++health_->errors;
    health_->writable = false;
    return;
  }
  const auto visit = [&](const Segment& segment, const Definitions& definitions) {
    intern(segment, definitions, found);
  };
  // What was there last first: the registry may not have room for all.
  std::vector<Stream*> streams = {wal_.get(), data_.get()};
  for (const Tier& tier : tiers_) streams.push_back(tier.stream.get());
  for (Stream* stream : streams) {
    if (Status loaded = stream->load(visit); !loaded) {
      ++health_->errors;
      log::error("history", "{}", loaded.error().message());
    }
  }
  check_newest();
}

void Store::check_newest() {
  const auto segments = data_->segments();
  if (segments->empty() || !segments->back()->usable) return;
  for (const Entry& entry : segments->back()->entries) {
    if (entry.kind == Kind::kBlock && !segments->back()->file->read(entry)) {
      doubtful_.insert({entry.group, entry.last});
    }
  }
}

std::optional<SeriesId> Store::id_of(const Definitions& definitions,
                                     const SeriesDefinition& series) {
  const Family& family = definitions.families[series.family];
  std::vector<LabelView> labels;
  for (const Label& label : series.labels) {
    if (label.name != kMetricName) labels.push_back({label.name, label.value});
  }
  const std::string_view metric = series.labels.metric();
  const FamilyId own = registry_.family(family.name, family.type, family.help);
  const auto id = registry_.intern(own, labels, metric == family.name ? "" : metric);
  return id ? std::optional(*id) : std::nullopt;
}

void Store::intern(const Segment& segment, const Definitions& definitions,
                   const std::function<void(SeriesId, std::int64_t)>& found) {
  if (segment.first > segment.last) return;
  for (const SeriesDefinition& series : definitions.series) {
    if (registry_.size() * 100 >= registry_.limit() * kRegistryPercent) return;
    if (const auto id = id_of(definitions, series)) found(*id, segment.last);
  }
}

std::map<std::uint32_t, std::int64_t> Store::newest_of_groups() const {
  std::map<std::uint32_t, std::int64_t> newest;
  const auto segments = data_->segments();
  for (const auto& segment : *segments) {
    for (const Entry& entry : segment->entries) {
      if (entry.kind != Kind::kBlock || (entry.flags & kMore) != 0) continue;
      if (doubtful_.contains({entry.group, entry.last})) continue;
      auto& last = newest.try_emplace(entry.group, entry.last).first->second;
      last = std::max(last, entry.last);
    }
  }
  return newest;
}

std::int64_t Store::newest_in_data(std::uint32_t group) const {
  const auto newest = newest_of_groups();
  const auto found = newest.find(group);
  return found == newest.end() ? kNever : found->second;
}

void Store::replay(const std::function<void(const BatchView&)>& row) {
  const auto segments = wal_->segments();
  for (const auto& segment : *segments) {
    if (!segment->usable) continue;
    std::unordered_map<std::uint32_t, SeriesId> ids;
    for (const Entry& entry : segment->entries) {
      const auto payload = segment->file->read(entry);
      if (!payload) continue;  // counted and logged
      if (entry.kind == Kind::kSeries) {
        const auto definitions = decode_definitions(*payload);
        if (!definitions) continue;
        for (const SeriesDefinition& one : definitions->series) {
          if (const auto id = id_of(*definitions, one)) ids[one.number] = *id;
        }
      } else if (entry.kind == Kind::kBlock) {
        if (const auto view = BlockView::parse(*payload)) {
          replay_block(entry.group, *view, ids, row);
        } else {
          ++health_->damaged_records;
        }
      }
    }
  }
}

void Store::replay_block(std::uint32_t group, const BlockView& view,
                         const std::unordered_map<std::uint32_t, SeriesId>& ids,
                         const std::function<void(const BatchView&)>& row) const {
  struct OfRow {
    std::vector<SeriesId> ids;
    std::vector<double> values;
  };
  std::vector<OfRow> all(view.rows());
  std::vector<std::uint16_t> rows(view.rows());
  std::vector<double> values(view.rows());
  const std::vector<SeriesId> numbers = view.ids();
  for (std::uint32_t column = 0; column < numbers.size(); ++column) {
    const auto id = ids.find(numbers[column]);
    if (id == ids.end()) continue;
    const auto count = view.decode(column, rows, values);
    for (std::uint32_t i = 0; count && i < *count; ++i) {
      all[rows[i]].ids.push_back(id->second);
      all[rows[i]].values.push_back(values[i]);
    }
  }
  std::vector<std::int64_t> times(view.rows());
  view.times(times);
  for (std::size_t r = 0; r < all.size(); ++r) {
    if (!all[r].ids.empty()) row({group, times[r], all[r].ids, all[r].values});
  }
}

void Store::add_group(std::uint32_t number, Group& group) {
  const std::lock_guard guard(posted_mutex_);
  posted_groups_.emplace_back(number, &group);
}

void Store::rewind(std::uint32_t group, std::int64_t time) {
  const std::lock_guard guard(posted_mutex_);
  rewinds_.push_back({group, time});
}

void Store::set_limits(Millis retention, std::uint64_t bytes) {
  retention_ = retention.count();
  if (bytes > 0) max_bytes_ = bytes;
}

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

void Store::retry_now() {
  const std::lock_guard guard(work_);
  retry_at_ = {};
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
    if (Status written = downsample(now, Urgency::kWhenMuch); !written) return written;
    if (Status dropped = drop_old(now); !dropped) return dropped;
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
  if (Status defined = define(*data_, ids); !defined) return defined;
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

Status Store::define(Stream& stream, std::span<const SeriesId> ids) {
  Definitions definitions;
  for (const SeriesId id : ids) {
    if (stream.defines(id)) continue;
    const auto labels = registry_.share(id);
    if (labels == nullptr) continue;  // forgotten meanwhile: nobody can ask for it
    const std::uint32_t family = definitions.add(registry_.family(registry_.family_of(id)));
    definitions.series.push_back({id, family, *labels});
  }
  return stream.define(definitions);
}

Status Store::write_log(std::int64_t now) {
  const bool anew =
      wal_->active() == 0 ||
      wal_->active_bytes() > log_snapshot_bytes_ * 2 + std::min(kMostLog, max_bytes_ / 64);
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

std::uint64_t Store::bytes() const {
  std::uint64_t sum = data_->bytes() + wal_->bytes();
  for (const Tier& tier : tiers_) sum += tier.stream->bytes();
  return sum;
}

Status Store::drop_old(std::int64_t now) {
  const auto segments = data_->segments();
  const bool leaves = std::ranges::any_of(
      *segments, [&](const auto& segment) { return segment->last < now - retention_; });
  if (leaves || bytes() > max_bytes_) {  // what goes now has to be in the tiers
    if (Status written = downsample(now, Urgency::kNow); !written) return written;
  }
  std::size_t dropped = data_->drop_before(now - retention_);
  for (const Tier& tier : tiers_) dropped += tier.stream->drop_before(now - tier.keep);
  while (bytes() > max_bytes_) {
    Stream* largest = data_.get();
    for (const Tier& tier : tiers_) {
      if (tier.stream->bytes() > largest->bytes()) largest = tier.stream.get();
    }
    if (!largest->drop_oldest()) break;
    ++dropped;
  }
  dropped_segments_ += dropped;
  return {};
}

void Store::fill(HistoryStats& stats) const {
  stats.on_disk = true;
  stats.disk_writable = health_->writable;
  stats.disk_bytes = bytes();
  stats.disk_dropped = dropped_segments_;
  stats.disk_errors = health_->errors;
  stats.disk_damaged = health_->damaged_records;
  stats.disk_unusable = health_->unusable_files;
  stats.disk_checkpoints = checkpoints_;
}

}  // namespace nexus::knowledge::disk
