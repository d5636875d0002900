// Publisher: what is told, and what restarts, reloads, floods and a database that is away make of
// it.
#include "publish/publisher_world.hpp"

#include "publish/message.hpp"

using namespace nexus;
using namespace nexus::publish;
using namespace nexus::publish::test;

TEST_CASE("a finding is told when it fires and when it ends, and over restarts and reloads once") {
  World world;
  world.see({{"disk", kWarning}});
  world.run(1s);
  CHECK(world.told() == Told{"+disk/warning"});
  world.restart();
  world.run(30s);
  CHECK(world.told().empty());
  world.configure(std::string(kConfig) + "max_queue = 10\n");
  world.run(30s);
  CHECK(world.told().empty());
  world.see({});
  world.run(30s);
  CHECK(world.told() == Told{"-disk/warning"});
  world.restart();
  world.run(30s);
  CHECK(world.told().empty());
}

TEST_CASE("what ends while nobody listens is told after the restart") {
  World world;
  world.see({{"disk", kWarning}});
  world.run(1s);
  CHECK(world.told() == Told{"+disk/warning"});
  world.publisher.reset();
  world.publisher = *Publisher::open(world.clock, *world.db, world.self, *world.book, {"web1"});
  world.see({});  // its turn never comes
  world.clock.advance(1h);
  world.book->tick();  // forgotten by the book
  world.restart();
  world.run(1s);
  CHECK(world.told().empty());  // a kill may have cost the book what goes on
  world.run(70s);
  CHECK(world.told() == Told{"-disk/warning"});
}

TEST_CASE("what a kill took from the book is seen again, and was never over") {
  World world;
  world.see({{"disk", kWarning}});
  world.run(1s);
  CHECK(world.told() == Told{"+disk/warning"});
  world.publisher.reset();
  const auto empty = *knowledge::StateDb::open(":memory:");
  world.book = *analyze::Book::open(world.clock, *empty, world.self, 100);
  world.book->subscribe(
      [&](const analyze::Finding& finding) { world.publisher->on_finding(finding); });
  world.restart();
  world.run(20s);
  world.see({{"disk", kWarning}});
  world.run(2min);
  CHECK(world.told().empty());
  world.see({});
  world.run(20s);
  CHECK(world.told() == Told{"-disk/warning"});
  world.publisher.reset();
  world.book.reset();  // before its database
}

TEST_CASE("a severity that changes ends one alert and begins another") {
  World world;
  world.see({{"disk", kWarning}});
  world.run(2s);
  CHECK(world.told() == Told{"+disk/warning"});
  world.see({{"disk", kCritical}});
  world.run(15s);
  CHECK(world.told() == Told{"+disk/critical -disk/warning"});
  world.see({});
  world.run(15s);
  CHECK(world.told() == Told{"-disk/critical"});
}

TEST_CASE("silences live in the state database, and end when they are told to") {
  World world;
  const auto now = world.clock.wall();
  const auto made = world.publisher->put_silence(
      {"", matchers("alertname=disk"), now, now + 1h, "alice", "being mended"});
  REQUIRE(made);
  world.restart();
  world.see({{"disk", kWarning}, {"load", kWarning}});
  world.run(1s);
  CHECK(world.told() == Told{"+load/warning"});
  REQUIRE(world.publisher->expire_silence(made->id));
  world.run(15s);
  CHECK(world.told() == Told{"+disk/warning"});
  CHECK(world.publisher->expire_silence(made->id).error().code() == Errc::kConflict);
  CHECK(world.publisher->expire_silence("none").error().code() == Errc::kNotFound);
  const auto all = world.publisher->silences();
  REQUIRE(all.size() == 1);
  CHECK(all.front().state(world.clock.wall()) == "expired");
  CHECK(all.front().author == "alice");
  world.clock.advance(Publisher::kKeepExpired + 1h);
  world.run(1s);
  CHECK(world.publisher->silences().empty());
}

