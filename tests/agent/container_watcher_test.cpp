// What is told of watched containers: the pure part. The rest is tried with a real engine in
// actions.py.
#include "agent/container_watcher.hpp"

#include <catch2/catch.hpp>

using namespace nexus;
using namespace nexus::agent;

namespace {

WatchedContainer container(const std::string& state, drivers::DockerDetails details = {},
                           const std::string& id = "aa") {
  WatchedContainer out;
  out.listed.id = id;
  out.listed.state = state;
  out.details = std::move(details);
  return out;
}

/// "state: detail".
std::string told(const std::vector<WatchedContainer>& containers) {
  const auto event = container_event("docker:web", containers);
  CHECK(event.service == "docker:web");
  CHECK(event.kind == "docker");
  return event.state + ": " + event.detail;
}

}  // namespace

TEST_CASE("the state of a container is told in the words of units") {
  CHECK(told({}) == "inactive: gone");
  CHECK(told({container("running")}) == "active: running");
  CHECK(told({container("running", {.health = "healthy"})}) == "active: running/healthy");
  CHECK(told({container("running", {.health = "starting"})}) == "activating: running/starting");
  CHECK(told({container("running", {.health = "unhealthy"})}) == "failed: running/unhealthy");
  CHECK(told({container("restarting", {.exit_code = 1})}) ==
        "activating: auto-restart/exit code 1");
  CHECK(told({container("exited")}) == "inactive: exited/success");
  CHECK(told({container("exited", {.exit_code = 137})}) == "failed: exited/exit code 137");
  CHECK(told({container("exited", {.exit_code = 137, .oom_killed = true})}) ==
        "failed: exited/oom-kill");
  CHECK(told({container("dead", {.exit_code = 1})}) == "failed: dead/exit code 1");
  CHECK(told({container("paused")}) == "inactive: paused");
  CHECK(told({container("created")}) == "inactive: created");
  CHECK(told({container("removing")}) == "deactivating: removing");
}

TEST_CASE("a service of several containers is up while one of them is") {
  const auto up = container("running", {.started = 10.5}, "aa");
  const auto ended = container("exited", {.exit_code = 1, .started = 20}, "bb");
  const auto starting = container("running", {.health = "starting", .started = 5}, "cc");
  CHECK(told({up, ended, starting}) == "active: running/1 of 3");
  CHECK(told({ended, starting}) == "activating: running/starting");
  CHECK(told({ended, ended}) == "failed: exited/exit code 1");
  CHECK(told({ended, container("exited")}) == "failed: exited/exit code 1");
  // Which run it is does not change while one after the other is stopped.
  CHECK(container_event("docker:web", std::vector{up, ended}).instance == "bb@20000");
  CHECK(container_event("docker:web", std::vector{ended}).instance == "bb@20000");
}

TEST_CASE("an engine that starts a container again is told") {
  const auto restarts = [](const std::string& policy) {
    const std::vector one{container("exited", {.exit_code = 1, .restart_policy = policy})};
    return container_event("docker:web", one).restarts_itself;
  };
  CHECK(restarts("always"));
  CHECK(restarts("on-failure"));
  CHECK_FALSE(restarts("no"));
  CHECK_FALSE(restarts(""));
}

TEST_CASE("containers that others depend on are watched too, by a configuration that names any") {
  config::Config config;
  config.services = {{.name = "web.service", .depends_on = {"db.service"}}};
  CHECK_FALSE(ContainerWatcher::has_work(config));
  config.services[0].depends_on.push_back("docker:cache");
  CHECK(ContainerWatcher::has_work(config));
}
