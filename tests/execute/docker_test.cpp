// What is done to containers, on a real dockerd.
#include <catch2/catch.hpp>
#include <fstream>

#include "container_bed.hpp"
#include "execute/container.hpp"
#include "nexus/drivers/docker_leftovers.hpp"
#include "nexus/execute/service_manager.hpp"
#include "support/docker_engine.hpp"

using namespace nexus;
using namespace nexus::execute;
using namespace nexus::execute::test;
using namespace std::chrono_literals;
using Catch::Contains;

namespace {

struct World : ContainerWorld {
  World() : ContainerWorld(nexus::test::docker_engine().socket(), "busybox:test") {}

  /// What a health check says that looks for a file, which its container makes a moment later.
  static json::object slow_health() {
    return {
        {"Healthcheck",
         {{"Test", {"CMD-SHELL", "test -e /well"}}, {"Interval", 100'000'000}, {"Retries", 1000}}}};
  }
  static json::object health(const char* command) {
    return {
        {"Healthcheck", {{"Test", {"CMD", command}}, {"Interval", 100'000'000}, {"Retries", 1}}}};
  }
};

constexpr const char* kWellLater = "busybox rm -f /well; sleep 1; echo > /well; sleep 1000";

}  // namespace

TEST_CASE("docker: a container is restarted, stopped and started, within its time limit") {
  World w;
  // By itself it would not end for ten minutes: it heeds no SIGTERM.
  w.bed.make("stubborn", {{"StopSignal", "SIGTERM"}, {"StopTimeout", 600}});
  const auto first = w.started("stubborn");
  CHECK_THAT(w.actions.would("restart_service", "docker:stubborn"),
             Contains("would restart container stubborn (busybox:test), which is running"));
  CHECK(w.started("stubborn") == first);

  auto done = w.actions.run("restart_service", "podman:stubborn", {{"timeout", "1s"}});
  INFO(done.outcome.result);
  CHECK(done.state == ActionState::kSucceeded);
  CHECK(done.outcome.verified == true);
  CHECK(done.outcome.result == "restarted: stubborn");
  CHECK(w.started("stubborn") != first);

  done = w.actions.run("stop_service", "docker:stubborn", {{"kill", true}});
  CHECK(done.state == ActionState::kSucceeded);
  CHECK(w.bed.text("stubborn", "/State/Status") == "exited");
  done = w.actions.run("start_service", "docker:stubborn");
  CHECK(done.state == ActionState::kSucceeded);
  CHECK(w.bed.text("stubborn", "/State/Status") == "running");
  done = w.actions.run("reload_service", "docker:stubborn");
  CHECK(done.outcome.result == "sent SIGHUP to: stubborn");
  w.actions.run("stop_service", "docker:stubborn", {{"kill", true}});
}

TEST_CASE("docker: what is done waits for health, and says when there is none") {
  World w;
  w.bed.make("well-later", World::slow_health(), kWellLater);
  auto done = w.actions.run("restart_service", "docker:well-later");
  INFO(done.outcome.result);
  CHECK(done.state == ActionState::kSucceeded);
  CHECK(w.bed.text("well-later", "/State/Health/Status") == "healthy");

  w.bed.make("sick", World::health("false"));
  done = w.actions.run("restart_service", "docker:sick");
  CHECK(done.state == ActionState::kFailed);
  CHECK_THAT(done.outcome.result, Contains("docker:sick is unhealthy"));

  w.bed.make("short", {}, "exit 3");
  done = w.actions.run("start_service", "docker:short");
  CHECK(done.state == ActionState::kFailed);
  CHECK_THAT(done.outcome.result, Contains("docker:short has ended again (exit code 3)"));
}

