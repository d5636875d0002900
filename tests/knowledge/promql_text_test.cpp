// Text in, text out: what is parsed prints and parses back to the same, and nothing that can be
// written crashes the parser or the evaluator.
#include <catch2/catch.hpp>
#include <cstdlib>
#include <random>

#include "knowledge/promql_fixture.hpp"
#include "nexus/knowledge/promql.hpp"

namespace nexus::knowledge::test {
namespace {

using promql::Query;

// One of everything that the language has.
const std::vector<std::string> kExpressions = {
    "m",
    "m{a=\"b\",c!='d',e=~`f.*`,g!~\"h\"} offset -5m @ 1600000000.125",
    "{\"with space\",\"a b\"=\"\\u00e9\\x41\\101\\n\"} @ start()",
    "rate(m[5m])[1h:1m] @ end() offset 1h30m",
    "sum by (a, \"b c\") (m) / on (a) group_left (d) (n - 1)",
    "max without (a) (m) > bool ignoring () group_right () n",
    "topk(3, m) or bottomk by (a) (1, m) unless count_values(\"v\", m)",
    "quantile(0.9, m) and on () stddev(m) == group(n)",
    "-2 ^ -3 ^ 2 % 0x1F + 1_000e3 atan2 .5 - Inf * NaN",
    "histogram_quantile(0.9, sum by (le) (rate(b[5m])))",
    "label_replace(m, \"a\", \"$1-${2}\", \"c\", \"(.)(.)\")",
    "label_join(m, \"a\", \"-\", \"b\", \"c\")",
    "double_exponential_smoothing(m[10m], 0.5, 5e-1) >= time() - 1h",
    "quantile_over_time(0.5, m[5m:]) <= predict_linear(m[1h], 3600)",
    "absent_over_time(m{a=\"b\"}[5m]) != day_of_week(m) < scalar(n)",
    "clamp(m, -1, 1) * sort_desc(m) + round(m, 0.5) + vector(pi())",
};

struct SmallStore : MemoryStore {
  SmallStore() {
    for (const char* line :
         {"m{a=\"1\",c=\"xy\"} 0+1x60", "m{a=\"2\"} 5 NaN Inf -Inf stale 7x50",
          "n{a=\"1\",d=\"z\"} 3x60", "b{le=\"1\"} 0+1x60", "b{le=\"+Inf\"} 0+2x60"}) {
      load(line, 15'000);
    }
  }
};

/// What is parsed must print, format and parse back to the same, and evaluate to a value or an
/// error.
bool survives(const MemoryStore& store, const std::string& text) {
  const auto query = Query::parse(text);
  if (!query) return false;
  const std::string printed = query->to_string();
  INFO(text << " -> " << printed);
  const auto again = Query::parse(printed);
  REQUIRE(again);
  CHECK(again->to_string() == printed);
  const auto formatted = Query::parse(query->format());
  REQUIRE(formatted);
  CHECK(formatted->to_string() == printed);
  promql::Limits limits;
  limits.max_samples = 100'000;
  (void)query->instant(store, 600'001, limits);
  (void)query->range(store, 300'001, 600'001, 60'000, limits);
  return true;
}

std::size_t rounds(std::size_t usual) {
  const char* factor = std::getenv("NEXUS_FUZZ_FACTOR");
  return factor == nullptr ? usual : usual * std::strtoul(factor, nullptr, 10);
}

std::string repeat(std::string_view part, std::size_t times) {
  std::string out;
  for (std::size_t i = 0; i < times; ++i) out += part;
  return out;
}

}  // namespace

TEST_CASE("promql: expressions survive printing and formatting") {
  const SmallStore store;
  for (const std::string& text : kExpressions) {
    INFO(text);
    CHECK(survives(store, text));
  }
}

TEST_CASE("promql: random words are parsed or refused") {
  const SmallStore store;
  const std::vector<std::string> parts = {
      "m",      "sum",   "by",     "(",       ")",    "{",  "}",          "[5m]",   "a=\"b\"",
      "=~",     "\"x\"", ",",      "+",       "-",    "^",  "1",          "0x1f",   "1h",
      "offset", "on",    "and",    "rate",    "bool", "==", "time()",     "@",      "#",
      "\n",     "'",     "e",      "abs",     "topk", ":",  "[5m:]",      "..",     "\\",
      "nan",    "or",    "unless", "without", "[",    "]",  "group_left", "start()"};
  std::mt19937 random(42);
  std::size_t good = 0;
  for (std::size_t round = rounds(20'000); round > 0; --round) {
    std::string text;
    for (auto left = random() % 9 + 1; left > 0; --left)
      text += parts[random() % parts.size()] + ' ';
    if (survives(store, text)) ++good;
  }
  CHECK(good > 100);
}

TEST_CASE("promql: mutated expressions are parsed or refused") {
  const SmallStore store;
  std::mt19937 random(7);
  const auto below = [&](std::size_t limit) { return random() % limit; };
  std::size_t good = 0;
  for (std::size_t round = rounds(20'000); round > 0; --round) {
    std::string text = kExpressions[below(kExpressions.size())];
    for (auto left = below(4) + 1; left > 0; --left) {
      const std::string& other = kExpressions[below(kExpressions.size())];
      const std::size_t at = below(text.size() + 1);
      switch (below(4)) {
        case 0:
          text.insert(at, 1, static_cast<char>(below(256)));
          break;
        case 1:
          text.erase(at, below(8));
          break;
        case 2:
          text.insert(at, other.substr(below(other.size()), below(24)));
          break;
        default:
          if (at < text.size()) text[at] = static_cast<char>(' ' + below(95));
      }
    }
    if (survives(store, text)) ++good;
  }
  CHECK(good > 1000);
}

TEST_CASE("promql: random bytes are parsed or refused") {
  const SmallStore store;
  std::mt19937 random(9);
  for (std::size_t round = rounds(20'000); round > 0; --round) {
    std::string text;
    for (auto left = random() % 40; left > 0; --left) text += static_cast<char>(random() % 256);
    (void)survives(store, text);
  }
}

TEST_CASE("promql: long expressions are formatted as Prometheus's format_query does") {
  const auto format = [](std::string_view text) {
    const auto query = Query::parse(text);
    REQUIRE(query);
    return query->format();
  };
  CHECK(format("sum( m )") == "sum(m)");
  const std::string name = repeat("long_", 8) + "name";  // 44 characters
  CHECK(format("sum by(a)(rate(" + name + "[5m]) / rate(" + name + "[1h]))") ==
        "sum by (a) (\n    rate(" + name + "[5m])\n  /\n    rate(" + name + "[1h])\n)");
  CHECK(format("topk(3, (-" + name + " * on() group_left() " + name + "{a=\"b\"}))") ==
        "topk(\n  3,\n  (\n      -" + name + "\n    * on () group_left ()\n      " + name +
            "{a=\"b\"}\n  )\n)");
  CHECK(format("label_join(" + name + name + ", 'dst', '-', 'a')") ==
        "label_join(\n  " + name + name + ",\n  \"dst\",\n  \"-\",\n  \"a\"\n)");
  CHECK(format("min_over_time((" + name + " + " + name + ")[5m:1m] offset 1m)") ==
        "min_over_time(\n  (" + name + " + " + name + ")[5m:1m] offset 1m\n)");
  // So Prometheus does: a subquery that fits on its line is not indented.
  CHECK(format("abs(" + name + ") + min_over_time(" + name + "[5m:1m] offset 1m) - 12345") ==
        "    abs(" + name + ")\n  +\n    min_over_time(" + name + "[5m:1m] offset 1m)\n-\n  12345");
  CHECK(format("min_over_time(" + name + "_" + name + "[5m:1m])") ==
        "min_over_time(\n" + name + "_" + name + "[5m:1m]\n)");
}

TEST_CASE("promql: what an expression makes is limited, not only what it reads") {
  const SmallStore store;
  promql::Limits limits;
  limits.max_samples = 1'000'000;
  const auto error_of = [&](const std::string& text) {
    const auto query = Query::parse(text);
    REQUIRE(query);
    const auto value = query->instant(store, 600'000, limits);
    REQUIRE_FALSE(value);
    CHECK(value.error().code() == Errc::kExhausted);
    return value.error().message();
  };
  const std::string much = "query touches more than 1000000 samples";
  CHECK(error_of("sum_over_time(vector(1)[100y:1ms])") == much);
  CHECK(error_of("sum_over_time(vector(" + repeat("1+", 100) + "1)[10m:1ms])") == much);
  CHECK(error_of("count_over_time(sum_over_time(m[10m:10ms])[10m:1ms])") == much);
  // Each level would double the label.
  const std::string doubling = "label_replace(" + repeat("label_replace(", 39) + "m" +
                               repeat(", \"a\", \"$1$1\", \"a\", \"(.*)\")", 40);
  CHECK(error_of(doubling) == "label a would be 131072 bytes long, at most 65536 are allowed");

  limits.cancelled = [] { return true; };
  const auto query = Query::parse("sum_over_time((m + m)[10m:10ms])");
  REQUIRE(query);
  const auto stopped = query->instant(store, 600'000, limits);
  REQUIRE_FALSE(stopped);
  CHECK(stopped.error().code() == Errc::kCancelled);
}

}  // namespace nexus::knowledge::test
