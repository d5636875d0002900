#include "nexus/base/abandon.hpp"

#include <atomic>

namespace nexus::base {
namespace {

std::atomic<std::size_t> abandoned{0};

}  // namespace

void abandon(std::thread thread) {
  if (!thread.joinable()) return;
  abandoned.fetch_add(1, std::memory_order_relaxed);
  thread.detach();
}

std::size_t abandoned_threads() noexcept {
  return abandoned.load(std::memory_order_relaxed);
}

}  // namespace nexus::base
