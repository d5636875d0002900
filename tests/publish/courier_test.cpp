#include "publish/courier.hpp"

#include <catch2/catch.hpp>

using namespace nexus;
using namespace nexus::publish;
using namespace std::chrono_literals;

namespace {

/// Does as told; the last answer stays.
struct Script {
  std::deque<Delivery> answers;
  std::vector<Notification> got;
  std::string poison;  // of this group none is ever taken
};

class Scripted final : public Receiver {
 public:
  explicit Scripted(Script& script) : script_(script) {}
  Delivery send(const Notification& notification, const std::function<bool()>&) override {
    script_.got.push_back(notification);
    if (notification.group_key == script_.poison) return Delivery::disliked("status 403");
    const auto answer = script_.answers.empty() ? Delivery::sent() : script_.answers.front();
    if (script_.answers.size() > 1) script_.answers.pop_front();
    return answer;
  }

 private:
  Script& script_;
};

ReceiverDescriptor descriptor(bool digests) {
  return {"scripted", "", {}, {}, digests, nullptr};
}

struct World {
  explicit World(config::ReceiverConfig with = {}, bool digests = false)
      : kind(descriptor(digests)) {
    with.name = "r";
    make(with);
  }

  void make(const config::ReceiverConfig& with) {
    courier = std::make_unique<Courier>(
        clock, with, kind, std::make_unique<Scripted>(script), *store, self,
        [this](const Notification& one) { lost.push_back(one.group_key); });
  }

  /// One more notification, saved as the publisher saves it.
  void add(std::string group, std::string alert = "a") {
    Notification one;
    one.id = group;
    one.receiver = "r";
    one.group_key = std::move(group);
    one.time = clock.wall();
    auto made = std::make_shared<Alert>();
    made->labels = {{"alertname", std::move(alert)}};
    made->fingerprint = fingerprint_of(made->labels);
    one.alerts = {made};
    complete(one);
    std::vector<Waiting> fresh{{0, std::make_shared<const Notification>(std::move(one))}};
    REQUIRE(store->write({}, {}, fresh));
    courier->enqueue(std::move(fresh));
  }

  /// All that is due within `time`.
  void run(Millis time) {
    const auto end = clock.steady() + time;
    for (;;) {
      const auto next = courier->turn();
      if (next > end) break;
      if (next > clock.steady()) clock.advance(next - clock.steady());
    }
    if (end > clock.steady()) clock.advance(end - clock.steady());
  }

  std::vector<std::string> got() const {
    std::vector<std::string> out;
    for (const auto& one : script.got) out.push_back(one.group_key);
    return out;
  }

  std::size_t saved() {
    NotificationLog log;
    return store->load(log, now_of(clock)).value().waiting["r"].size();
  }

  base::ManualClock clock;
  knowledge::SelfMetrics self;
  std::unique_ptr<knowledge::StateDb> db = *knowledge::StateDb::open(":memory:");
  std::optional<PublishStore> store = *PublishStore::open(*db);
  Script script;
  ReceiverDescriptor kind;
  std::unique_ptr<Courier> courier;
  std::vector<std::string> lost;
};

using Groups = std::vector<std::string>;

}  // namespace

TEST_CASE("a courier delivers in order, and forgets what was taken") {
  World world;
  world.add("1");
  world.add("2");
  CHECK(world.saved() == 2);
  world.run(1s);
  CHECK(world.got() == Groups{"1", "2"});
  CHECK(world.saved() == 0);
  CHECK(world.courier->status().sent == 2);
  CHECK(world.courier->status().state == "idle");
}

TEST_CASE("an hour without an answer loses nothing and keeps the order") {
  World world;
  world.script.answers = {Delivery::retry("no connection")};
  world.add("1");
  world.run(10min);
  world.add("2");
  world.run(50min);
  const auto status = world.courier->status();
  CHECK(status.state == "open");
  CHECK(status.queued == 2);
  CHECK(status.last_error == "no connection");
  // 1, 2, 4, 8 s and then every two minutes.
  CHECK(world.script.got.size() >= 30);
  CHECK(world.script.got.size() <= 40);
  for (const auto& group : world.got()) CHECK(group == "1");
  world.script.answers = {Delivery::sent()};
  world.script.got.clear();
  world.run(2min);
  CHECK(world.got() == Groups{"1", "2"});
  CHECK(world.courier->status().state == "idle");
  CHECK(world.saved() == 0);
}

TEST_CASE("after an hour without an answer people get a digest of what came meanwhile") {
  World world({}, true);
  world.script.answers = {Delivery::retry("no connection")};
  for (int i = 0; i < 15; ++i) {
    world.add("g" + std::to_string(i), "a" + std::to_string(i));
    world.run(4min);
  }
  CHECK(world.courier->status().queued == 15);
  world.script.answers = {Delivery::sent()};
  world.script.got.clear();
  world.run(5min);
  REQUIRE(world.script.got.size() == 2);
  CHECK(world.script.got[0].group_key == "g0");  // in hand when it ended
  CHECK(world.script.got[1].merged == 14);
  CHECK(world.script.got[1].alerts.size() == 14);
  CHECK(world.courier->status().sent == 15);
  CHECK(world.saved() == 0);
}

