// What is left of work on containers that was cut off: by a crash of the agent, at each point where
// that can be, by an answer of the engine that never came, by the kill switch. On a real dockerd.
#include <sys/wait.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <cstdlib>
#include <numeric>

#include "container_bed.hpp"
#include "execute/container_step.hpp"
#include "nexus/execute/undone.hpp"
#include "nexus/host/process.hpp"
#include "support/docker_engine.hpp"
#include "support/recording_proxy.hpp"

using namespace nexus;
using namespace nexus::execute;
using namespace nexus::execute::test;
using namespace std::chrono_literals;
using Catch::Contains;

namespace {

struct World : ContainerWorld {
  World() : ContainerWorld(nexus::test::docker_engine().socket(), "busybox:test") {}
};

/// shop:1 and shop:2, and an action that rolled web-1 and web-2 out from one to the other.
struct RolledOut : World {
  RolledOut() {
    old_image = bed.make_image("shop:1", "ENV VERSION=1");
    bed.make_image("shop:2", "ENV VERSION=2");
    action = actions.action("rolling_update", "docker:shop/web", {{"image", "shop:2"}});
    action.started = clock.wall();
  }
  std::string make(int number, const std::string& image_name, const std::string& made_by = {}) {
    return bed.make(fmt::format("shop-web-{}", number), labelled(number, image_name, made_by));
  }
  /// By another name than its own, as while another takes its place.
  std::string make_old(int number, const std::string& image_name, const std::string& made_by = {}) {
    const auto name = fmt::format("shop-web-{}.nexus-old", number);
    auto more = labelled(number, image_name, made_by);
    const auto id = bed.make(name, std::move(more));
    stop(id);
    return id;
  }
  json::object labelled(int number, const std::string& image_name, const std::string& made_by) {
    json::object labels{{"com.docker.compose.project", "shop"},
                        {"com.docker.compose.service", "web"},
                        {"com.docker.compose.container-number", std::to_string(number)},
                        {"com.docker.compose.oneoff", "False"}};
    if (!made_by.empty()) labels[kMadeBy] = made_by;
    return {{"Image", image_name}, {"Labels", std::move(labels)}};
  }
  static json::object before(const std::string& id, const std::string& name,
                             const std::string& image_id) {
    return {{"id", id}, {"name", name}, {"image_id", image_id}, {"state", "running"}};
  }
  void judge(json::array containers) {
    action.outcome.before = json::serialize(json::object{{"containers", std::move(containers)}});
  }
  /// An agent that starts and finds the database as the first one has left it.
  Action after_a_start(const Action& open) {
    ContainerBench after(clock, bed, directory.file("state.db"));
    REQUIRE(after.bench.journal->write(open));
    REQUIRE(after.bench.executor->recover());
    after.bench.executor->start();
    after.bench.wait(1);
    return after.bench.journal->get(open.id).value();
  }

  std::string old_image;
  Action action;
};

/// An agent that starts and finds the action, over an engine that starts no container.
struct StartsNothing {
  explicit StartsNothing(RolledOut& w)
      : engine(w.directory.file("engine.sock"), w.bed.engine().socket()),
        after(w.clock, w.directory.file("state.db")) {
    engine.refuse("/start");
    after.config.connections.docker.socket = w.directory.file("engine.sock");
    after.configure();
    REQUIRE(after.journal->write(w.action));
    REQUIRE(after.executor->recover());
  }

  nexus::test::RecordingProxy engine;
  Bench after;
};

}  // namespace

TEST_CASE("docker: a rollout cut off while old containers are removed is brought to its end") {
  RolledOut w;
  const auto gone = std::string(64, 'a');
  const auto left = w.make_old(2, "shop:1");
  w.make(1, "shop:2", w.action.id);
  w.make(2, "shop:2", w.action.id);
  w.judge({RolledOut::before(gone, "shop-web-1", w.old_image),
           RolledOut::before(left, "shop-web-2", w.old_image)});
  w.action.state = ActionState::kRunning;
  const auto ended = w.after_a_start(w.action);
  INFO(ended.outcome.result);
  CHECK(ended.state == ActionState::kSucceeded);
  CHECK_THAT(ended.outcome.result, Contains("the old ones that were left are removed: shop-web-2"));
  CHECK(w.image("shop-web-1") == "shop:2");
  CHECK(w.image("shop-web-2") == "shop:2");
  CHECK(w.bed.names_of("shop") == std::set<std::string>{"shop-web-1", "shop-web-2"});
}

