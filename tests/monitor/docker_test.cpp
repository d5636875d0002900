// The docker client and collector against a real dockerd.
#include <fmt/core.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <map>
#include <mutex>

#include "monitor/remote_rig.hpp"
#include "nexus/drivers/docker_events.hpp"
#include "support/docker_engine.hpp"
#include "support/recording_proxy.hpp"

using namespace nexus;
using namespace nexus::monitor;
using namespace std::chrono_literals;
using monitor::testing::RemoteRig;

namespace {

test::DockerEngine& docker() {
  return test::docker_engine();
}

config::Connections connections() {
  config::Connections out;
  out.docker.socket = docker().socket();
  out.docker.timeout = 30s;  // a busy machine is no engine that hangs
  return out;
}

void make_containers() {
  static const bool made = [] {
    docker().run("web", "sleep 1000", R"("Labels": {"com.docker.compose.project": "shop"})");
    docker().run("sick", "sleep 1000",
                 R"("Healthcheck": {"Test": ["CMD", "false"], "Interval": 500000000,
                    "Retries": 1})");
    docker().run("loop", "exit 3", {}, R"("RestartPolicy": {"Name": "always"})");
    docker().run("done", "exit 7");
    return true;
  }();
  CHECK(made);
}

}  // namespace

TEST_CASE("docker: containers, details and images of an engine") {
  make_containers();
  const auto engine = docker().engine();
  const auto about = engine.engine(docker().soon());
  REQUIRE(about);
  CHECK(about->api_version.starts_with("1."));
  CHECK(about->cpus >= 1);
  CHECK(about->memory > 100 << 20);
  CHECK(about->images == 1);
  const auto containers = engine.containers(docker().soon(), 100);
  REQUIRE(containers);
  REQUIRE(containers->size() == 4);
  const auto web = std::ranges::find(*containers, "web", &drivers::DockerContainer::name);
  REQUIRE(web != containers->end());
  CHECK(web->id.size() == 64);
  CHECK(web->image == "busybox:test");
  CHECK(web->state == "running");
  CHECK(web->labels.at("com.docker.compose.project") == "shop");
  CHECK(engine.containers(docker().soon(), 2)->size() == 2);
  const auto details = engine.inspect("web", docker().soon());
  REQUIRE(details);
  CHECK(details->pid > 1);
  CHECK(details->started > 1.6e9);
  CHECK(details->health.empty());
  // Nobody has restarted this one.
  CHECK_FALSE(engine.inspect("sick", docker().soon()).value().finished);
  const auto images = engine.images(docker().soon());
  CHECK(images->count == 1);
  CHECK(images->bytes > 500'000);
  CHECK(images->unused_tags == 0);
  CHECK(engine.inspect("nowhere", docker().soon()).error().code() == Errc::kNotFound);
  CHECK(engine.inspect("nowhere", docker().soon())
            .error()
            .message()
            .contains("No such container: nowhere (status 404)"));
  CHECK(engine
            .request("POST", "/containers/create?name=web",
                     R"({"Image": "busybox:test", "Cmd": ["true"]})", docker().soon())
            .error()
            .code() == Errc::kConflict);
  base::SystemClock clock;
  CHECK(drivers::Docker(clock, "/nowhere").engine(docker().soon()).error().code() ==
        Errc::kUnavailable);
}

TEST_CASE("docker collector: states, health, restarts, exit codes, images and events") {
  make_containers();
  RemoteRig rig("docker", connections());
  const auto collected = [&] {
    const Status status = rig.collect();
    INFO((status ? "" : status.error().message()));
    REQUIRE(status);
    return true;
  };
  const auto& sink = rig.sink;
  // The engine tells of a container's end a moment after it.
  CHECK(test::eventually(
      [&] { return collected() && sink.has("docker_container_exit_code{name=\"done\"}"); }));
  CHECK(sink.value("docker_up") == 1);
  CHECK(sink.value("docker_images") == 1);
  CHECK(sink.value("docker_images_size_bytes") > 500'000);
  CHECK(sink.value("engine_daemon_engine_cpus_cpus") >= 1);
  CHECK(sink.value("engine_daemon_container_states_containers{state=\"running\"}") >= 2);
  CHECK(sink.value("docker_container_state{name=\"web\",state=\"running\"}") == 1);
  CHECK(sink.text().contains("docker_container_info{compose_project=\"shop\",id=\""));
  // For the collector of control groups.
  const auto names = rig.observed.container_names(NameSource::kEngine);
  REQUIRE(names != nullptr);
  CHECK(std::ranges::any_of(*names, [](const auto& known) {
    return known.first.size() == 64 && known.second.name == "web" && !known.second.image.empty();
  }));
  CHECK_FALSE(sink.has("docker_container_unhealthy{name=\"web\"}"));
  CHECK(sink.value("docker_container_exit_code{name=\"done\"}") == 7);
  CHECK(sink.value("docker_container_oom_killed{name=\"done\"}") == 0);
  CHECK(sink.value("docker_containers_left_out") == 0);
  CHECK(test::eventually([&] {
    return collected() && sink.has("docker_container_unhealthy{name=\"sick\"}") &&
           sink.value("docker_container_unhealthy{name=\"sick\"}") == 1;
  }));
  CHECK(sink.value("docker_container_health_failing_streak{name=\"sick\"}") >= 1);
  CHECK(test::eventually([&] {
    return collected() && sink.value("docker_container_restarts_total{name=\"loop\"}") >= 2;
  }));
  // Events from the start of the collector on.
  const auto stopped =
      docker().engine().request("POST", "/containers/web/restart?t=0", {}, docker().soon());
  REQUIRE(stopped);
  constexpr std::string_view kRestart = R"(docker_events_total{action="restart",type="container"})";
  CHECK(test::eventually([&] { return collected() && sink.has(kRestart); }));
  CHECK(sink.value(kRestart) == 1);
  auto few = connections();
  few.docker.max_containers = 1;
  RemoteRig one("docker", few);
  REQUIRE(one.collect());
  CHECK(one.sink.value("docker_containers_left_out") == 3);
}

TEST_CASE("docker collector: an engine that hangs or is not there") {
  make_containers();
  auto hasty = connections();
  hasty.docker.timeout = 500ms;
  RemoteRig rig("docker", hasty);
  docker().freeze();
  const Status late = rig.collect();
  docker().thaw();
  REQUIRE_FALSE(late);
  CHECK(late.error().code() == Errc::kTimeout);
  CHECK(rig.sink.text() == "docker_up 0\n");
  CHECK(test::eventually([&] { return rig.collect().has_value(); }));

  hasty.docker.socket = "/nowhere";
  RemoteRig nowhere("docker", hasty);
  CHECK(nowhere.collect().error().code() == Errc::kUnavailable);
  CHECK(nowhere.sink.value("docker_up") == 0);
  hasty.docker.enabled = false;
  RemoteRig off("docker", hasty);
  CHECK(off.collect().error().code() == Errc::kNotFound);
}

TEST_CASE("docker collector: no event is lost, however many happen between two runs") {
  make_containers();
  RemoteRig rig("docker", connections());
  const auto& sink = rig.sink;
  const auto count = [&](std::string_view action) {
    const auto series =
        fmt::format("docker_events_total{{action=\"{}\",type=\"container\"}}", action);
    return rig.collect() && sink.has(series) ? sink.value(series) : 0;
  };
  const auto post = [](const std::string& path, const std::string& json) {
    return docker().engine().request("POST", path, json, docker().soon()).has_value();
  };
  const auto rename = [&](const std::string& from, const std::string& to) {
    return post("/containers/" + from + "/rename?name=" + to, {});
  };
  REQUIRE(rig.collect());
  const auto rename_twice = [&] {
    REQUIRE(rename("web", "moved"));
    REQUIRE(rename("moved", "web"));
  };
  rename_twice();
  CHECK(test::eventually([&] { return count("rename") == 2; }));  // the stream is open
  rename_twice();
  // More than the 256 events that an engine remembers.
  for (int i = 0; i < 300; ++i)
    REQUIRE(post("/containers/web/exec", R"({"Cmd": ["true"], "Env": ["NOTHING=1"]})"));
  CHECK(test::eventually([&] { return count("rename") == 4 && count("exec_create") >= 300; }));
  CHECK(sink.value("docker_event_gaps_total") == 0);
}

TEST_CASE("docker collector: a stream of events that breaks goes on, and says what it may miss") {
  make_containers();
  nexus::test::TemporaryDirectory directory;
  const std::string socket = directory.file("proxy.sock");
  auto proxy = std::make_unique<test::RecordingProxy>(socket, docker().socket());
  std::map<std::string, int> seen;
  std::mutex mutex;
  drivers::DockerEvents events(socket, base::SystemClock().wall(),
                               [&](const drivers::DockerEvent& event) {
                                 const std::lock_guard guard(mutex);
                                 if (event.name == "web" || event.name == "moved")
                                   ++seen[event.action];
                               });
  const auto count = [&](const std::string& action) {
    const std::lock_guard guard(mutex);
    return seen[action];
  };
  const auto post = [](const std::string& path, const std::string& json) {
    return docker().engine().request("POST", path, json, docker().soon()).has_value();
  };
  const auto rename_twice = [&] {
    REQUIRE(post("/containers/web/rename?name=moved", {}));
    REQUIRE(post("/containers/moved/rename?name=web", {}));
  };
  const auto reconnect = [&] {
    std::filesystem::remove(socket);
    proxy = std::make_unique<test::RecordingProxy>(socket, docker().socket());
    events.reopen();
  };
  CHECK_FALSE(events.is_open());
  events.reopen();
  rename_twice();
  CHECK(test::eventually([&] { return count("rename") == 2; }));
  proxy.reset();
  CHECK(test::eventually([&] { return !events.is_open(); }));
  CHECK_FALSE(events.error().empty());
  rename_twice();  // while nobody listens
  reconnect();
  // The engine still knows it, unless others did much meanwhile: then that is told.
  CHECK(test::eventually([&] { return count("rename") == 4 || events.gaps() == 1; }));
  const auto gaps = events.gaps();
  proxy.reset();
  CHECK(test::eventually([&] { return !events.is_open(); }));
  for (int i = 0; i < 300; ++i) REQUIRE(post("/containers/web/exec", R"({"Cmd": ["true"]})"));
  reconnect();
  CHECK(test::eventually([&] { return events.gaps() == gaps + 1; }));
  CHECK(events.invalid() == 0);
  const int before = count("rename");
  rename_twice();
  CHECK(test::eventually([&] { return count("rename") == before + 2; }));
}
