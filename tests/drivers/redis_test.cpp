// Against Redis 7 as its package has it.
#include <sys/socket.h>
#include <sys/un.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <thread>

#include "nexus/drivers/redis.hpp"
#include "nexus/host/fd.hpp"
#include "support/redis_server.hpp"

using namespace nexus;
using namespace nexus::drivers;
using namespace std::chrono_literals;

namespace {

struct Rig {
  explicit Rig(std::vector<std::string> options = {}) : server(std::move(options)) {}
  test::RedisServer server;
  base::SystemClock clock;

  std::unique_ptr<Redis> client(config::RedisSection section, std::size_t max = 8U << 20) {
    return std::make_unique<Redis>(clock, std::move(section), max);
  }
};

}  // namespace

TEST_CASE("redis: replies of every kind, and errors that cost no connection") {
  Rig rig;
  const auto redis = rig.client(rig.server.section());
  const auto run = [&](std::vector<std::string> words) {
    return redis->command(words, rig.clock.steady() + 10s);
  };
  CHECK(run({"SET", "key", std::string("a\r\n\0b", 5)})->text == "OK");
  CHECK(run({"GET", "key"})->text == std::string("a\r\n\0b", 5));
  CHECK(run({"GET", "none"})->type == RedisReply::Type::kNil);
  CHECK(run({"INCRBY", "n", "41"})->integer == 41);
  const auto list = run({"MGET", "n", "none"});
  REQUIRE(list->elements.size() == 2);
  CHECK(list->elements[0].text == "41");
  CHECK(list->elements[1].type == RedisReply::Type::kNil);
  CHECK(run({"NOSUCH"}).error().code() == Errc::kUnsupported);
  CHECK(run({"INCR", "key"}).error().code() == Errc::kInvalidArgument);
  CHECK(run({"INCR", "key"})
            .error()
            .message()
            .contains(rig.server.socket() + ": INCR: ERR value is not an integer"));
  CHECK(run({}).error().code() == Errc::kInvalidArgument);
  CHECK(run({"CLIENT", "GETNAME"})->text == "nexus-agent");
  CHECK(redis->connected());
}

TEST_CASE("redis: passwords, users and databases; a refusal never shows the password") {
  Rig rig({"--requirepass", "hunter2"});
  auto section = rig.server.section();
  const auto ping = [&] {
    return rig.client(section)->command({"PING"}, rig.clock.steady() + 10s);
  };
  CHECK(ping().error().code() == Errc::kPermissionDenied);
  section.password = config::Secret("hunter3");
  CHECK(ping().error().code() == Errc::kPermissionDenied);
  CHECK_FALSE(ping().error().message().contains("hunter"));
  section.password = config::Secret("hunter2");
  CHECK(ping()->text == "PONG");
  section.database = 3;
  const auto redis = rig.client(section);
  REQUIRE(redis->command({"SET", "a", "1"}, rig.clock.steady() + 10s));
  CHECK(
      redis->command({"INFO", "keyspace"}, rig.clock.steady() + 10s)->text.contains("db3:keys=1"));
  REQUIRE(redis->command({"ACL", "SETUSER", "watcher", "on", ">a b", "+ping", "+client"},
                         rig.clock.steady() + 10s));
  section.database = 0;
  section.user = "watcher";
  section.password = config::Secret("a b");
  CHECK(ping()->text == "PONG");
  const auto denied = rig.client(section)->command({"KEYS", "*"}, rig.clock.steady() + 10s);
  CHECK(denied.error().code() == Errc::kPermissionDenied);
  section.database = 99;
  CHECK_FALSE(ping());
}

TEST_CASE("redis: a server that hangs costs the deadline, one that leaves is found again") {
  Rig rig;
  const auto redis = rig.client(rig.server.section());
  REQUIRE(redis->command({"PING"}, rig.clock.steady() + 10s));
  rig.server.freeze();
  const auto late = redis->command({"PING"}, rig.clock.steady() + 100ms);
  rig.server.thaw();
  REQUIRE_FALSE(late);
  CHECK(late.error().code() == Errc::kTimeout);
  CHECK_FALSE(redis->connected());
  REQUIRE(redis->command({"PING"}, rig.clock.steady() + 10s));
  rig.server.stop();
  CHECK(redis->command({"PING"}, rig.clock.steady() + 10s).error().code() == Errc::kUnavailable);
  CHECK_FALSE(redis->command({"PING"}, rig.clock.steady() + 10s));
  rig.server.start();
  CHECK(redis->command({"PING"}, rig.clock.steady() + 10s)->text == "PONG");
}

TEST_CASE("redis: a reply is bounded, and what is not Redis is said to be so") {
  Rig rig;
  rig.server.execute({"SET", "large", std::string(100'000, 'x')});
  const auto redis = rig.client(rig.server.section(), 10'000);
  const auto large = redis->command({"GET", "large"}, rig.clock.steady() + 10s);
  REQUIRE_FALSE(large);
  CHECK(large.error().code() == Errc::kExhausted);
  CHECK(redis->command({"PING"}, rig.clock.steady() + 10s)->text == "PONG");

  const test::TemporaryDirectory directory;
  const std::string path = directory.file("other.sock");
  const host::Fd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  std::strcpy(address.sun_path, path.c_str());
  REQUIRE(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  REQUIRE(::listen(listener.get(), 1) == 0);
  std::thread peer([&] {
    const host::Fd client(::accept(listener.get(), nullptr, nullptr));
    char request[256];
    CHECK(::recv(client.get(), request, sizeof request, 0) > 0);
    const std::string_view rubbish = "HTTP/1.1 400 Bad Request\r\n\r\n";
    CHECK(::send(client.get(), rubbish.data(), rubbish.size(), 0) > 0);
  });
  auto section = rig.server.section();
  section.host = path;
  const auto other = rig.client(section)->command({"PING"}, rig.clock.steady() + 10s);
  peer.join();
  REQUIRE_FALSE(other);
  CHECK(other.error().code() == Errc::kCorrupt);
}
