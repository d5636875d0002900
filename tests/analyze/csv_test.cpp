#include <catch2/catch.hpp>
#include <cmath>

#include "nexus/analyze/csv.hpp"

using namespace nexus;
using namespace nexus::analyze;
using namespace std::chrono_literals;

namespace {

CsvTable parse(std::string_view text, const CsvOptions& options = {}) {
  auto table = parse_csv(text, options);
  INFO((table ? std::string() : table.error().message()));
  REQUIRE(table);
  return std::move(*table);
}

std::string failure(std::string_view text, const CsvOptions& options = {}) {
  const auto table = parse_csv(text, options);
  REQUIRE_FALSE(table);
  return table.error().message();
}

}  // namespace

TEST_CASE("csv: timestamps of every kind") {
  const auto unix_times = parse("timestamp,value\n1577836800,1\n1577837100,2.5\n");
  CHECK(unix_times.names == std::vector<std::string>{"value"});
  CHECK(unix_times.times == std::vector<std::int64_t>{1577836800000, 1577837100000});
  CHECK(unix_times.columns[0] == std::vector<double>{1, 2.5});
  CHECK(unix_times.timed);
  CHECK(unix_times.step(1s) == 300s);
  CHECK(unix_times.lines == std::vector<std::size_t>{2, 3});
  CHECK(unix_times.time_texts[1] == "1577837100");

  const std::int64_t at = 1392388200000;  // 2014-02-14 14:30
  CHECK(parse("Date;a\n2014-02-14 14:30:00;1\n").times[0] == at);
  CHECK(parse("2014-02-14 14:30,1\n2014-02-14 14:35,2\n").times[0] == at);
  CHECK(parse("2014-02-14 14:30,1\n2014-02-14 14:35,2\n").rows() == 2);
  CHECK(parse("when,a\n2014/02/14 14:30:00.250,1\n").times[0] == at + 250);
  CHECK(parse("ts,a\n2014-02-14T15:30:00+01:00,1\n").times[0] == at);
  CHECK(parse("ts,a\n1392388200000,1\n").times[0] == at);
  CHECK(parse("day,a\n2014-02-14,1\n").times[0] == at - (14 * 60 + 30) * 60'000);
}

TEST_CASE("csv: rows are counted where there is no time") {
  CsvOptions options;
  options.step = 5min;
  const auto bare = parse("1\n2\n3\n", options);
  CHECK(bare.names == std::vector<std::string>{"column1"});
  CHECK(bare.times == std::vector<std::int64_t>{0, 300'000, 600'000});
  CHECK_FALSE(bare.timed);
  const auto numbered = parse("time,v\n0,5\n1,6\n7,7\n", options);
  CHECK(numbered.times == std::vector<std::int64_t>{0, 300'000, 2'100'000});
  CHECK_FALSE(numbered.timed);
}

TEST_CASE("csv: a first column t is the time when it only grows") {
  const auto timed = parse("t,v\n1577836800,1\n1577837100,2\n1577837400,\n");
  CHECK(timed.names == std::vector<std::string>{"v"});
  CHECK(timed.times[1] == 1577837100000);
  const auto warm = parse("t,v\n21.5,1\n21.7,2\n21.6,3\n");
  CHECK(warm.names == std::vector<std::string>{"t", "v"});
  CHECK(parse("v,t\n1,1\n2,2\n").names == std::vector<std::string>{"v", "t"});
  CHECK(parse("t\n1\n2\n").names == std::vector<std::string>{"t"});
}

TEST_CASE("csv: without names a first column of Unix times that grow is the time, in any unit") {
  for (const char* unit : {"", "000", "000000", "000000000"}) {
    INFO(unit);
    const auto timed = parse(std::string("1577836800") + unit + ",1\n1577837100" + unit + ",2\n");
    CHECK(timed.names == std::vector<std::string>{"column2"});
    CHECK(timed.times == std::vector<std::int64_t>{1577836800000, 1577837100000});
  }
  CHECK(parse("1500000000,1\n1500001234,2\n1500033333,1\n1500054321,2\n").names.size() ==
        2);  // uneven
  // The unit is the column's: times since a start that pass a limit go on.
  CHECK(parse("ts,v\n99999000000000,1\n100001000000000,2\n").times ==
        std::vector<std::int64_t>{99'999'000'000, 100'001'000'000});
  // Numbers that are too small, that fall, or that have a name may be anything.
  CHECK(parse("300,1\n600,2\n").names.size() == 2);
  CHECK(parse("1577836800,1\n1577836700,2\n").names.size() == 2);
  CHECK(parse("sent_bytes,v\n1577836800,1\n1577837100,2\n").names.size() == 2);
  CHECK(parse("epoch,v\n1577836800,1\n1577836700,2\n").names.size() == 1);
}

TEST_CASE("csv: quotes, other separators, line ends, a byte order mark") {
  const auto quoted = parse("\xEF\xBB\xBF\"time\",\"a \"\"b\"\"\",\"c,d\"\r\n1e9,\"1\",2\r\n");
  CHECK(quoted.names == std::vector<std::string>{"a \"b\"", "c,d"});
  CHECK(quoted.columns[0][0] == 1);
  CHECK(parse("t|x\n1|2\n").names == std::vector<std::string>{"t", "x"});
  CHECK(parse("x\ty\n1,5\t2\n").columns[0][0] == 1.5);
  CHECK(parse("x;y\n1,5;2,25\n").columns[1][0] == 2.25);
  CHECK(parse("x,y\r1,2\r3,4\r").rows() == 2);
  const auto broken = parse("x,y\n\"two\nlines\",3\n4,5\n");
  CHECK(broken.lines == std::vector<std::size_t>{2, 4});
  CHECK(parse("x,y\n\n1,2\n\n\n3,4").lines == std::vector<std::size_t>{3, 6});
}

TEST_CASE("csv: missing values") {
  const auto table = parse(
      "timestamp,a,b\n1000000000,NaN,1\n1000000060,,2\n1000000120,Inf,-\n1000000180,4,null\n");
  CHECK(std::isnan(table.columns[0][0]));
  CHECK(std::isnan(table.columns[0][1]));
  CHECK(std::isnan(table.columns[0][2]));
  CHECK(table.columns[0][3] == 4);
  CHECK(std::isnan(table.columns[1][2]));
  CHECK(std::isnan(table.columns[1][3]));
  CHECK(table.problem_count == 0);
}

TEST_CASE("csv: what is wrong in a line is told with its number and costs no other") {
  const auto table = parse(
      "timestamp,a,b\n"
      "1000000000,1,2\n"
      "1000000060,1\n"
      "yesterday,1,2\n"
      "1000000120,one,2\n"
      "1000000180,\"1,2\n"
      "1000000240,5,6\n");
  CHECK(table.rows() == 3);
  CHECK(table.columns[0][2] == 5);
  CHECK(std::isnan(table.columns[0][1]));
  CHECK(table.columns[1][1] == 2);
  REQUIRE(table.problems.size() == 4);
  CHECK(table.problems[0].line == 3);
  CHECK(table.problems[0].message == "2 cells, expected 3 (timestamp, a, b); the row is skipped");
  CHECK(table.problems[1].line == 4);
  CHECK(table.problems[1].message.starts_with("\"yesterday\" is not a time (column timestamp)"));
  CHECK(table.problems[2].line == 5);
  CHECK(table.problems[2].message == "\"one\" is not a number (column a); it counts as missing");
  CHECK(table.problems[3].line == 6);
  CHECK(table.problems[3].message.starts_with("a quote that begins here does not end"));
}

TEST_CASE("csv: many mistakes are counted, the first are told") {
  std::string text = "a,b\n1,2\n";
  for (int i = 0; i < 1000; ++i) text += "1\n";
  const auto table = parse(text);
  CHECK(table.problem_count == 1000);
  CHECK(table.problems.size() == CsvTable::kMostProblems);
}

TEST_CASE("csv: columns of words are left out, columns can be chosen") {
  const std::string text = "timestamp,host,cpu,mem\n1000000000,web1,1,2\n1000000060,web2,3,4\n";
  const auto table = parse(text);
  CHECK(table.names == std::vector<std::string>{"cpu", "mem"});
  CHECK(table.left_out == std::vector<std::string>{"host"});
  CsvOptions options;
  options.columns = {"mem"};
  CHECK(parse(text, options).columns[0] == std::vector<double>{2, 4});
  options.columns = {"memory"};
  CHECK(failure(text, options) ==
        "line 1: there is no column \"memory\"; there are timestamp, host, cpu, mem");
  options = {};
  options.time_column = "mem";
  CHECK(parse(text, options).names == std::vector<std::string>{"timestamp", "cpu"});
}

TEST_CASE("csv: a thousand columns, and too many") {
  std::string text = "timestamp";
  for (int i = 0; i < 1000; ++i) text += ",m" + std::to_string(i);
  text += "\n1000000000";
  for (int i = 0; i < 1000; ++i) text += "," + std::to_string(i);
  CHECK(parse(text + "\n").columns[999][0] == 999);
  CHECK(failure(std::string(20'000, ',') + "\n").find("at most 10000") != std::string::npos);
}

TEST_CASE("csv: what is no table at all") {
  CHECK(failure("") == "there is no row in it");
  CHECK(failure("\n\n") == "there is no row in it");
  CHECK(failure("timestamp,value\n") == "there is a header (timestamp, value) but no row");
  CHECK(failure("a,b\n1\n").starts_with("no row can be read; line 2: 1 cells, expected 2"));
  CHECK(failure("a,b\nx,y\nz,w\n").starts_with("no column holds numbers"));
  CHECK(failure(std::string("a,b\n1,\0", 7)) == "line 2: a NUL byte; this is not a CSV file");
  CHECK(failure("\xFF\xFE").find("UTF-16") != std::string::npos);
  const auto missing = read_csv("/nonexistent/x.csv", {});
  REQUIRE_FALSE(missing);
  CHECK(missing.error().message().starts_with("open /nonexistent/x.csv"));
}

TEST_CASE("csv: the first row that does not go forward is known by its line") {
  const auto line = [](std::string_view text) {
    const auto table = parse_csv(text, {});
    REQUIRE(table);
    return table->first_not_later();
  };
  CHECK(line("time,v\n100,1\n200,2\n300,3\n") == 0);
  CHECK(line("time,v\n100,1\n\n200,2\n200,3\n150,3\n") == 5);
  CHECK(line("v\n1\n2\n") == 0);
}
