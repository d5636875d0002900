#include <atomic>
#include <catch2/catch.hpp>
#include <memory>

#include "nexus/base/abandon.hpp"

using namespace nexus;

TEST_CASE("an abandoned thread lives on with what it owns, and is counted") {
  struct Shared {
    std::atomic<bool> release{false};
    std::atomic<bool> ended{false};
  };
  const auto shared = std::make_shared<Shared>();
  const std::size_t before = base::abandoned_threads();
  base::abandon(std::thread([shared] {
    shared->release.wait(false);
    shared->ended = true;
    shared->ended.notify_all();
  }));
  CHECK(base::abandoned_threads() == before + 1);
  CHECK_FALSE(shared->ended);
  shared->release = true;
  shared->release.notify_all();
  shared->ended.wait(false);
  CHECK(shared->ended);
}

TEST_CASE("a thread that was never started is not counted") {
  const std::size_t before = base::abandoned_threads();
  base::abandon(std::thread());
  CHECK(base::abandoned_threads() == before);
}
