#include "agent/shutdown.hpp"

#include <atomic>
#include <catch2/catch.hpp>
#include <future>
#include <thread>

using namespace nexus;
using namespace nexus::agent;
using namespace std::chrono_literals;

TEST_CASE("a stage that hangs is left behind, and those after it have what was kept for them") {
  base::ManualClock clock;
  Shutdown shutdown(clock, 20s);
  std::promise<void> release;
  auto released = std::make_shared<std::shared_future<void>>(release.get_future());
  auto ended = std::make_shared<std::promise<void>>();
  std::atomic<bool> given_up{false};
  std::thread time([&] {
    while (!given_up) {
      clock.advance(100ms);
      std::this_thread::yield();
    }
  });
  CHECK_FALSE(shutdown.run("what hangs", 3s, [released, ended] {
    released->wait();
    ended->set_value();
  }));
  given_up = true;
  time.join();
  CHECK(shutdown.left_behind() == 1);
  bool flushed = false;
  CHECK(shutdown.run("the flush", 0s, [&] { flushed = true; }));
  CHECK(flushed);
  CHECK(shutdown.left_behind() == 1);
  clock.advance(1h);
  CHECK(shutdown.run("what is quick, though late", 3s, [] {}));
  release.set_value();
  ended->get_future().wait();
}

TEST_CASE("a stage's grace is what the limit leaves, at most what it asks for") {
  base::ManualClock clock;
  const Shutdown shutdown(clock, 20s);
  CHECK(shutdown.grace(10s, 10s) == 10s);
  clock.advance(6s);
  CHECK(shutdown.grace(10s, 10s) == 4s);
  CHECK(shutdown.grace(2s, 10s) == 2s);
  clock.advance(1h);
  CHECK(shutdown.grace(10s, 10s) == 0s);
}
