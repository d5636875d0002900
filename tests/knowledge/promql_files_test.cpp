// Runs every tests/knowledge/promql/*.test; the format is in the README.md there.
#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>

#include "knowledge/promql_fixture.hpp"
#include "nexus/base/text.hpp"
#include "nexus/knowledge/promql.hpp"

namespace nexus::knowledge::test {
namespace {

struct Command {
  int line = 0;
  std::string text;
  std::vector<std::string> below;
};

std::vector<Command> read_commands(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::vector<Command> commands;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    const std::string_view content = base::trim(line);
    if (content.empty() || content.front() == '#') continue;
    if (line.front() == ' ') {
      commands.back().below.emplace_back(content);
    } else {
      commands.push_back({number, std::string(content), {}});
    }
  }
  return commands;
}

std::int64_t take_millis(std::string_view& rest) {
  std::string_view word = base::take_word(rest);
  const bool negative = word.starts_with('-');
  if (negative) word.remove_prefix(1);
  const auto duration = base::parse_duration(word);
  REQUIRE(duration);
  return negative ? -duration->count() : duration->count();
}

bool same(double expected, double actual, bool nearly) {
  if (std::isnan(expected) || std::isnan(actual)) return std::isnan(expected) && std::isnan(actual);
  if (nearly) return std::fabs(expected - actual) <= 1e-12 * std::fabs(expected);
  return expected == actual && std::signbit(expected) == std::signbit(actual);
}

using Row = std::vector<std::optional<double>>;

std::string show(const Row& row) {
  std::string out;
  for (const auto& value : row) out += ' ' + (value ? base::format_double(*value) : "_");
  return out;
}

class Runner {
 public:
  void run(const Command& command) {
    std::string_view rest = command.text;
    const std::string_view verb = base::take_word(rest);
    if (verb == "clear") {
      store_ = std::make_unique<MemoryStore>();
    } else if (verb == "load") {
      const std::int64_t interval = take_millis(rest);
      for (const std::string& line : command.below) store_->load(line, interval);
    } else if (verb == "parse_fail") {
      const auto query = promql::Query::parse(base::trim(rest));
      REQUIRE_FALSE(query);
      CHECK(query.error().message() == command.below.at(0));
    } else if (verb == "print") {
      const auto query = promql::Query::parse(base::trim(rest));
      REQUIRE(parsed(query));
      CHECK(query->to_string() == command.below.at(0));
    } else {
      REQUIRE((verb == "eval" || verb == "eval_fail"));
      evaluate(command, rest, verb == "eval_fail");
    }
  }

 private:
  static bool parsed(const Result<promql::Query>& query) {
    if (!query) UNSCOPED_INFO(query.error().message());
    return query.has_value();
  }

  static void expect_word(std::string_view& rest, std::string_view word) {
    REQUIRE(base::take_word(rest) == word);
  }

  Result<promql::Value> range(const promql::Query& query, std::int64_t start, std::int64_t end,
                              std::int64_t step) const {
    auto matrix = query.range(*store_, start, end, step);
    if (!matrix) return propagate(std::move(matrix));
    return promql::Value(std::move(*matrix));
  }

  void evaluate(const Command& command, std::string_view rest, bool fails) {
    const bool instant = base::take_word(rest) == "instant";
    expect_word(rest, instant ? "at" : "from");
    const std::int64_t start = take_millis(rest);
    std::int64_t end = start;
    std::int64_t step = 1;
    if (!instant) {
      expect_word(rest, "to");
      end = take_millis(rest);
      expect_word(rest, "step");
      step = take_millis(rest);
    }
    const auto query = promql::Query::parse(base::trim(rest));
    REQUIRE(parsed(query));
    const auto value = instant ? query->instant(*store_, start) : range(*query, start, end, step);
    if (fails) {
      REQUIRE_FALSE(value);
      CHECK_THAT(value.error().message(), Catch::Contains(command.below.at(0)));
      return;
    }
    if (!value) UNSCOPED_INFO(value.error().message());
    REQUIRE(value);
    compare(command.below, *value, start, end, step);
  }

  static void compare(const std::vector<std::string>& expected, const promql::Value& value,
                      std::int64_t start, std::int64_t end, std::int64_t step) {
    if (const auto* scalar = std::get_if<promql::Scalar>(&value)) {
      REQUIRE(expected.size() == 1);
      const bool nearly = expected[0].starts_with('~');
      const auto wanted = parse_values(expected[0].substr(nearly ? 1 : 0));
      INFO("got " << base::format_double(scalar->value));
      CHECK(same(*wanted.at(0), scalar->value, nearly));
      return;
    }
    if (const auto* text = std::get_if<std::string>(&value)) {
      CHECK(*text == expected.at(0));
      return;
    }
    std::map<std::string, Row> rows = to_rows(value, start, end, step);
    for (std::string_view line : expected) {
      const std::string name = to_string(parse_labels(take_selector(line)));
      const bool nearly = base::trim(line).starts_with('~');
      std::string values(line);
      std::erase(values, '~');
      INFO("expected " << name << values);
      REQUIRE(rows.contains(name));
      const Row& got = rows[name];
      INFO("got " << show(got));
      const auto wanted = parse_values(values);
      REQUIRE(wanted.size() == got.size());
      for (std::size_t i = 0; i < got.size(); ++i) {
        REQUIRE(wanted[i].has_value() == got[i].has_value());
        if (wanted[i]) CHECK(same(*wanted[i], *got[i], nearly));
      }
      rows.erase(name);
    }
    for (const auto& [name, row] : rows) FAIL_CHECK("unexpected " << name << show(row));
  }

  static std::map<std::string, Row> to_rows(const promql::Value& value, std::int64_t start,
                                            std::int64_t end, std::int64_t step) {
    std::map<std::string, Row> rows;
    if (const auto* vector = std::get_if<promql::Vector>(&value)) {
      for (const auto& element : *vector) {
        CHECK(element.time == start);
        CHECK(rows.emplace(to_string(element.labels), Row{element.value}).second);
      }
      return rows;
    }
    for (const auto& series : std::get<promql::Matrix>(value)) {
      const auto steps = static_cast<std::size_t>((end - start) / step + 1);
      // A range selector at an instant shows its raw samples, whatever their times.
      Row row(start == end ? series.samples.size() : steps);
      for (std::size_t i = 0; i < series.samples.size(); ++i) {
        const auto at = static_cast<std::size_t>((series.samples.times[i] - start) / step);
        row.at(start == end ? i : at) = series.samples.values[i];
      }
      CHECK(rows.emplace(to_string(series.labels), std::move(row)).second);
    }
    return rows;
  }

  std::unique_ptr<MemoryStore> store_ = std::make_unique<MemoryStore>();
};

}  // namespace

TEST_CASE("promql: the cases in tests/knowledge/promql") {
  std::vector<std::filesystem::path> files;
  for (const auto& entry :
       std::filesystem::directory_iterator(NEXUS_TEST_DATA "/knowledge/promql")) {
    if (entry.path().extension() == ".test") files.push_back(entry.path());
  }
  REQUIRE(files.size() >= 6);
  for (const auto& file : files) {
    DYNAMIC_SECTION(file.filename().string()) {
      Runner runner;
      for (const Command& command : read_commands(file)) {
        INFO(file.filename().string() << ":" << command.line << ": " << command.text);
        runner.run(command);
      }
    }
  }
}

}  // namespace nexus::knowledge::test
