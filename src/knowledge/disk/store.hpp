// Store: the history on disk. One thread writes it; everybody reads.
//
// Streams: `data` has the rows of sealed blocks, merged to longer ones; `wal` has
// the rows that are in memory only, written anew every checkpoint interval; `past` has rows that
// were imported; `tierN` has aggregates of N seconds. The writer looks at immutable snapshots of
// the groups, so it takes nothing from the ingest thread and makes nobody wait for a disk.
//
// Invariants: (1) a row that a checkpoint() has seen is in `data` or in `wal` when it returns well;
// (2) the log is dropped only when what took its place is on the medium; (3) when the disk cannot
// be written nothing else stops: it is said once and tried again every minute. Thread safety: as
// said at each member.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "knowledge/disk/cache.hpp"
#include "knowledge/disk/stream.hpp"
#include "knowledge/disk/tier_block.hpp"
#include "knowledge/group.hpp"
#include "nexus/base/clock.hpp"
#include "nexus/knowledge/history.hpp"

namespace nexus::knowledge::disk {

class Store {
 public:
  Store(SeriesRegistry& registry, HistoryDisk options, std::shared_ptr<const Cipher> cipher);

  // Before anything else, on one thread.

  /// Reads the indexes. `found` is told each series, and a time after which nothing of it is here.
  void load(const std::function<void(SeriesId, std::int64_t)>& found);
  /// The newest rows in blocks of their own, by group.
  [[nodiscard]] std::map<std::uint32_t, std::int64_t> newest_of_groups() const;
  /// The rows of the log, with today's ids, in the order in which they were written.
  void replay(const std::function<void(const BatchView&)>& row);

  // The ingest thread.

  void add_group(std::uint32_t number, Group& group);
  /// The clock was set back: what the group has on disk from `time` on is void.
  void rewind(std::uint32_t group, std::int64_t time);

  // Any thread.

  /// Writes what is not yet on disk and waits for the medium. One at a time.
  [[nodiscard]] Status checkpoint(std::int64_t now, SteadyTime steady);
  /// Memory is short: the next checkpoint() writes all sealed blocks, however few.
  void hurry() noexcept { hurry_ = true; }
  /// The next checkpoint() tries, whatever was before, and leaves a log without what is obsolete.
  void retry_now();
  void set_limits(Millis retention, std::uint64_t bytes);  // 0: as before
  /// See History.
  [[nodiscard]] Status store_past(const PastRows& rows, std::int64_t now);
  [[nodiscard]] Status finish_past();
  /// Appends the samples with start < time <= end, from the tier that serves `start`.
  void read(std::uint64_t labels_hash, std::int64_t start, std::int64_t end, Column& out) const;
  [[nodiscard]] bool keeps_past() const { return !past_->segments()->empty(); }
  /// Whether, and which, samples with start < time <= end came by store_past().
  [[nodiscard]] bool has_past(std::uint64_t labels_hash, std::int64_t start,
                              std::int64_t end) const;
  void read_past(std::uint64_t labels_hash, std::int64_t start, std::int64_t end,
                 Column& out) const;
  /// Appends the buckets with start < end of bucket <= end, from the tier that serves `start` and,
  /// where it ends, finer ones. Returns the time up to which they reach: what is newer is in rows.
  [[nodiscard]] std::int64_t read_tiers(std::uint64_t labels_hash, std::int64_t start,
                                        std::int64_t end, std::vector<Bucket>& out) const;
  /// The rows of read(), whatever the tiers have; not those of read_past().
  void read_rows(std::uint64_t labels_hash, std::int64_t start, std::int64_t end,
                 Column& out) const;
  /// As read(), aggregated; only of the raw rows, and nothing of read_past().
  void aggregate(std::uint64_t labels_hash, std::int64_t start, std::int64_t end,
                 Aggregate& to) const;
  /// The step of the tier that serves `start`; 0: the rows as they came.
  [[nodiscard]] std::int64_t step_for(std::int64_t start) const;
  /// Time of the oldest row here; the largest number when there is none.
  [[nodiscard]] std::int64_t oldest() const;
  void fill(HistoryStats& stats) const;

 private:
  struct Tier {
    std::int64_t step = 0;
    std::int64_t keep = 0;
    std::unique_ptr<Stream> stream;
    std::uint64_t numbered = 0;                                // the segment that `numbers` are for
    std::unordered_map<std::uint64_t, std::uint32_t> numbers;  // by hash of labels
  };
  struct GroupState {
    Group* group = nullptr;
    std::int64_t data_until = 0;  // rows up to it are in `data`
    std::int64_t wal_until = 0;   // or in the log
  };
  struct Rewind {
    std::uint32_t group = 0;
    std::int64_t time = 0;
  };

  void add_tier(std::int64_t step, Millis keep);
  /// Tiers of which there are files and that are not configured: a tool reads them, the agent
  /// removes them and says so.
  void find_tiers();
  void remove_tier(const std::string& name) const;
  /// After a crash of the machine the newest file may have whole headers and no data: what is so
  /// is not taken for written, so that the log's rows count.
  void check_newest();
  [[nodiscard]] std::optional<SeriesId> id_of(const Definitions& definitions,
                                              const SeriesDefinition& series);
  void intern(const Segment& segment, const Definitions& definitions,
              const std::function<void(SeriesId, std::int64_t)>& found);
  void replay_block(std::uint32_t group, const BlockView& view,
                    const std::unordered_map<std::uint32_t, SeriesId>& ids,
                    const std::function<void(const BatchView&)>& row) const;

