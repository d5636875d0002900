#include "nexus/knowledge/open_metrics.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <map>
#include <utility>

#include "nexus/base/text.hpp"
#include "nexus/knowledge/importer.hpp"

using namespace nexus;
using namespace nexus::knowledge;

namespace {

struct Read {
  std::vector<std::string> samples;   // "head time value", a * in front when the labels are new
  std::vector<std::string> mistakes;  // "line: message"
};

Read read(std::string_view text, std::size_t cut) {
  Read out;
  std::uint64_t before = 0;
  std::map<std::uint64_t, Labels> by_number;
  OpenMetricsReader reader(
      [&](const Labels& labels, std::uint64_t series, std::int64_t time, double value) -> Status {
        CHECK(by_number.try_emplace(series, labels).first->second == labels);
        const bool same = std::exchange(before, series) == series;
        if (value == 666) return fail(Errc::kConflict, "no");
        out.samples.push_back(fmt::format("{}{} {} {}", same ? "" : "*", to_string(labels), time,
                                          base::format_double(value)));
        return {};
      },
      [&](std::uint64_t line, const std::string& message) {
        out.mistakes.push_back(fmt::format("{}: {}", line, message));
      });
  while (!text.empty()) {
    reader.feed(text.substr(0, cut));
    text.remove_prefix(std::min(cut, text.size()));
  }
  reader.finish();
  return out;
}

constexpr std::string_view kText =
    "# TYPE a counter\n# HELP a What\n"
    "a_total 1 1700000000\n"
    "a_total 2 1700000000.5 # {trace_id=\"x\"} 1 2\n"
    "a_total{x=\"1\"} +Inf 1700000001.007\r\n"
    "\n"
    "b{y=\"a \\\"b\\\" \\\\ \\n }\",x=\"ü\",} NaN 1e9\n"
    "b{} -2.5e3 -1\n"
    "bad\n"
    "bad{ 1 2\n"
    "bad{a=1} 1 2\n"
    "bad{a=\"1\" b=\"2\"} 1 2\n"
    "bad{a=\"1\",a=\"2\"} 1 2\n"
    "1bad 1 2\n"
    "bad x 2\n"
    "bad 1\n"
    "bad 1 x\n"
    "bad 1 2 3\n"
    "bad 666 2\n"
    "c 3 4\n"
    "# EOF\n"
    "d 1 2";

}  // namespace

TEST_CASE("OpenMetrics: samples and mistakes with their lines, wherever the text is cut") {
  const auto whole = read(kText, kText.size());
  CHECK(whole.samples ==
        std::vector<std::string>{"*a_total 1700000000000 1", "a_total 1700000000500 2",
                                 "*a_total{x=\"1\"} 1700000001007 +Inf",
                                 "*b{x=\"ü\",y=\"a \\\"b\\\" \\\\ \\n }\"} 1000000000000 NaN",
                                 "*b -1000 -2500", "*c 4000 3"});
  CHECK(whole.mistakes ==
        std::vector<std::string>{
            "9: expected a metric and a value", "10: expected a metric and a value",
            "11: expected =\" after the label's name", "12: expected a comma or } after a label",
            "13: expected the label a once", "14: expected a metric name",
            "15: expected a number as the value, got \"x\"",
            "16: expected a timestamp after the value",
            "17: expected Unix seconds as the timestamp, got \"x\"",
            "18: expected the end of the line after the timestamp", "19: no",
            "22: nothing may follow # EOF"});
  for (const std::size_t cut : {1U, 2U, 3U, 7U, 64U}) {
    const auto cut_up = read(kText, cut);
    CHECK(cut_up.samples == whole.samples);
    CHECK(cut_up.mistakes == whole.mistakes);
  }
}

