// How services are called, whatever runs them: KIND:NAME, and without a kind a unit of systemd.
//
//   web, web.service, systemd:web      a unit; web@ and web@.service: all instances of a template
//   docker:web                         a container, of Docker or of Podman (podman:web is the same)
//   docker:shop/web                    all containers of Compose's service "web" in project "shop"
//   kubernetes:NAMESPACE/KIND/NAME     kubernetes:default/deployment/web
//   process:PID:START                  a process that nobody manages; START: see host/process.hpp
//
// Targets of actions, names in HTTP paths, on the command line and in patterns of protected things
// are written like this. Thread safety: pure functions.
#pragma once

#include <array>
#include <string>
#include <string_view>

namespace nexus::config {

inline constexpr std::string_view kUnitKind = "systemd";
inline constexpr std::array<std::string_view, 4> kServiceKinds{kUnitKind, "docker", "kubernetes",
                                                               "process"};

struct ServiceName {
  std::string kind;  // one of kServiceKinds
  std::string name;  // without the kind, as it was written
  bool operator==(const ServiceName&) const = default;

  [[nodiscard]] bool is_unit() const noexcept { return kind == kUnitKind; }
};

/// Takes anything: what begins with no kind is a unit. Whether there can be such a name is its
/// manager's to say.
[[nodiscard]] ServiceName parse_service_name(std::string_view text);
/// "docker:web"; of a unit the name alone.
[[nodiscard]] std::string to_string(const ServiceName& name);

}  // namespace nexus::config
