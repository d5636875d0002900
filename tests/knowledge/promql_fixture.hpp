// Series for the PromQL tests: an in-memory Queryable, and the notation in which test files write
// series.
//
//   metric{l="v"} 0+10x3 7 _ stale NaN -Inf     values one interval apart: 0 10 20 30 7, nothing, a
//   stale marker, ... 5x3 is 5 5 5 5; _x3 is three times nothing.
// Thread safety: one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/knowledge/queryable.hpp"
#include "nexus/knowledge/series.hpp"

namespace nexus::knowledge::test {

/// The values of the notation above; nullopt stands for `_`. Throws std::runtime_error on anything
/// else.
std::vector<std::optional<double>> parse_values(std::string_view text);

/// `metric{l="v"}` or `{l="v"}` to labels. Throws std::runtime_error.
Labels parse_labels(std::string_view text);

/// Splits off the selector at the front of a line; spaces inside braces and quotes belong to it.
std::string_view take_selector(std::string_view& line);

class MemoryStore : public Queryable {
 public:
  void add(const Labels& labels, std::int64_t time, double value);
  /// One line of the notation, the first value at time 0.
  void load(std::string_view line, std::int64_t interval, std::int64_t start = 0);

  std::vector<SeriesId> select(std::span<const Matcher> matchers, std::int64_t start,
                               std::int64_t end) const override;
  const Labels& labels(SeriesId id) const override { return registry_.labels(id); }
  void read(SeriesId id, std::int64_t start, std::int64_t end, Column& out) const override;

 private:
  SeriesRegistry registry_{100'000};
  std::vector<Column> columns_;
};

}  // namespace nexus::knowledge::test
