// The docker client and collector against Podman, an engine that deviates.
#include <fmt/core.h>

#include <algorithm>
#include <catch2/catch.hpp>

#include "monitor/remote_rig.hpp"
#include "support/podman_engine.hpp"

using namespace nexus;
using namespace nexus::monitor;
using namespace std::chrono_literals;
using monitor::testing::RemoteRig;

TEST_CASE("podman: containers, details, images and events, as of Docker") {
  test::PodmanEngine podman;
  const auto engine = podman.engine();
  config::Connections connections;
  connections.docker.socket = podman.socket();
  connections.docker.timeout = 30s;
  RemoteRig rig("docker", connections);
  const auto& sink = rig.sink;
  const auto collected = [&] {
    const Status status = rig.collect();
    INFO((status ? "" : status.error().message()));
    REQUIRE(status);
    return true;
  };
  REQUIRE(collected());
  podman.run("web", "sleep 1000");
  podman.run("done", "exit 7");
  const auto about = engine.engine(podman.soon());
  REQUIRE(about);
  CHECK_FALSE(about->version.empty());
  CHECK(about->cpus >= 1);
  const auto details = engine.inspect("web", podman.soon());
  REQUIRE(details);
  CHECK(details->pid > 1);
  CHECK(details->started > 1.6e9);
  CHECK_FALSE(details->finished);
  CHECK(engine.inspect("nowhere", podman.soon()).error().code() == Errc::kNotFound);
  CHECK(test::eventually([&] {
    return collected() && sink.has("docker_container_exit_code{name=\"done\"}") &&
           sink.has(R"(docker_events_total{action="die",type="container"})");
  }));
  CHECK(sink.value("docker_up") == 1);
  CHECK(sink.value("docker_container_exit_code{name=\"done\"}") == 7);
  CHECK(sink.value("docker_container_state{name=\"web\",state=\"running\"}") == 1);
  CHECK(sink.value("docker_container_restarts_total{name=\"web\"}") == 0);
  CHECK(sink.value("engine_daemon_container_states_containers{state=\"running\"}") == 1);
  CHECK(sink.value("engine_daemon_container_states_containers{state=\"exited\"}") == 1);
  CHECK(sink.text().contains("docker_container_info{compose_project=\"shop\",id=\""));
  CHECK(sink.value("docker_images") == 1);
  CHECK(sink.value("docker_images_dangling") == 0);
  CHECK(sink.value("docker_images_size_bytes") > 500'000);
  CHECK(sink.value(R"(docker_events_total{action="start",type="container"})") == 2);
  CHECK(sink.value(R"(docker_events_total{action="die",type="container"})") == 1);
  CHECK(sink.value("docker_event_gaps_total") == 0);
}
