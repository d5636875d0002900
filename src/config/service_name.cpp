#include "nexus/config/service_name.hpp"

#include <algorithm>

namespace nexus::config {

ServiceName parse_service_name(std::string_view text) {
  const auto colon = text.find(':');
  if (colon != std::string_view::npos) {
    const auto prefix = text.substr(0, colon);
    const auto name = std::string(text.substr(colon + 1));
    if (prefix == "podman") return {"docker", name};
    if (std::ranges::find(kServiceKinds, prefix) != kServiceKinds.end())
      return {std::string(prefix), name};
  }
  return {std::string(kUnitKind), std::string(text)};
}

std::string to_string(const ServiceName& name) {
  return name.is_unit() ? name.name : name.kind + ":" + name.name;
}

}  // namespace nexus::config
