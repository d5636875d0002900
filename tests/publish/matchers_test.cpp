#include "nexus/publish/matchers.hpp"

#include <catch2/catch.hpp>

#include "nexus/publish/alert.hpp"

using namespace nexus;
using namespace nexus::publish;

namespace {

bool matches(std::string_view text, const config::StringMap& labels) {
  const auto parsed = parse_matchers(text);
  INFO(text);
  REQUIRE(parsed);
  return all_match(*parsed, labels);
}

std::string complaint(std::string_view text) {
  const auto parsed = parse_matchers(text);
  return parsed ? to_string(*parsed) : parsed.error().message();
}

}  // namespace

TEST_CASE("matchers are read as Alertmanager reads them") {
  const config::StringMap labels{{"a", "x"}, {"b", "two words, and \"more\""}};
  CHECK(matches("a=x", labels));
  CHECK(matches(" a = \"x\" ", labels));
  CHECK(matches("{a=\"x\",c=\"\"}", labels));
  CHECK(matches("{ a=~\"x|y\" , c!=\"z\", }", labels));
  CHECK(matches("{}", labels));
  CHECK(matches(R"(b="two words, and \"more\"")", labels));
  CHECK(matches(R"(b=~"two \w+,.*")", labels));
  CHECK(matches("c=\"\"", labels));
  CHECK(matches("c!~\".+\"", labels));
  CHECK_FALSE(matches("a=~\"\"", labels));
  CHECK_FALSE(matches("a!~x", labels));
  CHECK_FALSE(matches("a=~\"xx?y\"", labels));  // anchored at both ends
}

TEST_CASE("a bad matcher says what is wrong with it") {
  using Catch::Contains;
  CHECK_THAT(complaint(""), Contains("expected a matcher"));
  CHECK_THAT(complaint("=x"), Contains("expected the name of a label"));
  CHECK_THAT(complaint("a"), Contains("expected =, !=, =~ or !~ after a"));
  CHECK_THAT(complaint("a=\"x"), Contains("a quote is not closed"));
  CHECK_THAT(complaint("a=\"x\" b=\"y\""), Contains("expected a comma before b"));
  CHECK_THAT(complaint("{a=\"x\""), Contains("expected a }"));
  CHECK_THAT(complaint("a=~\"(\""), Contains("a=~"));
  CHECK_THAT(complaint("a=\"\xff\""), Contains("not valid UTF-8"));
}

TEST_CASE("matchers are written so that they can be read again") {
  for (const std::string text :
       {R"({a="x",b!="y"})", R"({a=~"x\\d+",b!~"\"q\""})", R"({a="line\nfeed"})"}) {
    CHECK(to_string(parse_matchers(text).value()) == text);
  }
}

TEST_CASE("fingerprints are Prometheus's") {
  // As Alertmanager 0.25 shows it for an alert with these labels.
  CHECK(to_hex(fingerprint_of({})) == "cbf29ce484222325");
  CHECK(to_hex(fingerprint_of({{"alertname", "disk"}, {"mount", "/"}})) == "f37780202cc14fef");
}
