#include "agent/commands/csv_problems.hpp"

#include <fmt/format.h>

#include <cstdio>

namespace nexus::agent {

void tell_problems(const std::string& file, const analyze::CsvTable& table) {
  for (const auto& problem : table.problems)
    fmt::print(stderr, "{}:{}: {}\n", file, problem.line, problem.message);
  if (table.problem_count > table.problems.size()) {
    fmt::print(stderr, "{}: and {} lines more\n", file,
               table.problem_count - table.problems.size());
  }
  for (const auto& name : table.left_out)
    fmt::print(stderr, "{}: column \"{}\" holds words and is left out\n", file, name);
}

}  // namespace nexus::agent
