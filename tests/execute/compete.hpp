// Hosts that want the same place of a lock, for tests. Thread safety: one thread.
#pragma once

#include <atomic>
#include <catch2/catch.hpp>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "nexus/execute/fleet.hpp"

namespace nexus::execute::test {

/// `hosts` hosts that want to do the same, all at once; each has its turn.
inline void compete(const std::function<std::shared_ptr<FleetLock>(int)>& lock_of, int hosts,
                    int budget) {
  std::atomic<int> inside{0};
  std::atomic<int> most{0};
  std::atomic<int> wrong{0};
  std::mutex mutex;
  std::set<std::int64_t> tokens;
  std::vector<std::thread> threads;
  for (int host = 0; host < hosts; ++host) {
    threads.emplace_back([&, host] {
      const auto lock = lock_of(host);
      while (true) {
        auto place = lock->acquire("restart_service", Millis(60'000));
        if (!place) {
          if (place.error().code() != Errc::kConflict) {
            ++wrong;
            return;
          }
          std::this_thread::yield();
          continue;
        }
        const int now = ++inside;
        for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
        }
        {
          const std::lock_guard guard(mutex);
          if (!tokens.insert((*place)->token()).second) ++wrong;
        }
        std::this_thread::yield();
        --inside;
        return;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(most >= 1);
  CHECK(most <= budget);
  CHECK(tokens.size() == static_cast<std::size_t>(hosts));
}

}  // namespace nexus::execute::test
