// Everything that runs services. A new manager: its file in services/, its descriptor in
// services.hpp, its line here; its kind in nexus/config/service_name.hpp.
#include <algorithm>
#include <array>

#include "execute/services.hpp"

namespace nexus::execute {
namespace {

constexpr std::array<const ServiceManagerDescriptor*, 4> kManagers{
    &kUnitServices,
    &kDockerServices,
    &kKubernetesServices,
    &kProcessServices,
};

}  // namespace

std::span<const ServiceManagerDescriptor* const> service_managers() {
  return kManagers;
}

ServiceManager* service_manager(std::string_view kind) {
  static const auto made = [] {
    std::array<std::unique_ptr<ServiceManager>, kManagers.size()> out;
    std::ranges::transform(kManagers, out.begin(), [](const auto* d) { return d->make(); });
    return out;
  }();
  for (std::size_t i = 0; i < kManagers.size(); ++i) {
    if (kManagers[i]->kind == kind) return made[i].get();
  }
  return nullptr;
}

}  // namespace nexus::execute
