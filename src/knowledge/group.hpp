// Group: the blocks of one collector's series, oldest first, and the open one.
//
// Thread safety: view() by any thread; everything else by the one writer. A reader takes two
// pointers under a lock that is held for nothing else, so it never sees a row twice or misses one
// while a block is being sealed.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <vector>

#include "knowledge/block.hpp"
#include "knowledge/open_block.hpp"

namespace nexus::knowledge {

class Group {
 public:
  using Blocks = std::vector<std::shared_ptr<const Block>>;

  /// What the group holds in memory, at one moment; rows are still added to the open block.
  struct View {
    std::shared_ptr<const Blocks> blocks;
    std::shared_ptr<const OpenBlock> open;
    /// Time of the oldest sample; the largest number when there is none.
    [[nodiscard]] std::int64_t oldest() const noexcept;
    void read(SeriesId id, std::int64_t start, std::int64_t end, Column& out) const;
    void aggregate(SeriesId id, std::int64_t start, std::int64_t end, Aggregate& to) const;

   private:
    void for_each(std::int64_t start, std::int64_t end, const auto& visit) const;
  };
  [[nodiscard]] View view() const;

  /// The writer's view; changed only by the functions below.
  [[nodiscard]] const Blocks& blocks() const noexcept { return *blocks_; }
  [[nodiscard]] const OpenBlock& open() const noexcept { return *open_; }
  /// Time of the oldest sample held; the largest number when there is none.
  [[nodiscard]] std::int64_t oldest() const noexcept;

  /// Values in the order of set->ids().
  std::span<const double> append(std::int64_t time, const std::shared_ptr<const IdSet>& set,
                                 std::span<const double> values);
  /// Compresses the open block, which has rows. Returns the bytes of the new one.
  std::size_t seal(BlockBuilder& builder);
  /// Removes the oldest block from the list; returns it, and the bytes that this gave back.
  std::pair<std::shared_ptr<const Block>, std::size_t> drop_oldest();
  /// The same for the newest block.
  std::pair<std::shared_ptr<const Block>, std::size_t> drop_newest();

  std::int64_t last_time = std::numeric_limits<std::int64_t>::min();
  std::shared_ptr<const IdSet> set;  // of the last batch
  /// Rows up to this time are on disk, in blocks of their own. Set by the disk's thread.
  std::atomic<std::int64_t> persisted{std::numeric_limits<std::int64_t>::min()};

 private:
  void publish(std::shared_ptr<const Blocks> blocks, std::shared_ptr<OpenBlock> open);

  mutable std::mutex
      mutex_;  // guards the two pointers against readers; the writer reads them without
  std::shared_ptr<const Blocks> blocks_ = std::make_shared<const Blocks>();
  std::shared_ptr<OpenBlock> open_ = std::make_shared<OpenBlock>();
};

}  // namespace nexus::knowledge
