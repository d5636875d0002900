#include <pthread.h>

#include <atomic>
#include <catch2/catch.hpp>

#include "nexus/base/bounded_queue.hpp"
#include "nexus/base/gate.hpp"
#include "nexus/base/loop_thread.hpp"

using namespace nexus;
using namespace std::chrono_literals;

TEST_CASE("a bounded queue refuses what is over and drains after close") {
  base::ManualClock clock;
  base::BoundedQueue<int> queue(clock, 2);
  CHECK(queue.push(1));
  CHECK(queue.push(2));
  CHECK_FALSE(queue.push(3));
  queue.close();
  CHECK_FALSE(queue.push(4));
  CHECK(queue.pop() == 1);
  CHECK(queue.pop() == 2);
  CHECK(queue.pop() == std::nullopt);
}

TEST_CASE("a gate lets nobody in once closed and waits for the last") {
  base::SystemClock clock;
  base::Gate gate(clock);
  auto pass = gate.enter();
  REQUIRE(pass);
  gate.close();
  CHECK_FALSE(gate.enter());
  CHECK_FALSE(gate.wait(clock.steady()));
  std::thread leaver([&] { pass.reset(); });
  CHECK(gate.wait(base::kForever));
  leaver.join();
}

TEST_CASE("a loop thread runs at its deadlines under the test clock, and at once when woken") {
  base::ManualClock clock;
  std::atomic<int> turns{0};
  base::LoopThread loop(clock, "turns", [&] {
    const auto next = clock.steady() + 10s;  // before the test knows, and moves the clock
    ++turns;
    turns.notify_all();
    return next;
  });
  turns.wait(0);
  CHECK(turns == 1);
  clock.advance(10s);
  turns.wait(1);
  CHECK(turns == 2);
  loop.wake();
  turns.wait(2);
  CHECK(turns == 3);
  loop.stop();
}

TEST_CASE("a loop is late in a turn that does not end, and never while it waits for its time") {
  base::ManualClock clock;
  std::atomic<int> turns{0};
  std::atomic<bool> hold{false};
  base::LoopThread loop(clock, "late", [&] {
    hold.wait(true);
    ++turns;
    turns.notify_all();
    return clock.steady() + 1h;
  });
  turns.wait(0);
  while (loop.busy()) std::this_thread::yield();
  clock.advance(59min);
  CHECK(loop.late() == 0s);
  hold = true;
  clock.advance(1min);
  while (!loop.busy()) std::this_thread::yield();
  clock.advance(5min);
  CHECK(loop.late() == 5min);
  hold = false;
  hold.notify_all();
  turns.wait(1);
  while (loop.busy()) std::this_thread::yield();
  CHECK(loop.late() == 0s);
}

TEST_CASE("a loop whose thread cannot be made is late, and runs once it can") {
  // No address space has room for such a stack: the next thread cannot be made.
  pthread_attr_t usual{};
  REQUIRE(pthread_getattr_default_np(&usual) == 0);
  pthread_attr_t huge{};
  REQUIRE(pthread_attr_init(&huge) == 0);
  REQUIRE(pthread_attr_setstacksize(&huge, std::size_t{1} << 50U) == 0);
  REQUIRE(pthread_setattr_default_np(&huge) == 0);
  base::ManualClock clock;
  std::atomic<int> turns{0};
  base::LoopThread loop(clock, "missing", [&] {
    ++turns;
    turns.notify_all();
    return clock.steady() + 1h;
  });
  clock.advance(5min);
  CHECK(loop.late() == 5min);
  CHECK(turns == 0);
  REQUIRE(pthread_setattr_default_np(&usual) == 0);
  loop.wake();
  turns.wait(0);
  CHECK(turns == 1);
  while (loop.busy()) std::this_thread::yield();
  CHECK(loop.late() == 0s);
  pthread_attr_destroy(&huge);
  pthread_attr_destroy(&usual);
}
