#include <catch2/catch.hpp>
#include <cmath>

#include "nexus/base/id.hpp"
#include "nexus/base/markup.hpp"
#include "nexus/base/text.hpp"

using namespace nexus;
using namespace std::chrono_literals;

TEST_CASE("durations are read as Prometheus writes them, bare numbers as seconds") {
  CHECK(base::parse_duration("250ms").value() == 250ms);
  CHECK(base::parse_duration("1h30m").value() == 90min);
  CHECK(base::parse_duration("1d").value() == 24h);
  CHECK(base::parse_duration("30").value() == 30s);
  CHECK(base::parse_duration("0.5").value() == 500ms);
  for (const char* bad : {"", "5x", "m", "30m1h", "-5s", "1s1s", "1 s", "NaN", "9999999999y"}) {
    INFO(bad);
    CHECK_FALSE(base::parse_duration(bad).has_value());
  }
  CHECK(base::format_duration(90min) == "1h30m");
  CHECK(base::format_duration(0ms) == "0s");
  CHECK(base::format_duration(36h + 250ms) == "1d12h250ms");
}

TEST_CASE("sizes take binary suffixes and refuse overflow") {
  CHECK(base::parse_bytes("64MiB").value() == 64ULL << 20);
  CHECK(base::parse_bytes("2G").value() == 2ULL << 30);
  CHECK(base::parse_bytes("4096").value() == 4096);
  CHECK(base::parse_bytes("512 kB").value() == 512ULL << 10);
  for (const char* bad : {"", "x", "-1", "1Q", "99999999999T", "1MiBB"})
    CHECK_FALSE(base::parse_bytes(bad).has_value());
}

TEST_CASE("numbers are strict and complete") {
  CHECK(base::parse_double("1e3").value() == 1000);
  CHECK(base::parse_double("+Inf").value() == HUGE_VAL);
  CHECK(base::parse_double("-inf").value() == -HUGE_VAL);
  CHECK(std::isnan(base::parse_double("NaN").value()));
  for (const char* bad : {"", "1x", " 1", "nan(1)", "0x10", "--1", "+-1", "e5"})
    CHECK_FALSE(base::parse_double(bad));
  CHECK(base::parse_uint("18446744073709551615").value() == UINT64_MAX);
  CHECK_FALSE(base::parse_uint("18446744073709551616"));
  CHECK(base::format_double(0.1 + 0.2) == "0.30000000000000004");
  CHECK(base::format_double(-HUGE_VAL) == "-Inf");
}

TEST_CASE("times: RFC 3339 with offsets and fractions, and Unix seconds") {
  CHECK(base::to_rfc3339(base::parse_time("2026-11-23T17:32:54.123Z").value()) ==
        "2026-11-23T17:32:54.123Z");
  CHECK(base::to_rfc3339(base::parse_time("2026-11-23T18:32:54+01:00").value()) ==
        "2026-11-23T17:32:54.000Z");
  CHECK(base::to_unix_millis(base::parse_time("1700000000.5").value()) == 1700000000500);
  for (const char* bad :
       {"", "yesterday", "2026-11-23", "2026-11-23T17:32:54", "2026-11-23T17:32:54+25:00", "NaN"}) {
    CHECK_FALSE(base::parse_time(bad).has_value());
  }
}

TEST_CASE("invalid UTF-8 is found and replaced") {
  CHECK(base::is_valid_utf8("gr\xC3\xBC\xC3\x9F"));
  for (const char* bad : {"\xC0\x80", "\xED\xA0\x80", "\xF5\x80\x80\x80", "\xE2\x82", "a\xFF"}) {
    CHECK_FALSE(base::is_valid_utf8(bad));
    CHECK(base::is_valid_utf8(base::sanitize_utf8(bad)));
  }
}

TEST_CASE("markup is plain text once it is escaped") {
  CHECK(base::escape_markup("<a href=\"x\">&amp;</a> \xc3\xbc") ==
        "&lt;a href=&quot;x&quot;&gt;&amp;amp;&lt;/a&gt; \xc3\xbc");
  CHECK(base::escape_markup("\"<&>\"", "&<>") == "\"&lt;&amp;&gt;\"");
  CHECK(base::escape_markup("").empty());
}

TEST_CASE("ids are unique, ordered by time and well formed") {
  const auto early = base::make_id(base::from_unix_millis(1'000));
  const auto late = base::make_id(base::from_unix_millis(2'000));
  CHECK(base::is_id(early));
  CHECK(early < late);
  CHECK(base::make_id(base::from_unix_millis(1'000)) != early);
  CHECK_FALSE(base::is_id("../../etc/passwd"));
  CHECK(base::random_hex(16).size() == 32);
}