TEST_CASE("docker: a rollout cut off is put back as soon as the old container can be started") {
  RolledOut w;
  const auto old = w.make_old(1, "shop:1");
  w.make(1, "shop:2", w.action.id);
  w.judge({RolledOut::before(old, "shop-web-1", w.old_image)});
  w.action.state = ActionState::kRunning;
  StartsNothing started(w);
  auto& [engine, after] = started;
  CHECK(after.finished.empty());
  CHECK(after.journaled(w.action.id) == ActionState::kRunning);
  CHECK(w.id("shop-web-1.nexus-old") == old);
  CHECK(w.state("shop-web-1.nexus-old") == "exited");
  engine.refuse({});
  after.executor->start();
  const auto ended = after.wait(1).front();
  INFO(ended.outcome.result);
  CHECK(ended.state == ActionState::kInterrupted);
  CHECK_THAT(ended.outcome.result, Contains("the old containers were put back: shop-web-1"));
  CHECK(w.state("shop-web-1") == "running");
  CHECK(w.bed.names_of("shop") == std::set<std::string>{"shop-web-1"});
}

TEST_CASE("docker: a rollout cut off is not put back while somebody has its hands on it") {
  RolledOut w;
  const auto old = w.make_old(1, "shop:1");
  const auto fresh = w.make(1, "shop:2", w.action.id);
  w.judge({RolledOut::before(old, "shop-web-1", w.old_image)});
  w.action.state = ActionState::kRunning;
  Container taken;
  std::atomic<bool> stopped{false};
  std::atomic<int> asked{0};
  std::optional<ContainerClaim> claim(std::in_place);
  SECTION("another action works on the old container") {
    taken.id = old;
    taken.name = "shop-web-1.nexus-old";
  }
  SECTION("another action works on the new one") {
    taken.id = fresh;
    taken.name = "shop-web-1";
  }
  SECTION("operations are stopped") {
    stopped = true;
  }
  if (!taken.id.empty()) REQUIRE(claim->take({taken}));
  Bench after(w.clock, w.directory.file("state.db"));
  after.config.connections.docker.socket = w.bed.engine().socket();
  after.configure();
  after.executor->set_halted([&] {
    ++asked;
    return stopped.load();
  });
  REQUIRE(after.journal->write(w.action));
  REQUIRE(after.executor->recover());
  after.executor->start();
  REQUIRE(nexus::test::eventually([&] { return asked >= 2; }));  // at the start, and again
  CHECK(after.journaled(w.action.id) == ActionState::kRunning);
  CHECK(w.state("shop-web-1") == "running");
  CHECK(w.image("shop-web-1") == "shop:2");
  CHECK(w.state("shop-web-1.nexus-old") == "exited");
  claim.reset();
  stopped = false;
  const auto ended = after.wait(1).front();
  INFO(ended.outcome.result);
  CHECK(ended.state == ActionState::kInterrupted);
  CHECK(w.id("shop-web-1") == old);
  CHECK(w.state("shop-web-1") == "running");
  CHECK(w.bed.names_of("shop") == std::set<std::string>{"shop-web-1"});
}

TEST_CASE("docker: an undo waits for containers that cannot be started so far") {
  RolledOut w;
  w.judge({RolledOut::before(std::string(64, 'a'), "shop-web-1", w.old_image)});
  w.make_old(1, "shop:2", w.action.id);
  w.action.state = ActionState::kVerifying;
  w.action.outcome.verified = false;
  w.action.outcome.undone = kUndoing;
  StartsNothing started(w);
  auto& [engine, after] = started;
  after.executor->start();
  // It was tried, and cannot be started.
  REQUIRE(nexus::test::eventually([&] { return engine.said().contains("/start "); }));
  CHECK(after.journaled(w.action.id) == ActionState::kVerifying);
  engine.refuse({});
  const auto ended = after.wait(1).front();
  INFO(ended.outcome.result);
  CHECK(is_undone(ended.outcome));
  CHECK(w.image("shop-web-1") == "shop:1");
  CHECK(w.state("shop-web-1") == "running");
}

