// Places in PostgreSQL: advisory locks of a session.
#include <fmt/format.h>

#include <array>

#include "execute/fleet_keeper.hpp"
#include "nexus/base/log.hpp"
#include "nexus/base/text.hpp"
#include "nexus/drivers/postgres.hpp"
#include "nexus/execute/fleet.hpp"

namespace nexus::execute {
namespace {

using Values = std::array<std::optional<std::string>, 2>;

/// The session holds the lock, which ends with the connection.
class PostgresPlace final : public FleetPlace {
 public:
  PostgresPlace(Clock& clock, Millis timeout, Millis settle,
                std::unique_ptr<drivers::Postgres> session, std::string name, std::uint32_t place,
                std::int64_t token)
      : clock_(clock),
        timeout_(timeout),
        session_(std::move(session)),
        name_(std::move(name)),
        place_(place),
        token_(token),
        connections_(session_->connections()),
        keeper_(clock, settle, [this] { tell(); }) {}
  ~PostgresPlace() override { keeper_.stop(); }
  [[nodiscard]] std::string describe() const override {
    return fmt::format("postgres {}, place {}, token {}", name_, place_, token_);
  }
  [[nodiscard]] std::int64_t token() const override { return token_; }

 private:
  /// Takes the same place again when its connection was lost.
  void tell() {
    const auto deadline = clock_.steady() + timeout_;
    // A server that is away gives no places to others either.
    if (!session_->query("SELECT 1", deadline)) return;
    if (session_->connections() == connections_) return;
    const Values values{name_, std::to_string(place_)};
    auto answer =
        session_->query("SELECT pg_try_advisory_lock(hashtext($1), $2::int)", deadline, values);
    if (!answer || answer->rows() != 1) return;
    connections_ = session_->connections();
    const bool back = answer->at(0, 0) == "t";
    log::warning("executor", "the fleet lock {} had lost its connection: {}", name_,
                 back ? "its place was taken again" : "another host has its place by now");
  }

  Clock& clock_;
  const Millis timeout_;
  const std::unique_ptr<drivers::Postgres> session_;  // used by the keeper alone
  const std::string name_;
  const std::uint32_t place_;
  const std::int64_t token_;
  std::uint64_t connections_;  // of the session, when the lock was taken
  FleetKeeper keeper_;         // last: it uses the rest
};

class PostgresFleet final : public FleetLock {
 public:
  PostgresFleet(Clock& clock, const config::FleetSection& fleet,
                const config::PostgresSection& server, std::string host, Millis settle)
      : clock_(clock), server_(server), fleet_(fleet), host_(std::move(host)), settle_(settle) {}

  Result<std::unique_ptr<FleetPlace>> acquire(const std::string& what, Millis) override {
    const auto name = fmt::format("{}:fleet:{}", fleet_.name, what);
    const auto deadline = clock_.steady() + fleet_.timeout;
    auto session = std::make_unique<drivers::Postgres>(
        clock_, server_,
        drivers::Postgres::Settings{{"application_name", "nexus-agent fleet lock, " + host_}});
    if (auto ok = has_settled(*session, deadline); !ok)
      return propagate(std::move(ok), "fleet lock {}", name);
    for (std::uint32_t place = 1; place <= fleet_.budget; ++place) {
      const Values values{name, std::to_string(place)};
      // txid_current() never repeats and only grows: a fencing token that costs no table.
      auto answer = session->query(
          "SELECT CASE WHEN pg_try_advisory_lock(hashtext($1), $2::int) THEN txid_current() END",
          deadline, values);
      if (!answer) return propagate(std::move(answer), "fleet lock {}", name);
      if (answer->rows() != 1 || !answer->at(0, 0)) continue;
      const auto token = base::parse_int(*answer->at(0, 0));
      if (!token) return fail(Errc::kCorrupt, "fleet lock {}: a token that is no number", name);
      return std::make_unique<PostgresPlace>(clock_, fleet_.timeout, settle_, std::move(session),
                                             name, place, *token);
    }
    return fail(Errc::kConflict, "fleet lock {}: {} hosts do the same already", name,
                fleet_.budget);
  }

 private:
  /// Locks end with the server: those who held one have to take it again first.
  [[nodiscard]] Status has_settled(drivers::Postgres& session, SteadyTime deadline) const {
    const std::array<std::optional<std::string>, 1> values{std::to_string(settle_.count())};
    auto answer = session.query(
        "SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time()) * 1000 >= "
        "$1::float8",
        deadline, values);
    if (!answer) return propagate(std::move(answer));
    if (answer->rows() == 1 && answer->at(0, 0) == "t") return {};
    return fail(Errc::kUnavailable,
                "its server has started just now, who holds a place is not known yet");
  }

  Clock& clock_;
  const config::PostgresSection server_;
  const config::FleetSection fleet_;
  const std::string host_;
  const Millis settle_;
};

}  // namespace

std::shared_ptr<FleetLock> make_postgres_fleet(Clock& clock, const config::FleetSection& fleet,
                                               const config::PostgresSection& server,
                                               std::string host, Millis settle) {
  return std::make_shared<PostgresFleet>(clock, fleet, server, std::move(host), settle);
}

}  // namespace nexus::execute
