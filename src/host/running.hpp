// Running: one command with its supervisor, from the fork to its end. Thread safety: none; one
// thread a command. Left-behind supervisors are kept in one list under a lock.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>

#include "host/descriptor.hpp"
#include "nexus/host/subprocess.hpp"

namespace nexus::host {

/// Destroying it ends the command and waits until nothing of it is left, unless it was left behind.
class Running {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Running>> start(const Command& command);
  Running(pid_t supervisor, Descriptor output, Descriptor control, Descriptor report);
  Running(const Running&) = delete;
  ~Running();

  /// Begins to end the command; the supervisor does the rest.
  void end() noexcept { control_.reset(); }
  /// Its supervisor goes on without us.
  void leave_behind() noexcept { left_behind_ = true; }
  /// Waits until there is something to read; the output is appended to `exit`.
  void wait(Millis limit, std::size_t max_output, Exit& exit);
  void drain(std::size_t max_output, Exit& exit);

  [[nodiscard]] bool left_behind() const noexcept { return left_behind_; }
  [[nodiscard]] bool gone() const noexcept { return gone_; }
  [[nodiscard]] int pid() const noexcept { return pid_; }
  [[nodiscard]] int spawn_error() const noexcept { return spawn_error_; }
  [[nodiscard]] std::optional<int> wait_status() const noexcept { return wait_status_; }
  [[nodiscard]] const std::string& tail() const noexcept { return tail_; }

 private:
  void read_report();

  const pid_t supervisor_;
  Descriptor output_;
  Descriptor control_;
  Descriptor report_;
  int pid_ = 0;
  int spawn_error_ = 0;
  std::optional<int> wait_status_;
  bool gone_ = false;
  bool left_behind_ = false;
  std::string tail_;
};

}  // namespace nexus::host
