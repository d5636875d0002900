// Against PostgreSQL 15 as its package has it.
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <thread>

#include "nexus/drivers/postgres.hpp"
#include "support/postgres_server.hpp"

using namespace nexus;
using namespace nexus::drivers;
using namespace std::chrono_literals;
using Value = PostgresResult::Value;

namespace {

test::PostgresServer& server() {
  return test::postgres_server();
}

struct Rig {
  base::SystemClock clock;
  Postgres postgres{clock, server().section(), {{"statement_timeout", "5000"}}};

  Result<PostgresResult> query(const std::string& sql, std::vector<Value> parameters = {},
                               PostgresLimits limits = {}) {
    return postgres.query(sql, clock.steady() + 10s, parameters, limits);
  }
  Error error_of(const std::string& sql) { return query(sql).error(); }
};

}  // namespace

TEST_CASE("postgres: rows, columns, NULL, parameters and counts of changed rows") {
  Rig rig;
  const auto result = rig.query("SELECT $1::int + 1 AS a, $2::text AS \"B c\", NULL AS n",
                                {"41", "it's; \"quoted\" \xc3\xa4"});
  REQUIRE(result);
  CHECK(result->columns() == std::vector<std::string>{"a", "B c", "n"});
  REQUIRE(result->rows() == 1);
  CHECK(result->at(0, 0) == "42");
  CHECK(result->at(0, 1) == "it's; \"quoted\" \xc3\xa4");
  CHECK(result->at(0, 2) == std::nullopt);
  CHECK(result->column("B c") == 1);
  CHECK_FALSE(result->column("b"));
  CHECK(rig.postgres.server_version() / 10'000 == 15);
  CHECK(rig.query("SELECT 1 WHERE false")->rows() == 0);
  CHECK(rig.query("SELECT 1 AS one WHERE false")->columns() == std::vector<std::string>{"one"});
  REQUIRE(rig.query("CREATE TEMPORARY TABLE t (x int)"));
  CHECK(rig.query("INSERT INTO t SELECT generate_series(1, 5)")->changed() == 5);
  CHECK(rig.query("SELECT $1::text IS NULL AS yes", {std::nullopt})->at(0, 0) == "t");
  CHECK(rig.query("SHOW statement_timeout")->at(0, 0) == "5s");
  CHECK(rig.query("SHOW application_name")->at(0, 0) == "nexus-agent");
  CHECK(rig.postgres.connections() == 1);
}

TEST_CASE("postgres: what the server refuses has its code, and costs no connection") {
  Rig rig;
  CHECK(rig.error_of("SELEC 1").code() == Errc::kInvalidArgument);
  CHECK(rig.error_of("SELECT * FROM nowhere").code() == Errc::kNotFound);
  CHECK(rig.error_of("SELECT nothing FROM pg_class").code() == Errc::kNotFound);
  CHECK(rig.error_of("SELECT 1; SELECT 2").code() == Errc::kInvalidArgument);
  const auto message = rig.error_of("SELECT * FROM nowhere").message();
  CHECK(message.contains(server().section().host + "/.s.PGSQL.5432: SELECT * FROM nowhere"));
  CHECK(message.contains("relation \"nowhere\" does not exist"));
  REQUIRE(rig.query("SET statement_timeout = '50ms'"));
  CHECK(rig.error_of("SELECT pg_sleep(5)").code() == Errc::kTimeout);
  CHECK(rig.query("SELECT 1"));
  CHECK(rig.postgres.connections() == 1);
}

TEST_CASE("postgres: a result is bounded in rows and in bytes") {
  Rig rig;
  const auto rows = rig.query("SELECT generate_series(1, 1000000)", {}, {.rows = 10});
  REQUIRE_FALSE(rows);
  CHECK(rows.error().code() == Errc::kExhausted);
  const auto bytes = rig.query("SELECT repeat('x', 100000)", {}, {.bytes = 1000});
  REQUIRE_FALSE(bytes);
  CHECK(bytes.error().code() == Errc::kExhausted);
  CHECK(rig.query("SELECT generate_series(1, 10)", {}, {.rows = 10})->rows() == 10);
}

TEST_CASE("postgres: refused connections say why, and never the password") {
  base::SystemClock clock;
  auto section = server().section();
  const auto refusal = [&] {
    Postgres postgres(clock, section);
    const auto status = postgres.connect(clock.steady() + 10s);
    REQUIRE_FALSE(status);
    CHECK_FALSE(status.error().message().contains("wrong horse"));
    CHECK_FALSE(status.error().message().contains(test::PostgresServer::kPassword));
    return status.error();
  };
  section.password = config::Secret("wrong horse");
  CHECK(refusal().code() == Errc::kPermissionDenied);
  CHECK(refusal().message().contains("password authentication failed for user \"postgres\""));
  section.password = {};
  CHECK(refusal().code() == Errc::kPermissionDenied);
  section = server().section();
  section.database = "nowhere";
  CHECK(refusal().message().contains("database \"nowhere\" does not exist"));
  section = server().section();
  section.host = "/nowhere";
  CHECK(refusal().code() == Errc::kUnavailable);
  section.host = "127.0.0.1";
  section.port = 1;
  CHECK(refusal().code() == Errc::kUnavailable);
  CHECK(refusal().message().contains("PostgreSQL at 127.0.0.1:1"));
}

TEST_CASE("postgres: TLS that is demanded and cannot be had is an error") {
  base::SystemClock clock;
  auto section = server().section();
  // Over a unix socket there is no TLS; a listener that is no PostgreSQL answers rubbish.
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{.sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t size = sizeof address;
  REQUIRE(::bind(listener, reinterpret_cast<sockaddr*>(&address), size) == 0);
  REQUIRE(::listen(listener, 4) == 0);
  REQUIRE(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  section.host = "127.0.0.1";
  section.port = ntohs(address.sin_port);
  section.tls = "require";
  const auto answer = [&](std::string_view bytes) {
    std::thread peer([&] {
      const int client = ::accept(listener, nullptr, nullptr);
      char request[512];
      CHECK(::recv(client, request, sizeof request, 0) > 0);
      CHECK(::send(client, bytes.data(), bytes.size(), MSG_NOSIGNAL) > 0);
      ::shutdown(client, SHUT_WR);
      while (::recv(client, request, sizeof request, 0) > 0) {
      }
      ::close(client);
    });
    Postgres postgres(clock, section);
    const auto status = postgres.connect(clock.steady() + 10s);
    postgres.close();
    peer.join();
    REQUIRE_FALSE(status);
    return status.error().message();
  };
  CHECK(answer("N").contains("server does not support SSL"));
  CHECK(answer("SIt is not TLS that comes").contains("SSL"));
  section.tls = "disable";
  CHECK(answer("HTTP/1.1 400 Bad Request\r\n\r\n").contains("PostgreSQL at 127.0.0.1"));
  ::close(listener);
}

TEST_CASE("postgres: a server that hangs costs the deadline and no more, then all is well again") {
  Rig rig;
  REQUIRE(rig.query("SELECT 1"));
  server().freeze();
  const auto late = rig.postgres.query("SELECT 1", rig.clock.steady() + 200ms);
  CHECK_FALSE(rig.postgres.connected());
  Postgres other(rig.clock, server().section());
  const auto refused = other.connect(rig.clock.steady() + 200ms);
  server().thaw();
  REQUIRE_FALSE(late);
  CHECK(late.error().code() == Errc::kTimeout);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code() == Errc::kTimeout);
  CHECK(rig.query("SELECT 1"));
  CHECK(rig.postgres.connections() == 2);
}

TEST_CASE("postgres: a server that goes away is unavailable, and found again when it is back") {
  Rig rig;
  REQUIRE(rig.query("SELECT 1"));
  server().stop();
  CHECK(rig.error_of("SELECT 1").code() == Errc::kUnavailable);
  CHECK_FALSE(rig.postgres.connected());
  CHECK(rig.error_of("SELECT 1").code() == Errc::kUnavailable);
  server().start();
  CHECK(rig.query("SELECT 1"));
}
