// LoopThread: a named thread that runs one turn after another until it is stopped.
//
// A turn returns when the next one is due; wake() runs it at once. late() is what a watchdog looks
// at. An exception that leaves a turn is a bug and ends the process: turns return their
// errors. A thread that cannot be made (TasksMax=, memory) is logged and asked for again by wake()
// and late(); until then the loop is late.
//
// Ownership: the destructor stops and joins. Thread safety: wake(), stop(), late(),
// last_turn(), busy() from any thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "nexus/base/clock.hpp"

namespace nexus::base {

class LoopThread {
 public:
  using Turn = std::function<SteadyTime()>;

  /// `name` is shown by ps and top (15 bytes at most are kept by the kernel).
  LoopThread(Clock& clock, std::string name, Turn turn);
  ~LoopThread();
  LoopThread(const LoopThread&) = delete;
  LoopThread& operator=(const LoopThread&) = delete;

  void wake();
  /// Lets the running turn finish, runs no other, joins. Safe to call twice.
  void stop();

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  /// When the loop last began to wait or to run; a loop that waits for its deadline is alive.
  [[nodiscard]] SteadyTime last_turn() const noexcept;
  /// For how long it owes an end of the running turn, or the begin of the next one after that was
  /// due. 0 while it waits for its time, however long.
  [[nodiscard]] Nanos late() const;
  /// Whether a turn is running now.
  [[nodiscard]] bool busy() const noexcept { return busy_.load(std::memory_order_acquire); }

 private:
  void run();
  /// Lock held.
  void make_thread() const;

  Clock& clock_;
  const std::string name_;
  const Turn turn_;
  const std::function<void()> body_;  // of the thread
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool woken_ = false;     // guarded by mutex_
  bool stopping_ = false;  // guarded by mutex_
  std::atomic<std::int64_t> last_turn_{0};
  std::atomic<std::int64_t> owed_since_{0};  // begin of the running turn, or when the next is due
  std::atomic<bool> busy_{false};
  mutable std::atomic<bool> missing_{false};  // the thread could not be made
  mutable std::thread thread_;                // guarded by mutex_ until it runs
};

/// Gives the calling thread a name.
void name_this_thread(const std::string& name);

}  // namespace nexus::base
