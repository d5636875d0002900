// The side of promql_vs_promtool.py that is ours: evaluates the cases of a file and writes the
// results to another. Not part of a normal run; the script starts it with NEXUS_PROMQL_CASES and
// NEXUS_PROMQL_RESULTS set.
//
//   input:  load <ms>\t<series in the notation of promql_fixture.hpp>      eval <ms>\t<expression>
//   output: for each eval "case", then "error" or one line "<labels>\t<value>" a series
#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>

#include "knowledge/promql_fixture.hpp"
#include "nexus/base/text.hpp"
#include "nexus/knowledge/promql.hpp"

namespace nexus::knowledge::test {
namespace {

void write(std::ostream& out, const Result<promql::Value>& value) {
  if (!value) {
    out << "error\t" << value.error().message() << '\n';
  } else if (const auto* scalar = std::get_if<promql::Scalar>(&*value)) {
    out << "{}\t" << base::format_double(scalar->value) << '\n';
  } else {
    for (const auto& element : std::get<promql::Vector>(*value)) {
      out << to_string(element.labels) << '\t' << base::format_double(element.value) << '\n';
    }
  }
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
  for (std::string line; std::getline(in, line);) {
    std::string_view rest = line;
    const std::string_view verb = base::take_word(rest);
    const auto millis = base::parse_int(base::trim(base::take_until(rest, '\t')));
    REQUIRE(millis);
    if (verb == "load") {
      store.load(rest, *millis);
      continue;
    }
    const auto query = promql::Query::parse(rest);
    out << "case\n";
    write(out, query ? query->instant(store, *millis) : std::unexpected(query.error()));
  }
}

}  // namespace nexus::knowledge::test
