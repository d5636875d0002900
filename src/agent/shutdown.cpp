#include "agent/shutdown.hpp"

#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>

#include "nexus/base/abandon.hpp"
#include "nexus/base/log.hpp"

namespace nexus::agent {
namespace {

/// Co-owned by the stage's thread, which may outlive the wait for it.
struct Stage {
  std::function<void()> body;
  std::mutex mutex;
  std::condition_variable ended;
  bool done = false;  // guarded by mutex
};

void run_stage(Stage& stage) {
  stage.body();
  const std::lock_guard guard(stage.mutex);
  stage.done = true;
  stage.ended.notify_all();
}

}  // namespace

Millis Shutdown::grace(Millis most, Millis reserved) const {
  const auto left = std::chrono::duration_cast<Millis>(deadline_ - clock_.steady()) - reserved;
  return std::clamp(left, Millis(0), most);
}

bool Shutdown::run(std::string_view name, Millis reserved, std::function<void()> body) {
  auto stage = std::make_shared<Stage>();
  stage->body = std::move(body);
  std::thread thread;
  try {
    thread = std::thread([stage] { run_stage(*stage); });
  } catch (const std::system_error&) {
    run_stage(*stage);  // no thread to be had: better late than not at all
    return true;
  }
  bool done = false;
  {
    std::unique_lock lock(stage->mutex);
    const auto until = std::max(deadline_ - reserved, clock_.steady() + kLeast);
    done = clock_.wait_until(lock, stage->ended, until, [&] { return stage->done; });
  }
  if (done) {
    thread.join();
    return true;
  }
  ++left_behind_;
  log::error("agent", "stop: {} did not end in time and is left behind", name);
  base::abandon(std::move(thread));
  return false;
}

}  // namespace nexus::agent
