#include "nexus/base/loop_thread.hpp"

#include <pthread.h>

#include <algorithm>
#include <system_error>

#include "nexus/base/log.hpp"

namespace nexus::base {

void name_this_thread(const std::string& name) {
  pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
}

LoopThread::LoopThread(Clock& clock, std::string name, Turn turn)
    : clock_(clock), name_(std::move(name)), turn_(std::move(turn)), body_([this] { run(); }) {
  last_turn_ = clock_.steady().time_since_epoch().count();
  owed_since_ = last_turn_.load();
  const std::lock_guard guard(mutex_);
  make_thread();
}

void LoopThread::make_thread() const {
  try {
    thread_ = std::thread(body_);
    missing_ = false;
  } catch (const std::system_error& error) {
    if (!missing_.exchange(true))
      log::error("base", "the thread of the {} loop cannot be made, it is tried again: {}", name_,
                 error.what());
  }
}

LoopThread::~LoopThread() {
  stop();
}

void LoopThread::wake() {
  {
    const std::lock_guard guard(mutex_);
    const bool was_missing = missing_;
    if (was_missing && !stopping_) make_thread();
    woken_ = !was_missing;  // its first turn comes at once
  }
  changed_.notify_all();
}

void LoopThread::stop() {
  {
    const std::lock_guard guard(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

SteadyTime LoopThread::last_turn() const noexcept {
  return SteadyTime(Nanos(last_turn_.load(std::memory_order_acquire)));
}

Nanos LoopThread::late() const {
  if (missing_) {
    const std::lock_guard guard(mutex_);
    if (missing_ && !stopping_) make_thread();
  }
  const auto now = clock_.steady().time_since_epoch().count();
  return Nanos(std::max<std::int64_t>(0, now - owed_since_.load(std::memory_order_acquire)));
}

void LoopThread::run() {
  name_this_thread(name_);
  while (true) {
    const auto begun = clock_.steady().time_since_epoch().count();
    last_turn_.store(begun, std::memory_order_release);
    owed_since_.store(begun, std::memory_order_release);
    busy_.store(true, std::memory_order_release);
    const SteadyTime next = turn_();
    owed_since_.store(next.time_since_epoch().count(), std::memory_order_release);
    busy_.store(false, std::memory_order_release);
    last_turn_.store(clock_.steady().time_since_epoch().count(), std::memory_order_release);
    std::unique_lock lock(mutex_);
    clock_.wait_until(lock, changed_, next, [this] { return woken_ || stopping_; });
    if (stopping_) return;
    woken_ = false;
  }
}

}  // namespace nexus::base
