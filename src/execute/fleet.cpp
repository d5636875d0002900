#include "nexus/execute/fleet.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <array>

#include "execute/cluster.hpp"
#include "nexus/base/id.hpp"
#include "nexus/base/log.hpp"
#include "nexus/base/text.hpp"
#include "nexus/drivers/postgres.hpp"
#include "nexus/drivers/redis.hpp"

namespace nexus::execute {
namespace {

/// Takes a place when there is one: KEYS holders, counter; ARGV budget, milliseconds, holder. By
/// the server's clock, so that no host's own matters. The answer: {token}, or {0, holder, ...}.
constexpr const char* kTake = R"lua(
redis.replicate_commands()
local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ms)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then
  local out = {0}
  for _, holder in ipairs(redis.call('ZRANGE', KEYS[1], 0, 9)) do out[#out + 1] = holder end
  return out
end
local token = redis.call('INCR', KEYS[2])
redis.call('ZADD', KEYS[1], ms + tonumber(ARGV[2]), ARGV[3])
redis.call('PEXPIREAT', KEYS[1], redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2])
return {token}
)lua";

/// "web1:0193..." is web1's.
std::string host_of(std::string_view holder) {
  return std::string(holder.substr(0, holder.find(':')));
}

struct RedisServer {
  Clock& clock;
  config::RedisSection section;
  Millis timeout;
};

class RedisPlace final : public FleetPlace {
 public:
  RedisPlace(RedisServer server, std::string key, std::string holder, std::int64_t token)
      : server_(std::move(server)),
        key_(std::move(key)),
        holder_(std::move(holder)),
        token_(token) {}
  ~RedisPlace() override {
    // What cannot be given back lapses by itself.
    drivers::Redis redis(server_.clock, server_.section);
    auto done = redis.command({"ZREM", key_, holder_}, server_.clock.steady() + server_.timeout);
    if (!done)
      log::warning("executor", "the fleet lock {} is held on until it lapses: {}", key_,
                   done.error().message());
  }
  [[nodiscard]] std::string describe() const override {
    return fmt::format("redis {}, token {}", key_, token_);
  }
  [[nodiscard]] std::int64_t token() const override { return token_; }

 private:
  const RedisServer server_;
  const std::string key_;
  const std::string holder_;
  const std::int64_t token_;
};

class RedisFleet final : public FleetLock {
 public:
  RedisFleet(Clock& clock, const config::FleetSection& fleet, const config::RedisSection& server,
             std::string host)
      : server_{clock, server, fleet.timeout}, fleet_(fleet), host_(std::move(host)) {}

  Result<std::unique_ptr<FleetPlace>> acquire(const std::string& what, Millis lasts) override {
    const auto key = fmt::format("{}:fleet:{}", fleet_.name, what);
    const auto holder = fmt::format("{}:{}", host_, base::random_hex(16));
    drivers::Redis redis(server_.clock, server_.section);
    const std::array<std::string, 8> words{"EVAL",
                                           kTake,
                                           "2",
                                           key,
                                           key + ":token",
                                           std::to_string(fleet_.budget),
                                           std::to_string(lasts.count()),
                                           holder};
    auto answer = redis.command(words, server_.clock.steady() + server_.timeout);
    if (!answer) return propagate(std::move(answer), "fleet lock {}", key);
    const auto& parts = answer->elements;
    if (parts.empty() || parts.front().type != drivers::RedisReply::Type::kInteger)
      return fail(Errc::kCorrupt, "fleet lock {}: an answer that is not understood", key);
    if (parts.front().integer > 0)
      return std::make_unique<RedisPlace>(server_, key, holder, parts.front().integer);
    std::vector<std::string> hosts;
    for (std::size_t i = 1; i < parts.size(); ++i) hosts.push_back(host_of(parts[i].text));
    return fail(Errc::kConflict, "fleet lock {}: {} hosts do the same already: {}", key,
                fleet_.budget, fmt::join(hosts, ", "));
  }

 private:
  const RedisServer server_;
  const config::FleetSection fleet_;
  const std::string host_;
};

/// The session holds the lock: it ends with the connection.
class PostgresPlace final : public FleetPlace {
 public:
  PostgresPlace(std::unique_ptr<drivers::Postgres> session, std::string name, std::uint32_t place,
                std::int64_t token)
      : session_(std::move(session)), name_(std::move(name)), place_(place), token_(token) {}
  [[nodiscard]] std::string describe() const override {
    return fmt::format("postgres {}, place {}, token {}", name_, place_, token_);
  }
  [[nodiscard]] std::int64_t token() const override { return token_; }

 private:
  const std::unique_ptr<drivers::Postgres> session_;
  const std::string name_;
  const std::uint32_t place_;
  const std::int64_t token_;
};

class PostgresFleet final : public FleetLock {
 public:
  PostgresFleet(Clock& clock, const config::FleetSection& fleet,
                const config::PostgresSection& server, std::string host)
      : clock_(clock), server_(server), fleet_(fleet), host_(std::move(host)) {}

  Result<std::unique_ptr<FleetPlace>> acquire(const std::string& what, Millis) override {
    const auto name = fmt::format("{}:fleet:{}", fleet_.name, what);
    const auto deadline = clock_.steady() + fleet_.timeout;
    auto session = std::make_unique<drivers::Postgres>(
        clock_, server_,
        drivers::Postgres::Settings{{"application_name", "nexus-agent fleet lock, " + host_}});
    for (std::uint32_t place = 1; place <= fleet_.budget; ++place) {
      const std::array<std::optional<std::string>, 2> values{name, std::to_string(place)};
      // txid_current() never repeats and only grows: a fencing token that costs no table.
      auto answer = session->query(
          "SELECT CASE WHEN pg_try_advisory_lock(hashtext($1), $2::int) THEN txid_current() END",
          deadline, values);
      if (!answer) return propagate(std::move(answer), "fleet lock {}", name);
      if (answer->rows() != 1 || !answer->at(0, 0)) continue;
      const auto token = base::parse_int(*answer->at(0, 0));
      if (!token) return fail(Errc::kCorrupt, "fleet lock {}: a token that is no number", name);
      return std::make_unique<PostgresPlace>(std::move(session), name, place, *token);
    }
    return fail(Errc::kConflict, "fleet lock {}: {} hosts do the same already", name,
                fleet_.budget);
  }

 private:
  Clock& clock_;
  const config::PostgresSection server_;
  const config::FleetSection fleet_;
  const std::string host_;
};

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "unknown";
  return name.data();
}

}  // namespace

std::shared_ptr<FleetLock> make_redis_fleet(Clock& clock, const config::FleetSection& fleet,
                                            const config::RedisSection& server, std::string host) {
  return std::make_shared<RedisFleet>(clock, fleet, server, std::move(host));
}

std::shared_ptr<FleetLock> make_postgres_fleet(Clock& clock, const config::FleetSection& fleet,
                                               const config::PostgresSection& server,
                                               std::string host) {
  return std::make_shared<PostgresFleet>(clock, fleet, server, std::move(host));
}

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
