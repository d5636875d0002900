// FleetLock: at most so many hosts do the same thing at once. Asked by the executor just before an
// action begins; given back when it has ended.
//
// Invariants: (1) whoever cannot be asked grants nothing: no host acts on a guess; (2) a place is
// held for longer than its action may take, and lapses by itself when the host dies; (3) each grant
// carries a fencing token, greater than those of all earlier grants of that name; (4) a server that
// has started less than kSettle ago grants nothing, and whoever holds a place tells it so
// again meanwhile: what a restart has made it forget is not given twice. A holder that cannot reach
// a restarted server for that long is forgotten. Errors of acquire(): kConflict (the others have
// all places, named), kUnavailable (not reachable, or not settled), kTimeout and what else the
// server's driver says. Thread safety: all members, any thread.
#pragma once

#include <memory>
#include <string>

#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"
#include "nexus/config/config.hpp"
#include "nexus/host/roots.hpp"

namespace nexus::execute {

/// A place that is held; its destructor gives it back.
class FleetPlace {
 public:
  virtual ~FleetPlace() = default;
  /// "redis nexus:restart_service, token 17".
  [[nodiscard]] virtual std::string describe() const = 0;
  [[nodiscard]] virtual std::int64_t token() const = 0;
};

class FleetLock {
 public:
  virtual ~FleetLock() = default;
  /// `what` is done for at most `lasts`.
  [[nodiscard]] virtual Result<std::unique_ptr<FleetPlace>> acquire(const std::string& what,
                                                                    Millis lasts) = 0;
};

/// For how long a server that has just started grants nothing.
inline constexpr Millis kSettle{10'000};

/// Places in Redis or Valkey: a sorted set of holders by the time their place lapses, changed by
/// one script at a time by the server's clock; the token is a counter beside it.
[[nodiscard]] std::shared_ptr<FleetLock> make_redis_fleet(Clock& clock,
                                                          const config::FleetSection& fleet,
                                                          const config::RedisSection& server,
                                                          std::string host,
                                                          Millis settle = kSettle);
/// Places in PostgreSQL: advisory locks of a session, so that a place is free as soon as the server
/// has seen its holder's connection end; the token is a transaction id of the server.
[[nodiscard]] std::shared_ptr<FleetLock> make_postgres_fleet(Clock& clock,
                                                             const config::FleetSection& fleet,
                                                             const config::PostgresSection& server,
                                                             std::string host,
                                                             Millis settle = kSettle);
/// Places in Kubernetes: a Lease object each, taken by its resourceVersion. A place that nobody
/// gives back lapses when this host has seen it unchanged for as long as its holder said, by this
/// host's own clock; the token is the resourceVersion of the grant, which only grows.
[[nodiscard]] std::shared_ptr<FleetLock> make_kubernetes_fleet(
    Clock& clock, const config::FleetSection& fleet, const config::KubernetesSection& cluster,
    host::Roots roots, std::string host);
/// What [fleet] asks for; null: none.
[[nodiscard]] std::shared_ptr<FleetLock> make_fleet(Clock& clock, const config::Config& config);

}  // namespace nexus::execute
