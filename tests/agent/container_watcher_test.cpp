// What is told of watched containers: the pure part, and what a real dockerd and a real Podman say.
// What is done about it is in actions.py.
#include "agent/container_watcher.hpp"

#include <algorithm>
#include <atomic>
#include <boost/json.hpp>
#include <catch2/catch.hpp>
#include <csignal>
#include <filesystem>
#include <mutex>

#include "agent/witness.hpp"
#include "nexus/knowledge/history.hpp"
#include "support/docker_engine.hpp"
#include "support/podman_engine.hpp"
#include "support/recording_proxy.hpp"

using namespace nexus;
using namespace nexus::agent;
using namespace std::chrono_literals;
using nexus::test::docker_engine;
using nexus::test::eventually;

namespace {

WatchedContainer container(const std::string& state, drivers::DockerDetails details = {},
                           const std::string& id = "aa") {
  WatchedContainer out;
  out.listed.id = id;
  out.listed.state = state;
  out.details = std::move(details);
  return out;
}

/// The machine's, at half its pace: what comes in time was not only found
/// when everything is looked at again.
class SlowClock final : public Clock {
 public:
  [[nodiscard]] WallTime wall() const noexcept override { return system_.wall(); }
  [[nodiscard]] SteadyTime steady() const noexcept override {
    return start_ + (system_.steady() - start_) / 2;
  }
  bool wait_until(std::unique_lock<std::mutex>& lock, std::condition_variable& condition,
                  SteadyTime deadline, const std::function<bool()>& done) override {
    return system_.wait_until(lock, condition, start_ + (deadline - start_) * 2, done);
  }

 private:
  base::SystemClock system_;
  const SteadyTime start_ = system_.steady();
};

/// A watcher, and the last that it told of each service.
class Watch {
 public:
  /// `needs`: what the first of `names` depends on.
  Watch(const std::string& socket, const std::vector<std::string>& names,
        const std::vector<std::string>& needs = {}) {
    config.connections.docker.socket = socket;
    config.connections.docker.timeout = 30s;
    for (const auto& name : names) config.services.push_back({.name = name, .kind = "docker"});
    config.services.at(0).depends_on = needs;
    begin();
  }
  void begin() {
    made_ = false;
    watcher.emplace(clock, config, [this](const knowledge::ServiceEvent& event) { on(event); });
    made_ = true;
    made_.notify_all();
  }
  /// "failed/exited/exit code 1", "wanted: failed/...".
  std::string last(const std::string& service) {
    const std::lock_guard guard(mutex_);
    return last_[service];
  }
  bool comes_to(const std::string& service, const std::string& state) {
    const bool ok = eventually([&] { return last(service).starts_with(state); });
    if (!ok) WARN(service << " was last told as: " << last(service));
    return ok;
  }
  /// What was known of `first_need` when something was told.
  std::vector<std::string> needs_seen() {
    const std::lock_guard guard(mutex_);
    return needs_seen_;
  }

  SlowClock clock;
  config::Config config;
  std::optional<ContainerWatcher> watcher;

 private:
  void on(const knowledge::ServiceEvent& event) {
    made_.wait(false);
    std::optional<std::string> need = "none";
    if (const auto& needs = config.services[0].depends_on; !needs.empty())
      need = watcher->down(needs[0]);
    const std::lock_guard guard(mutex_);
    needs_seen_.push_back(need.value_or("serves"));
    if (event.job) {
      wanted_ = true;
      return;
    }
    last_[event.service] =
        (std::exchange(wanted_, false) ? "wanted: " : "") + event.state + "/" + event.detail;
  }

  std::atomic<bool> made_{false};
  std::mutex mutex_;
  bool wanted_ = false;
  std::map<std::string, std::string> last_;
  std::vector<std::string> needs_seen_;
};

/// Containers of a test, gone after it.
struct Bed {
  ~Bed() {
    for (const auto& name : names) remove(name);
  }
  static void post(const std::string& path) {
    const auto done = docker_engine().engine().request("POST", path, {}, docker_engine().soon());
    if (!done) throw std::runtime_error(done.error().message());
  }
  static void remove(const std::string& name) {
    std::ignore = docker_engine().engine().request("DELETE", "/containers/" + name + "?force=true",
                                                   {}, docker_engine().soon());
  }
  void run(const std::string& name, const std::string& more = {}, const std::string& host = {},
           const std::string& command = "sleep 1000") {
    names.push_back(name);
    docker_engine().run(name, command, more, host);
  }
  /// Behind the engine's back.
  static void crash(const std::string& name) {
    const auto details = docker_engine().engine().inspect(name, docker_engine().soon());
    REQUIRE(details);
    REQUIRE(details->pid > 1);
    REQUIRE(::kill(details->pid, SIGKILL) == 0);
  }
  static bool has_ended(const std::string& name) {
    return eventually([&] {
      const auto details = docker_engine().engine().inspect(name, docker_engine().soon());
      return details && details->state == "exited";
    });
  }

