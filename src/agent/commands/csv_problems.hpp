// What was wrong with a CSV file, for people: on standard error, by line.
//
// Thread safety: pure, but for standard error.
#pragma once

#include <string>

#include "nexus/analyze/csv.hpp"

namespace nexus::agent {

void tell_problems(const std::string& file, const analyze::CsvTable& table);

}  // namespace nexus::agent
