// A server of a Debian package, started for one test on a directory and unix socket of its own, as
// the unprivileged user that its package made. Thread safety: one thread.
#pragma once

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/temporary_directory.hpp"

namespace nexus::test {

struct User {
  uid_t uid;
  gid_t gid;
};

/// Root starts servers as another user; anybody else as himself.
inline User user_named(const std::string& name) {
  if (::geteuid() != 0) return {::geteuid(), ::getegid()};
  const passwd* found = ::getpwnam(name.c_str());
  if (found == nullptr) throw std::runtime_error("there is no user " + name);
  return {found->pw_uid, found->pw_gid};
}

class Server {
 public:
  Server(User user, std::vector<std::string> argv, std::string log)
      : user_(user), argv_(std::move(argv)), log_(std::move(log)) {}
  ~Server() { kill(); }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  void start() { pid_ = spawn(); }
  /// Runs to its end; its exit status.
  int run() {
    start();
    int status = 0;
    ::waitpid(std::exchange(pid_, 0), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  void signal(int number) const { ::kill(pid_, number); }
  /// The whole process group, as a machine that hangs.
  void freeze() const { ::kill(-pid_, SIGSTOP); }
  void thaw() const { ::kill(-pid_, SIGCONT); }
  void kill() {
    if (pid_ <= 0) return;
    thaw();
    ::kill(-pid_, SIGKILL);
    ::waitpid(std::exchange(pid_, 0), nullptr, 0);
  }
  /// Ends by `number` and waits for it.
  void stop(int number) {
    if (pid_ <= 0) return;
    ::kill(pid_, number);
    ::waitpid(std::exchange(pid_, 0), nullptr, 0);
  }
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  pid_t spawn() const {
    std::vector<char*> arguments;
    for (const auto& one : argv_) arguments.push_back(const_cast<char*>(one.c_str()));
    arguments.push_back(nullptr);
    const pid_t child = ::fork();
    if (child != 0) return child;
    ::setsid();
    const int log = ::open(log_.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
    ::dup2(log, 1);
    ::dup2(log, 2);
    if (::geteuid() == 0 && user_.uid != 0) {
      if (::setgroups(0, nullptr) != 0 || ::setgid(user_.gid) != 0 || ::setuid(user_.uid) != 0)
        ::_exit(126);
    }
    ::execv(arguments[0], arguments.data());
    ::_exit(127);
  }

  const User user_;
  const std::vector<std::string> argv_;
  const std::string log_;
  pid_t pid_ = 0;
};

/// Asks until it is so, for two minutes at most: only what never comes takes that long.
inline bool eventually(const std::function<bool()>& so) {
  for (int i = 0; i < 6000; ++i) {
    if (so()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return false;
}

}  // namespace nexus::test
