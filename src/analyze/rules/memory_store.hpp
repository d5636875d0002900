// MemoryStore: samples of the unit tests of rules, uncompressed, for as long as a test runs.
//
// As in Prometheus a sample that is not newer than its series' last is refused, unless it is the
// same. Thread safety: one thread.
#pragma once

#include <map>
#include <vector>

#include "nexus/analyze/models.hpp"
#include "nexus/knowledge/queryable.hpp"

namespace nexus::analyze {

class MemoryStore final : public knowledge::Queryable, public knowledge::ModelSource {
 public:
  Status append(const knowledge::Labels& labels, std::int64_t time, double value);

  [[nodiscard]] std::vector<knowledge::SeriesId> select(
      std::span<const knowledge::Matcher> matchers, std::int64_t start,
      std::int64_t end) const override;
  [[nodiscard]] const knowledge::Labels& labels(knowledge::SeriesId id) const override {
    return *series_[id].labels;
  }
  void read(knowledge::SeriesId id, std::int64_t start, std::int64_t end,
            knowledge::Column& out) const override;
  [[nodiscard]] const knowledge::Models* models() const override { return &standard_models(); }

 private:
  struct Series {
    const knowledge::Labels* labels = nullptr;  // key of ids_
    knowledge::Column samples;
  };
  std::map<knowledge::Labels, knowledge::SeriesId> ids_;
  std::vector<Series> series_;
};

}  // namespace nexus::analyze
