// Stream: the segments of one kind of data (rows, the log, a tier) in a directory, oldest first,
// with the index of their records in memory.
//
// What an earlier process left is never written to: a stream that was loaded goes on in a new
// segment. Segments are rotated by size, by age and by how many series they define, and dropped
// whole. Thread safety: segments(), bytes() and names_of() by any thread, everything else by one
// writer. Readers get immutable snapshots, which keep the files that they name open; of the segment
// that is written to one is made when somebody asks, not for each record.
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

#include "knowledge/disk/names.hpp"
#include "nexus/base/clock.hpp"

namespace nexus::knowledge::disk {

struct Segment {
  std::uint32_t number = 0;
  std::shared_ptr<const SegmentFile> file;
  std::vector<Entry> entries;          // of all kinds, in the order of the file; without void ones
  std::shared_ptr<const Names> names;  // while it is written to; afterwards see Stream::names_of()
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
  std::shared_ptr<NameCache> names = std::make_shared<NameCache>(1U << 17);  // shared by streams
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
  /// The series of one of segments(); may read its file.
  [[nodiscard]] std::shared_ptr<const Names> names_of(const Segment& segment) const;

  // The writer's. After a failure the next append goes to a new segment.

  /// An active segment that has room: the old one or a new one.
  [[nodiscard]] Status prepare(std::int64_t now);
  /// A new active segment.
  [[nodiscard]] Status rotate(std::int64_t now);
  /// Ends the active segment, if there is one.
  void close();
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
  void note_names(const Entry& entry, const Definitions& definitions);
  void rewind_idle(const Entry& entry);
  void publish(Segments segments);
  void drop(const std::function<bool(const Segment&)>& leaves);
  /// All but the active one, oldest first.
  void for_each_idle(const std::function<void(const Segment&)>& visit) const;
  [[nodiscard]] Segments copy() const;

  const StreamOptions options_;
  mutable std::mutex mutex_;  // guards what follows; only the writer changes active_
  mutable std::shared_ptr<const Segments> segments_;  // of the last, what it was when they asked
  mutable bool is_stale_ = false;                     // active_ has more than the last of them
  mutable bool are_names_shared_ = false;             // a snapshot has those of active_
  std::optional<Segment> active_;
  std::shared_ptr<Names> names_;  // of active_, which has them too

  std::unique_ptr<SegmentWriter> writer_;
  std::int64_t created_ = 0;
  std::uint32_t next_number_ = 1;
  std::unordered_set<std::uint64_t> defined_;  // by the active segment: group and number
  bool unsynced_ = false;
};

}  // namespace nexus::knowledge::disk
