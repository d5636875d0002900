// The flags that choose a configuration, shared by run and check. Thread safety: one thread.
#pragma once

#include <string>
#include <vector>

#include "nexus/base/result.hpp"
#include "nexus/config/load.hpp"

namespace CLI {
class App;
}

namespace nexus::agent {

struct ConfigFlags {
  std::string file = "/etc/nexus/agent.toml";
  std::vector<std::string> settings;  // --set key=value

  void add_to(CLI::App& command);
  /// An error names the --set that is not KEY=VALUE.
  [[nodiscard]] Result<config::LoadOptions> options() const;
};

}  // namespace nexus::agent
