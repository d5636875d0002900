#include "nexus/base/loop_thread.hpp"

#include <pthread.h>

namespace nexus::base {

void name_this_thread(const std::string& name) {
  pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
}

LoopThread::LoopThread(Clock& clock, std::string name, Turn turn)
    : clock_(clock), name_(std::move(name)), turn_(std::move(turn)) {
  last_turn_ = clock_.steady().time_since_epoch().count();
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

void LoopThread::run() {
  name_this_thread(name_);
  while (true) {
    last_turn_.store(clock_.steady().time_since_epoch().count(), std::memory_order_release);
    busy_.store(true, std::memory_order_release);
    const SteadyTime next = turn_();
    busy_.store(false, std::memory_order_release);
    last_turn_.store(clock_.steady().time_since_epoch().count(), std::memory_order_release);
    std::unique_lock lock(mutex_);
    clock_.wait_until(lock, changed_, next, [this] { return woken_ || stopping_; });
    if (stopping_) return;
    woken_ = false;
  }
}

}  // namespace nexus::base
