// History: all samples of the last while, compressed in memory and, after open_disk(), on disk,
// where older ones are kept downsampled. Bounded by age and by bytes.
//
// Series of one group (one collector) share one time column per block. Values are compressed per
// series and block with the smallest of a few lossless encodings; every bit of every double comes
// back. Blocks are immutable once sealed; the open block of a group is read through a consistent
// copy. See src/knowledge/README.md for the block format.
//
// Invariants: (1) one writer (the ingest thread) calls append() and maintain(); (2) readers never
// block the writer for longer than a pointer copy, and never see a torn block; (3) retention drops
// whole blocks and never frees what a reader holds; (4) a batch that is not newer than its group's
// last is refused and counted (Prometheus's out-of-order rule).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"
#include "nexus/knowledge/aggregate.hpp"
#include "nexus/knowledge/queryable.hpp"
#include "nexus/knowledge/ring.hpp"
#include "nexus/knowledge/series.hpp"

namespace nexus::knowledge {

/// Groups from here on are of imported samples.
inline constexpr std::uint32_t kFirstImportGroup = 3'000'000;

struct HistoryLimits {
  Millis retention{24 * 3'600'000};
  std::uint64_t bytes = 128ULL << 20;
};

/// One downsampled series of blocks: min, max, sum, count and last of every `step`.
struct HistoryTier {
  Millis step{60'000};
  Millis keep{30 * 24 * 3'600'000LL};
  bool operator==(const HistoryTier&) const = default;
};

/// Where and how the history is on disk; see src/knowledge/disk/README.md.
struct HistoryDisk {
  std::string directory;
  std::uint64_t bytes = 1ULL << 30;  // of all files; the oldest go first
  Millis retention{24 * 3'600'000};  // of the rows as they came
  Millis checkpoint{10'000};         // what a kill -9 may lose
  std::vector<HistoryTier> tiers;    // ascending by step, each a multiple of the one before
  std::string key_file;              // empty: not encrypted
  /// kTool: opened by a command on the directory of a stopped agent. There is no thread, only
  /// store_past() writes, nothing ages out, and all tiers that are found are read.
  enum class Opened { kAgent, kTool };
  Opened by = Opened::kAgent;
};

/// Series with samples at the same times, for History::store_past().
struct PastSeries {
  SeriesId id = 0;
  std::vector<double> values;
};
struct PastRows {
  std::vector<std::int64_t> times;  // ascending
  std::vector<PastSeries> series;   // ascending by id; a value for each time
};

struct HistoryStats {
  std::uint64_t series = 0;            // with at least one sample held
  std::uint64_t samples = 0;           // held
  std::uint64_t bytes = 0;             // all blocks, headers and open blocks included
  std::uint64_t open_bytes = 0;        // of these, not yet compressed
  std::uint64_t blocks = 0;            // sealed
  std::uint64_t appended = 0;          // samples, since start
  std::uint64_t out_of_order = 0;      // samples refused
  std::uint64_t dropped_by_age = 0;    // samples
  std::uint64_t dropped_by_clock = 0;  // samples, because the wall clock was set back
  std::uint64_t dropped_by_size = 0;   // samples
  std::uint64_t dropped_by_limit = 0;  // samples of ended series forgotten early: see below
  std::uint64_t unknown = 0;           // samples refused because their series was forgotten
  std::uint64_t registered = 0;        // series that the registry knows
  std::uint64_t registered_limit = 0;  // how many it may know
  std::uint64_t series_refused = 0;    // by the registry
  std::uint64_t series_forgotten = 0;
  std::int64_t oldest = 0;  // time of the oldest sample held, 0 when empty
  std::int64_t newest = 0;
  bool on_disk = false;  // open_disk() was called
  bool disk_writable = false;
  std::uint64_t disk_bytes = 0;
  std::uint64_t disk_errors = 0;    // of writing
  std::uint64_t disk_damaged = 0;   // records that could not be read
  std::uint64_t disk_unusable = 0;  // files that could not: another key, a later format
  std::uint64_t disk_dropped = 0;   // segments, by age and by size
  std::uint64_t disk_checkpoints = 0;
};

class History final : public Queryable {
 public:
  History(SeriesRegistry& registry, HistoryLimits limits);
  ~History() override;

  /// Before the first append(): takes in what is on disk, and has a thread of its own write there
  /// from now on. Fails when the key cannot be read; a disk that cannot be written is an
  /// error in the statistics, and everything goes on in memory.
  [[nodiscard]] Status open_disk(Clock& clock, HistoryDisk disk);
  /// Writes all that is not yet on disk and ends the thread. After the last append().
  void close_disk();
  /// Writes all that was appended before the call. Any thread; for tests and orderly stops.
  [[nodiscard]] Status checkpoint();

  /// Rows of the past, straight to disk, where there is one. They are read together with what the
  /// series have already; the caller leaves out samples that are held (see Backfill). Any thread.
  [[nodiscard]] Status store_past(const PastRows& rows);
  /// What was given to store_past() is on the medium when this returns well.
  [[nodiscard]] Status finish_past();

  // Writer.
  /// Makes series that store_past() brought known to select(); maintain() does it too.
  void adopt_past();
  void append(const BatchView& batch);
  /// Drops what is too old or too much at time `now`; cheap, called every few seconds. Once a
  /// minute the registry forgets the series of which nothing is held. When more than 80 % of its
  /// limit are taken, it also forgets series that ended ten minutes ago or are silent for a day,
  /// those that ended first before the others, although samples of them are held.
  void maintain(std::int64_t now);
  /// Takes effect with the next maintain(); `disk_bytes` unless 0, where there is a disk. Any
  /// thread.
  void set_limits(HistoryLimits limits, std::uint64_t disk_bytes = 0);

  // Readers.
  [[nodiscard]] std::vector<SeriesId> select(std::span<const Matcher> matchers, std::int64_t start,
                                             std::int64_t end) const override;
  [[nodiscard]] const Labels& labels(SeriesId id) const override;
  [[nodiscard]] std::shared_ptr<const void> pin() const override;
  void read(SeriesId id, std::int64_t start, std::int64_t end, Column& out) const override;
  void read_buckets(SeriesId id, std::int64_t start, std::int64_t end, BucketValue what,
                    Column& out) const override;
  /// The samples that read() would give, aggregated: what is constant or runs is not expanded.
  [[nodiscard]] Aggregate aggregate(SeriesId id, std::int64_t start, std::int64_t end) const;
  [[nodiscard]] std::optional<Sample> last(SeriesId id, std::int64_t start,
                                           std::int64_t end) const override;
  /// The newest sample of a series, stale markers included.
  [[nodiscard]] std::optional<Sample> latest(SeriesId id) const;
  /// Every series whose newest sample is after `since` and no stale marker, ascending by place.
  void for_each_latest(std::int64_t since,
                       const std::function<void(SeriesId, Sample)>& visit) const;
  /// 0 where the samples as they came reach back to `start`, otherwise the step of the finest tier
  /// that does. What is newer than the tier is thinned out to its step by read().
  [[nodiscard]] std::int64_t step_for(std::int64_t start) const override;
  [[nodiscard]] HistoryStats stats() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace nexus::knowledge
