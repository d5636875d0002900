// Which number a series has in a segment, found by the hash of its labels.
//
// Names: of one segment, immutable once others see it. NameCache: those of the segments that are
// written no more, of which some are held; the others are read from their files again, so that
// series that came and went for weeks take no memory. A query goes through the same segments series
// after series: where these are more than fit, the ones it came by first stay, for of those asked
// for last each would go just before it is asked for again. Hashes are of all bits of the
// labels, seeded anew in every process and never stored. Thread safety: a NameCache, any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "knowledge/disk/definitions.hpp"
#include "knowledge/disk/segment.hpp"

namespace nexus::knowledge::disk {

/// Definitions that are not of one group.
inline constexpr std::uint32_t kAnyGroup = std::numeric_limits<std::uint32_t>::max();

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
  /// Nothing will be added any more.
  void finish() { names_.shrink_to_fit(); }

 private:
  std::vector<Name> names_;  // sorted
};

/// The group that a record of definitions is for.
[[nodiscard]] std::uint32_t group_of_definitions(const Entry& entry) noexcept;

class NameCache {
 public:
  /// Holds `most` names, and those of the segment asked for last.
  explicit NameCache(std::size_t most) : most_(most) {}

  /// The names that the records of a file define. What cannot be read is counted and logged by the
  /// file and left out; what may be read another time is read again then.
  [[nodiscard]] std::shared_ptr<const Names> get(const SegmentFile& file,
                                                 std::span<const Entry> entries);
  /// Those that are known already.
  void put(const SegmentFile& file, std::shared_ptr<const Names> names);
  [[nodiscard]] std::size_t size() const;          // names held
  [[nodiscard]] std::uint64_t files_read() const;  // how often names were read from a file

 private:
  struct Item {
    std::uint64_t file = 0;  // its serial
    std::shared_ptr<const Names> names;
    std::uint64_t asked = 0;  // the last time, by asked_; 0: not yet
  };
  enum class Came { kRead, kWritten };  // read again because somebody asked; by who wrote them

  void insert(const SegmentFile& file, std::shared_ptr<const Names> names, Came came);
  void make_room(Came came);

  const std::size_t most_;
  mutable std::mutex mutex_;  // never held while a file is read
  std::list<Item> items_;     // what was asked for last first
  std::unordered_map<std::uint64_t, std::list<Item>::iterator> by_file_;
  std::size_t size_ = 0;
  std::uint64_t asked_ = 0;  // how often anything was
  std::uint64_t files_read_ = 0;
};

}  // namespace nexus::knowledge::disk