  // The writer's; work_ is held.
  [[nodiscard]] Status write_all(std::int64_t now);
  void adopt_groups();
  [[nodiscard]] Status write_rewinds(std::int64_t now);
  /// Blocks whose last row is not after `patience` are written however few they are.
  [[nodiscard]] Status persist(std::uint32_t number, GroupState& state, std::int64_t patience,
                               std::int64_t now);
  [[nodiscard]] Status persist_blocks(std::uint32_t number,
                                      std::span<const std::shared_ptr<const Block>> blocks,
                                      std::int64_t now);
  [[nodiscard]] Status write_log(std::int64_t now);
  /// What a log that is begun anew would have, about.
  [[nodiscard]] std::uint64_t live_log_bytes() const;
  [[nodiscard]] bool log_is_stale() const;
  [[nodiscard]] Status log_group(std::uint32_t number, GroupState& state);
  [[nodiscard]] Status define(Stream& stream, std::span<const SeriesId> ids,
                              std::uint32_t group = kAnyGroup);
  [[nodiscard]] Status drop_old(std::int64_t now);
  [[nodiscard]] std::uint64_t bytes() const;
  [[nodiscard]] std::int64_t newest_in_data(std::uint32_t group) const;

  // Tiers (store_tiers.cpp).
  struct Source;
  /// Tiers of tiers, where there is much to add.
  [[nodiscard]] Status downsample(std::int64_t now);
  /// The rows (place 0) or the buckets of a tier (its place + 1) up to `until` leave: they are in
  /// the next tier when this returns well.
  [[nodiscard]] Status coarsen(std::size_t place, std::int64_t until, std::int64_t now);
  [[nodiscard]] Status downsample_group(std::size_t place, std::uint32_t group, std::int64_t until,
                                        std::int64_t least, std::int64_t now);
  /// What came by store_past() up to `until` leaves, by whole segments.
  [[nodiscard]] Status coarsen_past(std::int64_t until, std::int64_t now);
  /// Rows that are to be made buckets: of a group, or of all when there is none.
  struct Finer {
    std::span<const std::shared_ptr<const Segment>> segments;
    std::optional<std::uint32_t> group;
    [[nodiscard]] bool has(const Entry& entry, std::int64_t from, std::int64_t to) const noexcept;
  };
  /// The end of the first bucket after `from` that has rows; the largest number when there is none.
  /// So that years without rows (a clock that began in 1970) cost nothing.
  [[nodiscard]] std::int64_t next_bucket(const Finer& finer, std::int64_t from, std::int64_t step);
  [[nodiscard]] Status write_buckets(std::size_t place, const Finer& finer, std::uint32_t group,
                                     std::int64_t from, std::int64_t to, std::int64_t now);
  [[nodiscard]] std::map<std::uint64_t, Source> sources_of(std::size_t place, const Finer& finer,
                                                           std::int64_t from, std::int64_t to);
  [[nodiscard]] Status write_tier(Tier& tier, std::uint32_t group,
                                  const std::map<std::uint64_t, Source>& sources,
                                  const std::vector<std::int64_t>& ends, std::int64_t to);
  /// 0: the rows; otherwise one more than the tier's place.
  [[nodiscard]] Stream& stream_at(std::size_t place) const {
    return place == 0 ? *data_ : *tiers_[place - 1].stream;
  }

  // Readers (store_read.cpp).
  struct Wanted {
    std::shared_ptr<const Segment> segment;
    Entry entry;
    std::uint32_t number = 0;
  };
  /// The records with that series that have rows with start < time <= end, ascending by time.
  static std::vector<Wanted> find(const Stream& stream, std::uint64_t hash, std::int64_t start,
                                  std::int64_t end);
  void read_rows(std::span<const Wanted> wanted, std::int64_t start, std::int64_t end,
                 Column& out) const;
  [[nodiscard]] std::vector<Bucket> buckets_of(const Tier& tier, std::uint64_t hash,
                                               std::int64_t start, std::int64_t end) const;
  void read_tier(const Tier& tier, std::uint64_t hash, std::int64_t start, std::int64_t end,
                 Column& out) const;
  /// 0: the rows; otherwise one more than the tier's place.
  [[nodiscard]] std::size_t serving(std::int64_t start) const;
  void note_tiers();

  SeriesRegistry& registry_;
  const HistoryDisk options_;
  const std::shared_ptr<const Cipher> cipher_;
  const std::shared_ptr<Health> health_ = std::make_shared<Health>();
  std::atomic<std::int64_t> retention_;
  std::atomic<std::uint64_t> max_bytes_;
  std::unique_ptr<Stream> data_;
  std::unique_ptr<Stream> past_;
  std::unique_ptr<Stream> wal_;
  std::vector<Tier> tiers_;                                    // finest first
  std::set<std::pair<std::uint32_t, std::int64_t>> doubtful_;  // group and last; set by load()
  const std::shared_ptr<NameCache> names_;
  mutable Cache cache_;

  std::atomic<std::int64_t> tiers_until_{std::numeric_limits<std::int64_t>::min()};
  std::atomic<bool> hurry_{false};
  std::atomic<bool> tidy_log_{false};
  std::mutex posted_mutex_;
  std::vector<std::pair<std::uint32_t, Group*>> posted_groups_;  // guarded by posted_mutex_
  std::vector<Rewind> rewinds_;                                  // guarded by posted_mutex_

  std::mutex work_;                             // whoever holds it is the writer
  std::map<std::uint32_t, GroupState> groups_;  // guarded by work_, and so is what follows
  BlockBuilder builder_;
  std::uint64_t log_snapshot_bytes_ = 0;
  std::int64_t last_upkeep_ = 0;
  SteadyTime retry_at_{};
  std::atomic<std::uint64_t> dropped_segments_{0};
  std::atomic<std::uint64_t> checkpoints_{0};
};

}  // namespace nexus::knowledge::disk
