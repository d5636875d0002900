// Surroundings: what the planner asks about a target's dependencies beside the configuration and
// the book of findings: what the manager says of a service, and what else a service needs (the
// manager's own dependencies, connections that were seen).
//
// Thread safety: all members, any thread. Nobody waits: answers come from what was learned last.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nexus::plan {

/// Something a service needs, and how that is known.
struct Need {
  std::string name;  // a unit
  std::string how;   // "systemd", "connections"
};

class Surroundings {
 public:
  virtual ~Surroundings() = default;
  /// Why this service cannot serve now, in one word of its manager ("inactive", "failed", ...).
  /// Absent: it can, or nothing is known of it.
  [[nodiscard]] virtual std::optional<std::string> down(std::string_view service) const = 0;
  /// What the service needs, besides what is configured.
  [[nodiscard]] virtual std::vector<Need> needs(std::string_view service) const = 0;
};

}  // namespace nexus::plan
