// What a tier keeps of a bucket of samples, and how it is read back as samples.
//
// A bucket has the samples with end - step < time <= end. A series of a tier is six columns of one
// block. `peak` is only there for counters that were reset in the bucket: with it the samples
// (middle, peak), (a millisecond later, min), (end, last) have the same increase as those that were
// aggregated. Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "knowledge/block.hpp"

namespace nexus::knowledge::disk {

enum class Kept : std::uint32_t { kLast, kMin, kMax, kSum, kCount, kPeak };
inline constexpr std::uint32_t kKept = 6;
inline constexpr std::uint32_t kMostTierSeries = (1U << 29) - 1;

/// The id of a column in a tier's block.
[[nodiscard]] constexpr SeriesId column_id(std::uint32_t number, Kept kept) noexcept {
  return number * 8 + static_cast<std::uint32_t>(kept);
}

struct Bucket {
  std::int64_t end = 0;
  double last = 0;
  double min = 0;
  double max = 0;
  double sum = 0;
  double count = 0;
  std::optional<double> peak;
};

/// Whether rates of the series are asked for: then resets count.
enum class Flavour { kGauge, kCounter };

[[nodiscard]] Flavour flavour_of(const Family& family, const Labels& labels);

/// Buckets of samples that came as they are, stale markers among them, ascending; `before` is the
/// last sample before them.
[[nodiscard]] std::vector<Bucket> aggregate_samples(const Column& samples, std::int64_t step,
                                                    std::optional<double> before, Flavour flavour);
/// Buckets of finer buckets.
[[nodiscard]] std::vector<Bucket> aggregate_buckets(std::span<const Bucket> finer,
                                                    std::int64_t step,
                                                    std::optional<double> before);

/// Sorts buckets; of those with the same end, from two groups, the one that has seen more stays.
void settle(std::vector<Bucket>& buckets);

/// Adds the columns of a series to a block of the buckets that end at `ends`.
void add_columns(BlockBuilder& builder, std::uint32_t number, std::span<const Bucket> buckets,
                 std::span<const std::int64_t> ends);
/// Appends the buckets of a series with start < end <= `end`; false when they are damaged.
[[nodiscard]] bool read_buckets(const BlockView& block, std::uint32_t number, std::int64_t start,
                                std::int64_t end, std::vector<Bucket>& out);
/// Appends the samples that stand for the buckets, those with start < time <= end.
void append_samples(std::span<const Bucket> buckets, std::int64_t step, std::int64_t start,
                    std::int64_t end, Column& out);

/// Of samples, ascending, those that stand for all of their bucket: the last, and those around each
/// reset of a counter, so that its increase stays. Appended to `out`.
void condense(const Column& samples, std::int64_t step, Flavour flavour, Column& out);

/// The end of the bucket that has `time`.
[[nodiscard]] constexpr std::int64_t bucket_end(std::int64_t time, std::int64_t step) noexcept {
  const std::int64_t rest = ((time % step) + step) % step;
  return rest == 0 ? time : time - rest + step;
}

}  // namespace nexus::knowledge::disk
