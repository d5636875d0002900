// clear_cache and optimize_database, on a real Redis and a real PostgreSQL.
#include <catch2/catch.hpp>

#include "bench.hpp"
#include "nexus/base/text.hpp"
#include "support/postgres_server.hpp"
#include "support/redis_server.hpp"

using namespace nexus;
using namespace nexus::execute;
using namespace nexus::execute::test;
using namespace std::chrono_literals;
using Catch::Contains;

namespace {

struct Room {
  base::SystemClock clock;
  Bench bench{clock};

  Room() { bench.executor->start(); }
  Action action(const std::string& type, const std::string& target,
                config::Parameters parameters = {}) const {
    auto out = bench.action(target);
    out.type = type;
    out.parameters = std::move(parameters);
    return out;
  }
  Action run(const std::string& type, const std::string& target,
             config::Parameters parameters = {}) {
    return bench.run(action(type, target, std::move(parameters)));
  }
  std::string would(const std::string& type, const std::string& target,
                    config::Parameters parameters = {}) {
    auto dry = action(type, target, std::move(parameters));
    dry.dry_run = true;
    const auto ended = bench.run(dry);
    return ended.state == ActionState::kSucceeded ? ended.outcome.would_do : ended.outcome.result;
  }
  std::string refused(const std::string& type, const std::string& target,
                      config::Parameters parameters = {}) const {
    const auto valid = bench.executor->validate(action(type, target, std::move(parameters)));
    return valid ? "" : valid.error().message();
  }
};

struct Cache : Room {
  nexus::test::RedisServer redis;

  Cache() {
    bench.config.connections.redis = redis.section();
    bench.config.allow.redis_keys = {"session:*"};
    bench.configure();
  }
  std::int64_t life(const std::string& key) { return redis.execute({"TTL", key}).integer; }
};

const config::Parameters kSessions{{"what", std::string("expire")},
                                   {"keys", std::string("session:*")},
                                   {"ttl", std::string("5m")}};

struct Tables : Room {
  Tables() {
    bench.config.connections.postgres = nexus::test::postgres_server().section();
    bench.configure();
  }
  /// Statements with ';' between them.
  static void sql(std::string_view text) {
    while (!text.empty())
      nexus::test::postgres_server().execute(std::string(base::take_until(text, ';')));
  }
  std::string value(const std::string& query) {
    drivers::Postgres server(clock, nexus::test::postgres_server().section());
    return server.query(query, clock.steady() + 30s).value().at(0, 0).value_or("");
  }
};

}  // namespace

