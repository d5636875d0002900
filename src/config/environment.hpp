// The environment variables of DESIGN.md section 7 as a source of configuration. Thread safety:
// pure functions.
#pragma once

#include <string>
#include <vector>

#include "config/node.hpp"
#include "nexus/config/load.hpp"

namespace nexus::config {

/// A value for a dotted key from outside the files.
struct Setting {
  std::string source;  // "environment variable LOG_LEVEL"
  std::string key;     // "agent.log_level"
  Node value;
};

/// One for each variable that is set and not empty.
[[nodiscard]] std::vector<Setting> environment_settings(const LoadOptions& options);
[[nodiscard]] std::vector<Setting> override_settings(const LoadOptions& options);

/// The tables around the value, as if a file had said it.
[[nodiscard]] Node as_document(const Setting& setting);

}  // namespace nexus::config
