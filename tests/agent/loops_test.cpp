// A real agent on a clock that the test moves: what the watchdog is told.
#include <catch2/catch.hpp>
#include <condition_variable>
#include <mutex>

#include "nexus/agent/agent.hpp"
#include "support/temporary_directory.hpp"

using namespace nexus;
using namespace std::chrono_literals;

TEST_CASE("loops with long intervals are healthy while they wait for their time") {
  const nexus::test::TemporaryDirectory directory;
  directory.write("agent.toml",
                  "[agent]\ndata_dir = \"" + directory.file("data") +
                      "\"\nlog_level = \"error\"\n[http]\nlisten = [\"unix:" + directory.file("s") +
                      "\"]\n[collect]\ninterval = \"10m\"\ndeadline = \"10m\"\n"
                      "[operations]\ncheck_interval = \"1h\"\n");
  config::LoadOptions options;
  options.file = directory.file("agent.toml");
  base::ManualClock clock;
  auto made = agent::Agent::make(clock, options);
  if (!made) FAIL(made.error().message());
  auto& running = **made;
  REQUIRE(running.start());
  // Loops that became due, and the server's heartbeat, need a moment of real time to catch up.
  std::mutex mutex;
  std::condition_variable never;
  const auto becomes_healthy = [&](std::string& why) {
    for (int i = 0; i < 12'000; ++i) {
      if (running.healthy(why)) return true;
      std::unique_lock lock(mutex);
      never.wait_for(lock, 5ms);
    }
    return false;
  };
  std::string why;
  CHECK(becomes_healthy(why));
  clock.advance(5min);
  const bool healthy = becomes_healthy(why);
  INFO(why);
  CHECK(healthy);
  CHECK(running.data_dir() == directory.file("data"));
  running.stop();
  CHECK_FALSE(running.left_threads_behind());
}
