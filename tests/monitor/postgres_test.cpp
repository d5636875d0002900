// The postgres collector against PostgreSQL 15 as its package has it, and what it would ask others.
#include <catch2/catch.hpp>

#include "monitor/postgres_queries.hpp"
#include "monitor/remote_rig.hpp"
#include "support/postgres_server.hpp"

using namespace nexus;
using namespace nexus::monitor;
using namespace std::chrono_literals;
using monitor::testing::RemoteRig;

namespace {

test::PostgresServer& server() {
  return test::postgres_server();
}

config::Connections connections() {
  config::Connections out;
  out.postgres = server().section();
  return out;
}

std::string sql_of(std::string_view name, const PostgresFacts& facts) {
  for (const auto queries : {postgres_queries(), postgres_slow_queries()}) {
    for (const auto& query : queries) {
      if (query.name == name) return query.sql(facts);
    }
  }
  FAIL("no query " << name);
  return {};
}

/// Another session that keeps something for itself.
class Session {
 public:
  explicit Session(const std::vector<std::string>& statements) {
    for (const auto& one : statements) {
      const auto done = postgres_.query(one, clock_.steady() + 10s);
      if (!done) FAIL(done.error().message());
    }
  }

 private:
  base::SystemClock clock_;
  drivers::Postgres postgres_{clock_, server().section()};
};

std::string answer(const std::string& sql) {
  base::SystemClock clock;
  drivers::Postgres postgres(clock, server().section());
  const auto result = postgres.query(sql, clock.steady() + 10s);
  if (!result) FAIL(result.error().message());
  return result->at(0, 0).value_or("NULL");
}

/// The label `server` of postgres_exporter.
std::string at_server() {
  const auto section = server().section();
  return fmt::format("server=\"{}:{}\"", section.host, section.port);
}
std::string setting(std::string_view name) {
  return fmt::format("pg_settings_{}{{{}}}", name, at_server());
}
std::string activity(std::string_view state) {
  return fmt::format("pg_stat_activity_count{{datname=\"postgres\",{},state=\"{}\"}}", at_server(),
                     state);
}

void make_shop() {
  static const bool made = [] {
    server().execute("CREATE EXTENSION pg_stat_statements");
    server().execute("CREATE TABLE orders (id int PRIMARY KEY, note text)");
    server().execute(
        "INSERT INTO orders SELECT i, repeat('x', 100) FROM generate_series(1, 20000) i");
    server().execute("CREATE INDEX by_note ON orders (lower(note), id) WITH (fillfactor = 70)");
    server().execute("DELETE FROM orders WHERE id % 2 = 0");
    server().execute("ANALYZE orders");
    server().execute("CREATE TABLE \"odd \"\"name\"\"\n\" (id int)");
    server().execute("SELECT count(*) FROM orders WHERE note = 'a secret in a constant'");
    server().execute("SELECT pg_stat_force_next_flush()");
    return true;
  }();
  CHECK(made);
}

constexpr std::string_view kOrders = R"({datname="postgres",relname="orders",schemaname="public"})";

}  // namespace