TEST_CASE("docker: protected containers, wrong names and what cannot be are refused") {
  World w;
  w.bed.make("kept", {{"Labels", {{"nexus-agent.protected", "true"}}}});
  w.bed.make("registry");
  w.bed.make("of-a-pod", {{"Labels", {{"io.kubernetes.pod.uid", "1"}}}});
  auto done = w.actions.run("restart_service", "docker:kept");
  CHECK(done.state == ActionState::kFailed);
  CHECK_THAT(done.outcome.result, Contains("docker:kept is protected by its label"));
  done = w.actions.run("stop_service", "docker:of-a-pod");
  CHECK_THAT(done.outcome.result, Contains("belongs to a pod"));
  done = w.actions.run("restart_service", "docker:nowhere");
  CHECK_THAT(done.outcome.result, Contains("No such container: nowhere"));

  w.actions.bench.config.guardrails.protected_units = {"docker:regis*"};
  w.actions.bench.configure();
  CHECK_THAT(w.actions.run("restart_service", "docker:registry").outcome.result,
             Contains("is protected by [guardrails] protected_units \"docker:regis*\""));
  CHECK_THAT(w.actions.refused("restart_service", "docker:a b"),
             Contains("expected the name of a container, or PROJECT/SERVICE of Compose"));
  CHECK_THAT(w.actions.refused("enable_service", "docker:kept"),
             Contains("cannot enable docker:kept: whether a container comes up with the engine"));
  CHECK_THAT(w.actions.refused("reset_service", "docker:kept"), Contains("cannot reset"));
  CHECK_THAT(w.actions.refused("restart_service", "docker:kept", {{"only_if_running", true}}),
             Contains("of units of systemd only"));
  CHECK_THAT(w.actions.refused("scale_service", "docker:kept", {{"replicas", std::int64_t{2}}}),
             Contains("expected \"docker:PROJECT/SERVICE\""));
  w.actions.bench.config.connections.docker.enabled = false;
  w.actions.bench.configure();
  done = w.actions.run("restart_service", "docker:kept");
  CHECK_THAT(done.outcome.result, Contains("[docker] is switched off"));
}

TEST_CASE("docker: a remedy does not touch a container made since it was decided on") {
  World w;
  auto remedied = w.actions.action("restart_service", "docker:anew");
  remedied.remedy = "r";
  const auto id = w.bed.make("anew");
  const auto first = w.started("anew");
  auto done = w.actions.run(remedied);
  INFO("decided on at " << base::to_rfc3339(remedied.created) << ", made at "
                        << w.bed.text("anew", "/Created"));
  CHECK(done.state == ActionState::kFailed);
  CHECK_THAT(done.outcome.result,
             Contains("docker:anew is another container since it was decided on"));
  CHECK(w.started("anew") == first);
  auto later = w.actions.action("restart_service", "docker:anew");
  later.remedy = "r";
  CHECK(w.actions.run(later).state == ActionState::kSucceeded);
  CHECK(w.id("anew") == id);
}

