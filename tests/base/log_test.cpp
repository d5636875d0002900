#include <algorithm>
#include <catch2/catch.hpp>

#include "nexus/base/log.hpp"
#include "nexus/base/text.hpp"

using namespace nexus;
using log::Format;
using log::Level;

namespace {

std::string text(std::string_view message) {
  return log::render(Format::kText, Level::kInfo, "test", message);
}
std::string json(std::string_view message) {
  return log::render(Format::kJson, Level::kWarning, "test", message);
}

}  // namespace

TEST_CASE("an event is one line of text or one JSON object") {
  CHECK(text("hello \"world\" \\ grün") == "test: hello \"world\" \\ grün");
  CHECK(json("hello \"world\" \\ grün") ==
        R"({"level":"warning","component":"test","message":"hello \"world\" \\ grün"})");
}

TEST_CASE("a message can neither forge a line nor command a terminal") {
  CHECK(text("a\n2026-11-24T00:00:00Z error agent: forged") ==
        "test: a 2026-11-24T00:00:00Z error agent: forged");
  CHECK(text("a\r\x1b[2Jb\x7f") == R"(test: a\x0d\x1b[2Jb\x7f)");
  CHECK(text("a\u009b2Jb\u2028c\u2029") == "test: a\\x9b2Jb\\u2028c\\u2029");
  CHECK(json("a\n\r\x1b\x7f\u0085\u2028")
            .ends_with(R"("message":"a\u000a\u000d\u001b\u007f\u0085\u2028"})"));
  CHECK(log::render(Format::kText, Level::kInfo, "a\nb", "c") == "a b: c");
}

TEST_CASE("whatever bytes a message holds, the line is valid UTF-8 without control characters") {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) {
    all += static_cast<char>(byte);
    all += static_cast<char>(255 - byte);
  }
  for (const std::string& message :
       {all, std::string("\xC2"), std::string("a\xE2\x80"), std::string("\xF0\x9F\x98"),
        std::string("\xED\xA0\x80"), std::string(1, '\0')}) {
    for (const auto& line : {text(message), json(message)}) {
      CHECK(base::is_valid_utf8(line));
      CHECK(std::ranges::none_of(line, [](unsigned char c) { return c < 0x20 || c == 0x7F; }));
    }
  }
  CHECK(text("a\xFF"
             "b") ==
        "test: a\xEF\xBF\xBD"
        "b");
}
