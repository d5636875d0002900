// Block: up to kMaxRows rows of one group, compressed and immutable. See README.md for the format.
//
// Invariants: times ascend strictly; ids ascend strictly; a column holds at least one sample.
// Thread safety: immutable.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "knowledge/limits.hpp"
#include "nexus/knowledge/queryable.hpp"
#include "nexus/knowledge/series.hpp"

namespace nexus::knowledge {

using Ids = std::shared_ptr<const std::vector<SeriesId>>;

class Block {
 public:
  [[nodiscard]] std::int64_t first_time() const noexcept { return first_time_; }
  [[nodiscard]] std::int64_t last_time() const noexcept { return last_time_; }
  [[nodiscard]] std::uint32_t rows() const noexcept { return rows_; }
  [[nodiscard]] std::uint64_t samples() const noexcept { return samples_; }
  [[nodiscard]] const Ids& ids() const noexcept { return ids_; }
  /// What the block itself occupies; shared ids are counted by whoever made them.
  [[nodiscard]] std::size_t bytes() const noexcept;

  /// Appends the samples of `id` with start < time <= end.
  void read(SeriesId id, std::int64_t start, std::int64_t end, Column& out) const;
  /// Samples of the column at that place in ids().
  [[nodiscard]] std::uint32_t samples_of(std::size_t column) const noexcept;

 private:
  friend class BlockBuilder;
  /// Times of the rows from `first` on.
  void times(std::uint32_t first, std::span<std::int64_t> out) const noexcept;
  [[nodiscard]] std::int64_t time_at(std::uint32_t row) const noexcept;
  [[nodiscard]] std::uint32_t first_row_after(std::int64_t time) const noexcept;

  std::int64_t first_time_ = 0;
  std::int64_t last_time_ = 0;
  std::uint64_t samples_ = 0;
  std::uint32_t rows_ = 0;
  std::uint8_t deviation_width_ = 0;  // bytes a row: 0, 1, 2, 4 or 8
  Ids ids_;
  std::vector<std::uint32_t> offsets_;  // into data_, one a column
  std::vector<std::uint8_t> data_;      // times, columns, padding
};

/// Makes one block: the times, then column after column by ascending id, then finish().
class BlockBuilder {
 public:
  BlockBuilder();
  void begin(std::span<const std::int64_t> times);
  /// `rows` ascending: where the values stand. At least one.
  void add(SeriesId id, std::span<const std::uint16_t> rows, std::span<const double> values);
  /// Takes `previous` for its ids when they are the same.
  [[nodiscard]] std::shared_ptr<const Block> finish(const Ids& previous);

 private:
  void put_times(std::span<const std::int64_t> times);
  std::uint8_t* reserve(std::size_t bytes);

  Block block_;
  std::vector<SeriesId> ids_;
  std::vector<std::uint8_t> data_;  // grows to its working size once
  std::size_t used_ = 0;
};

}  // namespace nexus::knowledge
