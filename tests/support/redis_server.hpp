// A Redis of the package redis-server on a unix socket of its own. Thread safety: one thread.
#pragma once

#include <filesystem>
#include <memory>

#include "nexus/config/connections.hpp"
#include "nexus/drivers/redis.hpp"
#include "support/server.hpp"

namespace nexus::test {

class RedisServer {
 public:
  /// `options` as on redis-server's command line: {"--maxmemory", "10mb"}.
  explicit RedisServer(std::vector<std::string> options = {}) : options_(std::move(options)) {
    std::filesystem::permissions(directory_.path(), std::filesystem::perms::all);
    start();
  }

  void start() {
    std::vector<std::string> argv = {"/usr/bin/redis-server",
                                     "--port",
                                     "0",
                                     "--unixsocket",
                                     socket(),
                                     "--unixsocketperm",
                                     "777",
                                     "--dir",
                                     directory_.path(),
                                     "--save",
                                     "",
                                     "--daemonize",
                                     "no",
                                     "--loglevel",
                                     "warning"};
    argv.insert(argv.end(), options_.begin(), options_.end());
    server_ = std::make_unique<Server>(user_named("redis"), argv, directory_.file("log"));
    server_->start();
    if (!eventually([this] {
          drivers::Redis one(clock_, section());
          const auto done = one.command({"PING"}, clock_.steady() + std::chrono::seconds(1));
          return done || done.error().code() == Errc::kPermissionDenied;
        }))
      throw std::runtime_error("Redis does not start: see " + directory_.file("log"));
  }
  void stop() {
    server_->stop(SIGTERM);
    server_.reset();
  }
  void freeze() const { server_->freeze(); }
  void thaw() const { server_->thaw(); }

  [[nodiscard]] std::string socket() const { return directory_.file("redis.sock"); }
  [[nodiscard]] config::RedisSection section() const {
    config::RedisSection out;
    out.host = socket();
    out.timeout = std::chrono::seconds(30);  // a busy machine is no server that hangs
    return out;
  }
  drivers::RedisReply execute(std::vector<std::string> words) {
    drivers::Redis one(clock_, section());
    auto done = one.command(words, clock_.steady() + std::chrono::seconds(10));
    if (!done) throw std::runtime_error(done.error().message());
    return *std::move(done);
  }

 private:
  TemporaryDirectory directory_;
  const std::vector<std::string> options_;
  base::SystemClock clock_;
  std::unique_ptr<Server> server_;
};

}  // namespace nexus::test