TEST_CASE("silences that would silence everything, nothing, or the past are refused") {
  World world;
  const auto now = world.clock.wall();
  const auto code = [&](Matchers all, WallTime starts, WallTime ends, std::string id = "") {
    const auto made =
        world.publisher->put_silence({std::move(id), std::move(all), starts, ends, "", ""});
    return made ? Errc::kInternal : made.error().code();
  };
  CHECK(code({}, now, now + 1h) == Errc::kInvalidArgument);
  CHECK(code(matchers("a=~\".*\",b!=x"), now, now + 1h) == Errc::kInvalidArgument);
  CHECK(code(matchers("a=b"), now, now) == Errc::kInvalidArgument);
  CHECK(code(matchers("a=b"), now - 2h, now - 1h) == Errc::kInvalidArgument);
  CHECK(code(matchers("a=b"), now, now + 1h, "none") == Errc::kNotFound);
  // Made longer it stays itself; of other matchers it is another, and the old one is over.
  const auto first =
      world.publisher->put_silence({"", matchers("a=b"), now, now + 1h, "", ""}).value();
  CHECK(world.publisher->put_silence({first.id, matchers("a=b"), now, now + 2h, "", ""})->id ==
        first.id);
  const auto other =
      world.publisher->put_silence({first.id, matchers("a=c"), now, now + 2h, "", ""}).value();
  CHECK(other.id != first.id);
  world.clock.advance(1s);
  CHECK(world.publisher->silences().back().id == first.id);
  CHECK(world.publisher->silences().back().state(world.clock.wall()) == "expired");
}

TEST_CASE("an incident is told where a route asks for it, and nowhere else") {
  World world;
  const std::string root = R"(
[routing]
group_wait = "0s"
hold_ends = "0s"
receivers = ["hook"]
[notify.hook]
type = "webhook"
url = "http://127.0.0.1:9/"
[notify.desk]
type = "webhook"
url = "http://127.0.0.1:9/"
)";
  const auto see = [&] {
    world.book->observe("incidents", {{.kind = analyze::FindingKind::kIncident,
                                       .name = "incident",
                                       .severity = config::Severity::kInfo,
                                       .subject = "db"}});
    world.run(1s);
  };
  SECTION("by default nobody hears of it, also not by severity or by what it is not") {
    world.configure(root + R"(
[[route]]
match = ['kind!="anomaly"']
receivers = ["desk"]
)");
    see();
    CHECK(world.told().empty());
    CHECK(world.told("desk").empty());
  }
  SECTION("who asks for its kind, also further up, over a restart once") {
    world.configure(root + R"(
[[route]]
match = ['kind=~"incident|drift"']
receivers = ["hook"]
[[route.route]]
match = ['severity="info"']
receivers = ["desk"]
)");
    see();
    CHECK(world.told("desk") == Told{"+incident/info"});
    world.restart();
    world.run(1s);
    CHECK(world.told("desk").empty());
    world.book->observe("incidents", {});
    world.run(301s);
    CHECK(world.told("desk") == Told{"-incident/info"});
    CHECK(world.told().empty());
  }
  SECTION(
      "a route in front that takes anything does not ask, and takes nothing from one that does") {
    for (const auto* any : {"severity=\"info\"", "alertname=~\".+\"", "kind=~\"alert|vital|.*\""}) {
      CAPTURE(any);
      World other;
      const auto front = fmt::format("[[route]]\nmatch = ['{}']\nreceivers = [\"hook\"]\n", any);
      other.configure(root + front + R"(
[[route]]
match = ['kind="incident"']
receivers = ["desk"]
)");
      other.book->observe("incidents", {{.kind = analyze::FindingKind::kIncident,
                                         .name = "incident",
                                         .severity = config::Severity::kInfo,
                                         .subject = "db"}});
      other.run(1s);
      CHECK(other.told().empty());
      CHECK(other.told("desk") == Told{"+incident/info"});
    }
  }
  SECTION("a child that asks is found behind a sibling, in a route that does not ask itself") {
    world.configure(root + R"(
[[route]]
match = ['severity="info"']
receivers = ["hook"]
[[route.route]]
match = ['alertname!="x"']
receivers = ["hook"]
[[route.route]]
match = ['kind="incident"']
receivers = ["desk"]
[[route]]
match = ['kind="incident"']
receivers = ["hook"]
)");
    see();
    CHECK(world.told("desk") == Told{"+incident/info"});
    CHECK(world.told().empty());
  }
  SECTION("what a tuning has come to is told where somebody asks, a proposal as ever") {
    world.configure(root + R"(
[[route]]
match = ['alertname=~"tuning_.*"']
receivers = ["desk"]
continue = true
[[route]]
match = ['service=""']
)");
    for (const auto* name : {"tuning_kept", "tuning_undone", "tuning_proposed"}) {
      world.book->observe(name, {{.kind = analyze::FindingKind::kOptimization,
                                  .name = name,
                                  .severity = config::Severity::kInfo}});
      world.run(1s);
    }
    CHECK(world.told() == Told{"+tuning_proposed/info"});
    CHECK(world.told("desk").size() == 3);
  }
  SECTION("an alert of a rule whose label says so is no incident") {
    world.book->observe("rule", {{.kind = analyze::FindingKind::kAlert,
                                  .name = "Paged",
                                  .labels = {{"kind", "incident"}}}});
    world.run(1s);
    CHECK(world.told() == Told{"+Paged/warning"});
  }
}

