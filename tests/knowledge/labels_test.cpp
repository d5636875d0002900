#include "nexus/knowledge/labels.hpp"

#include <catch2/catch.hpp>

#include "nexus/knowledge/queryable.hpp"

namespace nexus::knowledge {
namespace {

Matcher matcher(std::string name, MatchOp op, std::string value) {
  auto made = Matcher::make(std::move(name), op, std::move(value));
  REQUIRE(made.has_value());
  return *made;
}

TEST_CASE("labels are sorted, without empty values, and the last of equal names wins") {
  const Labels labels("up", {{"job", "a"}, {"instance", "x"}, {"job", "b"}, {"empty", ""}});
  CHECK(to_string(labels) == R"(up{instance="x",job="b"})");
  CHECK(labels.size() == 3);
  CHECK(labels.metric() == "up");
  CHECK(labels.get("absent").empty());
  CHECK(Labels("up", {{"a", "1"}, {"a", ""}}) == Labels("up", {}));
}

TEST_CASE("invalid UTF-8 is replaced in names and values") {
  const Labels labels("m", {{"a", "x\xffy"}});
  CHECK(labels.get("a") == "x\xef\xbf\xbdy");
}

TEST_CASE("labels are copied without, with only, and with one more") {
  const Labels labels("m", {{"a", "1"}, {"b", "2"}});
  const std::vector<std::string> names{"a", "__name__"};
  CHECK(to_string(labels.without(names)) == R"({b="2"})");
  CHECK(to_string(labels.only(names)) == R"(m{a="1"})");
  CHECK(to_string(labels.with("c", "3")) == R"(m{a="1",b="2",c="3"})");
  CHECK(labels.with("a", "") == Labels("m", {{"b", "2"}}));
  CHECK(labels.with("a", "9").get("a") == "9");
}

TEST_CASE("labels print as PromQL reads them") {
  CHECK(to_string(Labels("m", {})) == "m");
  CHECK(to_string(Labels()) == "{}");
  CHECK(to_string(Labels("a:b", {{"x", "q\"\\\n"}})) == R"(a:b{x="q\"\\\n"})");
  CHECK(to_string(Labels("odd name", {{"k-1", "v"}})) == R"({"odd name","k-1"="v"})");
}

TEST_CASE("equal labels have equal hashes, whatever their order was") {
  const Labels one("m", {{"a", "1"}, {"b", "2"}});
  const Labels two("m", {{"b", "2"}, {"a", "1"}});
  const Labels swapped("m", {{"a", "2"}, {"b", "1"}});
  CHECK(one.hash() == two.hash());
  CHECK(one.hash() != swapped.hash());
}

TEST_CASE("matchers: the four operators and absent labels") {
  const Labels labels("m", {{"mode", "idle"}});
  CHECK(matcher("mode", MatchOp::kEqual, "idle").matches(labels));
  CHECK_FALSE(matcher("mode", MatchOp::kNotEqual, "idle").matches(labels));
  CHECK(matcher("mode", MatchOp::kRegex, "idle|iowait").matches(labels));
  CHECK_FALSE(matcher("mode", MatchOp::kNotRegex, "i.*").matches(labels));
  CHECK(matcher("cpu", MatchOp::kEqual, "").matches(labels));
  CHECK(matcher("cpu", MatchOp::kRegex, ".*").matches(labels));
  CHECK_FALSE(matcher("cpu", MatchOp::kRegex, ".+").matches(labels));
}

TEST_CASE("regular expressions are anchored at both ends and . matches newlines") {
  CHECK_FALSE(matcher("a", MatchOp::kRegex, "dl").matches("idle"));
  CHECK_FALSE(matcher("a", MatchOp::kRegex, "a|b").matches("ab"));
  CHECK(matcher("a", MatchOp::kRegex, "x.y").matches("x\ny"));
}

TEST_CASE("a bad regular expression is refused and named") {
  const auto made = Matcher::make("mode", MatchOp::kRegex, "a(");
  REQUIRE_FALSE(made.has_value());
  CHECK(made.error().code() == Errc::kInvalidArgument);
  CHECK_THAT(made.error().message(), Catch::Contains("mode") && Catch::Contains("a("));
}

TEST_CASE("what a regular expression may take is bounded, and lists of names fit") {
  const auto repeat = [](std::string_view part, std::size_t times) {
    std::string out;
    for (std::size_t i = 0; i < times; ++i) out += part;
    return out;
  };
  const auto refusal = [](std::string pattern) {
    const auto made = Matcher::make("a", MatchOp::kRegex, std::move(pattern));
    REQUIRE_FALSE(made.has_value());
    CHECK(made.error().code() == Errc::kInvalidArgument);
    return made.error().message();
  };
  CHECK_THAT(refusal("(\\pL{200}x)"), Catch::Contains("pattern too large"));
  CHECK_THAT(refusal(repeat("x{0,1000}", 5)), Catch::Contains("at most 4096 repetitions"));
  CHECK_THAT(refusal(repeat("x{0,999999999999999999999}", 1)), Catch::Contains("repetition"));
  CHECK(matcher("a", MatchOp::kRegex, "[a-z]{2,1000}[0-9]{1,4}\\{99999").matches("ab7{99999"));
  // As long as a query may be.
  std::string names = "node0000";
  for (int i = 1; names.size() < (64U << 10) - 100; ++i)
    names += "|" + std::string(i % 2 == 0 ? "Ω" : "") + "node" + std::to_string(i * 7919);
  const Matcher list = matcher("a", MatchOp::kRegex, names);
  CHECK(list.matches("node7919"));
  CHECK(list.matches("Ωnode15838"));
  CHECK_FALSE(list.matches("node15838"));
  CHECK(matcher("a", MatchOp::kRegex, repeat(".*error.*|", 100) + "x").matches("an error here"));
  CHECK(matcher("a", MatchOp::kRegex, "(?i)(https?://)?[\\w.-]+\\.[a-z]{2,63}(:\\d{1,5})?/.*")
            .matches("HTTP://example.org:8080/a"));
}

TEST_CASE("a matcher prints as it is written") {
  CHECK(to_string(matcher("a", MatchOp::kNotRegex, "x\"y")) == R"(a!~"x\"y")");
}

TEST_CASE("the stale marker is one NaN among many") {
  CHECK(is_stale_marker(stale_marker()));
  CHECK_FALSE(is_stale_marker(std::numeric_limits<double>::quiet_NaN()));
  CHECK_FALSE(is_stale_marker(0));
}

}  // namespace
}  // namespace nexus::knowledge
