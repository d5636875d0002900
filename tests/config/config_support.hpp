// What the tests of this room share: files in a temporary directory, an environment, problems as
// text.
#pragma once

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "nexus/config/load.hpp"
#include "support/temporary_directory.hpp"

namespace nexus::config {

inline std::vector<std::string> shown(const std::vector<Problem>& problems) {
  std::vector<std::string> out;
  for (const auto& problem : problems) out.push_back(to_string(problem));
  return out;
}

inline auto environment(std::map<std::string, std::string> variables) {
  return [variables = std::move(variables)](const std::string& name) -> std::optional<std::string> {
    const auto at = variables.find(name);
    return at == variables.end() ? std::nullopt : std::optional(at->second);
  };
}

using nexus::test::TemporaryDirectory;

}  // namespace nexus::config
