// Block: up to kMaxBlockRows rows of one group, compressed, immutable, in one string of bytes that
// refers to nothing outside it. See README.md for the format.
//
// Thread safety: a block is immutable; builders have one user at a time.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "knowledge/block_format.hpp"
#include "knowledge/block_view.hpp"
#include "knowledge/limits.hpp"
#include "knowledge/references.hpp"

namespace nexus::knowledge {

class Block {
 public:
  /// The bytes of a block; anything else is a BUG. BlockView::parse() is for bytes from elsewhere.
  explicit Block(std::vector<std::uint8_t> bytes);
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  [[nodiscard]] const BlockView& view() const noexcept { return view_; }
  [[nodiscard]] std::int64_t first_time() const noexcept { return view_.first_time(); }
  [[nodiscard]] std::int64_t last_time() const noexcept { return view_.last_time(); }
  [[nodiscard]] std::uint32_t rows() const noexcept { return view_.rows(); }
  [[nodiscard]] std::uint64_t samples() const noexcept { return view_.samples(); }
  [[nodiscard]] std::vector<SeriesId> ids() const { return view_.ids(); }
  /// All that the block occupies in memory.
  [[nodiscard]] std::size_t bytes() const noexcept { return sizeof(Block) + bytes_.capacity(); }

  /// Appends the samples of `id` with start < time <= end.
  void read(SeriesId id, std::int64_t start, std::int64_t end, Column& out) const;
  /// The same samples, aggregated.
  void aggregate(SeriesId id, std::int64_t start, std::int64_t end, Aggregate& to) const;
  /// Samples of the column at that place in ids().
  [[nodiscard]] std::uint32_t samples_of(std::size_t column) const noexcept;

 private:
  std::vector<std::uint8_t> bytes_;
  BlockView view_;
};

/// How a block's times stand in it. Plain ones are found without decoding, which suits blocks that
/// are read in memory; dense ones are decoded whenever the block is parsed.
enum class TimeCode { kPlain, kDense };

/// Makes one block after another: the times, then column after column by ascending id, then
/// finish().
class BlockBuilder {
 public:
  BlockBuilder();
  /// 1 to kMaxBlockRows times that ascend strictly.
  void begin(std::span<const std::int64_t> times, TimeCode code = TimeCode::kPlain);
  /// `rows` ascending: where the values stand. At least one.
  void add(SeriesId id, std::span<const std::uint16_t> rows, std::span<const double> values);
  /// The block; at least one column was added.
  [[nodiscard]] std::vector<std::uint8_t> finish();

 private:
  struct Part {  // grows to its working size once
    std::vector<std::uint8_t> bytes;
    std::size_t used = 0;
    std::uint8_t* reserve(std::size_t more);
    void end(const std::uint8_t* at) noexcept {
      used = static_cast<std::size_t>(at - bytes.data());
    }
  };
  void put_dense(std::span<const std::int64_t> times);
  void put_id(SeriesId id);
  void put_run();

  BlockHeader header_;
  Part times_;
  Part ids_;
  Part strides_;
  Part lengths_;
  Part columns_;
  References references_;
  std::uint64_t run_first_ = 0;  // of consecutive ids, not yet written
  std::uint64_t run_end_ = 0;
  std::uint64_t ids_end_ = 0;  // after the last run written
};

/// One block, with dense times, of the rows of several, which follow one another in time and have
/// kMaxBlockRows rows at most together; of the series `first` to `last`, of which at least one is
/// there. Errc:: kInvalidArgument when they do not, kCorrupt when a column is damaged.
[[nodiscard]] Result<std::vector<std::uint8_t>> merge_blocks(
    std::span<const BlockView> blocks, BlockBuilder& builder, SeriesId first = 0,
    SeriesId last = std::numeric_limits<SeriesId>::max());

}  // namespace nexus::knowledge
