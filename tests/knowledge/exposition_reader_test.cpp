#include "nexus/knowledge/exposition_reader.hpp"

#include <bit>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <random>

#include "nexus/base/text.hpp"

using namespace nexus;
using namespace nexus::knowledge;

namespace {

struct Collected final : ExpositionHandler {
  Status on_sample(const ExpositionSample& sample) override {
    if (sample.value == 666) return fail(Errc::kConflict, "no");
    samples.push_back(fmt::format("{} = {}{}", sample.head, base::format_double(sample.value),
                                  sample.time ? fmt::format(" @ {}", *sample.time) : ""));
    return {};
  }
  void on_type(std::string_view family, MetricType type) override {
    types.push_back(fmt::format("{} {}", family, to_string(type)));
  }
  void on_help(std::string_view family, std::string_view help) override {
    types.push_back(fmt::format("{}: {}", family, help));
  }
  void on_mistake(std::uint64_t line, const std::string& message) override {
    mistakes.push_back(fmt::format("{}: {}", line, message));
  }
  std::vector<std::string> samples;
  std::vector<std::string> types;
  std::vector<std::string> mistakes;
};

Collected read(std::string_view text, ExpositionFormat format, std::size_t cut) {
  Collected out;
  ExpositionReader reader(format, out);
  while (!text.empty()) {
    reader.feed(text.substr(0, cut));
    text.remove_prefix(std::min(cut, text.size()));
  }
  reader.finish();
  return out;
}

std::string head(std::string_view text) {
  const auto labels = parse_exposition_head(text);
  return labels ? to_string(Labels(*labels)) : labels.error().message();
}

}  // namespace

TEST_CASE("exposition text: samples, families and mistakes, wherever it is cut") {
  constexpr std::string_view kText =
      "# HELP a What a is, \\\\ and more\n# TYPE a counter\n"
      "a{x=\"1\",y=\"}\"} 1\r\n"
      "a{x=\"2\"} NaN 1700000000123\n"
      "  b\t+Inf\n"
      "b{} -1.5e3 -7\n"
      "c { d = \"e\" } 2\n"
      "{\"quoted.name\",x=\"y\"} 3\n"
      "# a comment\n#\n"
      "a{x=\"\\\"\\n\"} 4\n"
      "bad\n"
      "bad{ 1\n"
      "bad 1 2 3\n"
      "bad 1 1.5\n"
      "bad 0x10\n"
      "bad 666\n"
      "d 1 # {trace=\"x\"} 1\n"
      "last 9";
  const auto whole = read(kText, ExpositionFormat::kText, kText.size());
  CHECK(whole.samples == std::vector<std::string>{
                             "a{x=\"1\",y=\"}\"} = 1", "a{x=\"2\"} = NaN @ 1700000000123",
                             "b = +Inf", "b{} = -1500 @ -7", "c { d = \"e\" } = 2",
                             "{\"quoted.name\",x=\"y\"} = 3", "a{x=\"\\\"\\n\"} = 4", "last = 9"});
  CHECK(whole.types == std::vector<std::string>{"a: What a is, \\\\ and more", "a counter"});
  CHECK(whole.mistakes ==
        std::vector<std::string>{"12: expected a metric and a value",
                                 "13: expected a metric and a value",
                                 "14: expected the end of the line after the timestamp",
                                 "15: expected Unix milliseconds as the timestamp, got \"1.5\"",
                                 "16: expected a number as the value, got \"0x10\"", "17: no",
                                 "18: expected Unix milliseconds as the timestamp, got \"#\""});
  for (const std::size_t cut : {1U, 2U, 5U, 17U}) {
    const auto cut_up = read(kText, ExpositionFormat::kText, cut);
    CHECK(cut_up.samples == whole.samples);
    CHECK(cut_up.mistakes == whole.mistakes);
  }
}

TEST_CASE("OpenMetrics text: seconds, exemplars and its end") {
  Collected out;
  ExpositionReader reader(exposition_format("application/openmetrics-text; version=1.0.0"), out);
  reader.feed("# TYPE a counter\na_total 1 1700000000.25 # {trace=\"}\"} 1 2\na_total 2\n");
  CHECK_FALSE(reader.ended());
  reader.feed("# EOF\nb 1\n");
  reader.finish();
  CHECK(reader.ended());
  CHECK(out.samples == std::vector<std::string>{"a_total = 1 @ 1700000000250", "a_total = 2"});
  CHECK(out.mistakes == std::vector<std::string>{"5: nothing may follow # EOF"});
  CHECK(exposition_format("text/plain; version=0.0.4") == ExpositionFormat::kText);
}