TEST_CASE("docker: an undo does not wait for what the engine refuses") {
  RolledOut w;
  w.judge({RolledOut::before(std::string(64, 'a'), "shop-web-1", w.old_image)});
  w.make_old(1, "shop:2", w.action.id);
  const auto theirs = w.make(1, "shop:1");  // somebody else's, by the name that it is to have
  w.action.state = ActionState::kVerifying;
  w.action.timeout = 1h;
  w.action.outcome.verified = false;
  w.action.outcome.undone = kUndoing;
  Bench after(w.clock, w.directory.file("state.db"));
  after.config.connections.docker.socket = w.bed.engine().socket();
  after.configure();
  REQUIRE(after.journal->write(w.action));
  REQUIRE(after.executor->recover());
  after.executor->start();
  REQUIRE(nexus::test::eventually([&] { return plan::is_final(after.journaled(w.action.id)); }));
  const auto ended = after.wait(1).front();
  CHECK_THAT(ended.outcome.undone, Contains("not undone") && Contains("could not be put back"));
  CHECK(w.id("shop-web-1") == theirs);
  CHECK(w.bed.has("shop-web-1.nexus-old"));
}

TEST_CASE("docker: an undo that a crash has cut off is undone to its end at the next start") {
  RolledOut w;
  w.judge({RolledOut::before(std::string(64, 'a'), "shop-web-1", w.old_image),
           RolledOut::before(std::string(64, 'b'), "shop-web-2", w.old_image)});
  SECTION("one was stopped and its successor made, the other not touched") {
    w.make_old(1, "shop:2", w.action.id);
    const auto fresh = w.make(1, "shop:1", w.action.id);
    w.stop(fresh);
    w.make(2, "shop:2", w.action.id);
  }
  SECTION("one had another name, and nothing its own") {
    w.make_old(1, "shop:2", w.action.id);
    w.make(2, "shop:2", w.action.id);
  }
  SECTION("all were well, and the old ones had begun to go") {
    w.make(1, "shop:1", w.action.id);
    w.make_old(2, "shop:2", w.action.id);
    w.make(2, "shop:1", w.action.id);
  }
  SECTION("it had ended, which was not written") {
    w.make(1, "shop:1", w.action.id);
    w.make(2, "shop:1", w.action.id);
  }
  w.action.state = ActionState::kVerifying;
  w.action.outcome.verified = false;
  w.action.outcome.undone = kUndoing;
  const auto ended = w.after_a_start(w.action);
  INFO(ended.outcome.result);
  CHECK(ended.state == ActionState::kUnverified);
  CHECK_THAT(ended.outcome.result, Contains("taken back after a restart of the agent"));
  CHECK(is_undone(ended.outcome));
  for (const auto* name : {"shop-web-1", "shop-web-2"}) {
    CHECK(w.image(name) == "shop:1");
    CHECK(w.state(name) == "running");
  }
  for (const auto& name : w.bed.names_of("shop")) CHECK_FALSE(name.ends_with(kOldSuffix));
}

TEST_CASE("docker: an undo that somebody asked for is taken up again at the next start") {
  RolledOut w;
  w.make_old(1, "shop:2", w.action.id);
  w.judge({RolledOut::before(std::string(64, 'a'), "shop-web-1", w.old_image)});
  w.action.state = ActionState::kSucceeded;
  w.action.finished = w.clock.wall();
  auto undo =
      w.actions.action("undo_action", "docker:shop/web", {{"action", std::string(w.action.id)}});
  undo.state = ActionState::kRunning;
  undo.started = w.clock.wall();
  {
    ContainerBench before(w.clock, w.bed, w.directory.file("state.db"));
    REQUIRE(before.bench.journal->write(w.action));
  }
  const auto ended = w.after_a_start(undo);
  INFO(ended.outcome.result);
  CHECK(ended.state == ActionState::kSucceeded);
  CHECK(w.image("shop-web-1") == "shop:1");
  CHECK(w.state("shop-web-1") == "running");
  CHECK(w.bed.names_of("shop") == std::set<std::string>{"shop-web-1"});
}