TEST_CASE("clear_cache has Redis give back what it does not use, and touches no key") {
  Cache c;
  for (int i = 0; i < 200; ++i)
    c.redis.execute({"SET", "big:" + std::to_string(i), std::string(100'000, 'x')});
  for (int i = 0; i < 199; ++i) c.redis.execute({"DEL", "big:" + std::to_string(i)});
  CHECK_THAT(c.would("clear_cache", "redis"), Contains("would have Redis give back"));
  const auto done = c.run("clear_cache", "redis");
  INFO(done.outcome.result);
  CHECK(done.state == ActionState::kSucceeded);
  CHECK_THAT(done.outcome.result, Contains("Redis took ") && Contains("it stores"));
  CHECK(c.redis.execute({"DBSIZE"}).integer == 1);
  CHECK_THAT(c.redis.execute({"INFO", "commandstats"}).text,
             Contains("cmdstat_memory|purge:calls=1"));
}

TEST_CASE("clear_cache lets keys expire that are a cache and have no end, and no others") {
  Cache c;
  for (int i = 0; i < 30; ++i) c.redis.execute({"SET", "session:" + std::to_string(i), "x"});
  c.redis.execute({"SET", "session:short", "x", "EX", "30"});
  c.redis.execute({"SET", "order:1", "x"});
  CHECK_THAT(c.would("clear_cache", "redis", kSessions),
             Contains("would have 30 of 32 keys end within 5m") && Contains("\nsession:"));
  CHECK(c.life("session:0") == -1);

  auto few = kSessions;
  few["max_keys"] = std::int64_t{10};
  auto done = c.run("clear_cache", "redis", few);
  CHECK_THAT(done.outcome.result, Contains("10 keys of session:* end within 5m; max_keys was"));
  done = c.run("clear_cache", "redis", kSessions);
  CHECK(done.state == ActionState::kSucceeded);
  CHECK_THAT(done.outcome.result, Contains("20 keys of session:*"));
  CHECK(c.life("session:7") > 30);
  CHECK(c.life("session:short") <= 30);
  CHECK(c.life("order:1") == -1);

  auto others = kSessions;
  others["keys"] = std::string("order:*");
  CHECK_THAT(c.refused("clear_cache", "redis", others),
             Contains("\"order:*\" is not one of the patterns of [allow] redis_keys"));
  CHECK_THAT(c.refused("clear_cache", "other"), Contains("expected \"redis\""));
  c.redis.execute({"REPLICAOF", "127.0.0.1", "1"});
  done = c.run("clear_cache", "redis", kSessions);
  CHECK(done.state == ActionState::kFailed);
  CHECK_THAT(done.outcome.result, Contains("this Redis is a replica"));
}

TEST_CASE("optimize_database vacuums and analyzes named tables, and says what came of it") {
  Tables t;
  t.sql("DROP TABLE IF EXISTS orders; CREATE TABLE orders (id int, note text)");
  t.sql("INSERT INTO orders SELECT i, repeat('x', 100) FROM generate_series(1, 10000) i");
  t.sql("DELETE FROM orders WHERE id <= 8000");
  CHECK_THAT(t.would("optimize_database", "public.orders"),
             Contains("would run VACUUM (ANALYZE) \"public\".\"orders\""));
  CHECK(t.value("SELECT vacuum_count FROM pg_stat_user_tables WHERE relname = 'orders'") == "0");
  auto done = t.run("optimize_database", "public.orders");
  INFO(done.outcome.result);
  CHECK(done.state == ActionState::kSucceeded);
  CHECK(done.outcome.verified == true);
  CHECK_THAT(done.outcome.result, Contains("VACUUM (ANALYZE) \"public\".\"orders\" in ") &&
                                      Contains("0 dead rows, 8000 before"));
  CHECK(t.value("SELECT reltuples FROM pg_class WHERE relname = 'orders'") == "2000");

  t.sql("DROP TABLE IF EXISTS \"Odd \"\"name\"; CREATE TABLE \"Odd \"\"name\" (id int)");
  done = t.run("optimize_database", "postgres",
               {{"what", std::string("analyze")},
                {"tables", std::vector<std::string>{"orders", "public.Odd \"name"}}});
  INFO(done.outcome.result);
  CHECK(done.state == ActionState::kSucceeded);
  CHECK(t.value("SELECT analyze_count FROM pg_stat_user_tables WHERE relname = 'orders'") == "2");
  CHECK(t.value("SELECT vacuum_count FROM pg_stat_user_tables WHERE relname = 'orders'") == "1");
}

TEST_CASE("optimize_database that cannot compare the server's counts is not said to be in vain") {
  Tables t;
  t.sql("DROP TABLE IF EXISTS counted; CREATE TABLE counted (id int)");
  auto action = t.action("optimize_database", "public.counted");
  action.state = ActionState::kVerifying;
  action.started = t.clock.wall();
  action.outcome.before = R"({"tables":[{"table":"public.counted","error":"it was away"}]})";
  SECTION("none were told before") {}
  SECTION("the server is away now") {
    t.bench.config.connections.postgres.host = t.bench.config.collect.rootfs + "/nonexistent/nexus";
    t.bench.configure();
  }
  Bench after(t.clock);
  after.config = t.bench.config;
  after.configure();
  REQUIRE(after.journal->write(action));
  REQUIRE(after.executor->recover());
  after.executor->start();
  const auto ended = after.wait(1).front();
  INFO(ended.outcome.result);
  CHECK(ended.state == ActionState::kSucceeded);
  CHECK_FALSE(ended.outcome.verified.has_value());
}

TEST_CASE("optimize_database leaves alone what is locked, too large, partitioned or not there") {
  Tables t;
  t.sql("DROP TABLE IF EXISTS busy; CREATE TABLE busy AS SELECT generate_series(1, 10000) AS id");
  drivers::Postgres holder(t.clock, nexus::test::postgres_server().section());
  REQUIRE(holder.query("BEGIN", t.clock.steady() + 30s));
  REQUIRE(holder.query("LOCK TABLE busy IN ACCESS EXCLUSIVE MODE", t.clock.steady() + 30s));
  auto done = t.run("optimize_database", "busy", {{"lock_timeout", std::string("50ms")}});
  CHECK(done.state == ActionState::kFailed);
  CHECK_THAT(done.outcome.result, Contains("lock timeout"));
  REQUIRE(holder.query("ROLLBACK", t.clock.steady() + 30s));

  done = t.run("optimize_database", "busy", {{"max_size", std::string("1KiB")}});
  CHECK_THAT(done.outcome.result, Contains("more than max_size (1.0 KiB)"));
  done = t.run("optimize_database", "nowhere");
  CHECK_THAT(done.outcome.result, Contains("there is no table public.nowhere"));
  t.sql("DROP TABLE IF EXISTS parts; CREATE TABLE parts (id int) PARTITION BY RANGE (id)");
  done = t.run("optimize_database", "parts");
  CHECK_THAT(done.outcome.result, Contains("public.parts is partitioned: name its partitions"));

  CHECK_THAT(t.refused("optimize_database", "a.b.c"), Contains("expected SCHEMA.TABLE"));
  CHECK_THAT(t.refused("optimize_database", "busy", {{"what", std::string("full")}}),
             Contains("expected vacuum, analyze or vacuum_analyze"));
  CHECK_THAT(t.refused("optimize_database", "busy", {{"tables", std::vector<std::string>{"x"}}}),
             Contains("goes with the target \"postgres\" only"));
}

TEST_CASE("optimize_database does not claim what a stranger to a table may not do") {
  Tables t;
  t.sql("DROP TABLE IF EXISTS owned; CREATE TABLE owned (id int)");
  t.sql("DROP ROLE IF EXISTS stranger; CREATE ROLE stranger LOGIN PASSWORD 'p'");
  auto section = nexus::test::postgres_server().section();
  section.user = "stranger";
  section.password = config::Secret("p");
  t.bench.config.connections.postgres = section;
  t.bench.configure();
  const auto done = t.run("optimize_database", "owned");
  CHECK(done.state == ActionState::kFailed);
  CHECK_THAT(done.outcome.result, Contains("only the owner of a table, or of the database, may"));
}
