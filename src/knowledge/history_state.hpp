// What a History consists of; shared by its source files only.
//
// Thread safety: as said at each member.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "knowledge/chunked.hpp"
#include "knowledge/disk/store.hpp"
#include "knowledge/group.hpp"
#include "knowledge/latest.hpp"
#include "nexus/base/loop_thread.hpp"
#include "nexus/knowledge/history.hpp"

namespace nexus::knowledge {

// A group silent for that long is compressed as it is.
inline constexpr std::int64_t kIdleMillis = 600'000;

/// A number that one thread changes and all may read.
class Tally {
 public:
  [[nodiscard]] std::uint64_t get() const noexcept {
    return value_.load(std::memory_order_relaxed);
  }
  void set(std::uint64_t value) noexcept { value_.store(value, std::memory_order_relaxed); }
  void add(std::uint64_t by) noexcept { set(get() + by); }
  void subtract(std::uint64_t by) noexcept { set(get() - by); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

struct Tallies {
  Tally series, samples, sealed_bytes, open_bytes, blocks;
  Tally appended, out_of_order, unknown;
  Tally dropped_by_age, dropped_by_size, dropped_by_clock, dropped_by_limit, moved_to_disk;
  std::atomic<std::int64_t> oldest{0};
  std::atomic<std::int64_t> newest{0};
};

struct History::State {
  State(SeriesRegistry& registry_, HistoryLimits limits)
      : registry(registry_),
        retention(limits.retention.count()),
        max_bytes(limits.bytes),
        place_mask(static_cast<SeriesId>(registry_.place(std::numeric_limits<SeriesId>::max()))),
        records(registry_.limit()) {}

  [[nodiscard]] std::size_t place(SeriesId id) const noexcept { return id & place_mask; }

  /// What is in memory of a series, and how far the disk has to be asked.
  struct Found {
    std::vector<Group::View> views;                                // one a group
    std::int64_t from = std::numeric_limits<std::int64_t>::max();  // of the only group
  };
  [[nodiscard]] Found find(SeriesId id) const;
  /// The samples as they came, where they are still there, with start < time <= end, ascending.
  void read_rows(SeriesId id, const Found& found, std::int64_t start, std::int64_t end,
                 Column& out) const;
  [[nodiscard]] Group& group(std::uint32_t number);
  void note_on_disk(SeriesId id, std::int64_t last);
  [[nodiscard]] std::shared_ptr<const IdSet> set_for(Group& group, std::span<const SeriesId> ids);
  void count_row(std::span<const SeriesId> ids, std::span<const double> values, std::int64_t time);
  void seal(Group& group);
  void drop_oldest(Group& group, Tally& reason);
  void forget(const Block& block, std::size_t bytes, Tally& reason);
  void rewind(Group& group, std::int64_t time);
  [[nodiscard]] std::uint64_t bytes() const noexcept {
    return tallies.sealed_bytes.get() + tallies.open_bytes.get();
  }
  [[nodiscard]] std::uint64_t only_in_memory() const;
  void drop_by_size();
  void forget_series(std::int64_t now);
  void forget_over_limit(std::vector<std::pair<std::int64_t, SeriesId>>& ended,
                         std::vector<SeriesId>& leaving) const;
  void note_oldest();

  SeriesRegistry& registry;
  std::atomic<std::int64_t> retention;
  std::atomic<std::uint64_t> max_bytes;
  const SeriesId place_mask;           // of the registry: what of an id is its place
  ChunkedArray<SeriesRecord> records;  // by place
  std::atomic<std::size_t> places{0};  // all records in use are below
  Tallies tallies;

  // The writer's.
  std::unordered_map<std::uint32_t, Group> groups;  // addresses of elements are stable
  std::map<std::pair<const Group*, const Membership*>, Membership> memberships;
  std::int64_t last_round = std::numeric_limits<std::int64_t>::min();  // of forgetting
  BlockBuilder builder;

  std::mutex past_mutex;
  std::unordered_map<SeriesId, std::int64_t> past;  // guarded by past_mutex: brought, their last

  std::unique_ptr<disk::Store> store;             // set before the first append()
  Clock* clock = nullptr;                         // likewise
  std::unique_ptr<base::LoopThread> disk_thread;  // last: it looks at the groups
};

}  // namespace nexus::knowledge