TEST_CASE("docker: a container that was made without an answer is found, and is none too many") {
  World w;
  nexus::test::RecordingProxy engine(w.directory.file("engine.sock"), w.bed.engine().socket());
  w.actions.bench.config.connections.docker.socket = w.directory.file("engine.sock");
  w.actions.bench.configure();
  const auto old = w.bed.make_of("shop", "web", 1);
  engine.withhold("POST /containers/create");

  auto rollout = w.actions.action("rolling_update", "docker:shop/web");
  rollout.timeout = 2s;
  auto done = w.actions.run(rollout);
  INFO(done.outcome.result);
  CHECK(done.state == ActionState::kFailed);
  CHECK_THAT(done.outcome.result, Contains("put back: shop-web-1"));
  CHECK(w.id("shop-web-1") == old);
  CHECK(w.state("shop-web-1") == "running");
  CHECK(w.bed.names_of("shop") == std::set<std::string>{"shop-web-1"});

  auto more = w.actions.action("scale_service", "docker:shop/web", {{"replicas", std::int64_t{2}}});
  more.timeout = 2s;
  done = w.actions.run(more);
  CHECK(done.state == ActionState::kFailed);
  CHECK(w.bed.names_of("shop") == std::set<std::string>{"shop-web-1"});
}

TEST_CASE("docker: a memory limit is not lowered while it is not known what is used") {
  World w;
  nexus::test::RecordingProxy engine(w.directory.file("engine.sock"), w.bed.engine().socket());
  w.actions.bench.config.connections.docker.socket = w.directory.file("engine.sock");
  w.actions.bench.configure();
  w.bed.make("limited");
  engine.refuse("/stats?");
  const auto done = w.actions.run("adjust_memory", "docker:limited", {{"memory_max", "64MiB"}});
  CHECK(done.state == ActionState::kFailed);
  CHECK_THAT(done.outcome.result, Contains("how much memory it takes now is not known"));
  CHECK(w.bed.inspect("limited").at("HostConfig").at("Memory") == 0);

  const std::int64_t set = 64 << 20;
  w.bed.ask("POST", "/containers/limited/update",
            json::serialize(json::object{{"Memory", set}, {"MemorySwap", 2 * set}}));
  const auto more = w.actions.run("adjust_memory", "docker:limited", {{"memory_max", "128MiB"}});
  INFO(more.outcome.result);
  CHECK(more.state == ActionState::kSucceeded);
  CHECK(w.bed.inspect("limited").at("HostConfig").at("Memory") == 2 * set);
}

TEST_CASE("docker: the kill switch lets one container come to its end, and begins no other") {
  World w;
  for (int number = 1; number <= 3; ++number) w.bed.make_of("shop", "web", number);
  const auto started = [&](int number) {
    return w.bed.text(fmt::format("shop-web-{}", number), "/State/StartedAt");
  };
  const std::array<std::string, 3> first{started(1), started(2), started(3)};
  // Operations are stopped while the first one is restarted.
  w.actions.bench.executor->set_halted([&] { return started(1) != first[0]; });
  auto done = w.actions.run("restart_service", "docker:shop/web");
  INFO(done.outcome.result);
  CHECK(done.state == ActionState::kCancelled);
  CHECK_THAT(done.outcome.result,
             Contains("operations were stopped") && Contains("1 of 3 containers done"));
  CHECK(w.state("shop-web-1") == "running");
  CHECK(started(2) == first[1]);
  CHECK(started(3) == first[2]);

  w.actions.bench.executor->set_halted([&] { return w.bed.names_of("shop").size() > 3; });
  done = w.actions.run("scale_service", "docker:shop/web", {{"replicas", std::int64_t{6}}});
  CHECK(done.state == ActionState::kCancelled);
  CHECK_THAT(done.outcome.result, Contains("made shop-web-4, which stay"));
  CHECK(w.bed.names_of("shop").size() == 4);
}

TEST_CASE("docker: an undone scaling ends what it made or started, and nothing else") {
  World w;
  w.bed.make_of("shop", "web", 1);
  const auto second = w.bed.make_of("shop", "web", 2);
  w.stop(second);
  const auto third = w.bed.make_of("shop", "web", 3);
  const auto first_start = w.bed.text("shop-web-3", "/State/StartedAt");
  auto vain = w.actions.action("scale_service", "docker:shop/web", {{"replicas", std::int64_t{4}}});
  vain.verify = config::VerifyConfig{.expr = {"pressure < 1", {}}, .within = 1ms};
  const auto done = w.actions.run(vain);
  INFO(done.outcome.result);
  CHECK(done.state == ActionState::kUnverified);
  CHECK(w.bed.names_of("shop") == std::set<std::string>{"shop-web-1", "shop-web-2", "shop-web-3"});
  CHECK(w.id("shop-web-2") == second);
  CHECK(w.state("shop-web-2") == "exited");
  CHECK(w.id("shop-web-3") == third);
  CHECK(w.bed.text("shop-web-3", "/State/StartedAt") == first_start);
}

