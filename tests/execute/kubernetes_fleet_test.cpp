// The lock that hosts share as Lease objects, against the double in every run and a real API
// server by `./test --kubernetes`: see tests/support/kubernetes_bed.hpp.
#include <fmt/core.h>

#include <boost/json.hpp>

#include "bench.hpp"
#include "compete.hpp"
#include "nexus/drivers/kubernetes_lease.hpp"
#include "support/kubernetes_bed.hpp"
#include "support/server.hpp"

using namespace nexus;
using namespace nexus::execute;
using namespace nexus::execute::test;
using namespace std::chrono_literals;

namespace {

namespace json = boost::json;

/// A namespace of one test, in which hosts share locks.
struct Fleet {
  Fleet()
      : bed(nexus::test::KubernetesBed::of(nexus::test::KubernetesBed::versions().front())),
        name_space(bed.new_name_space()),
        api(clock, bed.access("admin")) {
    cluster.kubeconfig = bed.kubeconfig("admin");
    const auto body = fmt::format(
        R"({{"apiVersion":"v1","kind":"Namespace","metadata":{{"name":"{}"}}}})", name_space);
    REQUIRE(api.request("POST", "/api/v1/namespaces", body, soon()));
  }
  ~Fleet() {
    std::ignore = api.request("DELETE", "/api/v1/namespaces/" + name_space, {}, soon());
    CHECK(bed.complaints() == "");
  }
  Fleet(const Fleet&) = delete;
  Fleet& operator=(const Fleet&) = delete;

  SteadyTime soon() const { return clock.steady() + 60s; }
  config::FleetSection section(std::uint32_t budget) const {
    config::FleetSection out;
    out.lock = "kubernetes";
    out.budget = budget;
    out.timeout = 30s;
    out.name_space = name_space;
    return out;
  }
  std::shared_ptr<FleetLock> host(const std::string& name, std::uint32_t budget = 1) const {
    return host(name, budget, clock);
  }
  std::shared_ptr<FleetLock> host(const std::string& name, std::uint32_t budget,
                                  Clock& its_clock) const {
    return make_kubernetes_fleet(its_clock, section(budget), cluster, {}, name);
  }
  std::string leases() const {
    return "/apis/coordination.k8s.io/v1/namespaces/" + name_space + "/leases";
  }
  /// The only lease there is, by kubectl's eyes.
  json::object only() const {
    const auto answer = api.request("GET", leases(), {}, soon());
    REQUIRE(answer);
    const auto items = json::parse(answer->body).at("items").as_array();
    REQUIRE(items.size() == 1);
    return items.at(0).as_object();
  }

  nexus::test::KubernetesBed& bed;
  const std::string name_space;
  mutable base::SystemClock clock;
  const drivers::Kubernetes api;
  config::KubernetesSection cluster;
};

std::string error_of(const Result<std::unique_ptr<FleetPlace>>& place) {
  return place ? "no error" : place.error().message();
}

}  // namespace

TEST_CASE("kubernetes control: hosts share leases with a budget of two") {
  const Fleet fleet;
  compete([&](int host) { return fleet.host("host" + std::to_string(host), 2); }, 10, 2);
  const auto lock = fleet.host("web1", 2);
  auto first = lock->acquire("x", 60s);
  auto second = lock->acquire("x", 60s);
  REQUIRE(first);
  REQUIRE(second);
  CHECK((*second)->token() > (*first)->token());
  CHECK_THAT((*first)->describe(),
             Catch::Contains("kubernetes lease " + fleet.name_space + "/nexus-x-"));
  const auto third = fleet.host("web2", 2)->acquire("x", 60s);
  REQUIRE_FALSE(third);
  CHECK(third.error().code() == Errc::kConflict);
  CHECK_THAT(error_of(third), Catch::Contains("2 hosts do the same already: web1, web1"));
  // A budget that is lowered counts the places that a larger one has given out.
  CHECK(fleet.host("web2", 1)->acquire("x", 60s).error().code() == Errc::kConflict);
  CHECK(lock->acquire("y", 60s));
  first->reset();
  CHECK(lock->acquire("x", 60s));
}

