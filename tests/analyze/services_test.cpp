#include "nexus/analyze/services.hpp"

#include <fmt/format.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "analyze/world.hpp"

using namespace nexus;
using namespace nexus::analyze;
using namespace nexus::analyze::test;

namespace {

knowledge::ServiceEvent event(std::string service, std::string state, std::string detail) {
  knowledge::ServiceEvent out;
  out.service = std::move(service);
  out.kind = "systemd";
  out.state = std::move(state);
  out.detail = std::move(detail);
  return out;
}

}  // namespace

TEST_CASE("a service that fails is a finding at once, before anything is written") {
  World world;
  const auto opened = Services::open(*world.book, *world.db).value();
  Services& services = *opened;
  services.on_event(event("web.service", "active", "running/success"));
  CHECK(world.heard.empty());
  world.clock.advance(1s);
  auto failed = event("web.service", "failed", "failed/signal");
  failed.received = world.clock.steady();
  services.on_event(failed);
  CHECK(world.heard == std::vector<std::string>{"service_failed firing"});
  CHECK(world.db->query("SELECT * FROM findings")->empty());
  const Finding* finding = world.find("service_failed");
  REQUIRE(finding != nullptr);
  CHECK(finding->kind == FindingKind::kService);
  CHECK(finding->severity == Severity::kCritical);
  CHECK(finding->subject == "web.service");
  CHECK(finding->labels ==
        StringMap{{"service", "web.service"}, {"kind", "systemd"}, {"unit", "web.service"}});
  CHECK(finding->received == failed.received);
  CHECK(finding->evidence.text == "web.service is failed (failed/signal)");

  services.on_event(event("web.service", "activating", "start/success"));
  CHECK(world.find("service_failed")->state == FindingState::kFiring);
  services.on_event(event("web.service", "active", "running/success"));
  CHECK(world.find("service_failed")->state == FindingState::kResolved);
  services.on_event(event("web.service", "failed", "failed/signal"));
  CHECK(world.find("service_failed")->episodes == 2);
  REQUIRE(services.states().size() == 1);
  CHECK(services.states()[0].state == "failed");
}

TEST_CASE("the first event of a service that has failed already is a finding") {
  World world;
  const auto opened = Services::open(*world.book, *world.db).value();
  Services& services = *opened;
  services.on_event(event("db.service", "failed", "failed/exit-code"));
  CHECK(world.find("service_failed", "db.service") != nullptr);
}

TEST_CASE("stopped on purpose is no finding; down with a bad result is one") {
  World world;
  const auto opened = Services::open(*world.book, *world.db).value();
  Services& services = *opened;
  services.on_event(event("a.service", "deactivating", "stop-sigterm/success"));
  services.on_event(event("a.service", "inactive", "dead/success"));
  services.on_event(event("b.service", "inactive", "dead"));
  services.on_event(event("c.service", "unknown", ""));
  CHECK(world.book->snapshot()->empty());
  services.on_event(event("d.service", "inactive", "dead/oom-kill"));
  CHECK(world.find("service_failed", "d.service") != nullptr);
  services.on_event(event("d.service", "deactivating", "stop-sigkill/oom-kill"));
  CHECK(world.find("service_failed", "d.service")->state == FindingState::kFiring);
  services.on_event(event("d.service", "inactive", "dead/success"));
  CHECK(world.find("service_failed", "d.service")->state == FindingState::kResolved);
}

TEST_CASE("a service that restarts by itself is unstable for five minutes") {
  World world;
  const auto opened = Services::open(*world.book, *world.db).value();
  Services& services = *opened;
  for (int i = 0; i < 3; ++i) {
    services.on_event(event("web.service", "activating", "auto-restart/exit-code"));
    services.on_event(event("web.service", "active", "running/success"));
    world.clock.advance(2min);
    world.book->tick();
    CHECK(world.find("service_unstable")->state == FindingState::kFiring);
  }
  CHECK(world.heard == std::vector<std::string>{"service_unstable firing"});
  CHECK(world.find("service_unstable")->severity == Severity::kWarning);
  world.clock.advance(3min);
  world.book->tick();
  CHECK(world.find("service_unstable")->state == FindingState::kResolved);
}

