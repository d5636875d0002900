#include "nexus/execute/fleet.hpp"

#include <unistd.h>

#include <array>

#include "execute/cluster.hpp"

namespace nexus::execute {
namespace {

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "unknown";
  return name.data();
}

}  // namespace

std::shared_ptr<FleetLock> make_fleet(Clock& clock, const config::Config& config) {
  if (config.fleet.lock == "redis")
    return make_redis_fleet(clock, config.fleet, config.connections.redis, host_name());
  if (config.fleet.lock == "postgres")
    return make_postgres_fleet(clock, config.fleet, config.connections.postgres, host_name());
  if (config.fleet.lock == "kubernetes")
    return make_kubernetes_fleet(clock, config.fleet, config.connections.kubernetes,
                                 roots_of(config), host_name());
  return nullptr;
}

}  // namespace nexus::execute
