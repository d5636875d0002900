// The shapes of /health/processes and /health/connections.
#include <algorithm>

#include "rooms.hpp"

using namespace nexus;
using namespace nexus::serve;
using namespace nexus::serve::test;

namespace {

monitor::ObservedProcess process(std::int32_t pid, std::string_view name, double cpu,
                                 std::uint64_t resident) {
  monitor::ObservedProcess out;
  out.pid = pid;
  out.state = 'S';
  out.cpu = cpu;
  out.resident = resident;
  std::ranges::copy(name, out.comm.begin());
  return out;
}

}  // namespace

TEST_CASE("/health/processes: sorted as asked, with unit and container") {
  World world;
  CHECK(world.get("/health/processes").status == 503);
  auto table = std::make_shared<monitor::ProcessTable>();
  table->time = world.clock.wall();
  table->processes = {process(7, "small", 0.5, 10), process(8, "large", 0.1, 1000),
                      process(9, "b\xff", 0, 0)};
  monitor::Workload web;
  web.unit = "web.service";
  table->processes[1].workload = std::make_shared<const monitor::Workload>(web);
  world.observed.publish(std::shared_ptr<const monitor::ProcessTable>(table));
  auto body = expect(world.get("/health/processes"));
  CHECK(body.at("count").to_number<int>() == 3);
  CHECK(body.at("processes").at(0).at("name") == "small");
  CHECK(body.at("processes").at(2).at("name") == "b\xef\xbf\xbd");
  body = expect(world.get("/health/processes", {{"sort", "memory"}, {"limit", "1"}}));
  REQUIRE(body.at("processes").as_array().size() == 1);
  CHECK(body.at("processes").at(0).at("workload").at("unit") == "web.service");
  CHECK(world.get("/health/processes", {{"sort", "colour"}}).status == 400);
  CHECK(world.get("/health/processes", {{"limit", "0"}}).status == 400);
}

TEST_CASE("/health/connections: who listens, and who talks to whom") {
  World world;
  CHECK(world.get("/health/connections").status == 503);
  auto map = std::make_shared<monitor::ConnectionMap>();
  map->time = world.clock.wall();
  map->listeners.push_back({"0.0.0.0",
                            80,
                            1,
                            511,
                            {.pid = 7, .name = "nginx", .unit = "nginx.service", .container = ""}});
  monitor::Conversation edge;
  edge.local = {.pid = 7, .name = "nginx", .unit = "", .container = ""};
  edge.peer = "192.0.2.7";
  edge.port = 5432;
  edge.connections = 3;
  map->conversations.push_back(edge);
  world.observed.publish(std::shared_ptr<const monitor::ConnectionMap>(map));
  const auto body = expect(world.get("/health/connections"));
  const auto& listener = body.at("listeners").at(0);
  CHECK(listener.at("port").to_number<int>() == 80);
  CHECK(listener.at("owner").at("unit") == "nginx.service");
  const auto& first = body.at("conversations").at(0);
  CHECK(first.at("direction") == "outbound");
  CHECK(first.at("peer") == "192.0.2.7");
  CHECK(first.at("connections").to_number<int>() == 3);
  CHECK(first.at("remote").as_object().empty());
}