TEST_CASE("a service that ends badly when it is told to stop was stopped, not failed") {
  World world;
  const auto opened = Services::open(*world.book, *world.db).value();
  Services& services = *opened;
  services.on_event(event("java.service", "active", "running/success"));
  auto stopping = event("java.service", "deactivating", "stop-sigterm/success");
  stopping.job = true;
  services.on_event(stopping);
  services.on_event(event("java.service", "failed", "failed/exit-code"));
  CHECK(world.book->snapshot()->empty());
  services.on_event(event("java.service", "active", "running/success"));
  services.on_event(event("java.service", "failed", "failed/exit-code"));
  CHECK(world.find("service_failed", "java.service") != nullptr);
}

TEST_CASE("a service that its manager restarts has failed only when the manager gives up") {
  World world;
  const auto opened = Services::open(*world.book, *world.db).value();
  Services& services = *opened;
  auto failed = event("web.service", "failed", "failed/signal");
  failed.restarts_itself = true;
  auto again = event("web.service", "activating", "auto-restart/signal");
  again.restarts_itself = true;
  services.on_event(failed);
  CHECK(world.find("service_failed")->state == FindingState::kPending);
  services.on_event(again);
  world.clock.advance(5s);
  world.book->tick();
  CHECK(world.heard == std::vector<std::string>{"service_unstable firing"});
  services.on_event(failed);
  world.clock.advance(2s);
  world.book->tick();
  CHECK(world.heard ==
        std::vector<std::string>{"service_unstable firing", "service_failed firing"});
}

TEST_CASE("services that are not watched any more, known or from before a restart, are cleared") {
  World world;
  {
    const auto opened = Services::open(*world.book, *world.db).value();
    Services& services = *opened;
    services.on_event(event("web.service", "failed", "failed/signal"));
    services.on_event(event("db.service", "failed", "failed/signal"));
  }
  world.open_book();
  const auto opened = Services::open(*world.book, *world.db).value();
  Services& services = *opened;
  services.on_event(event("cache.service", "failed", "failed/signal"));
  services.set_watched({"db.service"});
  CHECK(world.find("service_failed", "web.service")->state == FindingState::kResolved);
  CHECK(world.find("service_failed", "cache.service")->state == FindingState::kResolved);
  CHECK(world.find("service_failed", "db.service")->state == FindingState::kFiring);
  CHECK(services.states().empty());
}

TEST_CASE("who was stopped by somebody stays so over a restart of the agent, until it runs anew") {
  World world;
  auto stopping = event("java.service", "deactivating", "stop-sigterm/success");
  stopping.job = true;
  stopping.instance = "first";
  auto failed = event("java.service", "failed", "failed/exit-code");
  failed.instance = "first";
  {
    const auto services = Services::open(*world.book, *world.db).value();
    services->set_watched({"java.service"});
    services->on_event(stopping);
    services->on_event(failed);
    REQUIRE(services->save());
    CHECK(world.heard.empty());
  }
  {
    const auto services = Services::open(*world.book, *world.db).value();
    services->set_watched({"java.service"});
    services->on_event(failed);
    CHECK(world.heard.empty());
  }
  // It was started while nobody looked, and failed by itself.
  const auto services = Services::open(*world.book, *world.db).value();
  services->set_watched({"java.service"});
  failed.instance = "second";
  services->on_event(failed);
  CHECK(world.heard == std::vector<std::string>{"service_failed firing"});
  REQUIRE(services->save());
  CHECK(world.db->query("SELECT * FROM services_stopped")->empty());
}

TEST_CASE("whoever saves which services were stopped is told whether that is written") {
  World world;
  const auto services = Services::open(*world.book, *world.db).value();
  REQUIRE(
      world.db->execute("CREATE TRIGGER full BEFORE INSERT ON services_stopped BEGIN SELECT "
                        "RAISE(FAIL, 'the disk is full'); END"));
  constexpr int kTimes = 200;
  std::atomic<int> claimed{0};  // said to be written
  std::vector<std::jthread> threads;
  for (int number = 0; number < 4; ++number) {
    threads.emplace_back([&, number] {
      auto stopping = event(fmt::format("{}.service", number), "deactivating", "stop/success");
      stopping.job = true;
      for (int i = 0; i < kTimes; ++i) {
        stopping.instance = std::to_string(i);
        services->on_event(stopping);
        if (services->save()) ++claimed;
      }
    });
  }
  threads.clear();
  CHECK(claimed == 0);
  REQUIRE(world.db->execute("DROP TRIGGER full"));
  CHECK(services->save());
  CHECK(world.db->query("SELECT * FROM services_stopped")->size() == 4);
}
