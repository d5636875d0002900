// A PostgreSQL of the package postgresql-15: one cluster for each process that tests, made once.
// Thread safety: one thread.
#pragma once

#include <filesystem>
#include <memory>

#include "nexus/config/connections.hpp"
#include "nexus/drivers/postgres.hpp"
#include "support/server.hpp"

namespace nexus::test {

class PostgresServer {
 public:
  static constexpr const char* kPassword = "correct horse";

  PostgresServer() : user_(user_named("postgres")) {
    std::filesystem::permissions(directory_.path(), std::filesystem::perms::all);
    const std::string words = directory_.write("password", kPassword, 0644);
    Server initdb(user_,
                  {kBin + "/initdb", "-D", data(), "-U", "postgres", "--auth=scram-sha-256",
                   "--pwfile=" + words, "--no-sync", "-E", "UTF8", "--no-locale"},
                  log());
    if (initdb.run() != 0) throw std::runtime_error("initdb failed: see " + log());
    std::ofstream(data() + "/postgresql.conf", std::ios::app)
        << "listen_addresses = ''\nunix_socket_directories = '" << directory_.path()
        << "'\nfsync = off\nmax_connections = 60\nshared_preload_libraries = "
           "'pg_stat_statements'\nautovacuum = off\ntrack_io_timing = on\n";
    start();
  }
  ~PostgresServer() {
    if (server_) server_->stop(SIGQUIT);
  }

  void start() {
    server_ = std::make_unique<Server>(
        user_, std::vector<std::string>{kBin + "/postgres", "-D", data()}, log());
    server_->start();
    if (!eventually([this] {
          drivers::Postgres one(clock_, section());
          return one.connect(clock_.steady() + std::chrono::seconds(1)).has_value();
        }))
      throw std::runtime_error("PostgreSQL does not start: see " + log());
  }
  void stop() {
    server_->stop(SIGINT);  // fast
    server_.reset();
  }
  /// The postmaster's children have sessions of their own, so each is stopped by itself.
  void freeze() const { signal_all(SIGSTOP); }
  void thaw() const { signal_all(SIGCONT); }

  [[nodiscard]] config::PostgresSection section() const {
    config::PostgresSection out;
    out.host = directory_.path();
    out.user = "postgres";
    out.password = config::Secret(kPassword);
    out.timeout = std::chrono::seconds(30);  // a busy machine is no server that hangs
    return out;
  }
  void execute(const std::string& sql) {
    drivers::Postgres one(clock_, section());
    const auto done = one.query(sql, clock_.steady() + std::chrono::seconds(30));
    if (!done) throw std::runtime_error(done.error().message());
  }

 private:
  static inline const std::string kBin = "/usr/lib/postgresql/15/bin";

  [[nodiscard]] std::string data() const { return directory_.file("data"); }
  [[nodiscard]] std::string log() const { return directory_.file("log"); }
  void signal_all(int number) const {
    server_->signal(number);
    const std::string children = "/proc/" + std::to_string(server_->pid()) + "/task/" +
                                 std::to_string(server_->pid()) + "/children";
    std::ifstream list(children);
    for (pid_t child = 0; list >> child;) ::kill(child, number);
  }

  TemporaryDirectory directory_;
  const User user_;
  base::SystemClock clock_;
  std::unique_ptr<Server> server_;
};

inline PostgresServer& postgres_server() {
  static PostgresServer server;
  return server;
}

}  // namespace nexus::test