TEST_CASE("postgres collector: everything that is asked for, under postgres_exporter's names") {
  make_shop();
  RemoteRig rig("postgres", connections());
  const Status status = rig.collect();
  INFO((status ? "" : status.error().message()));
  REQUIRE(status);
  auto& sink = rig.sink;
  CHECK(sink.value("pg_up") == 1);
  CHECK(sink.value("pg_replication_is_replica") == 0);
  CHECK(sink.value("pg_replication_lag_seconds") == 0);
  CHECK(sink.value("pg_postmaster_start_time_seconds") > 1.6e9);
  CHECK(sink.value("pg_xlog_location_bytes") > 1e6);
  CHECK(sink.value(setting("max_connections")) == 60);
  CHECK(sink.value(setting("shared_buffers_bytes")) == 128 << 20);
  CHECK(sink.value(setting("checkpoint_timeout_seconds")) == 300);
  CHECK(sink.value(setting("autovacuum")) == 0);
  // As postgres_exporter converts them: kB and 8kB, ms, min; -1 stays, a real, a number of an
  // extension.
  CHECK(sink.value(setting("work_mem_bytes")) == 4 << 20);
  CHECK(sink.value(setting("track_activity_query_size_bytes")) == 1024);
  CHECK(sink.value(setting("deadlock_timeout_seconds")) == 1);
  CHECK(sink.value(setting("log_rotation_age_seconds")) == 86'400);
  CHECK(sink.value(setting("autovacuum_work_mem_bytes")) == -1);
  CHECK(sink.value(setting("random_page_cost")) == 4);
  CHECK(sink.value(setting("pg_stat_statements_max")) == 5000);
  CHECK_FALSE(sink.has(setting("data_directory")));
  CHECK(sink.has(setting("vacuum_cost_delay_seconds")));
  CHECK_FALSE(sink.has(setting("statement_timeout_seconds")));  // the collector's own
  CHECK(sink.value(activity("idle in transaction")) == 0);
  CHECK(sink.has("pg_long_running_transactions"));
  CHECK(sink.value("pg_stat_activity_waiting_on_locks") == 0);
  for (const auto* name :
       {"numbackends", "xact_commit", "xact_rollback", "blks_read", "blks_hit", "deadlocks",
        "temp_bytes", "active_time_seconds_total", "sessions", "session_time_seconds_total",
        "idle_in_transaction_time_seconds_total"}) {
    CAPTURE(name);
    CHECK(sink.text().contains(std::string("\npg_stat_database_") + name + "{datid="));
  }
  CHECK(sink.value(R"(pg_locks_count{datname="postgres",mode="accessexclusivelock"})") == 0);
  CHECK(sink.value("pg_stat_bgwriter_checkpoints_timed_total") >= 0);
  CHECK(sink.value("pg_stat_bgwriter_buffers_alloc_total") > 0);
  CHECK(sink.value("pg_stat_archiver_failed_count{" + at_server() + "}") == 0);
  CHECK(sink.has("pg_stat_archiver_last_archive_age{" + at_server() + "}"));
  CHECK(sink.value(R"(pg_database_connection_limit{datname="template0"})") == -1);
  CHECK(sink.value(R"(pg_roles_connection_limit{rolname="pg_monitor"})") == -1);
  for (const auto* name : {"heap", "idx", "toast", "tidx"}) {
    CAPTURE(name);
    CHECK(sink.has(fmt::format("pg_statio_user_tables_{}_blocks_read{}", name, kOrders)));
    CHECK(sink.has(fmt::format("pg_statio_user_tables_{}_blocks_hit{}", name, kOrders)));
  }
  // A table without an index has used none, as postgres_exporter says it.
  CHECK(sink.text().contains(
      R"(pg_stat_user_tables_idx_scan{datname="postgres",relname="odd \"name\"\n",schemaname="public"} 0)"));
  CHECK(sink.value(R"(pg_database_size_bytes{datname="postgres"})") > 1e6);
  CHECK(sink.value("pg_wal_segments") >= 1);
  CHECK(sink.value("pg_wal_size_bytes") >= 16 << 20);
  CHECK(sink.text().contains("pg_stat_database_conflicts_confl_lock{datid="));
  CHECK(sink.text().contains("pg_stat_database_sessions_killed{datid="));
  CHECK(sink.value(R"(pg_database_wraparound_age_datfrozenxid_seconds{datname="postgres"})") > 0);
  const auto of_orders = [&](std::string_view name) {
    return sink.value("pg_stat_user_tables_" + std::string(name) + std::string(kOrders));
  };
  CHECK(of_orders("n_live_tup") == 10'000);
  CHECK(of_orders("n_dead_tup") == 10'000);
  CHECK(of_orders("last_vacuum") == 0);
  CHECK(of_orders("last_analyze") > 1.6e9);
  CHECK(of_orders("analyze_count") == 1);
  CHECK(of_orders("table_size_bytes") > 20'000 * 100);
  CHECK(of_orders("index_size_bytes") > 100'000);
  // Half of the rows are gone and none is vacuumed: about half of it is bloat.
  CHECK(of_orders("bloat_ratio") == Approx(0.5).margin(0.05));
  CHECK(of_orders("bloat_bytes") == Approx(of_orders("table_size_bytes") / 2).epsilon(0.1));
  const auto of_index = [&](std::string_view index) {
    return sink.value(fmt::format(
        R"(pg_stat_user_indexes_bloat_ratio{{datname="postgres",indexrelname="{}",relname="orders",schemaname="public"}})",
        index));
  };
  CHECK(of_index("orders_pkey") == Approx(0.5).margin(0.05));
  CHECK(of_index("by_note") == Approx(0.5).margin(0.1));
  CHECK(sink.text().contains(R"(relname="odd \"name\"\n")"));
  CHECK(sink.text().contains("pg_stat_statements_seconds_total{datname=\"postgres\",queryid="));
  CHECK(sink.text().contains(
      R"(pg_stat_statements_query_id{query="SELECT count(*) FROM orders WHERE note = $1",)"));
  CHECK_FALSE(sink.text().contains("secret in a constant"));
  CHECK_FALSE(sink.text().contains("CREATE EXTENSION"));
}

TEST_CASE("postgres collector: one read-only connection with a name and time limits, kept") {
  make_shop();
  RemoteRig rig("postgres", connections());
  for (int i = 0; i < 3; ++i) REQUIRE(rig.collect());
  CHECK(answer("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'nexus-agent' "
               "AND pid <> pg_backend_pid()") == "1");
  CHECK(answer("SELECT state FROM pg_stat_activity WHERE application_name = 'nexus-agent' "
               "AND pid <> pg_backend_pid()") == "idle");
  // Every statement of it was one of ours that only reads.
  CHECK(rig.sink.value("pg_up") == 1);
}

TEST_CASE("postgres collector: a table that somebody locks holds nothing up, and is not held up") {
  make_shop();
  RemoteRig rig("postgres", connections());
  const Session session({"BEGIN", "LOCK TABLE orders IN ACCESS EXCLUSIVE MODE"});
  const Status status = rig.collect();
  INFO((status ? "" : status.error().message()));
  REQUIRE(status);
  CHECK(rig.sink.value("pg_stat_user_tables_n_dead_tup" + std::string(kOrders)) == 10'000);
  CHECK_FALSE(rig.sink.has("pg_stat_user_tables_table_size_bytes" + std::string(kOrders)));
  CHECK(rig.sink.value(R"(pg_locks_count{datname="postgres",mode="accessexclusivelock"})") >= 1);
  CHECK(rig.sink.value(activity("idle in transaction")) == 1);
  CHECK(rig.sink.value("pg_long_running_transactions") == 1);
}

TEST_CASE("postgres collector: tables and statements are as many as the configuration says") {
  make_shop();
  auto few = connections();
  few.postgres.max_tables = 1;
  few.postgres.max_statements = 2;
  few.postgres.statement_length = 10;
  RemoteRig rig("postgres", few);
  REQUIRE(rig.collect());
  const auto text = rig.sink.text();
  const auto count = [&](std::string_view part) {
    std::size_t found = 0;
    for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
    return found;
  };
  CHECK(count("\npg_stat_user_tables_n_live_tup{") == 1);
  CHECK(rig.sink.has("pg_stat_user_tables_n_live_tup" + std::string(kOrders)));
  CHECK(count("\npg_stat_statements_calls_total{") == 2);
  few.postgres.max_tables = 0;
  few.postgres.max_statements = 0;
  RemoteRig none("postgres", few);
  REQUIRE(none.collect());
  CHECK_FALSE(none.sink.text().contains("pg_stat_user_tables"));
  CHECK_FALSE(none.sink.text().contains("\npg_stat_statements"));
}

TEST_CASE("postgres collector: a role that may not see everything gets the rest") {
  make_shop();
  server().execute("CREATE ROLE watcher LOGIN PASSWORD 'a b'");
  auto limited = connections();
  limited.postgres.user = "watcher";
  limited.postgres.password = config::Secret("a b");
  RemoteRig rig("postgres", limited);
  const Status status = rig.collect();
  REQUIRE_FALSE(status);
  CHECK(status.error().code() == Errc::kPermissionDenied);
  CHECK(status.error().message().starts_with("wal: PostgreSQL at "));
  CHECK(status.error().message().contains("permission denied for function pg_ls_waldir"));
  CHECK(rig.sink.value("pg_up") == 1);
  CHECK(rig.sink.has("pg_stat_user_tables_n_live_tup" + std::string(kOrders)));
  CHECK(rig.collect());  // what is refused for good is left out for a while
  CHECK(rig.sink.has(setting("max_connections")));
}

TEST_CASE(
    "postgres collector: a server that hangs, leaves, or refuses is down, and up again after") {
  make_shop();
  auto hasty = connections();
  hasty.postgres.timeout = 1s;
  RemoteRig rig("postgres", hasty);
  REQUIRE(test::eventually([&] { return rig.collect().has_value(); }));  // in time, once
  server().freeze();
  Status status = rig.collect();
  server().thaw();
  REQUIRE_FALSE(status);
  CHECK(status.error().code() == Errc::kTimeout);
  CHECK(rig.sink.text() == "pg_up 0\n");

  server().stop();
  status = rig.collect();
  REQUIRE_FALSE(status);
  CHECK(status.error().code() == Errc::kUnavailable);
  CHECK(rig.sink.value("pg_up") == 0);
  server().start();
  CHECK(test::eventually([&] { return rig.collect().has_value(); }));
  CHECK(rig.sink.value("pg_up") == 1);
  CHECK(rig.sink.has(setting("max_connections")));

  auto wrong = connections();
  wrong.postgres.password = config::Secret("wrong");
  RemoteRig refused("postgres", wrong);
  status = refused.collect();
  REQUIRE_FALSE(status);
  CHECK(status.error().code() == Errc::kPermissionDenied);
  CHECK(refused.sink.text() == "pg_up 0\n");
  auto nowhere = connections();
  nowhere.postgres.database = "nowhere";
  RemoteRig lost("postgres", nowhere);
  CHECK(lost.collect().error().code() == Errc::kUnavailable);  // not "this host has no PostgreSQL"
}

TEST_CASE("postgres collector: a statement that takes too long loses itself only, and rests") {
  make_shop();
  server().execute("CREATE DATABASE slow");
  auto slow = connections();
  slow.postgres.database = "slow";
  slow.postgres.timeout = 6s;
  base::SystemClock clock;
  drivers::Postgres owner(clock, slow.postgres);
  // What lists the write-ahead log, in the middle of all statements, takes a minute from now on.
  for (const auto* sql : {"SET allow_system_table_mods = on",
                          "ALTER FUNCTION pg_catalog.pg_ls_waldir() RENAME TO pg_ls_waldir_quick",
                          "CREATE FUNCTION pg_catalog.pg_ls_waldir(OUT name text, OUT size bigint) "
                          "RETURNS SETOF record LANGUAGE sql AS 'SELECT q.name, q.size FROM "
                          "pg_sleep(60), pg_ls_waldir_quick() AS q'",
                          "CREATE TABLE kept (id int)"}) {
    const auto done = owner.query(sql, clock.steady() + 30s);
    INFO((done ? "" : done.error().message()));
    REQUIRE(done);
  }
  RemoteRig rig("postgres", slow);
  const Status status = rig.collect();
  REQUIRE_FALSE(status);
  CHECK(status.error().code() == Errc::kTimeout);
  CHECK(status.error().message().starts_with("wal: "));
  CHECK(rig.sink.value("pg_up") == 1);
  CHECK_FALSE(rig.sink.has("pg_wal_segments"));
  CHECK(
      rig.sink.text().contains("pg_stat_user_tables_n_live_tup{datname=\"slow\",relname=\"kept\""));
  CHECK(rig.sink.has(setting("max_connections")));
  // The next run does not ask for it, and has the rest.
  const Status next = rig.collect();
  INFO((next ? "" : next.error().message()));
  CHECK(next);
  CHECK(rig.sink.has("pg_xlog_location_bytes"));
}

TEST_CASE("postgres collector: what changes its version is asked as it is then") {
  make_shop();
  server().execute("CREATE DATABASE old");
  auto old = connections();
  old.postgres.database = "old";
  old.postgres.slow_interval = 1ms;
  base::SystemClock clock;
  const auto run = [&](const std::string& sql) {
    drivers::Postgres postgres(clock, old.postgres);
    const auto done = postgres.query(sql, clock.steady() + 30s);
    INFO((done ? "" : done.error().message()));
    REQUIRE(done);
  };
  // Of version 12: its columns have the names of then.
  run("CREATE EXTENSION pg_stat_statements VERSION '1.7'");
  RemoteRig rig("postgres", old);
  const auto works = [&] {
    const Status status = rig.collect();
    INFO((status ? "" : status.error().message()));
    REQUIRE(status);
    return rig.sink.text().contains("pg_stat_statements_seconds_total{datname=");
  };
  CHECK(test::eventually(works));
  run("ALTER EXTENSION pg_stat_statements UPDATE TO '1.10'");
  CHECK(test::eventually(works));
  run("DROP EXTENSION pg_stat_statements");
  CHECK(test::eventually([&] { return !works(); }));
  CHECK(rig.sink.value("pg_up") == 1);
}

TEST_CASE("postgres collector: without a host there is nothing to collect") {
  RemoteRig rig("postgres", {});
  const Status status = rig.collect();
  REQUIRE_FALSE(status);
  CHECK(status.error().code() == Errc::kNotFound);
  CHECK(rig.sink.count() == 0);
}

TEST_CASE("postgres queries: each version is asked for what it has") {
  const PostgresFacts v12{120'012, 107, "public"};
  const PostgresFacts v13{130'001, 108, "public"};
  const PostgresFacts v14{140'001, 109, "public"};
  const PostgresFacts v16{160'001, 110, "\"my schema\""};
  const PostgresFacts v17{170'001, 111, "public"};
  CHECK_FALSE(sql_of("slots", v12).contains("safe_wal_size"));
  CHECK(sql_of("slots", v13).contains("safe_wal_size"));
  CHECK(sql_of("slot status", v12).empty());
  CHECK(sql_of("slot status", v13).contains("wal_status"));
  CHECK_FALSE(sql_of("database", v13).contains("active_time"));
  CHECK(sql_of("database", v14).contains("active_time"));
  CHECK_FALSE(sql_of("database", v13).contains("session_time"));
  CHECK_FALSE(sql_of("conflicts", v14).contains("confl_active_logicalslot"));
  CHECK(sql_of("conflicts", v16).contains("confl_active_logicalslot"));
  CHECK(sql_of("conflicts", v12).contains("confl_deadlock"));
  CHECK_FALSE(sql_of("database", v13).contains("sessions"));
  CHECK(sql_of("background writer", v16).contains("checkpoints_timed"));
  CHECK_FALSE(sql_of("background writer", v17).contains("checkpoints_timed"));
  CHECK_FALSE(sql_of("background writer", v17).contains("buffers_backend"));
  CHECK(sql_of("checkpointer", v16).empty());
  CHECK(sql_of("checkpointer", v17).contains("pg_stat_checkpointer"));
  CHECK(sql_of("statements", v12).contains("total_time"));
  CHECK(sql_of("statements", v13).contains("total_exec_time"));
  CHECK(sql_of("statements", v16).contains("(s.blk_read_time)"));
  CHECK(sql_of("statements", v16).contains("FROM \"my schema\".pg_stat_statements"));
  CHECK(sql_of("statements", v17).contains("(s.shared_blk_read_time)"));
  // An upgraded server keeps the extension that it had.
  CHECK(sql_of("statements", {170'001, 110, "public"}).contains("(s.blk_read_time)"));
  CHECK(sql_of("statements", {150'001, 0, ""}).empty());
  CHECK(parse_extension_version("1.10") == 110);
  CHECK(parse_extension_version("1.9") == 109);
  CHECK(parse_extension_version("1") == 0);
  CHECK(parse_extension_version("x.1") == 0);
}