TEST_CASE("heads: labels in all their spellings, and what is wrong with the others") {
  CHECK(head("a") == "a");
  CHECK(head("a{}") == "a");
  CHECK(head("a {b=\"c\" , d=\"e\",}") == "a{b=\"c\",d=\"e\"}");
  CHECK(head("a{b=\"x\\\\y\\\"z\\nü\"}") == "a{b=\"x\\\\y\\\"z\\nü\"}");
  CHECK(parse_exposition_head("{\"my.metric\",\"my.label\"=\"v\"}")->at(0).value == "my.metric");
  CHECK(parse_exposition_head("{\"my.metric\",\"my.label\"=\"v\"}")->at(1).name == "my.label");
  CHECK(head("{b=\"c\"}") == "expected a metric name");
  CHECK(head("a{\"b\",c=\"d\"}") == "expected one metric name");
  CHECK(head("a{b=\"c\",b=\"d\"}") == "expected the label b once");
  CHECK(head("a{b=\"c\"d=\"e\"}") == "expected a comma or } after a label");
  CHECK(head("a{1=\"c\"}") == "expected a label name");
  CHECK(head("a{b=c}") == "expected =\" after the label's name");
  CHECK(head("a{b=\"\xff\"}") == "not valid UTF-8");
}

TEST_CASE("exposition text: a number is the double that is nearest to it, however it is written") {
  std::mt19937_64 random(11);
  const auto check = [](const std::string& text) {
    CAPTURE(text);
    const auto sample = parse_exposition_line("a " + text, ExpositionFormat::kText);
    REQUIRE(sample);
    const double expected = std::strtod(text.c_str(), nullptr);
    REQUIRE(std::bit_cast<std::uint64_t>(sample->value) == std::bit_cast<std::uint64_t>(expected));
  };
  for (int i = 0; i < 100'000; ++i) {
    const std::uint64_t digits = random() >> (random() % 64);
    std::string text = std::to_string(digits);
    if (random() % 2 == 0) text.insert(1 + random() % text.size(), ".");
    if (text.back() == '.') text += '0';
    if (random() % 3 == 0) text.insert(0, "-");
    if (random() % 2 == 0) {
      text += random() % 2 == 0 ? "e" : "E";
      const char* const signs[] = {"", "+", "-"};
      text += signs[random() % 3] + std::to_string(random() % 60);
    }
    check(text);
  }
  for (const char* text : {"0", "-0", "0.0", "-0e5", "9007199254740993", "9007199254740992", "1e22",
                           "1e23", "00012.5", "123456789012345678901234567890"}) {
    check(text);
  }
  for (const char* text : {"1e", "1e+", "1e1x", "e5", ".e5", "1.2.3", "--1", "1e1.5", "0x10"}) {
    CAPTURE(text);
    CHECK(!parse_exposition_line("a " + std::string(text), ExpositionFormat::kText));
  }
}

TEST_CASE("exposition text: what follows a head is the rest of the line, or more of the head") {
  const auto after = [](std::string_view rest) {
    return parse_after_head(rest, ExpositionFormat::kOpenMetrics);
  };
  CHECK(after(" 1 2")->value().time == 2000);
  CHECK(after("\t1")->value().value == 1);
  CHECK(!after(" {x=\"1\"} 1"));
  CHECK(!after("_total 1"));
  CHECK(!after(""));
  CHECK(!after(" x")->has_value());
}

TEST_CASE("exposition text: a long line is bounded and costs only itself") {
  const std::string text = "a{b=\"" + std::string(200'000, 'x') + "\"} 1\nc 1\n";
  for (const std::size_t cut : {text.size(), std::size_t{1000}}) {
    const auto out = read(text, ExpositionFormat::kText, cut);
    CHECK(out.samples == std::vector<std::string>{"c = 1"});
    CHECK(out.mistakes == std::vector<std::string>{"1: longer than 65536 bytes"});
  }
}