  std::vector<std::string> names;
};

std::string compose(int number) {
  return fmt::format(R"("Labels": {{"com.docker.compose.project": "shop", )"
                     R"("com.docker.compose.service": "web", )"
                     R"("com.docker.compose.container-number": "{}"}})",
                     number);
}

std::size_t count(std::string_view text, std::string_view what) {
  std::size_t out = 0;
  for (auto at = text.find(what); at != std::string_view::npos; at = text.find(what, at + 1)) ++out;
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
  CHECK(told({container("created", {.exit_code = 128, .error = "no such file"})}) ==
        "failed: created/cannot be started");
  CHECK(told({container("exited", {.exit_code = 137, .error = "no such file"})}) ==
        "failed: exited/cannot be started");
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

TEST_CASE("whether a container was asked to end is told by when, how, and by its own stop signal") {
  const auto asked = [](AskedToEnd when, drivers::DockerDetails details = {}) {
    details.started = 100;
    details.finished = 200;
    details.exit_code = 1;
    return was_asked(container("exited", std::move(details)), when);
  };
  constexpr std::int64_t kSecond = 1'000'000'000;
  CHECK_FALSE(asked({}));
  CHECK(asked({.end = 199 * kSecond}));
  CHECK_FALSE(asked({.end = 99 * kSecond}));  // of the run before
  CHECK_FALSE(asked({.other = 199 * kSecond, .signal = SIGUSR1}));
  CHECK_FALSE(asked({.other = 199 * kSecond, .signal = SIGUSR1}, {.stop_signal = "SIGTERM"}));
  CHECK(asked({.other = 199 * kSecond, .signal = SIGWINCH}, {.stop_signal = "SIGWINCH"}));
  CHECK(asked({.other = 199 * kSecond, .signal = SIGWINCH}, {.stop_signal = "WINCH"}));
  CHECK(asked({.other = 199 * kSecond, .signal = 37}, {.stop_signal = "SIGRTMIN+3"}));
  CHECK(asked({.other = 199 * kSecond, .signal = 37}, {.stop_signal = "37"}));
  CHECK_FALSE(asked({.other = 199 * kSecond}, {.stop_signal = "SIGNOTHING"}));
  CHECK_FALSE(asked({.end = 199 * kSecond}, {.error = "cannot be started"}));
  const auto runs = container("running", {.started = 100});
  CHECK_FALSE(was_asked(runs, {.end = 199 * kSecond}));
}

TEST_CASE("a container that nobody has looked at yet cannot serve, as far as is known") {
  Watch watch("/nowhere", {"docker:app"}, {"docker:db"});
  CHECK(watch.watcher->down("docker:db"));
  CHECK(watch.watcher->down("docker:of-a-later-configuration"));
  watch.watcher->stop();
  CHECK(watch.watcher->down("docker:db"));
}

TEST_CASE("docker: containers that end badly at once are all told, and the engine is asked once") {
  Bed bed;
  nexus::test::TemporaryDirectory directory;
  const auto socket = directory.file("engine.sock");
  nexus::test::RecordingProxy proxy(socket, docker_engine().socket());
  std::vector<std::string> services;
  for (int i = 0; i < 5; ++i) {
    bed.run(fmt::format("w{}", i));
    services.push_back(fmt::format("docker:w{}", i));
  }
  bed.run("stranger");
  Watch watch(socket, services);
  for (const auto& service : services) REQUIRE(watch.comes_to(service, "active/running"));
  for (const auto& name : bed.names) Bed::crash(name);
  for (const auto& service : services)
    CHECK(watch.comes_to(service, "failed/exited/exit code 137"));
  // Those that were told are not asked for again, however often it is looked.
  const auto questions = count(proxy.said(), "until=");
  CHECK(questions >= 1);
  CHECK(questions <= 5);
  for (int i = 0; i < 3; ++i) {
    Bed::post("/containers/w4/start");
    REQUIRE(watch.comes_to("docker:w4", "active/running"));
    Bed::post("/containers/w4/kill");
    REQUIRE(watch.comes_to("docker:w4", "wanted: failed"));
  }
  CHECK(count(proxy.said(), "until=") <= questions + 3);
  // What others do begins no look: there is nothing between two of ours.
  const auto lists = count(proxy.said(), "GET /containers/json");
  for (int i = 0; i < 10; ++i) {
    Bed::post("/containers/stranger/rename?name=moved");
    Bed::post("/containers/moved/rename?name=stranger");
  }
  Bed::post("/containers/w0/start");
  REQUIRE(watch.comes_to("docker:w0", "active/running"));
  CHECK(count(proxy.said(), "GET /containers/json") <= lists + 6);
}

TEST_CASE("docker: what it depends on is known before a container is told to have failed") {
  Bed bed;
  bed.run("app");
  bed.run("db");
  for (const auto& name : bed.names) Bed::crash(name);
  REQUIRE(Bed::has_ended("app"));
  REQUIRE(Bed::has_ended("db"));
  Watch watch(docker_engine().socket(), {"docker:app"}, {"docker:db"});
  REQUIRE(watch.comes_to("docker:app", "failed"));
  CHECK(watch.needs_seen() == std::vector<std::string>{"exited"});
}

TEST_CASE("docker: of a service of Compose the container that ended last says who wanted it") {
  Bed bed;
  bed.run("shop-web-1", compose(1));
  bed.run("shop-web-2", compose(2));
  Watch watch(docker_engine().socket(), {"docker:shop/web"});
  REQUIRE(watch.comes_to("docker:shop/web", "active/running/2 of 2"));
  Bed::post("/containers/shop-web-2/kill");
  REQUIRE(watch.comes_to("docker:shop/web", "active/running/1 of 2"));
  SECTION("the other one crashes") {
    Bed::crash("shop-web-1");
    CHECK(watch.comes_to("docker:shop/web", "failed"));
  }
  SECTION("the other one is stopped too") {
    Bed::post("/containers/shop-web-1/kill");
    CHECK(watch.comes_to("docker:shop/web", "wanted: failed"));
  }
}

TEST_CASE("docker: a restart that fails is a failure, although somebody asked for the end") {
  Bed bed;
  nexus::test::TemporaryDirectory directory;
  const auto source = directory.file("source");
  std::filesystem::create_directory(source);
  bed.run("web", {},
          R"("Mounts": [{"Type": "bind", "Source": ")" + source + R"(", "Target": "/data"}])");
  Watch watch(docker_engine().socket(), {"docker:web"});
  REQUIRE(watch.comes_to("docker:web", "active/running"));
  std::filesystem::remove(source);
  const auto restarted = docker_engine().engine().request("POST", "/containers/web/restart?t=0", {},
                                                          docker_engine().soon());
  REQUIRE_FALSE(restarted);
  CHECK(watch.comes_to("docker:web", "failed/exited/cannot be started"));
  std::filesystem::create_directory(source);
  Bed::post("/containers/web/start");
  CHECK(watch.comes_to("docker:web", "active/running"));
}

TEST_CASE("docker: a signal that asks for no end does not hide a crash") {
  Bed bed;
  const auto* signal = GENERATE("USR1", "HUP", "CONT");
  bed.run("web");
  Watch watch(docker_engine().socket(), {"docker:web"});
  REQUIRE(watch.comes_to("docker:web", "active/running"));
  Bed::post(fmt::format("/containers/web/kill?signal={}", signal));
  Bed::crash("web");
  CHECK(watch.comes_to("docker:web", "failed/exited/exit code 137"));
}

TEST_CASE("docker: what was stopped while nobody watched was wanted, what crashed was not") {
  Bed bed;
  bed.run("stopped");
  bed.run("crashed");
  bed.run("ill",
          R"("Healthcheck": {"Test": ["CMD", "false"], "Interval": 200000000, "Retries": 1})");
  Bed::post("/containers/stopped/kill");
  Bed::crash("crashed");
  REQUIRE(Bed::has_ended("crashed"));
  Watch watch(docker_engine().socket(), {"docker:crashed", "docker:ill", "docker:stopped"});
  CHECK(watch.comes_to("docker:crashed", "failed/exited/exit code 137"));
  CHECK(watch.comes_to("docker:stopped", "wanted: failed/exited/exit code 137"));
  CHECK(watch.comes_to("docker:ill", "failed/running/unhealthy"));
}

TEST_CASE("docker: an engine that goes away is noticed, and what happened meanwhile is told") {
  Bed bed;
  nexus::test::TemporaryDirectory directory;
  const auto socket = directory.file("engine.sock");
  auto proxy = std::make_unique<nexus::test::RecordingProxy>(socket, docker_engine().socket());
  bed.run("app");
  Watch watch(socket, {"docker:app"}, {"docker:app"});
  REQUIRE(watch.comes_to("docker:app", "active/running"));
  REQUIRE(eventually([&] { return proxy->said().contains("GET /events?since="); }));
  proxy.reset();
  std::filesystem::remove(socket);
  CHECK(eventually([&] { return watch.watcher->down("docker:app").has_value(); }));
  Bed::crash("app");
  proxy = std::make_unique<nexus::test::RecordingProxy>(socket, docker_engine().socket());
  CHECK(watch.comes_to("docker:app", "failed"));
  CHECK(watch.watcher->down("docker:app") == "exited");
}

namespace {

/// What is kept of what the containers of "docker:NAME" have written.
boost::json::value written_by(const std::string& name, const std::string& socket) {
  base::SystemClock clock;
  const monitor::Observed observed;
  knowledge::SeriesRegistry registry(100);
  const knowledge::History history(registry, {});
  const host::Roots roots;
  const Witness witness(clock, roots, observed, history, [&] { return socket; });
  plan::Action action;
  action.type = "rolling_update";
  action.target = "docker:" + name;
  return boost::json::parse(witness.testify(action)).at("messages");
}

}  // namespace

TEST_CASE("docker: the last lines of a container's log are kept, which ends with it") {
  Bed bed;
  const std::string shop =
      R"("Labels": {"com.docker.compose.project": "shop", "com.docker.compose.service": "web"})";
  const std::string command =
      "i=0; while [ $i -lt 50 ]; do i=$((i+1)); echo line $i >&2; done; sleep 1000";
  bed.run("said-1", shop, {}, command);
  bed.run("said-2", shop, {}, "sleep 1000");
  boost::json::value kept;
  REQUIRE(eventually([&] {
    kept = written_by("shop/web", docker_engine().socket());
    const auto* lines = kept.as_object().if_contains("said-1");
    const auto* others = kept.as_object().if_contains("said-2");  // a busy engine may be late
    return lines != nullptr && lines->is_array() && lines->as_array().size() == 10 &&
           lines->as_array().back() == "line 50" && others != nullptr && others->is_array();
  }));
  CHECK(kept.at("said-1").as_array().front() == "line 41");  // of two containers each has half
  CHECK(kept.at("said-2").as_array().empty());
  CHECK(eventually([&] {
    const auto alone = written_by("said-1", docker_engine().socket());
    const auto* lines = alone.as_object().if_contains("said-1");
    return lines != nullptr && lines->is_array() && lines->as_array().size() == 20 &&
           lines->as_array().front() == "line 31";
  }));
  CHECK(eventually(
      [&] { return written_by("nowhere", docker_engine().socket()).as_object().empty(); }));
}

TEST_CASE("docker: an engine that does not tell what happened is no reason to be silent") {
  Bed bed;
  nexus::test::TemporaryDirectory directory;
  const auto socket = directory.file("engine.sock");
  nexus::test::RecordingProxy proxy(socket, docker_engine().socket());
  proxy.refuse("&until=");
  bed.run("app");
  bed.run("other");
  Bed::crash("app");
  REQUIRE(Bed::has_ended("app"));
  Watch watch(socket, {"docker:app", "docker:other"});
  CHECK(watch.comes_to("docker:other", "active/running"));
  CHECK(watch.comes_to("docker:app", "failed"));
}

TEST_CASE("podman: a container that ends badly is told, one that somebody kills was wanted") {
  nexus::test::PodmanEngine podman;
  podman.run("web", "sleep 1000");
  podman.run("crashes", "sleep 1000");
  Watch watch(podman.socket(), {"docker:crashes", "docker:web"});
  REQUIRE(watch.comes_to("docker:web", "active/running"));
  REQUIRE(watch.comes_to("docker:crashes", "active/running"));
  const auto details = podman.engine().inspect("crashes", podman.soon());
  REQUIRE(details);
  REQUIRE(::kill(details->pid, SIGKILL) == 0);
  CHECK(watch.comes_to("docker:crashes", "failed/exited/exit code 137"));
  REQUIRE(podman.engine().request("POST", "/containers/web/kill", {}, podman.soon()));
  CHECK(watch.comes_to("docker:web", "wanted: failed/exited/exit code 137"));
}