TEST_CASE("kubernetes control: a lease is what kubectl and client-go know as one") {
  const Fleet fleet;
  auto place = fleet.host("web1")->acquire("restart_service", 90'500ms);
  REQUIRE(place);
  const auto held = fleet.only();
  const auto& spec = held.at("spec").as_object();
  CHECK(std::string_view(spec.at("holderIdentity").as_string()).starts_with("web1:"));
  CHECK(spec.at("leaseDurationSeconds").as_int64() == 91);
  CHECK(spec.at("acquireTime") == spec.at("renewTime"));
  CHECK(std::string_view(held.at("metadata").at("name").as_string())
            .starts_with("nexus-restart-service-"));
  place->reset();
  const auto given_back = fleet.only();
  const auto* holder = given_back.at("spec").as_object().if_contains("holderIdentity");
  CHECK((holder == nullptr || holder->as_string().empty()));
  // The same object again, for the next.
  auto next = fleet.host("web2")->acquire("restart_service", 60s);
  REQUIRE(next);
  CHECK(fleet.only().at("metadata").at("uid") == held.at("metadata").at("uid"));
  CHECK(fleet.only().at("spec").at("leaseTransitions").as_int64() == 1);
}

TEST_CASE("kubernetes control: a lease that nobody gives back lapses by the looker's own clock") {
  const Fleet fleet;
  auto dead = fleet.host("web1")->acquire("x", 100s);
  REQUIRE(dead);
  base::ManualClock clock;
  const auto lock = fleet.host("web2", 1, clock);
  CHECK_THAT(error_of(lock->acquire("x", 60s)), Catch::Contains("web1"));
  clock.step_wall(24h);  // what the calendar says frees nothing
  clock.advance(99s);
  CHECK(lock->acquire("x", 60s).error().code() == Errc::kConflict);
  // Its holder shows itself: the time begins anew.
  const auto name = std::string(fleet.only().at("metadata").at("name").as_string());
  REQUIRE(fleet.api.request("PATCH", fleet.leases() + "/" + name,
                            R"({"spec":{"renewTime":"2020-01-01T00:00:00.000000Z"}})", fleet.soon(),
                            "application/merge-patch+json"));
  clock.advance(99s);
  CHECK(lock->acquire("x", 60s).error().code() == Errc::kConflict);
  clock.advance(99s);
  CHECK(lock->acquire("x", 60s).error().code() == Errc::kConflict);
  clock.advance(1s);
  auto mine = lock->acquire("x", 60s);
  REQUIRE(mine);
  CHECK((*mine)->token() > (*dead)->token());
  // The one that was thought dead comes back: what is not its own any more it leaves alone.
  dead->reset();
  CHECK_THAT(error_of(fleet.host("web3")->acquire("x", 60s)), Catch::Contains("web2"));
}

TEST_CASE("kubernetes control: a fleet that cannot be asked lets nothing begin") {
  const Fleet fleet;
  auto viewer = fleet.cluster;
  viewer.kubeconfig = fleet.bed.kubeconfig("viewer");
  base::SystemClock clock;
  const auto forbidden =
      make_kubernetes_fleet(clock, fleet.section(1), viewer, {}, "web1")->acquire("x", 60s);
  CHECK(forbidden.error().code() == Errc::kPermissionDenied);
  CHECK_THAT(error_of(forbidden), Catch::Contains("a Role and its binding have to allow it"));
  auto nowhere = fleet.section(1);
  nowhere.name_space = fleet.name_space + "-none";
  const auto unknown =
      make_kubernetes_fleet(clock, nowhere, fleet.cluster, {}, "web1")->acquire("x", 60s);
  CHECK(unknown.error().code() == Errc::kNotFound);
  CHECK_THAT(error_of(unknown), Catch::Contains("namespaces \"" + nowhere.name_space));

  Bench bench(clock);
  bench.executor->start();
  bench.config.fleet = fleet.section(1);
  const TemporaryDirectory directory;
  bench.config.connections.kubernetes.kubeconfig = directory.write(
      "kubeconfig",
      R"({"current-context": "c", "clusters": [{"name": "k", "cluster": {"server": "https://127.0.0.1:1"}}],
          "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
          "users": [{"name": "u", "user": {"token": "t"}}]})",
      0600);
  bench.configure();
  const auto unreachable = bench.run(bench.action("true"));
  CHECK(unreachable.state == ActionState::kCancelled);
  CHECK(unreachable.outcome.reason_code == "fleet_unreachable");
  CHECK_FALSE(unreachable.started);
  bench.config.connections.kubernetes = fleet.cluster;
  bench.configure();
  const auto done = bench.run(bench.action("true"));
  CHECK(done.state == ActionState::kSucceeded);
  CHECK_THAT(done.outcome.fleet, Catch::Contains("kubernetes lease " + fleet.name_space));
  const auto other = fleet.host("other");
  auto place = other->acquire("run_command", 60s);
  REQUIRE(nexus::test::eventually([&] {  // the action's is given back a little later
    if (!place) place = other->acquire("run_command", 60s);
    return place.has_value();
  }));
  const auto taken = bench.run(bench.action("true"));
  CHECK(taken.outcome.reason_code == "fleet_lock");
  CHECK_THAT(taken.outcome.result, Catch::Contains("other"));
}

TEST_CASE("kubernetes control: a grant whose answer is lost is asked about") {
  if (nexus::test::KubernetesBed::is_real()) return;  // a real one does not lose answers at will
  const Fleet fleet;
  fleet.bed.as_double()->fault_beside("POST " + fleet.leases(), R"({"close_after": true})");
  auto first = fleet.host("web1")->acquire("x", 60s);
  if (!first) FAIL(error_of(first));
  CHECK(fleet.host("web2")->acquire("x", 60s).error().code() == Errc::kConflict);
  first->reset();
  // One that was never asked for is not taken for a grant.
  fleet.bed.as_double()->fault_beside("POST " + fleet.leases(), R"({"close": true})");
  CHECK(fleet.host("web1")->acquire("y", 60s).error().code() == Errc::kUnavailable);
  fleet.bed.as_double()->fault_beside("POST " + fleet.leases(), "{}");
}

TEST_CASE("names of objects are made of any text, and differ where the texts do") {
  CHECK(drivers::object_name("restart_service", 58) == "restart-service");
  CHECK(drivers::object_name("web2", 58) == "web2");
  std::set<std::string> made;
  const std::vector<std::string> texts{"nexus:x",
                                       "Nexus:x",
                                       "nexus-x",
                                       "nexus_x",
                                       "",
                                       "-",
                                       "é",
                                       "a b",
                                       "a  b",
                                       "web_",
                                       "_web",
                                       std::string(200, 'a'),
                                       std::string(201, 'a')};
  for (const auto& text : texts) {
    const auto name = drivers::object_name(text, 58);
    CAPTURE(text, name);
    CHECK(name.size() <= 58);
    CHECK(name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string::npos);
    CHECK_FALSE(name.starts_with('-'));
    CHECK_FALSE(name.ends_with('-'));
    CHECK(made.insert(name).second);
  }
}
