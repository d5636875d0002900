// Stream: the segments of one kind of data (rows, the log, a tier) in a directory, oldest first,
// with the index of their records in memory.
//
// What an earlier process left is never written to: a stream that was loaded goes on in a new
// segment. Segments are rotated by size and by age, and dropped whole. Thread safety: segments()
// and bytes() by any thread, everything else by one writer. Readers get immutable snapshots, which
// keep the files that they name open.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_set>
#include <vector>

#include "knowledge/disk/definitions.hpp"
#include "knowledge/disk/segment.hpp"
#include "nexus/base/clock.hpp"

namespace nexus::knowledge::disk {

/// Definitions that are not of one group.
inline constexpr std::uint32_t kAnyGroup = std::numeric_limits<std::uint32_t>::max();

/// Which number a series has in a segment, by the hash of its labels: that of all bits, which is
/// seeded anew in every process and never stored.
class Names {
 public:
  struct Name {
    std::uint64_t hash = 0;
    std::uint32_t number = 0;
    std::uint32_t group = kAnyGroup;  // whose records may have it
    auto operator<=>(const Name&) const = default;
  };
  void add(std::span<const SeriesDefinition> series, std::uint32_t group);
  /// Mostly one; more when the series was forgotten and came back, or is in several groups.
  [[nodiscard]] std::span<const Name> find(std::uint64_t hash) const noexcept;
  [[nodiscard]] std::size_t size() const noexcept { return names_.size(); }

 private:
  std::vector<Name> names_;  // sorted
};

struct Segment {
  std::uint32_t number = 0;
  std::shared_ptr<const SegmentFile> file;
  std::vector<Entry> entries;  // of all kinds, in the order of the file; without void ones
  std::shared_ptr<const Names> names = std::make_shared<const Names>();
  std::uint64_t bytes = 0;
  std::int64_t first = 0;  // of all rows; first > last when there are none
  std::int64_t last = -1;
  bool usable = true;  // its payloads can be read

  void add(const Entry& entry);
  /// The clock was set back: what the group has from `time` on is void.
  void rewind(std::uint32_t group, std::int64_t time);
  void widen(const Entry& entry);
};
using Segments = std::vector<std::shared_ptr<const Segment>>;

struct StreamOptions {
  std::string directory;
  std::string name;  // 15 characters at most
  std::shared_ptr<const Cipher> cipher;
  std::shared_ptr<Health> health;
  std::uint64_t segment_bytes = 16ULL << 20;
  std::int64_t segment_millis = 3 * 3'600'000;
  bool indexed = true;  // false: what is appended is not read before the next load()
};

class Stream {
 public:
  using VisitDefinitions = std::function<void(const Segment&, const Definitions&)>;

  explicit Stream(StreamOptions options);

  /// Finds what is there, cuts torn ends off, and shows the definitions of each usable segment.
  /// Fails when the directory cannot be read; a bad file is counted and left out.
  [[nodiscard]] Status load(const VisitDefinitions& visit);

  [[nodiscard]] std::shared_ptr<const Segments> segments() const;
  [[nodiscard]] std::uint64_t bytes() const;

  // The writer's. After a failure the next append goes to a new segment.

  /// An active segment that has room: the old one or a new one.
  [[nodiscard]] Status prepare(std::int64_t now);
  /// A new active segment.
  [[nodiscard]] Status rotate(std::int64_t now);
  /// Ends the active segment, if there is one.
  void close() noexcept;
  /// Whether the active segment has a definition of that number for that group.
  [[nodiscard]] bool defines(std::uint32_t number, std::uint32_t group = kAnyGroup) const {
    return defined_.contains(std::uint64_t{group} << 32U | number);
  }
  /// Names the active segment; 0 when there is none.
  [[nodiscard]] std::uint64_t active() const noexcept;
  [[nodiscard]] std::uint64_t active_bytes() const noexcept;
  [[nodiscard]] const StreamOptions& options() const noexcept { return options_; }
  /// With a group: the series are looked for in its records only, unless they are defined again.
  [[nodiscard]] Status define(const Definitions& definitions, std::uint32_t group = kAnyGroup);
  /// Kind::kRewind takes effect in the index too.
  [[nodiscard]] Status append(const RecordInfo& info, Bytes payload);
  [[nodiscard]] Status sync();

  /// The newest time in the segments that drop_before() would drop; the least number: none.
  [[nodiscard]] std::int64_t newest_before(std::int64_t time) const;
  /// The newest time in the segment that drop_oldest() would drop.
  [[nodiscard]] std::optional<std::int64_t> newest_of_oldest() const;
  /// Drops segments that have no row from `time` on, never the active one. Returns how many.
  std::size_t drop_before(std::int64_t time);
  /// Drops the oldest segment that is not active; false when there is none.
  bool drop_oldest();
  /// Drops all segments but the active one.
  void drop_old();

 private:
  [[nodiscard]] std::optional<Segment> load_segment(std::uint32_t number,
                                                    const VisitDefinitions& visit);
  [[nodiscard]] Status note(Result<Entry> appended, const Definitions* definitions);
  void publish(Segments segments);
  void drop(const std::function<bool(const Segment&)>& leaves);
  /// All but the active one, oldest first.
  void for_each_idle(const std::function<void(const Segment&)>& visit) const;
  [[nodiscard]] Segments copy() const;

  const StreamOptions options_;
  mutable std::mutex mutex_;
  std::shared_ptr<const Segments> segments_;  // guarded by mutex_
  std::unique_ptr<SegmentWriter> writer_;
  std::int64_t created_ = 0;
  std::uint32_t next_number_ = 1;
  std::unordered_set<std::uint64_t> defined_;  // by the active segment: group and number
  bool unsynced_ = false;
};

}  // namespace nexus::knowledge::disk
