// What of the host the planner and the evidence are told: pure parts, on made-up tables.
#include "agent/surroundings.hpp"

#include <boost/json.hpp>
#include <catch2/catch.hpp>

#include "agent/witness.hpp"
#include "nexus/knowledge/history.hpp"
#include "support/temporary_directory.hpp"

using namespace nexus;
using namespace nexus::agent;

TEST_CASE("whether a unit can serve is told by its state and kind") {
  const auto word = [](const char* name, const char* state, const char* type = "simple") {
    return cannot_serve({.name = name, .active_state = state, .type = type}).value_or("serves");
  };
  CHECK(word("db.service", "active") == "serves");
  CHECK(word("db.service", "reloading") == "serves");
  CHECK(word("db.service", "inactive") == "inactive");
  CHECK(word("db.service", "failed") == "failed");
  CHECK(word("db.service", "activating") == "activating");
  CHECK(word("setup.service", "inactive", "oneshot") == "serves");
  CHECK(word("setup.service", "failed", "oneshot") == "failed");
  CHECK(word("srv.mount", "inactive") == "inactive");
  CHECK(word("backup.timer", "inactive") == "serves");
  CHECK(word("network.target", "inactive") == "serves");
}

TEST_CASE("a service needs whom it talks to on this host") {
  base::ManualClock clock;
  drivers::Systemd systemd(clock);
  monitor::Observed observed;
  HostSurroundings surroundings(clock, systemd, observed);
  config::Config config;
  config.services.push_back({.name = "web", .depends_on = {"cache"}});
  const auto bare = surroundings.look_for_graph(config);
  REQUIRE(bare);
  REQUIRE(bare->edges.size() == 1);
  CHECK(bare->edges[0].link == "depends_on");
  CHECK(surroundings.needs("app.service").empty());
  auto map = std::make_shared<monitor::ConnectionMap>();
  using Direction = monitor::Conversation::Direction;
  const auto talk = [&](Direction direction, const char* local, const char* remote) {
    monitor::Conversation one;
    one.direction = direction;
    one.local.unit = local;
    one.remote.unit = remote;
    map->conversations.push_back(one);
  };
  talk(Direction::kOutbound, "app.service", "db.service");
  talk(Direction::kOutbound, "app.service", "db.service");
  talk(Direction::kOutbound, "app.service", "app.service");
  talk(Direction::kOutbound, "app.service", "");
  talk(Direction::kInbound, "app.service", "proxy.service");
  talk(Direction::kOutbound, "other.service", "cache.service");
  talk(Direction::kOutbound, "web.service", "db.service");
  observed.publish(map);
  CHECK_FALSE(surroundings.look_for_graph(config));  // not yet again
  clock.advance(HostSurroundings::kGraph);
  const auto graph = surroundings.look_for_graph(config);
  REQUIRE(graph);
  CHECK(graph->edges.size() == 4);
  // What is configured without a suffix is the same unit; what has talked is needed for an hour.
  observed.publish(std::make_shared<monitor::ConnectionMap>());
  clock.advance(HostSurroundings::kGraph);
  CHECK_FALSE(surroundings.look_for_graph(config));
  CHECK(surroundings.needs("web").front().name == "db.service");
  CHECK(surroundings.needs("web.service").size() == 1);
  const auto needs = surroundings.needs("app.service");
  REQUIRE(needs.size() == 1);
  CHECK(needs[0].name == "db.service");
  CHECK(needs[0].how == "connections");
  clock.advance(std::chrono::hours(1));
  REQUIRE(surroundings.look_for_graph(config));
  CHECK(surroundings.needs("app.service").empty());
  CHECK_FALSE(surroundings.down("db.service"));  // nobody has asked systemd yet
}

TEST_CASE("the evidence of a host is one bounded JSON object") {
  const nexus::test::TemporaryDirectory directory;
  std::filesystem::create_directories(directory.file("pressure"));
  directory.write("pressure/cpu", "some avg10=1.50 avg60=0.50 avg300=0.10 total=5\n");
  const host::Roots roots{directory.path(), directory.path(), directory.path()};
  base::ManualClock clock;
  monitor::Observed observed;
  auto table = std::make_shared<monitor::ProcessTable>();
  for (int i = 0; i < 500; ++i) {
    monitor::ObservedProcess process;
    process.pid = i + 2;
    process.resident = static_cast<std::uint64_t>(i) * 1000;
    process.cpu = i == 3 ? 0.9 : 0;
    table->processes.push_back(process);
  }
  observed.publish(table);
  knowledge::SeriesRegistry registry(100);
  const knowledge::History history(registry, {});
  const Witness witness(clock, roots, observed, history, [] { return std::string("/no/engine"); });
  plan::Action action;
  action.type = "restart_service";
  action.target = "no-such.service";
  const auto text = witness.testify(action);
  CHECK(text.size() <= Witness::kMostBytes);
  const auto value = boost::json::parse(text);
  CHECK(value.at("pressure").at("cpu").as_string().starts_with("some avg10=1.50"));
  const auto& processes = value.at("processes").as_array();
  CHECK(processes.size() >= 8);
  CHECK(processes.size() <= 16);
  CHECK(processes.at(0).at("pid").as_int64() == 501);
  CHECK(std::ranges::any_of(processes, [](const auto& p) { return p.at("pid").as_int64() == 5; }));
  CHECK((value.at("messages").is_array() || value.at("messages").is_object()));
  action.target = "docker:web";
  const auto away = boost::json::parse(witness.testify(action));
  CHECK(std::string(away.at("messages").at("error").as_string()).contains("/no/engine"));
}
