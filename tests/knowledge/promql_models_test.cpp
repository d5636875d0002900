// The functions of the agent's own ask the models that the data brings; and which series
// limit_ratio chooses. The models here are arithmetic that shows what they were asked; the real
// ones are tested in tests/analyze.
#include <algorithm>
#include <catch2/catch.hpp>

#include "knowledge/promql/sampling.hpp"
#include "knowledge/promql_fixture.hpp"
#include "nexus/knowledge/models.hpp"
#include "nexus/knowledge/promql.hpp"

using namespace nexus;
using namespace nexus::knowledge;
using promql::Query;

namespace {

class ShowingModels final : public Models {
 public:
  std::optional<Forecast> forecast(const Window& window, double horizon) const override {
    const double last = window.values.back();
    return Forecast{last + horizon, last - horizon, static_cast<double>(window.now)};
  }
  std::optional<double> anomaly(const Window& window) const override {
    if (window.values.size() < 3) return std::nullopt;
    return static_cast<double>(window.values.size());
  }
  std::optional<double> time_to(const Window& window, double threshold) const override {
    return threshold - window.values.front() + static_cast<double>(window.times.front()) / 1e6;
  }
};

double one(const Queryable& data, std::string_view text, std::int64_t time) {
  const auto query = Query::parse(text);
  REQUIRE(query);
  const auto value = query->instant(data, time);
  REQUIRE(value);
  const auto& vector = std::get<promql::Vector>(*value);
  REQUIRE(vector.size() == 1);
  CHECK(vector[0].labels.metric().empty());
  CHECK(vector[0].labels.get("l") == "x");
  return vector[0].value;
}

}  // namespace

TEST_CASE("promql: the agent's own functions show windows to the models") {
  test::MemoryStore store;
  store.load("m{l=\"x\"} 1 2 3 4 5", 60'000);
  const ShowingModels models;
  const WithModels data(store, models);
  CHECK(one(data, "nexus_forecast(m[3m], 100)", 240'500) == 105);
  CHECK(one(data, "nexus_forecast_lower(m[3m], 100)", 240'500) == -95);
  CHECK(one(data, "nexus_forecast_upper(m[3m], 100)", 240'500) == 240'500);
  CHECK(one(data, "nexus_forecast_upper(m[3m] offset 1m, 100)", 240'500) == 180'500);
  CHECK(one(data, "nexus_anomaly(m[3m])", 240'500) == 3);
  CHECK(one(data, "nexus_time_to(m[3m], 10)", 240'500) == 7 + 0.12);
  CHECK(one(data, "nexus_time_to(m[3m:1m], scalar(m))", 240'500) == 2 + 0.12);
  const auto few = Query::parse("nexus_anomaly(m[2m])")->instant(data, 240'500);
  REQUIRE(few);
  CHECK(std::get<promql::Vector>(*few).empty());
  const auto range = Query::parse("nexus_forecast(m[2m], time())")->range(data, 0, 240'000, 60'000);
  REQUIRE(range);
  REQUIRE(range->size() == 1);
  CHECK(range->front().samples.values == std::vector<double>{1, 62, 123, 184, 245});
}

TEST_CASE("promql: over data without models the agent's own functions are unknown") {
  test::MemoryStore store;
  store.load("m 1 2 3", 60'000);
  const auto value = Query::parse("nexus_forecast(m[3m], 100)")->instant(store, 120'000);
  REQUIRE_FALSE(value);
  CHECK(value.error().code() == Errc::kInvalidArgument);
  CHECK(value.error().message() ==
        "unknown function with name \"nexus_forecast\": there are no models to ask here");
  CHECK(Query::parse("nexus_oracle(m)").error().message() ==
        "1:1: parse error: unknown function with name \"nexus_oracle\"");
}

TEST_CASE("promql: XXH64 of the specification's authors") {
  CHECK(promql::xxh64("") == 0xEF46DB3751D8E999ULL);
  CHECK(promql::xxh64("a") == 0xD24EC4F1A98C6E5BULL);
  CHECK(promql::xxh64("abc") == 0x44BC2CF5AD770999ULL);
  CHECK(promql::xxh64("Nobody inspects the spammish repetition") == 0xFBCEA83C8A378BF1ULL);
}

TEST_CASE("promql: a query cannot hold more than so many values, however little it reads") {
  test::MemoryStore store;
  store.load("m 1", 60'000);
  const auto made =
      Query::parse("max_over_time(vector(1)[10d:1s]) + max_over_time(vector(1)[50d:1s])")
          ->instant(store, 100LL * 86'400'000);
  REQUIRE_FALSE(made);
  CHECK(made.error().code() == Errc::kExhausted);
  CHECK(made.error().message().starts_with("query makes more than "));
}

TEST_CASE("promql: long ranges are read in slices, and give what each step by itself gives") {
  test::MemoryStore store;
  store.load("m{i=\"a\"} 0+1x2000", 60'000);
  store.load("m{i=\"b\"} 0+2x700 stale _x300 5+3x900", 60'000);
  for (const char* text : {"m", "rate(m[10m])", "avg_over_time(m[3h])", "sum(m) by (i)",
                           "max_over_time(m[2h:7m])", "m offset 30m", "m @ 40000",
                           "quantile_over_time(0.3, m[1h])", "deriv(m[30m])", "changes(m[15m])"}) {
    INFO(text);
    const auto query = Query::parse(text);
    REQUIRE(query);
    const auto range = query->range(store, 0, 2000 * 60'000LL, 171'000);
    REQUIRE(range);
    std::size_t found = 0;
    for (std::int64_t time = 0; time <= 2000 * 60'000LL; time += 171'000) {
      const auto value = query->instant(store, time);
      REQUIRE(value);
      for (const auto& element : std::get<promql::Vector>(*value)) {
        const auto row = std::ranges::find(*range, element.labels, &promql::MatrixSeries::labels);
        REQUIRE(row != range->end());
        const auto at = std::ranges::lower_bound(row->samples.times, time);
        REQUIRE(at != row->samples.times.end());
        REQUIRE(*at == time);
        CHECK(row->samples.values[static_cast<std::size_t>(at - row->samples.times.begin())] ==
              element.value);
        ++found;
      }
    }
    std::size_t all = 0;
    for (const auto& series : *range) all += series.samples.size();
    CHECK(found == all);
  }
}
