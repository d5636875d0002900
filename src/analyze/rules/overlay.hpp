// Overlay: the history and, over it, what a group of rules has appended in this evaluation and the
// ingest thread has not brought there yet: a rule sees what the rules before it gave.
//
// Thread safety: one thread.
#pragma once

#include <algorithm>
#include <map>
#include <vector>

#include "nexus/knowledge/models.hpp"
#include "nexus/knowledge/queryable.hpp"
#include "nexus/knowledge/series.hpp"

namespace nexus::analyze {

class Overlay final : public knowledge::Queryable, public knowledge::ModelSource {
 public:
  explicit Overlay(const knowledge::Queryable& below) : below_(below) {}

  /// Samples from here on have this time.
  void begin(std::int64_t time) {
    time_ = time;
    fresh_.clear();
  }
  /// False when the series has a sample already.
  bool add(knowledge::SeriesId id, const knowledge::Labels& labels, double value) {
    return fresh_.emplace(id, Entry{&labels, value}).second;
  }

  [[nodiscard]] std::vector<knowledge::SeriesId> select(
      std::span<const knowledge::Matcher> matchers, std::int64_t start,
      std::int64_t end) const override {
    auto ids = below_.select(matchers, start, end);
    const auto known = ids.size();
    for (const auto& [id, entry] : fresh_) {
      const bool wanted = std::ranges::all_of(
          matchers, [&](const knowledge::Matcher& m) { return m.matches(*entry.labels); });
      if (wanted) ids.push_back(id);
    }
    if (ids.size() == known) return ids;
    std::ranges::sort(ids);
    const auto again = std::ranges::unique(ids);
    ids.erase(again.begin(), again.end());
    return ids;
  }
  [[nodiscard]] const knowledge::Labels& labels(knowledge::SeriesId id) const override {
    const auto found = fresh_.find(id);
    return found == fresh_.end() ? below_.labels(id) : *found->second.labels;
  }
  [[nodiscard]] std::shared_ptr<const void> pin() const override { return below_.pin(); }
  [[nodiscard]] const knowledge::Models* models() const override {
    return knowledge::models_of(below_);
  }
  void read(knowledge::SeriesId id, std::int64_t start, std::int64_t end,
            knowledge::Column& out) const override {
    below_.read(id, start, end, out);
    const auto found = fresh_.find(id);
    if (found == fresh_.end() || time_ <= start || time_ > end) return;
    out.times.push_back(time_);
    out.values.push_back(found->second.value);
  }
  void read_buckets(knowledge::SeriesId id, std::int64_t start, std::int64_t end,
                    knowledge::BucketValue what, knowledge::Column& out) const override {
    below_.read_buckets(id, start, end, what, out);
    const auto found = fresh_.find(id);
    if (found == fresh_.end() || time_ <= start || time_ > end) return;
    const double value = found->second.value;
    if (knowledge::is_stale_marker(value)) return;
    out.times.push_back(time_);
    out.values.push_back(what == knowledge::BucketValue::kCount ? 1 : value);
  }
  [[nodiscard]] std::optional<knowledge::Sample> last(knowledge::SeriesId id, std::int64_t start,
                                                      std::int64_t end) const override {
    const auto found = fresh_.find(id);
    if (found != fresh_.end() && time_ > start && time_ <= end)
      return knowledge::Sample{time_, found->second.value};
    return below_.last(id, start, end);
  }
  [[nodiscard]] std::int64_t step_for(std::int64_t start) const override {
    return below_.step_for(start);
  }

 private:
  struct Entry {
    const knowledge::Labels* labels;
    double value;
  };
  const knowledge::Queryable& below_;
  std::int64_t time_ = 0;
  std::map<knowledge::SeriesId, Entry> fresh_;
};

}  // namespace nexus::analyze