TEST_CASE("docker: an undone scaling from nothing stops all that it started") {
  World w;
  const auto first = w.bed.make_of("shop", "web", 1);
  w.stop(first);
  auto vain = w.actions.action("scale_service", "docker:shop/web", {{"replicas", std::int64_t{2}}});
  vain.verify = config::VerifyConfig{.expr = {"pressure < 1", {}}, .within = 1ms};
  const auto done = w.actions.run(vain);
  INFO(done.outcome.result);
  CHECK(done.state == ActionState::kUnverified);
  CHECK(is_undone(done.outcome));
  CHECK(w.bed.names_of("shop") == std::set<std::string>{"shop-web-1"});
  CHECK(w.id("shop-web-1") == first);
  CHECK(w.state("shop-web-1") == "exited");
}

TEST_CASE("docker: a stop that did not help is taken back, of what ran before") {
  World w;
  w.bed.make_of("shop", "job", 1);
  const auto second = w.bed.make_of("shop", "job", 2);
  w.stop(second);
  auto vain = w.actions.action("stop_service", "docker:shop/job");
  vain.verify = config::VerifyConfig{.expr = {"pressure < 1", {}}, .within = 1ms};
  const auto done = w.actions.run(vain);
  INFO(done.outcome.result);
  CHECK(done.state == ActionState::kUnverified);
  CHECK(done.outcome.undone == "undone: started again: shop-job-1");
  CHECK(w.state("shop-job-1") == "running");
  CHECK(w.state("shop-job-2") == "exited");
}

TEST_CASE("docker: what others live in is not replaced, what Swarm manages is not touched") {
  World w;
  const auto lender = w.bed.make_of("shop", "lender", 1);
  w.bed.make("guest",
             {{"HostConfig", {{"NetworkMode", "host"}, {"PidMode", "container:" + lender}}}});
  const auto done = w.actions.run("rolling_update", "docker:shop/lender");
  CHECK(done.state == ActionState::kFailed);
  CHECK_THAT(done.outcome.result, Contains("docker:guest lives in a namespace of docker:shop-"));
  CHECK(w.id("shop-lender-1") == lender);
  CHECK_THAT(w.actions.would("rolling_update", "docker:shop/lender"), Contains("docker:guest"));

  w.bed.make("task", {{"Labels", {{"com.docker.swarm.task.id", "1"}}}});
  CHECK_THAT(w.actions.run("restart_service", "docker:task").outcome.result,
             Contains("docker:task is a task of Swarm"));
}

TEST_CASE("docker: processes of a container are as protected as it is") {
  World w;
  w.bed.make("kept", {{"Labels", {{"nexus-agent.protected", "true"}}}});
  w.bed.make("registry");
  w.bed.make("plain");
  const auto process = [&](const std::string& name) {
    const auto pid = w.bed.inspect(name).at_pointer("/State/Pid").to_number<pid_t>();
    return host::to_string(host::process_facts({.pid = pid}).value().id);
  };
  w.actions.bench.config.guardrails.protected_units = {"docker:regis*"};
  w.actions.bench.configure();
  const config::Parameters kill{{"signal", std::string("KILL")}};
  auto done = w.actions.run("kill_process", process("kept"), kill);
  CHECK(done.state == ActionState::kFailed);
  CHECK_THAT(done.outcome.result, Contains("docker:kept is protected by its label"));
  CHECK_THAT(w.actions.would("kill_process", process("registry"), kill),
             Contains("protected_units \"docker:regis*\""));
  CHECK_THAT(
      w.actions.run("renice_process", process("kept"), {{"nice", std::int64_t{5}}}).outcome.result,
      Contains("docker:kept is protected by its label"));

  const auto plain = process("plain");
  w.actions.bench.config.connections.docker.enabled = false;
  w.actions.bench.configure();
  CHECK_THAT(w.actions.run("kill_process", plain, kill).outcome.result,
             Contains("whether that may be touched cannot be told: [docker] is switched off"));
  CHECK(w.state("plain") == "running");
  w.actions.bench.config.connections.docker.enabled = true;
  w.actions.bench.configure();
  done = w.actions.run("kill_process", plain, kill);
  INFO(done.outcome.result);
  CHECK(done.state == ActionState::kSucceeded);
  CHECK(nexus::test::eventually([&] { return w.state("plain") == "exited"; }));
}