TEST_CASE("docker: a container is worked on by one action, by whichever of its names") {
  World w;
  const nexus::test::TemporaryDirectory gate;
  std::ofstream(gate.file("well")).put('\n');
  w.bed.make_of("shop", "slow", 1,
                {{"Healthcheck",
                  {{"Test", {"CMD-SHELL", "test -e /gate/well"}},
                   {"Interval", 100'000'000},
                   {"Retries", 100'000}}},
                 {"HostConfig", {{"NetworkMode", "host"}, {"Binds", {gate.path() + ":/gate"}}}}});
  std::filesystem::remove(gate.file("well"));
  w.actions.bench.config.operations.max_concurrent_actions = 2;
  w.actions.bench.configure();
  auto& executor = *w.actions.bench.executor;
  REQUIRE(executor.submit(w.actions.action("restart_service", "docker:shop/slow")));
  REQUIRE(executor.submit(w.actions.action("restart_service", "docker:shop-slow-1")));
  executor.start();
  // One has it and waits for its health; the other is told so.
  const auto refused = w.actions.bench.wait(1).front();
  CHECK(refused.state == ActionState::kFailed);
  CHECK_THAT(refused.outcome.result,
             Contains("docker:shop-slow-1 is being worked on by another action"));
  std::ofstream(gate.file("well")).put('\n');
  const auto done = w.actions.bench.wait(2).back();
  INFO(done.outcome.result);
  CHECK(done.state == ActionState::kSucceeded);
}

TEST_CASE("docker: limits of a container are set, read back, and undone when in vain") {
  World w;
  w.bed.make("limited");
  const auto limit = [&](const char* key) {
    return w.bed.inspect("limited").at("HostConfig").at(key).to_number<std::int64_t>();
  };
  CHECK_THAT(w.actions.would("adjust_memory", "docker:limited", {{"memory_max", "64MiB"}}),
             Contains("Memory from unlimited to 64.0 MiB"));
  CHECK(limit("Memory") == 0);
  auto done = w.actions.run("adjust_memory", "docker:limited", {{"memory_max", "64MiB"}});
  INFO(done.outcome.result);
  CHECK(done.state == ActionState::kSucceeded);
  CHECK(done.outcome.verified == true);
  CHECK(limit("Memory") == 64 << 20);

  auto vain = w.actions.action("adjust_memory", "docker:limited", {{"memory_max", "128MiB"}});
  vain.verify = config::VerifyConfig{.expr = {"pressure < 1", {}}, .within = 1ms};
  done = w.actions.run(vain);
  INFO(done.outcome.undone);
  CHECK(done.state == ActionState::kUnverified);
  CHECK_THAT(done.outcome.undone, Contains("undone: Memory is 64.0 MiB again"));
  CHECK(limit("Memory") == 64 << 20);

  done = w.actions.run("performance_tuning", "docker:limited",
                       {{"cpu_weight", std::int64_t{50}}, {"tasks_max", std::int64_t{200}}});
  INFO(done.outcome.result);
  CHECK(done.state == ActionState::kSucceeded);
  CHECK(limit("CpuShares") == 512);
  CHECK(limit("PidsLimit") == 200);
  CHECK_THAT(w.actions.refused("adjust_memory", "docker:limited", {{"memory_max", "1KiB"}}),
             Contains("expected at least 6 MiB"));
  CHECK_THAT(w.actions.refused("adjust_memory", "docker:a/b", {{"memory_max", "64MiB"}}),
             Contains("expected one container"));
}

TEST_CASE("docker: a service of Compose is scaled by copies of its containers, and back") {
  World w;
  w.bed.make_of("shop", "web", 1, {{"Env", {"COLOUR=green"}}});
  CHECK(w.actions.would("scale_service", "docker:shop/web", {{"replicas", std::int64_t{2}}}) ==
        "would make and start shop-web-2, like shop-web-1; it shares the host's network: two may "
        "not listen on one port");
  auto done = w.actions.run("scale_service", "docker:shop/web", {{"replicas", std::int64_t{3}}});
  INFO(done.outcome.result);
  CHECK(done.state == ActionState::kSucceeded);
  CHECK(done.outcome.verified == true);
  CHECK(w.bed.names_of("shop") == std::set<std::string>{"shop-web-1", "shop-web-2", "shop-web-3"});
  const auto third = w.bed.inspect("shop-web-3");
  const auto& config = third.at("Config");
  CHECK(config.at("Image") == "busybox:test");
  CHECK(config.at("Labels").at("com.docker.compose.container-number") == "3");
  CHECK(config.at("Env").as_array().front() == "COLOUR=green");
  CHECK(third.at("State").at("Running") == true);

  auto back = w.actions.action("scale_service", "docker:shop/web", {{"replicas", std::int64_t{1}}});
  back.verify = config::VerifyConfig{.expr = {"pressure < 1", {}}, .within = 1ms};
  done = w.actions.run(back);
  CHECK(done.state == ActionState::kUnverified);
  CHECK_THAT(done.outcome.undone, Contains("undone: ") && Contains("made shop-web-2, shop-web-3"));
  CHECK(w.bed.names_of("shop").size() == 3);
  CHECK(w.actions.run("scale_service", "docker:shop/web", {{"replicas", std::int64_t{1}}}).state ==
        ActionState::kSucceeded);
  CHECK(w.bed.names_of("shop") == std::set<std::string>{"shop-web-1"});

  // The name means another image by now: the copy is of the one that runs.
  const auto running = w.bed.text("shop-web-1", "/Image");
  w.bed.make_image("shop:other", "ENV VERSION=2");
  w.bed.make_of("shop", "moved", 1, {{"Image", "shop:other"}});
  const auto other = w.bed.text("shop-moved-1", "/Image");
  w.bed.make_image("shop:other", "ENV VERSION=3");
  CHECK(
      w.actions.run("scale_service", "docker:shop/moved", {{"replicas", std::int64_t{2}}}).state ==
      ActionState::kSucceeded);
  CHECK(w.bed.text("shop-moved-2", "/Image") == other);
  CHECK(other != running);

  CHECK_THAT(w.actions.refused("scale_service", "docker:shop/web", {{"replicas", std::int64_t{0}}}),
             Contains("expected 1 to 100"));
  w.bed.make("by-hand", {{"Labels",
                          {{"com.docker.compose.project", "shop"},
                           {"com.docker.compose.service", "named"},
                           {"com.docker.compose.container-number", "1"}}}});
  CHECK_THAT(w.actions.would("scale_service", "docker:shop/named", {{"replicas", std::int64_t{2}}}),
             Contains("was given its name by hand"));
}

TEST_CASE("docker: a copy that does not get well is removed again") {
  World w;
  w.bed.make_of("shop", "odd", 1, {},
                "if test -e /made; then exit 4; fi; echo > /made; sleep 1000");
  w.bed.make_of("shop", "sick", 1, World::health("false"));
  const auto done =
      w.actions.run("scale_service", "docker:shop/sick", {{"replicas", std::int64_t{2}}});
  CHECK(done.state == ActionState::kFailed);
  CHECK_THAT(done.outcome.result,
             Contains("shop-sick-2 was made and removed again") && Contains("is unhealthy"));
  CHECK(w.bed.names_of("shop") == std::set<std::string>{"shop-odd-1", "shop-sick-1"});
}

TEST_CASE("docker: several containers are replaced one after the other, and rolled back") {
  World w;
  const auto one = w.bed.make_image("shop:1", "ENV VERSION=1");
  const auto two = w.bed.make_image("shop:2", "ENV VERSION=2");
  for (int number = 1; number <= 3; ++number)
    w.bed.make_of("shop", "web", number, {{"Image", "shop:1"}, {"Env", {"COLOUR=green"}}});
  const auto first = w.id("shop-web-1");
  CHECK_THAT(w.actions.would("rolling_update", "docker:shop/web", {{"image", "shop:2"}}),
             Contains("would make another container shop-web-1 of shop:2"));
  auto done = w.actions.run("rolling_update", "docker:shop/web", {{"image", "shop:2"}});
  INFO(done.outcome.result);
  CHECK(done.state == ActionState::kSucceeded);
  CHECK_THAT(done.outcome.result, Contains("3 containers replaced, now of shop:2"));
  CHECK(w.bed.names_of("shop") == std::set<std::string>{"shop-web-1", "shop-web-2", "shop-web-3"});
  CHECK(w.id("shop-web-1") != first);
  for (const auto* name : {"shop-web-1", "shop-web-2", "shop-web-3"}) {
    CHECK(w.image(name) == "shop:2");
    CHECK(w.bed.text(name, "/State/Status") == "running");
    const auto environment = w.bed.inspect(name).at_pointer("/Config/Env");
    CHECK_THAT(json::serialize(environment), Contains("VERSION=2") && Contains("COLOUR=green"));
  }
  CHECK(w.bed.text("shop-web-1", "/Config/Labels/nexus-agent.previous-image") == one);

  done = w.actions.run("rollback_deployment", "docker:shop/web");
  INFO(done.outcome.result);
  CHECK(done.state == ActionState::kSucceeded);
  CHECK(w.image("shop-web-3") == "shop:1");
  CHECK(w.bed.text("shop-web-3", "/Image") == one);
  CHECK(w.bed.text("shop-web-3", "/Config/Labels/nexus-agent.previous-image") == two);

  CHECK_THAT(
      w.actions.run("rolling_update", "docker:shop/web", {{"image", "shop:9"}}).outcome.result,
      Contains("parameter \"image\"") && Contains("No such image: shop:9"));
  w.bed.make("plain");
  CHECK_THAT(w.actions.run("rollback_deployment", "docker:plain").outcome.result,
             Contains("docker:plain was not rolled out by this agent"));
}

TEST_CASE("docker: a rollout whose new containers are not well puts all old ones back") {
  World w;
  w.bed.make_image("shop:bad", R"(CMD ["sh", "-c", "exit 4"])");
  const auto make = [&](int number) {
    // The image says what runs: another image, another command.
    return w.bed.make_of("shop", "api", number, {{"Image", "shop:good"}, {"Cmd", nullptr}});
  };
  w.bed.make_image("shop:good", R"(CMD ["sh", "-c", "sleep 1000"])");
  const std::array<std::string, 2> ids{make(1), make(2)};
  auto done = w.actions.run("rolling_update", "docker:shop/api", {{"image", "shop:bad"}});
  INFO(done.outcome.result);
  CHECK(done.state == ActionState::kFailed);
  CHECK_THAT(done.outcome.result, Contains("has ended again (exit code 4); put back: shop-api-1"));
  CHECK(w.bed.names_of("shop") == std::set<std::string>{"shop-api-1", "shop-api-2"});
  CHECK(w.id("shop-api-1") == ids[0]);
  CHECK(w.id("shop-api-2") == ids[1]);
  CHECK(w.bed.text("shop-api-1", "/State/Status") == "running");
}

TEST_CASE("docker: a rollout that a crash has cut off is put back at the next start") {
  World w;
  nexus::test::TemporaryDirectory directory;
  const auto old = w.bed.make_of("shop", "db", 1);
  auto action = w.actions.action("rolling_update", "docker:shop/db");
  action.state = ActionState::kRunning;
  action.started = w.clock.wall();
  action.outcome.before = json::serialize(json::object{
      {"containers",
       json::array{json::object{{"id", old}, {"name", "shop-db-1"}, {"state", "running"}}}}});
  // As far as the agent had come: the old one is stopped under its other name, the new one runs.
  w.bed.ask("POST", "/containers/" + old + "/rename?name=shop-db-1.nexus-old");
  w.bed.ask("POST", "/containers/" + old + "/stop");
  w.bed.make(
      "shop-db-1",
      {{"Labels", {{std::string(kMadeBy), action.id}, {"com.docker.compose.project", "shop"}}}});
  ContainerBench after(w.clock, w.bed, directory.file("state.db"));
  REQUIRE(after.bench.journal->write(action));
  REQUIRE(after.bench.executor->recover());
  const auto ended = after.bench.journal->get(action.id).value();
  CHECK(ended.state == ActionState::kInterrupted);
  CHECK_THAT(ended.outcome.result, Contains("the old containers were put back: shop-db-1"));
  CHECK(w.id("shop-db-1") == old);
  CHECK(w.bed.text("shop-db-1", "/State/Status") == "running");
  CHECK(w.bed.names_of("shop") == std::set<std::string>{"shop-db-1"});
}

TEST_CASE("docker: what nobody uses is pruned when it is old, never a volume") {
  World w;
  AheadClock later(48h);
  ContainerBench actions(later, w.bed);
  w.bed.ask("POST", "/volumes/create", R"({"Name": "kept"})");
  const auto nameless = w.bed.make_image("prune:1", "ENV VERSION=1");
  const auto used = w.bed.make_image("prune:1", "ENV VERSION=2");  // the first has no name now
  w.bed.make("user", {{"Image", "prune:1"}});
  w.bed.make_image("prune:1", "ENV VERSION=3");  // nor has the second, but a container has it
  w.bed.make("ended", {{"HostConfig", {{"NetworkMode", "host"}, {"Binds", {"kept:/kept"}}}}},
             "exit 0");
  w.bed.make("ended-kept", {{"Labels", {{"nexus-agent.protected", "true"}}}}, "exit 0");
  for (const auto* name : {"ended", "ended-kept"})
    w.bed.ask("POST", std::string("/containers/") + name + "/wait");

  CHECK_THAT(w.actions.would("prune_docker", "docker"), Contains("would delete 0 things"));
  const auto would = actions.would("prune_docker", "docker");
  CHECK_THAT(would, Contains("would delete 1 things") &&
                        Contains("dangling_images image " + nameless.substr(0, 19)) &&
                        Contains("containers have 1"));
  const config::Parameters all{
      {"what", std::vector<std::string>{"dangling_images", "stopped_containers"}}};
  const auto done = actions.run("prune_docker", "docker", all);
  INFO(done.outcome.output);
  CHECK(done.state == ActionState::kSucceeded);
  CHECK_THAT(done.outcome.result, Contains("deleted 2 things"));
  CHECK_THAT(done.outcome.output, Contains("container ended (busybox:test), exited") &&
                                      Contains("docker:ended-kept is protected by its label"));
  CHECK_FALSE(w.bed.has("ended"));
  CHECK(w.bed.has("ended-kept"));
  CHECK(w.bed.has("user"));
  const auto exists = [&](const std::string& image) {
    return w.bed.engine()
        .request("GET", "/images/" + image + "/json", {}, w.bed.soon())
        .has_value();
  };
  CHECK_FALSE(exists(nameless));
  CHECK(exists(used));
  CHECK_NOTHROW(w.bed.ask("GET", "/volumes/kept"));
  w.bed.ask("DELETE", "/volumes/kept");

  CHECK_THAT(w.actions.refused("prune_docker", "docker", {{"older_than", "1m"}}),
             Contains("expected 1h or more"));
  CHECK_THAT(
      w.actions.refused("prune_docker", "docker", {{"what", std::vector<std::string>{"volumes"}}}),
      Contains("there is no \"volumes\""));
  CHECK_THAT(w.actions.refused("prune_docker", "/"), Contains("expected \"docker\""));
}

TEST_CASE("docker: records of the build cache are listed and pruned when no image has them") {
  World w;
  nexus::test::TemporaryDirectory directory;
  std::ofstream(directory.file("Dockerfile")) << "FROM scratch\nCOPY file /file\n";
  std::ofstream(directory.file("file")) << std::string(100'000, 'x');
  nexus::test::Server build(
      {0, 0},
      {"/usr/bin/env", "DOCKER_BUILDKIT=1", "DOCKER_CONFIG=" + directory.path(), "/usr/bin/docker",
       "--host", "unix://" + w.bed.engine().socket(), "build", "--tag", "cached:1",
       directory.path()},
      directory.file("log"));
  INFO(directory.file("log"));
  REQUIRE(build.run() == 0);
  w.bed.ask("DELETE", "/images/cached:1?force=true");
  const auto records = drivers::build_cache(w.bed.engine(), w.bed.soon());
  REQUIRE(records);
  REQUIRE_FALSE(records->empty());
  CHECK(std::ranges::any_of(*records, [](const auto& r) { return r.bytes >= 100'000; }));

  AheadClock later(48h);
  ContainerBench actions(later, w.bed);
  CHECK_THAT(actions.would("prune_docker", "docker"),
             Contains(fmt::format("build_cache build cache, {} records", records->size())));
  // The engine counts by its own clock: nothing of it is an hour old.
  const drivers::EngineCall call{.deadline = w.bed.soon()};
  CHECK(drivers::prune_build_cache(w.bed.engine(), 1h, call) == 0U);
  std::uint64_t freed = 0;
  CHECK(nexus::test::eventually([&] {
    freed += drivers::prune_build_cache(w.bed.engine(), 0ms, call).value_or(0);
    return drivers::build_cache(w.bed.engine(), w.bed.soon()).value().empty();
  }));
  CHECK(freed >= 100'000);
}

TEST_CASE("docker: cleanup_disk takes what the engine keeps on that file system, last") {
  World w;
  AheadClock later(48h);
  ContainerBench actions(later, w.bed);
  const auto root = drivers::data_root(w.bed.engine(), w.bed.soon()).value();
  const auto nameless = w.bed.make_image("clean:1", "ENV VERSION=1");
  w.bed.make_image("clean:1", "ENV VERSION=2");
  actions.bench.config.allow.paths = {};  // no files
  actions.bench.configure();
  const config::Parameters wanted{{"free", "1KiB"},
                                  {"kinds", std::vector<std::string>{"dangling_images"}}};
  CHECK_THAT(actions.would("cleanup_disk", root, wanted),
             Contains("dangling_images image " + nameless.substr(0, 19)));
  const auto done = actions.run("cleanup_disk", root, wanted);
  INFO(done.outcome.result << "\n" << done.outcome.output);
  CHECK_THAT(done.outcome.output, Contains("dangling_images image " + nameless.substr(0, 19)));
  CHECK_FALSE(
      w.bed.engine().request("GET", "/images/" + nameless + "/json", {}, w.bed.soon()).has_value());
  // Of another file system nothing of it goes.
  CHECK_THAT(actions.would("cleanup_disk", "/dev/shm", wanted), Contains("would delete 0 files"));
}

TEST_CASE("docker: the face lists containers and services of Compose, and tells how they are") {
  World w;
  w.bed.make_of("shop", "web", 1);
  w.bed.make_of("shop", "web", 2, {}, "exit 3");
  w.bed.ask("POST", "/containers/shop-web-2/wait");
  auto* manager = service_manager("docker");
  REQUIRE(manager != nullptr);
  auto context = w.actions.bench.executor->step_context();
  const auto list = manager->list(context, 100, w.bed.soon());
  REQUIRE(list);
  const auto find = [&](const std::string& name) {
    return *std::ranges::find(*list, name, &ServiceState::name);
  };
  CHECK(find("docker:shop-web-1").condition == ServiceCondition::kUp);
  CHECK(find("docker:shop-web-2").condition == ServiceCondition::kFailed);
  const auto all = find("docker:shop/web");
  CHECK(all.condition == ServiceCondition::kFailed);
  CHECK(all.state == "1 of 2 up");
  CHECK(all.replicas == 2U);
  const auto one = manager->status("shop-web-1", Look::kAny, context, w.bed.soon());
  REQUIRE(one);
  CHECK(one->instance == w.id("shop-web-1"));
  CHECK(one->main_pid > 1);
  CHECK(one->more.at("compose") == "shop/web");
  CHECK(manager->status("shop/web", Look::kAny, context, w.bed.soon())->ready == 1U);
  CHECK(manager->status("shop/none", Look::kAny, context, w.bed.soon()).error().code() ==
        Errc::kNotFound);
}