TEST_CASE("ten thousand findings at once are one notification, and people are shown some") {
  World world;
  for (int source = 0; source < 4; ++source) {  // one alone has a quarter of the book at most
    std::vector<analyze::Observation> seen;
    for (int i = source * 2500; i < (source + 1) * 2500; ++i)
      seen.push_back({.kind = analyze::FindingKind::kVital,
                      .name = "disk",
                      .subject = std::to_string(i),
                      .labels = {{"i", std::to_string(i)}}});
    world.book->observe(fmt::format("rule {}", source), seen);
  }
  world.run(1s);
  auto store = *PublishStore::open(*world.db);
  NotificationLog log;
  const auto waiting = store.load(log, now_of(world.clock)).value().waiting["hook"];
  REQUIRE(waiting.size() == 1);
  CHECK(waiting.front().notification->alerts.size() == 10'000);
  const auto message = message_of(*waiting.front().notification, {{}, "", "web1"});
  CHECK(message.alerts.size() == kMostShown);
  CHECK(message.more == 10'000 - kMostShown);
  CHECK(message.title == "[FIRING:10000] disk on web1");
  CHECK(to_text(message).size() < 20'000);
}

TEST_CASE("what people read has no control characters in its title and valid UTF-8 everywhere") {
  auto alert = std::make_shared<Alert>();
  alert->labels = {{"alertname", "a\r\nBcc: everybody\xff"}, {"x", "line\nfeed"}};
  alert->annotations = {{"summary", std::string(5000, 'x') + "\xc3\xa4"}};
  Notification notification;
  notification.group_labels = {{"alertname", alert->labels["alertname"]}};
  notification.alerts = {alert};
  notification.left_out = 3;
  complete(notification);
  const auto message = message_of(notification, {{}, "https://x", "web1"});
  CHECK(message.title == "[FIRING:1] a  Bcc: everybody\xef\xbf\xbd on web1");
  CHECK_THAT(to_text(message), Catch::Contains("3 more notifications before this one"));
  CHECK(cut("äääääää", 8) == "ää…");
}

TEST_CASE(
    "a database that is away loses nothing: what was sent meanwhile is written once it is back") {
  World world;
  // As good as a full disk, for this table alone.
  REQUIRE(world.db->execute("ALTER TABLE notifications RENAME TO away"));
  world.see({{"disk", kWarning}});
  world.run(1s);
  CHECK(metric_of(world, "nexus_notifications_write_errors_total") == 1);
  REQUIRE(world.db->execute("ALTER TABLE away RENAME TO notifications"));
  world.run(1s);
  CHECK(world.told() == Told{"+disk/warning"});
  world.restart();
  world.run(30s);
  CHECK(world.told().empty());
}

TEST_CASE("what an agent before kept in the state database is moved to the notifications' own") {
  World world;
  const auto now = world.clock.wall();
  REQUIRE(world.publisher->put_silence(
      {"", matchers("alertname=load"), now, now + 1h, "alice", "being mended"}));
  const auto token = world.publisher->approvals().token({"id-1", "hook", now + 1h});
  world.see({{"disk", kWarning}});
  world.run(1s);
  CHECK(world.told() == Told{"+disk/warning"});
  world.publisher.reset();
  const auto own = *knowledge::StateDb::open(":memory:");
  for (int times = 0; times < 2; ++times) {  // the second finds nothing to be moved
    world.publisher =
        *Publisher::open(world.clock, *own, world.self, *world.book, {"web1"}, world.db.get());
    world.configure(kConfig);
    CHECK(world.publisher->silences().size() == 1);
    CHECK(world.publisher->approvals().look(token));
    world.publisher->turn();
    world.publisher.reset();
  }
  CHECK(world.db->query("SELECT 1 FROM notifications").value().empty());
  CHECK(own->query("SELECT 1 FROM notifications").value().size() == 1);
  CHECK(own->query("SELECT 1 FROM notification_log").value().size() == 1);
}

TEST_CASE("a flood is told without waiting for what explains it") {
  World world;
  std::size_t asked = 0;
  Surroundings around;
  around.trend = [&](const analyze::Finding&) {
    ++asked;
    world.clock.advance(300ms);  // as a query over many series may take
    return std::string("rising");
  };
  world.publisher->set_surroundings(std::move(around));
  std::vector<std::pair<std::string, config::Severity>> many;
  for (int i = 0; i < 200; ++i) many.emplace_back(fmt::format("disk{}", i), kWarning);
  world.see(many);  // each a group
  world.publisher->turn();
  CHECK(world.told().size() == 200);
  CHECK(asked == 4);
}
