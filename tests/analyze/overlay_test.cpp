// What rules of a rule file see of a history in tiers: the samples of this evaluation are in it.
#include "analyze/rules/overlay.hpp"

#include <catch2/catch.hpp>

#include "nexus/knowledge/promql.hpp"

using namespace nexus;
using knowledge::BucketValue;
using knowledge::Column;
using knowledge::Labels;
using knowledge::SeriesId;

namespace {

constexpr std::int64_t kMinute = 60'000;

/// One series, sixty samples of 5 a minute, of which only the minutes are left.
class Minutes final : public knowledge::Queryable {
 public:
  std::vector<SeriesId> select(std::span<const knowledge::Matcher>, std::int64_t,
                               std::int64_t) const override {
    return {0};
  }
  const Labels& labels(SeriesId) const override { return labels_; }
  void read(SeriesId, std::int64_t start, std::int64_t end, Column& out) const override {
    fill(start, end, 5, out);
  }
  void read_buckets(SeriesId, std::int64_t start, std::int64_t end, BucketValue what,
                    Column& out) const override {
    fill(start, end, what == BucketValue::kCount ? 60 : what == BucketValue::kSum ? 300 : 5, out);
  }
  std::int64_t step_for(std::int64_t) const override { return kMinute; }

 private:
  static void fill(std::int64_t start, std::int64_t end, double value, Column& out) {
    for (std::int64_t time = kMinute; time < 10 * kMinute && time <= end; time += kMinute) {
      if (time <= start) continue;
      out.times.push_back(time);
      out.values.push_back(value);
    }
  }
  Labels labels_{"m", {{"l", "v"}}};
};

double one(const knowledge::Queryable& data, std::string_view text) {
  const auto query = knowledge::promql::Query::parse(text);
  REQUIRE(query);
  const auto value = query->instant(data, 10 * kMinute);
  REQUIRE(value);
  const auto& vector = std::get<knowledge::promql::Vector>(*value);
  REQUIRE(vector.size() == 1);
  return vector[0].value;
}

}  // namespace

TEST_CASE("overlay: functions over tiers count samples, the fresh one too") {
  const Minutes minutes;
  analyze::Overlay overlay(minutes);
  CHECK(one(overlay, "count_over_time(m[5m])") == 4 * 60);
  CHECK(one(overlay, "sum_over_time(m[5m])") == 4 * 300);
  overlay.begin(10 * kMinute);
  const Labels labels("m", {{"l", "v"}});
  REQUIRE(overlay.add(0, labels, 7));
  CHECK(one(overlay, "count_over_time(m[5m])") == 4 * 60 + 1);
  CHECK(one(overlay, "sum_over_time(m[5m])") == 4 * 300 + 7);
  CHECK(one(overlay, "avg_over_time(m[5m])") == (4 * 300 + 7) / 241.0);
  CHECK(one(overlay, "max_over_time(m[5m])") == 7);
  overlay.begin(10 * kMinute);
  REQUIRE(overlay.add(0, labels, knowledge::stale_marker()));
  CHECK(one(overlay, "count_over_time(m[5m])") == 4 * 60);
}
