// OpenBlock: the rows of a group that are not yet compressed, row by row as they came.
//
// Invariants: a row never changes once it is published; the number of rows only grows. Thread
// safety: append() and seal() by one writer, everything else by any thread. Readers see whole rows
// only.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "knowledge/block.hpp"

namespace nexus::knowledge {

/// The series of a row, ascending. Batches of a group mostly have the same ones, so rows share it.
class IdSet {
 public:
  /// Of doubled ids the first counts, unknown ones do not.
  IdSet(std::span<const SeriesId> given, const std::function<bool(SeriesId)>& is_known);

  /// Whether a batch with these ids has this set.
  [[nodiscard]] bool is(std::span<const SeriesId> given) const noexcept;
  [[nodiscard]] std::span<const SeriesId> ids() const noexcept { return ids_; }
  [[nodiscard]] std::size_t given_size() const noexcept {
    return order_.empty() ? ids_.size() : given_.size();
  }
  /// Given ids that are not in ids() because they were unknown.
  [[nodiscard]] std::size_t unknown() const noexcept { return unknown_; }
  /// The place of `id` in ids(), or -1.
  [[nodiscard]] std::ptrdiff_t find(SeriesId id) const noexcept;
  /// Copies the values of a batch into the order of ids().
  void arrange(std::span<const double> values, double* to) const noexcept;
  [[nodiscard]] std::size_t bytes() const noexcept;

 private:
  std::vector<SeriesId> ids_;
  std::vector<SeriesId> given_;       // empty when the batch was ascending already
  std::vector<std::uint32_t> order_;  // ids_[i] was given_[order_[i]]; empty likewise
  std::size_t unknown_ = 0;
};

class OpenBlock {
 public:
  /// Returns the values in the order of the set's ids.
  std::span<const double> append(std::int64_t time, const std::shared_ptr<const IdSet>& set,
                                 std::span<const double> values);

  [[nodiscard]] std::uint32_t rows() const noexcept {
    return rows_.load(std::memory_order_acquire);
  }
  [[nodiscard]] bool full() const noexcept { return rows() == kMaxRows; }
  [[nodiscard]] std::int64_t first_time() const noexcept {
    return rows_list_[0].time;
  }  // rows() > 0
  [[nodiscard]] std::int64_t last_time() const noexcept { return rows_list_[rows() - 1].time; }
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }        // writer only
  [[nodiscard]] std::uint64_t samples() const noexcept { return samples_; }  // writer only

  void read(SeriesId id, std::int64_t start, std::int64_t end, Column& out) const;
  /// The same samples, aggregated.
  void aggregate(SeriesId id, std::int64_t start, std::int64_t end, Aggregate& to) const;
  /// The same as a sealed block. rows() > 0.
  [[nodiscard]] std::shared_ptr<const Block> seal(BlockBuilder& builder) const;
  /// Rows `first` to `end` as the bytes of a block; first < end <= rows().
  [[nodiscard]] std::vector<std::uint8_t> encode(BlockBuilder& builder, std::uint32_t first,
                                                 std::uint32_t end) const;
  /// Samples of the rows that are published.
  [[nodiscard]] std::uint64_t published_samples() const noexcept;
  /// The first row after `time`; rows() when there is none.
  [[nodiscard]] std::uint32_t row_after(std::int64_t time) const noexcept;

 private:
  struct Row {
    std::int64_t time = 0;
    const IdSet* set = nullptr;
    const double* values = nullptr;
  };
  void for_each(SeriesId id, std::int64_t start, std::int64_t end, const auto& visit) const;
  double* allocate(std::size_t count);
  static void encode_uniform(BlockBuilder& builder, std::span<const Row> rows);
  static void encode_mixed(BlockBuilder& builder, std::span<const Row> rows);

  std::array<Row, kMaxRows> rows_list_{};
  std::atomic<std::uint32_t> rows_{0};

  // The writer's.
  std::vector<std::shared_ptr<const IdSet>> sets_;  // in order of appearance; keeps them alive
  std::vector<std::unique_ptr<double[]>> arenas_;
  double* free_ = nullptr;
  std::size_t free_count_ = 0;
  std::size_t bytes_ = sizeof(std::array<Row, kMaxRows>);
  std::uint64_t samples_ = 0;
};

}  // namespace nexus::knowledge
