// Places in Redis or Valkey.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>

#include "execute/fleet_keeper.hpp"
#include "nexus/base/id.hpp"
#include "nexus/base/log.hpp"
#include "nexus/drivers/redis.hpp"
#include "nexus/execute/fleet.hpp"

namespace nexus::execute {
namespace {

/// Takes a place when there is one: KEYS holders, counter; ARGV budget, milliseconds, holder,
/// settle. By the server's clock, so that no host's own matters. The answer: {token, lapses at},
/// {0, holder, ...} when all are taken, {-1, seconds} when the server has been up for no longer
/// than that. A token is no less than the time: a server that has lost its counter gives greater
/// ones all the same.
constexpr const char* kTake = R"lua(
redis.replicate_commands()
local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
local up = tonumber(string.match(redis.call('INFO', 'server'), 'uptime_in_seconds:(%d+)'))
if up and up * 1000 < tonumber(ARGV[4]) then return {-1, up} end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ms)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then
  local out = {0}
  for _, holder in ipairs(redis.call('ZRANGE', KEYS[1], 0, 9)) do out[#out + 1] = holder end
  return out
end
local token = math.max(tonumber(redis.call('GET', KEYS[2]) or '0') + 1, ms)
redis.call('SET', KEYS[2], string.format('%.0f', token))
local lapses = ms + tonumber(ARGV[2])
redis.call('ZADD', KEYS[1], lapses, ARGV[3])
redis.call('PEXPIREAT', KEYS[1], redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2])
return {token, lapses}
)lua";

/// Tells the server of a place that is held: ARGV holder, lapses at, token. Whether it had
/// forgotten it (1), and how many hold one. It never lapses while its holder can say that it acts.
constexpr const char* kKeep = R"lua(
redis.replicate_commands()
local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
local forgotten = redis.call('ZSCORE', KEYS[1], ARGV[1]) and 0 or 1
redis.call('ZADD', KEYS[1], math.max(tonumber(ARGV[2]), ms + 30000), ARGV[1])
redis.call('PEXPIREAT', KEYS[1], redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2])
if tonumber(redis.call('GET', KEYS[2]) or '0') < tonumber(ARGV[3]) then
  redis.call('SET', KEYS[2], ARGV[3])
end
return {forgotten, redis.call('ZCARD', KEYS[1])}
)lua";

/// "web1:0193..." is web1's.
std::string host_of(std::string_view holder) {
  return std::string(holder.substr(0, holder.find(':')));
}

struct Server {
  Clock& clock;
  config::RedisSection section;
  config::FleetSection fleet;
  Millis settle;

  [[nodiscard]] Result<drivers::RedisReply> ask(std::span<const std::string> words) const {
    drivers::Redis redis(clock, section);
    return redis.command(words, clock.steady() + fleet.timeout);
  }
};

class RedisPlace final : public FleetPlace {
 public:
  RedisPlace(Server server, std::string key, std::string holder, std::int64_t token,
             std::int64_t lapses)
      : server_(std::move(server)),
        key_(std::move(key)),
        holder_(std::move(holder)),
        token_(token),
        lapses_(lapses),
        keeper_(server_.clock, server_.settle, [this] { tell(); }) {}
  ~RedisPlace() override {
    keeper_.stop();
    // What cannot be given back lapses by itself.
    const std::array<std::string, 3> words{"ZREM", key_, holder_};
    if (auto done = server_.ask(words); !done)
      log::warning("executor", "the fleet lock {} is held on until it lapses: {}", key_,
                   done.error().message());
  }
  [[nodiscard]] std::string describe() const override {
    return fmt::format("redis {}, token {}", key_, token_);
  }
  [[nodiscard]] std::int64_t token() const override { return token_; }

 private:
  void tell() const {
    const std::array<std::string, 8> words{"EVAL",
                                           kKeep,
                                           "2",
                                           key_,
                                           key_ + ":token",
                                           holder_,
                                           std::to_string(lapses_),
                                           std::to_string(token_)};
    auto answer = server_.ask(words);
    // A server that is away forgets nothing that it is not told of again.
    if (!answer || answer->elements.size() != 2 || answer->elements[0].integer == 0) return;
    const auto holders = answer->elements[1].integer;
    log::warning("executor",
                 "the fleet lock {} had forgotten this host's place: it was told again{}", key_,
                 holders > server_.fleet.budget
                     ? fmt::format("; {} hosts hold one now, of {}", holders, server_.fleet.budget)
                     : "");
  }

  const Server server_;
  const std::string key_;
  const std::string holder_;
  const std::int64_t token_;
  const std::int64_t lapses_;
  FleetKeeper keeper_;  // last: it uses the rest
};

class RedisFleet final : public FleetLock {
 public:
  RedisFleet(Server server, std::string host)
      : server_(std::move(server)), host_(std::move(host)) {}

  Result<std::unique_ptr<FleetPlace>> acquire(const std::string& what, Millis lasts) override {
    const auto key = fmt::format("{}:fleet:{}", server_.fleet.name, what);
    const auto holder = fmt::format("{}:{}", host_, base::random_hex(16));
    const std::array<std::string, 9> words{"EVAL",
                                           kTake,
                                           "2",
                                           key,
                                           key + ":token",
                                           std::to_string(server_.fleet.budget),
                                           std::to_string(lasts.count()),
                                           holder,
                                           std::to_string(server_.settle.count())};
    auto answer = server_.ask(words);
    if (!answer) return propagate(std::move(answer), "fleet lock {}", key);
    const auto& parts = answer->elements;
    if (parts.empty() || parts.front().type != drivers::RedisReply::Type::kInteger)
      return fail(Errc::kCorrupt, "fleet lock {}: an answer that is not understood", key);
    const auto token = parts.front().integer;
    if (token > 0 && parts.size() == 2)
      return std::make_unique<RedisPlace>(server_, key, holder, token, parts[1].integer);
    if (token < 0) {
      return fail(Errc::kUnavailable,
                  "fleet lock {}: its server has started just now, who holds a place is not known "
                  "yet",
                  key);
    }
    std::vector<std::string> hosts;
    for (std::size_t i = 1; i < parts.size(); ++i) hosts.push_back(host_of(parts[i].text));
    return fail(Errc::kConflict, "fleet lock {}: {} hosts do the same already: {}", key,
                server_.fleet.budget, fmt::join(hosts, ", "));
  }

 private:
  const Server server_;
  const std::string host_;
};

}  // namespace

std::shared_ptr<FleetLock> make_redis_fleet(Clock& clock, const config::FleetSection& fleet,
                                            const config::RedisSection& server, std::string host,
                                            Millis settle) {
  return std::make_shared<RedisFleet>(Server{clock, server, fleet, settle}, std::move(host));
}

}  // namespace nexus::execute