// What the next test starts and kills; it is no test by itself.
TEST_CASE("an agent that rolls out until it is killed", "[.roller]") {
  const auto* database = std::getenv("NEXUS_TEST_DATABASE");
  const auto* socket = std::getenv("NEXUS_TEST_ENGINE");
  if (database == nullptr || socket == nullptr) return;
  base::SystemClock clock;
  Bench bench(clock, database);
  bench.config.connections.docker.socket = socket;
  bench.configure();
  REQUIRE(bench.executor->recover());
  bench.executor->start();
  if (std::getenv("NEXUS_TEST_SUBMIT") != nullptr) {
    auto action = bench.action("docker:shop/web");
    action.type = "rolling_update";
    action.parameters = {{"image", "shop:2"}};
    // It never holds: what is rolled out is taken back.
    action.verify = config::VerifyConfig{.expr = {"pressure < 1", {}}, .within = 1ms};
    REQUIRE(bench.executor->submit(action));
  }
  while (bench.executor->in_flight("docker:shop/web")) std::this_thread::yield();
}

// NEXUS_KILLS=all: at each change of the engine, with two containers, which takes minutes.
TEST_CASE("docker: killed at any instant of a rollout or its undo, whole containers are left") {
  World w;
  w.bed.make_image("shop:1", "ENV VERSION=1");
  w.bed.make_image("shop:2", "ENV VERSION=2");
  const bool all = std::getenv("NEXUS_KILLS") != nullptr;
  std::set<std::string> names;
  for (int number = 1; number <= (all ? 2 : 1); ++number) {
    w.bed.make_of("shop", "web", number, {{"Image", "shop:1"}});
    names.insert(fmt::format("shop-web-{}", number));
  }
  const auto run = [&](const std::string& database, bool submit) {
    const auto child = ::fork();
    if (child != 0) return child;
    ::setenv("NEXUS_TEST_DATABASE", database.c_str(), 1);
    ::setenv("NEXUS_TEST_ENGINE", w.bed.engine().socket().c_str(), 1);
    if (submit) ::setenv("NEXUS_TEST_SUBMIT", "1", 1);
    ::execl("/proc/self/exe", "execute_test", "[.roller]", "-o", "/dev/null", nullptr);
    ::_exit(127);
  };
  const auto seen = [&] {
    std::string out;
    const auto there = w.bed.engine().containers(w.bed.soon(), 100);
    for (const auto& one : there.value()) out += one.id + one.name + one.state + ";";
    return out;
  };
  std::vector<int> instants{3, 9};
  if (all) {
    instants.resize(30);
    std::iota(instants.begin(), instants.end(), 1);
  }
  for (const int instant : instants) {
    const auto database = w.directory.file(fmt::format("{}.db", instant));
    const auto first = run(database, true);
    auto before = seen();
    int changes = 0;
    int status = 0;
    bool ended = false;
    while (!ended && changes < instant) {
      const auto now = seen();
      changes += now != before ? 1 : 0;
      before = now;
      ended = ::waitpid(first, &status, WNOHANG) == first;
    }
    if (!ended) {
      ::kill(first, SIGKILL);
      ::waitpid(first, &status, 0);
    }
    const auto second = run(database, false);
    REQUIRE(::waitpid(second, &status, 0) == second);
    auto db = *knowledge::StateDb::open(database);
    auto journal = *Journal::open(w.clock, *db);
    const auto actions = journal->list({}).value();
    REQUIRE(actions.size() == 1);
    CAPTURE(instant, before, actions[0].outcome.result);
    CHECK(status == 0);
    CHECK(plan::is_final(actions[0].state));
    CHECK(w.bed.names_of("shop") == names);
    for (const auto& name : names) {
      CHECK(w.image(name) == "shop:1");
      CHECK(w.state(name) == "running");
    }
    if (ended) break;  // it has come to its end: there are no more instants
  }
}
