#include "nexus/base/loop_thread.hpp"

#include <pthread.h>

#include <algorithm>

namespace nexus::base {

void name_this_thread(const std::string& name) {
  pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
}

LoopThread::LoopThread(Clock& clock, std::string name, Turn turn)
    : clock_(clock), name_(std::move(name)), turn_(std::move(turn)) {
  last_turn_ = clock_.steady().time_since_epoch().count();
  owed_since_ = last_turn_.load();
  thread_ = std::thread([this] { run(); });
}

LoopThread::~LoopThread() {
  stop();
}

void LoopThread::wake() {
  {
    const std::lock_guard guard(mutex_);
    woken_ = true;
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

Nanos LoopThread::late() const noexcept {
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
