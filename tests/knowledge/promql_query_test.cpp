// What the case files cannot say: limits, hostile text, the shape of results, selectors and truth.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <random>

#include "knowledge/promql_fixture.hpp"
#include "nexus/knowledge/promql_rows.hpp"

namespace nexus::knowledge::test {
namespace {

using promql::Limits;
using promql::Matrix;
using promql::Query;
using promql::Scalar;
using promql::Value;
using promql::ValueType;
using promql::Vector;

Query parse(std::string_view text) {
  auto query = Query::parse(text);
  if (!query) FAIL(query.error().message());
  return std::move(*query);
}

std::string parse_error(std::string_view text) {
  const auto query = Query::parse(text);
  REQUIRE_FALSE(query);
  CHECK(query.error().code() == Errc::kInvalidArgument);
  return query.error().message();
}

std::string repeat(std::string_view part, std::size_t times) {
  std::string out;
  for (std::size_t i = 0; i < times; ++i) out += part;
  return out;
}

}  // namespace

TEST_CASE("promql: a query has 64 regular expressions at most") {
  CHECK(Query::parse("a" + repeat(" + a{b=~\"c|d\"}", 64)));
  CHECK_THAT(parse_error("a" + repeat(" + a{b!~\"c|d\"}", 65)),
             Catch::Contains("at most 64 regular expressions are allowed"));
  CHECK(Query::parse("a" + repeat(" + a{b=\"c\"}", 65)));
}

TEST_CASE("promql: hostile text gets a message, not the stack") {
  const std::string deep = "nested deeper than 200 levels";
  CHECK_THAT(parse_error(repeat("(", 60'000)), Catch::Contains(deep));
  CHECK_THAT(parse_error(repeat("-", 60'000) + "1"), Catch::Contains(deep));
  CHECK_THAT(parse_error(repeat("sum(", 15'000)), Catch::Contains(deep));
  CHECK_THAT(parse_error(repeat("a^", 30'000) + "a"), Catch::Contains(deep));
  CHECK_THAT(parse_error("a" + repeat("+a", 30'000)), Catch::Contains(deep));
  CHECK_THAT(parse_error(repeat("(", 100'000)), Catch::Contains("at most 65536 are allowed"));
  CHECK(Query::parse("1" + repeat("+1", 150)));
  CHECK(Query::parse(repeat("(", 150) + "1" + repeat(")", 150)));
  CHECK_THAT(parse_error("m{a=~\"(\"}"), Catch::Contains("1:3: parse error: "));
  CHECK_THAT(parse_error("\n\n  sum(\n  *"), Catch::Contains("4:3: parse error: unexpected \"*\""));
  CHECK_THAT(parse_error(""), Catch::Contains("1:1: parse error: unexpected end of query"));
  CHECK_THAT(parse_error("\xff"), Catch::Contains("unexpected byte 0xff"));
  CHECK_THAT(parse_error(std::string_view("a\0b", 3)), Catch::Contains("unexpected byte 0x00"));
  CHECK_THAT(parse_error("\"\xff\""), Catch::Contains("not valid UTF-8"));
  CHECK_THAT(parse_error("\"\\"), Catch::Contains("unterminated string"));
}

TEST_CASE("promql: samples touched are limited, and a query can be stopped") {
  MemoryStore store;
  for (int i = 0; i < 50; ++i) store.load("m{i=\"" + std::to_string(i) + "\"} 0+1x2000", 1000);

  Limits limits;
  limits.max_samples = 1000;
  const auto limited = parse("sum(rate(m[10m]))").instant(store, 1'000'000, limits);
  REQUIRE_FALSE(limited);
  CHECK(limited.error().code() == Errc::kExhausted);
  CHECK(limited.error().message() == "query touches more than 1000 samples");
  CHECK(parse("sum(rate(m[10s]))").instant(store, 1'000'000, limits));

  int asked = 0;
  limits = {};
  limits.cancelled = [&] { return ++asked == 3; };
  const auto stopped = parse("avg_over_time(m[10m])").range(store, 0, 2'000'000, 1000, limits);
  REQUIRE_FALSE(stopped);
  CHECK(stopped.error().code() == Errc::kCancelled);
  CHECK(asked == 3);

  limits = {};
  limits.lookback_ms = 1000;
  const auto short_sighted = parse("count(m)").instant(store, 2'000'999, limits);
  CHECK(std::get<Vector>(*short_sighted).size() == 1);
  CHECK(std::get<Vector>(*parse("count(m)").instant(store, 2'001'000, limits)).empty());
}

TEST_CASE("promql: what a query looked at, as Prometheus counts it") {
  MemoryStore store;
  store.load("m{l=\"a\"} 0+1x100", 1000);
  store.load("m{l=\"b\"} 0+1x100", 1000);
  promql::Account account;
  Limits limits;
  limits.account = &account;
  const auto instant = [&](std::string_view text) {
    REQUIRE(parse(text).instant(store, 50'000, limits));
    return account.samples;
  };
  const auto range = [&](std::string_view text) {
    REQUIRE(parse(text).range(store, 40'000, 50'000, 5000, limits));
    return account.samples;
  };
  CHECK(instant("m") == 2);
  CHECK(account.peak > 0);
  CHECK(instant("m[10s]") == 20);
  CHECK(instant("rate(m[10s])") == 20);
  CHECK(instant("sum(rate(m[10s])) + count(m)") == 22);
  CHECK(instant("max_over_time(m[10s:5s])") == 8);  // two points of each, made and looked at
  CHECK(instant("\"text\"") == 0);
  CHECK(range("m") == 6);
  CHECK(range("rate(m[10s])") == 60);
  CHECK(range("1") == 0);
  REQUIRE(parse("rate(m[100s])").instant(store, 100'000, limits));
  CHECK(account.peak >= 100);
}

TEST_CASE("promql: notes on results, in Prometheus's words and at their places") {
  MemoryStore store;
  store.load("gauge 0+1x100", 1000);
  store.load("requests_total 0+1x100", 1000);
  store.load("b_bucket{le=\"1\"} 0+1x100", 1000);
  store.load("b_bucket{le=\"+Inf\"} 0+1x100", 1000);
  store.load("b_bucket{le=\"many\"} 0+1x100", 1000);
  promql::Account account;
  Limits limits;
  limits.account = &account;
  using Notes = std::vector<std::string>;
  const auto notes = [&](std::string_view text) {
    REQUIRE(parse(text).range(store, 40'000, 50'000, 5000, limits));
    Notes out = account.warnings;
    out.insert(out.end(), account.infos.begin(), account.infos.end());
    return out;
  };
  const std::string not_counter =
      "PromQL info: metric might not be a counter, name does not end in "
      "_total/_sum/_count/_bucket: \"gauge\" ";
  CHECK(notes("rate(gauge[10s]) + increase(gauge[10s])") ==
        Notes{not_counter + "(1:29)", not_counter + "(1:6)"});
  CHECK(notes("1 +\n  sum(rate((gauge[10s])))") == Notes{not_counter + "(2:12)"});
  CHECK(notes("rate(requests_total[10s]) + deriv(gauge[10s])").empty());
  CHECK(notes("rate(nothing[10s])").empty());
  const std::string bad_quantile = "PromQL warning: quantile value should be between 0 and 1, got ";
  CHECK(notes("quantile(1 + 1, gauge)") == Notes{bad_quantile + "2 (1:10)"});
  CHECK(notes("quantile(NaN, gauge)") == Notes{bad_quantile + "NaN (1:10)"});
  CHECK(notes("quantile_over_time(-0.5, gauge[10s])") == Notes{bad_quantile + "-0.5 (1:20)"});
  CHECK(notes("quantile(0.5, gauge)").empty());
  store.load("falls_bucket{le=\"1\"} 5x100", 1000);
  store.load("falls_bucket{le=\"2\"} 4x100", 1000);
  store.load("falls_bucket{le=\"+Inf\"} 6x100", 1000);
  CHECK(
      notes("histogram_quantile(0.5, falls_bucket)") ==
      Notes{"PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see "
            "https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile) "
            "for metric name \"falls_bucket\" (1:25)"});
  CHECK(notes("histogram_quantile(0.5, falls_bucket{le!=\"2\"})").empty());
  CHECK(notes("histogram_quantile(1.5, b_bucket)") ==
        Notes{"PromQL warning: bucket label \"le\" is missing or has a malformed value of \"many\" "
              "for metric name \"b_bucket\" (1:25)",
              bad_quantile + "1.5 (1:20)"});
  const std::string many = "rate({__name__=~\"g.*\"}[10s])";
  for (int i = 0; i < 12; ++i) {
    const auto number = std::to_string(i);
    store.load("g" + number + "{i=\"" + number + "\"} 0+1x100", 1000);
  }
  const auto told = notes(many);
  CHECK(told.size() == 11);
  CHECK(told.back() == "3 more info annotations omitted");
}

TEST_CASE("promql: a huge tree without samples can be stopped as well") {
  std::string text = "1";
  for (int i = 0; i < 12; ++i) text = "(" + text + "+" + text + ")";
  MemoryStore store;
  Limits limits;
  limits.cancelled = [] { return true; };
  const auto stopped = parse(text).range(store, 0, 10'000'000, 1000, limits);
  REQUIRE_FALSE(stopped);
  CHECK(stopped.error().code() == Errc::kCancelled);
}

TEST_CASE("promql: types and times of results") {
  MemoryStore store;
  store.load("m{l=\"b\"} 1 2 3", 1000);
  store.load("m{l=\"a\"} 4 5 6", 1000);

  CHECK(parse("m").type() == ValueType::kVector);
  CHECK(parse("m[1m]").type() == ValueType::kMatrix);
  CHECK(parse("1").type() == ValueType::kScalar);
  CHECK(parse("'x'").type() == ValueType::kString);
  CHECK(promql::to_string(ValueType::kMatrix) == "matrix");

  const Query query = parse("m");
  CHECK(query.text() == "m");
  const auto instant = query.instant(store, 1500);
  REQUIRE(promql::type_of(*instant) == ValueType::kVector);
  for (const auto& element : std::get<Vector>(*instant)) CHECK(element.time == 1500);

  const auto range = query.range(store, 500, 2600, 1000);
  REQUIRE(range->size() == 2);
  CHECK(range->at(0).labels.get("l") == "a");  // sorted by labels
  CHECK(range->at(0).samples.times == std::vector<std::int64_t>{500, 1500, 2500});
  CHECK(range->at(1).samples.values == std::vector<double>{1, 2, 3});

  const auto raw = parse("m{l=\"a\"}[2s]").instant(store, 2000);
  CHECK(std::get<Matrix>(*raw).at(0).samples.times == std::vector<std::int64_t>{1000, 2000});

  const auto scalar = parse("1 + 1").instant(store, 77);
  CHECK(std::get<Scalar>(*scalar).time == 77);
  const auto steps = parse("time()").range(store, 0, 2000, 1000);
  REQUIRE(steps->size() == 1);
  CHECK(steps->at(0).labels.empty());

  constexpr auto kLast = std::numeric_limits<std::int64_t>::max();
  CHECK_FALSE(query.instant(store, kLast));
  CHECK_FALSE(query.instant(store, -kLast - 1));
  CHECK_FALSE(query.range(store, -kLast - 1, kLast, 1));
  CHECK(query.range(store, 0, kLast / 16, kLast / 16));
}

TEST_CASE("promql: selectors for conditions") {
  const auto matchers = promql::parse_selector("service_failed{unit=~\"web.*\",kind!=\"x\"}");
  REQUIRE(matchers);
  REQUIRE(matchers->size() == 3);
  CHECK(matchers->at(0).name() == kMetricName);
  CHECK(matchers->at(1).op() == MatchOp::kRegex);
  CHECK(matchers->at(2).value() == "x");
  CHECK(promql::parse_selector(" {a=\"b\"} # all"));

  const auto message = [](std::string_view text) {
    const auto result = promql::parse_selector(text);
    REQUIRE_FALSE(result);
    return result.error().message();
  };
  CHECK(message("m[5m]") == "1:2: parse error: unexpected \"[\", expected the end of the selector");
  CHECK(message("m offset 5m") ==
        "1:3: parse error: unexpected \"offset\", expected the end of the selector");
  CHECK(message("1") ==
        "1:1: parse error: unexpected \"1\", expected a selector such as name{label=\"value\"}");
  CHECK_THAT(message("{}"), Catch::Contains("at least one matcher"));
}

TEST_CASE("promql: what conditions take for true") {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  CHECK(promql::is_true(Scalar{0, 2}));
  CHECK_FALSE(promql::is_true(Scalar{0, 0}));
  CHECK_FALSE(promql::is_true(Scalar{0, kNan}));
  CHECK(promql::is_true(Vector{{{}, 0, 0}, {{}, 0, -1}}));
  CHECK_FALSE(promql::is_true(Vector{{{}, 0, 0}, {{}, 0, kNan}}));
  CHECK_FALSE(promql::is_true(Vector{}));
  CHECK_FALSE(promql::is_true(Matrix{}));
  CHECK_FALSE(promql::is_true(std::string("true")));
}

TEST_CASE("a comparison holds by what is left of it, everything else by its value") {
  const Value zero = Vector{{{}, 0, 0}};
  const Value one = Vector{{{}, 0, 1}};
  const Value none = Vector{};
  const Value unknown = Vector{{{}, 0, std::numeric_limits<double>::quiet_NaN()}};
  const auto holds = [](std::string_view text, const Value& value) {
    const auto query = promql::Query::parse(text);
    REQUIRE(query.has_value());
    return query->holds(value);
  };
  for (const char* text : {"x == 0", "rate(x[1m]) < 0.02", "(x < 1)", "x < 1 and y > 2",
                           "x < 1 unless y", "x < 1 or y == 0", "0 == x"}) {
    CAPTURE(text);
    CHECK(holds(text, zero));
    CHECK(holds(text, one));
    CHECK_FALSE(holds(text, none));
    CHECK_FALSE(holds(text, unknown));
  }
  for (const char* text :
       {"x", "x == bool 0", "x < 1 or y", "x and y < 1", "sum(x < 1)", "-(x < 1)", "(x < 1) * 2"}) {
    CAPTURE(text);
    CHECK_FALSE(holds(text, zero));
    CHECK(holds(text, one));
    CHECK_FALSE(holds(text, none));
  }
  CHECK(holds("1 < bool 2", Scalar{0, 1}));
  CHECK_FALSE(holds("2 < bool 1", Scalar{0, 0}));
}

TEST_CASE("promql: windows that overlap give the digits of windows alone") {
  // Shortcuts for many windows over the same samples: what is exact, what is not, and the edges.
  constexpr std::int64_t kSecond = 1000;
  MemoryStore store;
  std::mt19937_64 random(11);
  const auto fill = [&](const char* name, std::int64_t jitter, const auto& value_of) {
    const Labels labels(name, {});
    for (int n = 1; n <= 1500; ++n) {
      if (random() % 50 == 0) continue;
      const auto late = jitter == 0 ? 0 : static_cast<std::int64_t>(random() % 7) * jitter;
      store.add(labels, n * kSecond + late, value_of(n));
    }
  };
  const auto number = [&](std::uint64_t below) { return static_cast<double>(random() % below); };
  fill("pages", 0, [&](int) { return 4096 * (50'000'000 + number(1'000'000)); });
  fill("disk", 0, [&](int) { return 4096 * (1e12 + number(1'000'000)); });  // sums are rounded
  fill("counts", 0, [&](int n) { return n % 100 < 40 ? 7 : number(20) - 10; });
  fill("late", 13, [&](int) { return number(1000); });
  fill("decimals", 0, [&](int) { return number(1000) / 100; });
  fill("halves", 0, [&](int) { return number(1000) / 8; });
  fill("same", 0, [](int) { return 42; });
  fill("zero", 0, [](int n) { return n % 2 == 0 ? 0.0 : -0.0; });
  fill("odd", 0, [&](int n) {
    return n % 97 == 0 || n < 200 ? std::nan("") : n == 900 ? HUGE_VAL : number(100);
  });
  fill("huge", 0, [&](int) { return number(100) * 1e306; });
  for (const char* name :
       {"pages", "disk", "counts", "late", "decimals", "halves", "same", "zero", "odd", "huge"}) {
    for (const char* form :
         {"sum_over_time({}[5m])", "avg_over_time({}[5m])", "min_over_time({}[5m])",
          "max_over_time({}[5m])", "max_over_time({}[7s])", "min_over_time({}[17s] offset 3s)",
          "stddev_over_time({}[3m])", "stdvar_over_time({}[3m])", "deriv({}[5m])",
          "predict_linear({}[5m], 3600)", "predict_linear({}[5m] offset 40s, 60)",
          "predict_linear({}[5m] offset -3m, 60)", "sum_over_time({}[100s])"}) {
      const std::string text = fmt::format(fmt::runtime(form), name);
      INFO(text);
      const Query query = parse(text);
      for (const std::int64_t start : {std::int64_t{0}, std::int64_t{300'500}}) {
        const auto range = query.range(store, start, 1'700'000, 5 * kSecond);
        REQUIRE(range);
        std::size_t expected = 0;
        std::size_t same = 0;
        for (std::int64_t time = start; time <= 1'700'000; time += 5 * kSecond) {
          const auto value = query.instant(store, time);
          REQUIRE(value);
          for (const auto& element : std::get<Vector>(*value)) {
            ++expected;
            const auto& samples = range->at(0).samples;
            const auto at = std::ranges::lower_bound(samples.times, time) - samples.times.begin();
            const double got = samples.values.at(static_cast<std::size_t>(at));
            same +=
                std::bit_cast<std::uint64_t>(got) == std::bit_cast<std::uint64_t>(element.value) ||
                        (std::isnan(got) && std::isnan(element.value))
                    ? 1
                    : 0;
          }
        }
        CHECK(expected > 0);
        CHECK(same == expected);
      }
    }
  }
}

TEST_CASE("promql: a range is its instants, step by step") {
  MemoryStore store;
  std::mt19937 random(7);
  for (const char* name : {"a", "b", "c"}) {
    for (int i = 0; i < 4; ++i) {
      const Labels labels(name, {{"i", std::to_string(i)}, {"odd", i % 2 == 1 ? "y" : "n"}});
      std::int64_t time = 0;
      double value = 0;
      for (int n = 0; n < 300; ++n) {
        time += 500 + static_cast<std::int64_t>(random() % 20'000);
        value = random() % 12 == 0 ? 0 : value + static_cast<double>(random() % 100) / 8;
        store.add(labels, time, random() % 15 == 0 ? stale_marker() : value);
      }
    }
  }
  for (const char* text : {"a",
                           "rate(a[2m])",
                           "increase(a[47s] offset 13s)",
                           "irate(b[1m])",
                           "delta(a[3m])",
                           "sum by (odd) (a)",
                           "avg(a)",
                           "min without (i) (b)",
                           "count(a > 50)",
                           "a / ignoring(odd) b",
                           "a > b",
                           "a and b > 20",
                           "a unless b > 20",
                           "a > 30 or b",
                           "predict_linear(a[5m], 60)",
                           "deriv(c[90s])",
                           "avg_over_time(c[1m])",
                           "stddev_over_time(c[2m])",
                           "absent(a{i=\"1\"})",
                           "scalar(a{i=\"1\"}) + time()",
                           "timestamp(b)",
                           "changes(c[5m]) + resets(c[5m])",
                           "topk(2, a)",
                           "bottomk by (odd) (1, rate(c[3m]))",
                           "limitk(1, a)",
                           "quantile(0.3, b)",
                           "stddev by (odd) (c)",
                           "count_values(\"v\", round(a, 100))",
                           "a * on (i) group_left (odd) sum by (i, odd) (b)",
                           "sum by (i) (a) > on (i) group_right () b",
                           "max_over_time(rate(a[1m])[5m:7s])",
                           "quantile_over_time(0.9, b[3m])",
                           "double_exponential_smoothing(c[3m], 0.3, 0.6)",
                           "absent_over_time(a{i=\"1\"}[9s])",
                           "a - a @ 1000",
                           "sum_over_time((a @ 1500 offset 3s)[2m:10s] offset 1m)",
                           "label_replace(a, \"i\", \"$1$1\", \"i\", \"(.*)\")",
                           "hour(a * 100) + on () group_left () minute() + pi()",
                           "{i=\"1\",odd=\"y\"} and on(i) a"}) {
    INFO(text);
    const Query query = parse(text);
    const auto range = query.range(store, 0, 3'200'000, 7001);
    REQUIRE(range);
    std::size_t samples = 0;
    std::size_t expected = 0;
    for (const auto& series : *range) samples += series.samples.size();
    for (std::int64_t time = 0; time <= 3'200'000; time += 7001) {
      const auto value = query.instant(store, time);
      REQUIRE(value);
      Vector vector;
      if (const auto* scalar = std::get_if<Scalar>(&*value)) {
        vector.push_back({{}, time, scalar->value});
      } else {
        vector = std::get<Vector>(*value);
      }
      expected += vector.size();
      for (const auto& element : vector) {
        const auto series =
            std::ranges::find(*range, element.labels, &promql::MatrixSeries::labels);
        REQUIRE(series != range->end());
        const auto at = std::ranges::lower_bound(series->samples.times, time);
        REQUIRE((at != series->samples.times.end() && *at == time));
        const double got =
            series->samples.values[static_cast<std::size_t>(at - series->samples.times.begin())];
        CHECK((got == element.value || (std::isnan(got) && std::isnan(element.value))));
      }
    }
    CHECK(samples == expected);
    CHECK(samples > 0);
  }
}

}  // namespace nexus::knowledge::test

namespace nexus::knowledge::test {
namespace {

/// All samples of a row, in pieces of so many places.
Column read_row(const promql::Rows& rows, std::size_t row, std::size_t most) {
  Column all;
  Column piece;
  for (std::size_t place = 0;;) {
    place = rows.read(row, place, most, piece);
    CHECK(piece.size() <= most);
    all.times.insert(all.times.end(), piece.times.begin(), piece.times.end());
    all.values.insert(all.values.end(), piece.values.begin(), piece.values.end());
    if (place == 0) return all;
  }
}

Labels labels_of_row(const promql::Rows& rows, std::size_t row) {
  const auto [all, nameless] = rows.labels(row);
  const std::string name(kMetricName);
  return nameless ? all.without(std::span(&name, 1)) : all;
}

}  // namespace

TEST_CASE("promql: rows, read in pieces, are the matrix") {
  MemoryStore store;
  store.load("m{a=\"2\"} 0+1x30 _x10 5x20", 1000);
  store.load("m{a=\"1\",b=\"x\"} _x20 7x20", 1000);
  store.load("m{a=\"3\"} NaN -Inf 1 stale _ 2", 1000);
  store.load("other{a=\"1\"} 1x60", 1000);
  store.load("never 1", 1000, 900'000);
  Limits limits;
  limits.lookback_ms = 2000;
  for (const std::string_view text :
       {"m", "{__name__=~\"m|other\"}", "m * 2", "rate({__name__=~\"m|other\",a=~\"[12]\"}[5s])",
        "sum by (a) ({__name__=~\".+\"})", "m > 3", "7", "nothing", "max_over_time(m[3s:1s])"}) {
    INFO(text);
    const Query query = parse(text);
    const auto matrix = query.range(store, 0, 60'000, 700, limits);
    const auto rows = query.range_rows(store, 0, 60'000, 700, limits);
    REQUIRE(matrix);
    REQUIRE(rows);
    REQUIRE(rows->size() == matrix->size());
    for (std::size_t row = 0; row < rows->size(); ++row) {
      const auto& expected = (*matrix)[row];
      CHECK(labels_of_row(*rows, row) == expected.labels);
      for (const std::size_t most : {1UL, 7UL, 10'000UL}) {
        const Column got = read_row(*rows, row, most);
        CHECK(got.times == expected.samples.times);
        CHECK(std::ranges::equal(got.values, expected.samples.values, {},
                                 std::bit_cast<std::uint64_t, double>,
                                 std::bit_cast<std::uint64_t, double>));
      }
    }
  }
}

TEST_CASE("promql: rows of an instant: a vector in its order, a matrix, a number, a text") {
  MemoryStore store;
  store.load("m{a=\"2\"} 5 4 3", 1000);
  store.load("m{a=\"1\"} 1 2 9", 1000);
  const auto rows_of = [&](std::string_view text) {
    auto value = parse(text).instant_rows(store, 2000, {});
    REQUIRE(value);
    return std::get<promql::Rows>(std::move(*value));
  };
  auto sorted = rows_of("sort_desc(m)");
  REQUIRE(sorted.size() == 2);
  CHECK(labels_of_row(sorted, 0).get("a") == "1");
  CHECK(read_row(sorted, 0, 5).values == std::vector<double>{9});
  CHECK(read_row(sorted, 1, 5).times == std::vector<std::int64_t>{2000});
  sorted.truncate(5);
  CHECK(sorted.size() == 2);
  sorted.truncate(1);
  CHECK(sorted.size() == 1);
  const auto samples = rows_of("m[10s]");
  REQUIRE(samples.size() == 2);
  CHECK(labels_of_row(samples, 1).get("a") == "2");
  CHECK(read_row(samples, 1, 2).values == std::vector<double>{5, 4, 3});
  CHECK(std::get<Scalar>(parse("1 + 1").instant_rows(store, 0, {}).value()).value == 2);
  CHECK(std::get<std::string>(parse("\"text\"").instant_rows(store, 0, {}).value()) == "text");
}

TEST_CASE("promql: an evaluation tells its hold what it holds, and ends where that is too much") {
  MemoryStore store;
  for (int i = 0; i < 200; ++i)
    store.load(fmt::format("m{{i=\"{}\",long=\"{}\"}} 1x99", i, std::string(500, 'x')), 1000);
  const auto budget = std::make_shared<base::MemoryBudget>(4U << 20, 0, 0);
  const auto evaluate = [&](std::string_view text, std::int64_t step) -> Status {
    Limits limits;
    limits.hold = std::make_shared<base::MemoryHold>(budget);
    const auto rows = parse(text).range_rows(store, 0, 99'000, step, limits);
    if (!rows) return std::unexpected(rows.error());
    // Values, and what was made of labels.
    CHECK(limits.hold->bytes() >= rows->size() * static_cast<std::size_t>(99'000 / step) * 8);
    return {};
  };
  CHECK(evaluate("m", 1000));
  CHECK(budget->held() == 0);
  for (const std::string_view text :
       {"m", "rate(m[1m])", "m + on (i) m", "max_over_time(m[1m:10ms])", "sum by (i) (m)",
        "label_replace(m, \"x\", \"$1\", \"i\", \"(.*)\")", "topk(100, m)", "quantile(0.5, m)"}) {
    INFO(text);
    const Status refused = evaluate(text, 20);
    REQUIRE(!refused);
    CHECK(refused.error().code() == Errc::kUnavailable);
    CHECK(budget->held() == 0);
  }
}

}  // namespace nexus::knowledge::test