TEST_CASE("Retry-After is heeded") {
  World world;
  world.script.answers = {Delivery::retry("status 429", Millis(90'000)), Delivery::sent()};
  world.add("1");
  world.run(89s);
  CHECK(world.script.got.size() == 1);
  world.run(2s);
  CHECK(world.script.got.size() == 2);
}

TEST_CASE("what is refused is dropped, and the next one says so") {
  World world;
  world.script.answers = {Delivery::refused("status 400"), Delivery::sent()};
  world.add("1");
  world.add("2");
  world.run(1s);
  CHECK(world.got() == Groups{"1", "2"});
  CHECK(world.script.got.back().left_out == 1);
  CHECK(world.courier->status().dropped == 1);
  world.add("3");
  world.run(1s);
  CHECK(world.script.got.back().left_out == 0);
  CHECK(world.saved() == 0);
}

TEST_CASE("a full queue drops the newest, what is too old is given up, and both are told") {
  config::ReceiverConfig with;
  with.max_queue = 2;
  with.give_up_after = 1h;
  World world(with);
  world.script.answers = {Delivery::retry("down")};
  for (const auto* group : {"1", "2", "3"}) world.add(group);
  world.run(1s);
  CHECK(world.courier->status().queued == 2);
  CHECK(world.courier->status().dropped == 1);
  CHECK(world.got().front() == "1");
  CHECK(world.lost == Groups{"3"});
  world.run(2h);
  CHECK(world.courier->status().queued == 0);
  CHECK(world.courier->status().dropped == 3);
  world.script.answers = {Delivery::sent()};
  world.add("4");
  world.run(5min);
  CHECK(world.got().back() == "4");
  CHECK(world.script.got.back().left_out == 3);
  CHECK(world.saved() == 0);
}

TEST_CASE("the rate is limited; where people read it, many become one") {
  config::ReceiverConfig with;
  with.rate_per_minute = 2;
  World machines(with);
  World people(with, true);
  for (int i = 0; i < 14; ++i) {
    machines.add("g" + std::to_string(i), "a" + std::to_string(i % 7));
    people.add("g" + std::to_string(i), "a" + std::to_string(i % 7));
  }
  machines.run(1s);
  CHECK(machines.script.got.size() == 2);
  machines.run(3min);
  CHECK(machines.script.got.size() == 8);
  machines.run(3min);
  CHECK(machines.script.got.size() == 14);
  people.run(1s);
  REQUIRE(people.script.got.size() == 1);
  CHECK(people.script.got.front().merged == 14);
  CHECK(people.script.got.front().alerts.size() == 7);  // each once, as it is now
  CHECK(people.courier->status().sent == 14);
  CHECK(people.saved() == 0);
}

TEST_CASE("what waits outlives the courier") {
  World world;
  world.script.answers = {Delivery::retry("down")};
  world.add("1");
  world.add("2");
  world.run(5s);
  world.courier.reset();
  NotificationLog log;
  auto loaded = world.store->load(log, now_of(world.clock)).value();
  world.script = {};
  config::ReceiverConfig with;
  with.name = "r";
  world.make(with);
  world.courier->enqueue(std::move(loaded.waiting["r"]));
  world.run(1s);
  CHECK(world.got() == Groups{"1", "2"});
  CHECK(world.saved() == 0);
}

TEST_CASE("one that the other side dislikes holds up no other, and is given up") {
  World world;
  world.script.poison = "bad";
  world.add("bad");
  world.add("1");
  world.add("2");
  world.run(5min);
  const auto taken = [&](std::string_view group) { return std::ranges::count(world.got(), group); };
  CHECK(taken("1") == 1);
  CHECK(taken("2") == 1);
  world.run(2h);
  CHECK(world.lost == Groups{"bad"});
  CHECK(taken("bad") == Courier::kMostDislikes);
  CHECK(world.courier->status().queued == 0);
  CHECK(world.saved() == 0);
}

TEST_CASE("of one group only the newest waits") {
  World world;
  world.script.answers = {Delivery::retry("down")};
  world.add("0");
  world.run(1s);  // in hand
  for (const auto* group : {"1", "2", "1", "1"}) world.add(group);
  CHECK(world.courier->status().queued == 3);
  world.script.answers = {Delivery::sent()};
  world.script.got.clear();
  world.run(5min);
  CHECK(world.got() == Groups{"0", "1", "2"});
  CHECK(world.saved() == 0);
}

TEST_CASE("Retry-After of nothing is no invitation") {
  World world;
  world.script.answers = {Delivery::retry("status 429", Millis(0))};
  world.add("1");
  world.run(1h);
  CHECK(world.script.got.size() <= 150);  // half a minute apart at least, once it is slow
}

TEST_CASE("what an answer tells of a secret is not told on") {
  config::ReceiverConfig with;
  with.url = config::Secret("https://hooks.example/services/T0/5ecre7");
  with.token = config::Secret("t0ken5ecre7");
  World world(with);
  world.script.answers = {
      Delivery::retry("status 404: Cannot POST /services/T0/5ecre7 with t0ken5ecre7")};
  world.add("1");
  world.run(1s);
  CHECK(world.courier->status().last_error == "status 404: Cannot POST *** with ***");
}
