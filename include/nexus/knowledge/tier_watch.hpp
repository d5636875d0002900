// TierWatch: a Queryable that notes how coarse the samples were that a query was given.
//
// Thread safety: one query at a time.
#pragma once

#include <algorithm>

#include "nexus/knowledge/queryable.hpp"

namespace nexus::knowledge {

class TierWatch final : public Queryable {
 public:
  explicit TierWatch(const Queryable& data) : data_(data) {}

  /// The largest step_for() that was asked for, in milliseconds; 0: samples as they came.
  [[nodiscard]] std::int64_t coarsest() const noexcept { return coarsest_; }

  [[nodiscard]] std::vector<SeriesId> select(std::span<const Matcher> matchers, std::int64_t start,
                                             std::int64_t end) const override {
    return data_.select(matchers, start, end);
  }
  [[nodiscard]] const Labels& labels(SeriesId id) const override { return data_.labels(id); }
  [[nodiscard]] std::shared_ptr<const void> pin() const override { return data_.pin(); }
  void read(SeriesId id, std::int64_t start, std::int64_t end, Column& out) const override {
    data_.read(id, start, end, out);
  }
  void read_buckets(SeriesId id, std::int64_t start, std::int64_t end, BucketValue what,
                    Column& out) const override {
    data_.read_buckets(id, start, end, what, out);
  }
  [[nodiscard]] std::optional<Sample> last(SeriesId id, std::int64_t start,
                                           std::int64_t end) const override {
    return data_.last(id, start, end);
  }
  [[nodiscard]] std::int64_t step_for(std::int64_t start) const override {
    const std::int64_t step = data_.step_for(start);
    coarsest_ = std::max(coarsest_, step);
    return step;
  }

 private:
  const Queryable& data_;
  mutable std::int64_t coarsest_ = 0;
};

}  // namespace nexus::knowledge
