// The side of promql_vs_*.py that is ours: evaluates the cases of a file and writes the results to
// another. Not part of a normal run; the scripts start it with NEXUS_PROMQL_CASES and
// NEXUS_PROMQL_RESULTS set.
//
//   input:  start <ms>                              the time of the first samples loaded from here
//   on
//           load <ms>\t<series in the notation of promql_fixture.hpp>
//           eval <ms>\t<expression>                 range <start> <end> <step>\t<expression>
//           print 0\t<expression>                   format 0\t<expression>
//   output: for each but the first two "case", then "error\t<message>" or the lines of the result:
//           "<labels>\t<value>", or "<labels>\t<ms>:<value> ...", or the text
#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>

#include "knowledge/promql_fixture.hpp"
#include "nexus/base/text.hpp"
#include "nexus/knowledge/promql.hpp"

namespace nexus::knowledge::test {
namespace {

void write_samples(std::ostream& out, const promql::Matrix& matrix) {
  for (const auto& series : matrix) {
    out << to_string(series.labels) << '\t';
    for (std::size_t i = 0; i < series.samples.size(); ++i) {
      out << (i > 0 ? " " : "") << series.samples.times[i] << ':'
          << base::format_double(series.samples.values[i]);
    }
    out << '\n';
  }
}

void write(std::ostream& out, const promql::Value& value) {
  if (const auto* scalar = std::get_if<promql::Scalar>(&value)) {
    out << "{}\t" << base::format_double(scalar->value) << '\n';
  } else if (const auto* matrix = std::get_if<promql::Matrix>(&value)) {
    write_samples(out, *matrix);
  } else if (const auto* text = std::get_if<std::string>(&value)) {
    out << *text << '\n';
  } else {
    for (const auto& element : std::get<promql::Vector>(value)) {
      out << to_string(element.labels) << '\t' << base::format_double(element.value) << '\n';
    }
  }
}

std::int64_t take_number(std::string_view& rest) {
  const auto number = base::parse_int(base::take_word(rest));
  REQUIRE(number);
  return *number;
}

Result<promql::Value> answer(const MemoryStore& store, std::string_view verb,
                             std::string_view arguments, std::string_view text) {
  const auto query = promql::Query::parse(text);
  if (!query) return std::unexpected(query.error());
  if (verb == "print") return promql::Value(query->to_string());
  if (verb == "format") return promql::Value(query->format());
  const std::int64_t time = take_number(arguments);
  if (verb == "eval") return query->instant(store, time);
  REQUIRE(verb == "range");
  const std::int64_t end = take_number(arguments);
  auto matrix = query->range(store, time, end, take_number(arguments));
  if (!matrix) return propagate(std::move(matrix));
  return promql::Value(std::move(*matrix));
}

}  // namespace

TEST_CASE("evaluate a file of promql cases", "[.promql-cases]") {
  const char* cases = std::getenv("NEXUS_PROMQL_CASES");
  const char* results = std::getenv("NEXUS_PROMQL_RESULTS");
  REQUIRE(cases != nullptr);
  REQUIRE(results != nullptr);
  std::ifstream in(cases);
  std::ofstream out(results);
  MemoryStore store;
  std::int64_t start = 0;
  for (std::string line; std::getline(in, line);) {
    std::string_view rest = line;
    const std::string_view verb = base::take_word(rest);
    std::string_view arguments = base::trim(base::take_until(rest, '\t'));
    if (verb == "start") {
      start = take_number(arguments);
    } else if (verb == "load") {
      store.load(rest, take_number(arguments), start);
    } else {
      out << "case\n";
      if (const auto value = answer(store, verb, arguments, rest)) {
        write(out, *value);
      } else {
        out << "error\t" << value.error().message() << '\n';
      }
    }
  }
}

}  // namespace nexus::knowledge::test
