// Queryable: what PromQL evaluates over. Implemented by History and by tests.
//
// Times are milliseconds since the epoch. Ranges are open on the left and closed on the right, as
// in Prometheus 3. Thread safety: all members, any thread; results are immutable snapshots.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "nexus/knowledge/labels.hpp"
#include "nexus/knowledge/series.hpp"

namespace nexus::knowledge {

struct Sample {
  std::int64_t time = 0;
  double value = 0;
};

/// Samples of one series, ascending by time. Reused between reads so that the steady state
/// allocates nothing.
struct Column {
  std::vector<std::int64_t> times;
  std::vector<double> values;
  void clear() {
    times.clear();
    values.clear();
  }
  [[nodiscard]] std::size_t size() const noexcept { return times.size(); }
};

/// What is known of a bucket of samples besides its last one.
enum class BucketValue { kMin, kMax, kSum, kCount };

class Queryable {
 public:
  virtual ~Queryable() = default;
  /// Series that satisfy every matcher and may hold samples in (start, end].
  [[nodiscard]] virtual std::vector<SeriesId> select(std::span<const Matcher> matchers,
                                                     std::int64_t start,
                                                     std::int64_t end) const = 0;
  /// Valid while a pin() from before is held. No labels: the series was forgotten meanwhile.
  [[nodiscard]] virtual const Labels& labels(SeriesId id) const = 0;
  /// Keeps labels from being freed, for as long as a query takes.
  [[nodiscard]] virtual std::shared_ptr<const void> pin() const { return nullptr; }
  /// Appends the samples with start < time <= end to `out`, stale markers included.
  virtual void read(SeriesId id, std::int64_t start, std::int64_t end, Column& out) const = 0;
  /// The last sample with start < time <= end, a stale marker included. What an instant selector
  /// wants; cheaper than read() where the newest sample is at hand.
  [[nodiscard]] virtual std::optional<Sample> last(SeriesId id, std::int64_t start,
                                                   std::int64_t end) const {
    Column column;
    read(id, start, end, column);
    if (column.size() == 0) return std::nullopt;
    return Sample{column.times.back(), column.values.back()};
  }
  /// The distance in milliseconds of the samples that read() gives from `start` on, where it gives
  /// fewer than were taken; 0: those that were.
  [[nodiscard]] virtual std::int64_t step_for(std::int64_t /*start*/) const { return 0; }
  /// Where step_for(start) is not 0: of all samples that were taken, as far as they are known, that
  /// value of each bucket of so many milliseconds, at the bucket's end (the newest may be at `end`,
  /// with what there is so far). Appended to `out`; stale markers are no samples.
  virtual void read_buckets(SeriesId id, std::int64_t start, std::int64_t end, BucketValue /*what*/,
                            Column& out) const {
    read(id, start, end, out);
  }
};

/// Prometheus's stale marker: a NaN of its own that says "this series has ended".
[[nodiscard]] double stale_marker() noexcept;
[[nodiscard]] bool is_stale_marker(double value) noexcept;

}  // namespace nexus::knowledge
