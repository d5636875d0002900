// BlockView: a block's bytes, read where they lie, in memory or in a mapped file. See README.md for
// the format.
//
// parse() looks at everything but the columns' own bytes; those are checked when they are read, so
// that reading one column of a large block touches little of it. No bytes whatever make a reader
// leave them. What is damaged inside a column may come back as wrong numbers when it is no
// impossible code: whoever stores blocks adds a checksum.
//
// Invariants: times ascend strictly; ids ascend strictly. Thread safety: immutable; valid as long
// as the bytes are.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "knowledge/bits.hpp"
#include "knowledge/grid.hpp"
#include "nexus/base/result.hpp"
#include "nexus/knowledge/aggregate.hpp"
#include "nexus/knowledge/queryable.hpp"
#include "nexus/knowledge/series.hpp"

namespace nexus::knowledge {

class BlockView {
 public:
  /// Errc::kCorrupt when the bytes are no block, kUnsupported when they are of a later version.
  [[nodiscard]] static Result<BlockView> parse(Bytes bytes);
  BlockView() = default;

  [[nodiscard]] Bytes bytes() const noexcept { return bytes_; }
  [[nodiscard]] std::int64_t first_time() const noexcept { return grid_.first; }
  [[nodiscard]] std::int64_t last_time() const noexcept { return grid_.last; }
  [[nodiscard]] std::uint32_t rows() const noexcept { return grid_.rows; }
  [[nodiscard]] std::uint32_t columns() const noexcept { return columns_; }
  [[nodiscard]] std::uint64_t samples() const noexcept { return samples_; }
  void times(std::span<std::int64_t> out) const noexcept { grid_.times(0, out); }
  /// What the view holds beside the block's bytes.
  [[nodiscard]] std::size_t own_bytes() const noexcept {
    return deviations_ == nullptr ? 0 : deviations_->capacity();
  }

  [[nodiscard]] std::vector<SeriesId> ids() const;
  /// The column of that series.
  [[nodiscard]] std::optional<std::uint32_t> find(SeriesId id) const noexcept;

  // Below: false (or nothing) when the column's bytes are damaged.

  /// How many samples a column has.
  [[nodiscard]] std::optional<std::uint32_t> samples_of(std::uint32_t column) const noexcept;
  /// Appends the samples of a column with start < time <= end; nothing when it fails.
  [[nodiscard]] bool read(std::uint32_t column, std::int64_t start, std::int64_t end,
                          Column& out) const;
  /// The same samples, aggregated. Cheaper than reading them.
  [[nodiscard]] bool aggregate(std::uint32_t column, std::int64_t start, std::int64_t end,
                               Aggregate& to) const;
  /// All samples of a column: rows and values, of which there is room for rows(). Returns how many.
  [[nodiscard]] std::optional<std::uint32_t> decode(std::uint32_t column,
                                                    std::span<std::uint16_t> rows,
                                                    std::span<double> values) const noexcept;

 private:
  struct Places;  // of a column's samples
  [[nodiscard]] bool has_right_ids() const noexcept;
  [[nodiscard]] bool has_right_lengths() const noexcept;
  [[nodiscard]] Bytes column_bytes(std::uint32_t column) const noexcept;
  [[nodiscard]] bool locate(std::uint32_t column, std::span<std::uint16_t> rows,
                            Places& out) const noexcept;
  [[nodiscard]] bool locate(std::uint32_t column, std::int64_t start, std::int64_t end,
                            std::span<std::uint16_t> rows, Places& out) const noexcept;

  [[nodiscard]] bool decode_times(Bytes dense);

  Bytes bytes_;
  Grid grid_;
  std::shared_ptr<const std::vector<std::uint8_t>> deviations_;  // of dense times; grid_ has them
  std::uint32_t columns_ = 0;
  std::uint64_t samples_ = 0;
  Bytes ids_;      // runs of consecutive ids
  Bytes strides_;  // where every kStride-th column and its length begin
  Bytes lengths_;  // of the columns
  Bytes data_;     // columns
};

}  // namespace nexus::knowledge
