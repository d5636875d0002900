#include "nexus/base/memory_budget.hpp"

#include <catch2/catch.hpp>
#include <thread>
#include <vector>

using namespace nexus;
using namespace nexus::base;

TEST_CASE("holds grow within their budget, and give all back") {
  const auto budget = std::make_shared<MemoryBudget>(1000, 200, 50);
  CHECK(budget->most() == 1000);
  {
    MemoryHold one(budget);
    CHECK(one.grow(300));
    CHECK(one.grow(400));
    CHECK(one.bytes() == 700);
    MemoryHold two(budget);
    const Status refused = two.grow(2048);
    REQUIRE(!refused);
    CHECK(refused.error().code() == Errc::kUnavailable);
    CHECK(refused.error().message().starts_with("2 KiB more are too much"));
    CHECK(two.bytes() == 0);
    CHECK(two.grow(100));
    CHECK(budget->held() == 800);
    one.shrink_to(1000);  // holds less already
    one.shrink_to(100);
    CHECK(budget->held() == 200);
    CHECK(two.grow(600));
  }
  CHECK(budget->held() == 0);
}

TEST_CASE("a part of the budget is for small holds") {
  const auto budget = std::make_shared<MemoryBudget>(1000, 200, 50);
  MemoryHold large(budget);
  CHECK(!large.grow(801));
  CHECK(large.grow(800));
  MemoryHold other(budget);
  CHECK(!other.grow(51));
  CHECK(other.grow(50));
  CHECK(!other.grow(1));  // it would be large now
  MemoryHold third(budget);
  CHECK(third.grow(50));
  CHECK(budget->held() == 900);
}

TEST_CASE("holds of many threads are never more than the budget together") {
  const auto budget = std::make_shared<MemoryBudget>(1000, 0, 0);
  std::atomic<bool> is_more{false};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&] {
      for (int round = 0; round < 5000; ++round) {
        MemoryHold hold(budget);
        for (int i = 0; i < 5; ++i) {
          (void)hold.grow(99);
          if (budget->held() > budget->most()) is_more = true;
        }
        hold.shrink_to(10);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(!is_more);
  CHECK(budget->held() == 0);
}
