// What is done to containers, on Podman's service: the engine that speaks Docker's API and
// deviates.
#include <catch2/catch.hpp>

#include "container_bed.hpp"
#include "support/podman_engine.hpp"

using namespace nexus;
using namespace nexus::execute;
using namespace nexus::execute::test;
using namespace std::chrono_literals;
using Catch::Contains;

TEST_CASE("podman: containers are restarted, limited, scaled, rolled out, back, and pruned") {
  nexus::test::PodmanEngine podman;
  base::SystemClock clock;
  ContainerBed bed(podman.socket(), "localhost/busybox:test");
  ContainerBench actions(clock, bed);

  bed.make("stubborn", {{"StopSignal", "SIGTERM"}, {"StopTimeout", 600}});
  const auto first = bed.text("stubborn", "/State/StartedAt");
  auto done = actions.run("restart_service", "podman:stubborn", {{"timeout", "1s"}});
  INFO(done.outcome.result);
  CHECK(done.state == ActionState::kSucceeded);
  CHECK(bed.text("stubborn", "/State/StartedAt") != first);
  done = actions.run("stop_service", "podman:stubborn", {{"kill", true}});
  INFO(done.outcome.result);
  CHECK(done.state == ActionState::kSucceeded);

  const auto one = bed.make_image("localhost/shop:1", "ENV VERSION=1");
  bed.make_image("localhost/shop:2", "ENV VERSION=2");
  bed.make_of("shop", "web", 1, {{"Image", "localhost/shop:1"}, {"Env", {"COLOUR=green"}}});
  done = actions.run("scale_service", "podman:shop/web", {{"replicas", std::int64_t{2}}});
  INFO(done.outcome.result);
  REQUIRE(done.state == ActionState::kSucceeded);
  CHECK(bed.names_of("shop") == std::set<std::string>{"shop-web-1", "shop-web-2"});
  CHECK(bed.text("shop-web-2", "/Config/Image") == "localhost/shop:1");

  done = actions.run("rolling_update", "podman:shop/web", {{"image", "localhost/shop:2"}});
  INFO(done.outcome.result);
  REQUIRE(done.state == ActionState::kSucceeded);
  CHECK(bed.names_of("shop") == std::set<std::string>{"shop-web-1", "shop-web-2"});
  for (const auto* name : {"shop-web-1", "shop-web-2"}) {
    CHECK(bed.text(name, "/Config/Image") == "localhost/shop:2");
    CHECK(bed.text(name, "/State/Status") == "running");
    CHECK_THAT(json::serialize(bed.inspect(name).at_pointer("/Config/Env")),
               Contains("VERSION=2") && Contains("COLOUR=green"));
  }
  done = actions.run("rollback_deployment", "podman:shop/web");
  INFO(done.outcome.result);
  REQUIRE(done.state == ActionState::kSucceeded);
  CHECK(bed.text("shop-web-2", "/Image") == one);

  AheadClock later(48h);
  ContainerBench old(later, bed);
  bed.make_image("localhost/prune:1", "ENV VERSION=1");
  bed.make_image("localhost/prune:1", "ENV VERSION=2");
  done = old.run("prune_docker", "docker");
  INFO(done.outcome.output);
  CHECK(done.state == ActionState::kSucceeded);
  CHECK_THAT(done.outcome.output, Contains("dangling_images image "));
}