TEST_CASE("OpenMetrics: names in quotes") {
  const auto got = read(
      "{\"http.requests\",\"service.name\"=\"a\",zone=\"x\"} 1 2\n"
      "{\"größe\"} 3 4\n"
      "up{\"a b\"=\"c\"} 5 6\n"
      "{zone=\"x\"} 1 2\n"
      "{\"zone\"=\"x\"} 1 2\n"
      "{\"a\",\"b\"} 1 2\n"
      "up{\"b\"} 1 2\n"
      "{\"\"} 1 2\n"
      "up{__name__=\"x\"} 1 2\n"
      "{\"open 1 2\n",
      7);
  CHECK(got.samples ==
        std::vector<std::string>{"*{\"http.requests\",\"service.name\"=\"a\",zone=\"x\"} 2000 1",
                                 "*{\"größe\"} 4000 3", "*up{\"a b\"=\"c\"} 6000 5"});
  CHECK(got.mistakes ==
        std::vector<std::string>{"4: expected a metric name", "5: expected a metric name",
                                 "6: expected one metric name", "7: expected one metric name",
                                 "8: expected a metric name", "9: expected the label __name__ once",
                                 "10: expected a metric and a value"});
}

TEST_CASE("OpenMetrics: a line without end is bounded and costs only itself") {
  const std::string text = "a{b=\"" + std::string(200'000, 'x') + "\"} 1 2\nc 1 2\n";
  for (const std::size_t cut : {std::size_t{1000}, text.size()}) {
    const auto out = read(text, cut);
    CHECK(out.samples == std::vector<std::string>{"*c 2000 1"});
    CHECK(out.mistakes == std::vector<std::string>{"1: longer than 65536 bytes"});
  }
}

TEST_CASE("import: ascending samples of series that the history does not hold") {
  base::ManualClock clock;
  SelfMetrics self;
  SeriesRegistry registry(100);
  History history(registry, {});
  Rings rings(1 << 12);
  Importer importer(clock, registry, history, rings, self);
  const auto now = base::to_unix_millis(clock.wall()) / 1000;
  const auto drain = [&] { rings.drain([&](const BatchView& batch) { history.append(batch); }); };
  const auto held = registry.intern(Labels("held", {})).value();
  const double one = 1;
  history.append({1, (now - 5) * 1000, {&held, 1}, {&one, 1}});
  const auto text = fmt::format("a 1 {}\na 2 {}\na 3 {}\nheld 9 {}\nb 1 {}\nb 1 {}\n", now - 100,
                                now - 99, now - 99, now - 100, now - 90'000, now + 3600);
  const auto first = importer.import(text, Millis(86'400'000));
  CHECK(first.accepted == 2);
  CHECK(first.refused == 4);
  CHECK(first.lines == 6);
  REQUIRE(first.mistakes.size() == 4);
  CHECK(first.mistakes[0].line == 3);
  CHECK(first.mistakes[0].message == "not newer than the sample before it");
  CHECK(first.mistakes[1].message == "held: the history has samples of this series already");
  CHECK(first.mistakes[2].message == "older than the history keeps (1d)");
  CHECK(first.mistakes[3].message == "in the future");
  drain();
  const auto id = registry.intern(Labels("a", {})).value();
  Column column;
  history.read(id, 0, now * 1000, column);
  CHECK(column.times == std::vector<std::int64_t>{(now - 100) * 1000, (now - 99) * 1000});
  CHECK(column.values == std::vector<double>{1, 2});
  // It goes on where it was, and not before.
  const auto next =
      importer.import(fmt::format("a 9 {}\na 4 {}\n", now - 99, now - 98), Millis(86'400'000));
  CHECK(next.accepted == 1);
  CHECK(next.refused == 1);
}

TEST_CASE("import: a full ring ends it at a line, and the rest can be sent again") {
  base::ManualClock clock;
  SelfMetrics self;
  SeriesRegistry registry(100);
  History history(registry, {});
  Rings rings(64);
  Importer importer(clock, registry, history, rings, self);
  const auto now = base::to_unix_millis(clock.wall()) / 1000;
  std::string text;
  for (int i = 0; i < 500; ++i) text += fmt::format("a{{b=\"c\"}} {} {}\n", i, now - 600 + i);
  std::uint64_t accepted = 0;
  int turns = 0;
  for (; !text.empty() && turns < 500; ++turns) {
    const auto part = importer.import(text, Millis(86'400'000));
    CHECK(part.refused == 0);
    accepted += part.accepted;
    for (std::uint64_t i = 0; i < part.lines; ++i) text.erase(0, text.find('\n') + 1);
    rings.drain([&](const BatchView& batch) { history.append(batch); });
  }
  CHECK(turns > 1);
  CHECK(accepted == 500);
  CHECK(history.stats().samples == 500);
}
