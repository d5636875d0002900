// Ends that settle: a day of flapping is told twice, and never that something is over which is not.
#include "publish/settling.hpp"

#include "publish/publisher_world.hpp"

using namespace nexus;
using namespace nexus::publish;
using namespace nexus::publish::test;

namespace {

using Seen = std::vector<std::pair<std::string, config::Severity>>;

/// As shipped, but for the receivers.
constexpr std::string_view kShipped = R"(
[routing]
receivers = ["hook"]
[notify.hook]
type = "webhook"
url = "http://127.0.0.1:9/"
)";

/// Time passes as in the daemon, a minute a turn; what was told meanwhile.
Told pass(World& world, const Seen& seen, Millis time) {
  for (Millis left = time; left > Millis(0); left -= Millis(1min)) {
    world.see(seen);
    world.book->tick();
    world.publisher->turn();
    world.clock.advance(std::min<Millis>(left, 1min));
  }
  world.publisher->turn();
  return world.told();
}

const Seen kDisk = {{"disk", kWarning}};
const Seen kFullDisk = {{"disk", kCritical}};
const Told kBegins = {"+disk/warning"};
const Told kEnds = {"-disk/warning"};
const Told kTwice = {"+disk/warning", "-disk/warning"};

/// A value that is over its threshold and below it again, for so long each; what was told of it
/// until it had been below for a day.
Told day_of(World& world, const std::vector<Millis>& spells, const Seen& over = kDisk,
            const Seen& below = {}) {
  Told told;
  bool is_over = true;
  for (const auto spell : spells)
    std::ranges::move(pass(world, std::exchange(is_over, !is_over) ? over : below, spell),
                      std::back_inserter(told));
  std::ranges::move(pass(world, {}, 24h), std::back_inserter(told));
  return told;
}

}  // namespace

TEST_CASE("a day of 22 crossings of a threshold is told twice, by the shipped routes") {
  World world;
  world.configure(kShipped);
  SECTION("an hour apart") {
    CHECK(day_of(world, std::vector<Millis>(22, 65min)) == kTwice);
  }
  SECTION("at uneven distances") {
    std::vector<Millis> spells;
    for (int i = 0; i < 22; ++i) spells.push_back(Millis(45min) + i * 17 % 40 * Millis(1min));
    CHECK(day_of(world, spells) == kTwice);
  }
  SECTION("in a burst of minutes, which the book holds as flapping") {
    CHECK(day_of(world, std::vector<Millis>(22, 3min)) == kTwice);
  }
  SECTION("in two bursts, hours apart") {
    std::vector<Millis> spells(21, 3min);
    spells[9] = 3h;  // it may be over, told, and begin again
    CHECK(day_of(world, spells).size() <= 4);
  }
  SECTION("short peaks far apart: twice the first time, and twice from then on") {
    std::vector<Millis> spells;
    for (int i = 0; i < 22; ++i) spells.push_back(i % 2 == 0 ? Millis(5min) : Millis(126min));
    CHECK(day_of(world, spells).size() == 4);
  }
  SECTION("of the critical threshold, above a warning that goes on") {
    CHECK(day_of(world, std::vector<Millis>(22, 65min), kFullDisk, kDisk) ==
          Told{"+disk/critical", "-disk/critical"});
  }
}

TEST_CASE("an end is told once it has lasted half as long again as what it ends") {
  World world;
  world.configure(kShipped);
  CHECK(pass(world, kDisk, 20min) == kBegins);
  CHECK(pass(world, {}, 25min).empty());
  CHECK(metric_of(world, "nexus_notification_ends_held") == 1);
  CHECK(pass(world, {}, 11min) == kEnds);  // and the look at its group
  CHECK(metric_of(world, "nexus_notification_ends_held") == 0);
  SECTION("after long trouble at once") {
    CHECK(pass(world, kFullDisk, 4h) == Told{"+disk/critical"});
    CHECK(pass(world, {}, 6min) == Told{"-disk/critical"});
  }
  SECTION("and always where nothing is held") {
    std::string toml(kShipped);
    toml.insert(toml.find("receivers"), "hold_ends = \"0s\"\n");
    world.configure(toml);
    CHECK(pass(world, kFullDisk, 20min) == Told{"+disk/critical"});
    CHECK(pass(world, {}, 6min) == Told{"-disk/critical"});
  }
}

TEST_CASE("what dipped once is repeated as always once it is steady") {
  World world;
  world.configure(kShipped);
  CHECK(pass(world, kDisk, 1h) == kBegins);
  CHECK(pass(world, {}, 1min).empty());
  CHECK(pass(world, kDisk, 2h).empty());
  const auto told = pass(world, kDisk, 24h);
  CHECK(told.size() >= 5);  // every four hours
  CHECK(std::ranges::all_of(told, [](const auto& one) { return one == "+disk/warning"; }));
}

TEST_CASE("what flaps is repeated every other day") {
  World world;
  world.configure(kShipped);
  CHECK(pass(world, kDisk, 1h) == kBegins);
  Told told;
  for (int i = 0; i < 48; ++i) {
    std::ranges::move(pass(world, i % 2 == 0 ? Seen{} : kDisk, 1h), std::back_inserter(told));
  }
  CHECK(told == kBegins);
}

TEST_CASE("what becomes worse is told at once, and what is worse and less by turns once") {
  World world;
  world.configure(kShipped);
  CHECK(pass(world, kDisk, 1h) == kBegins);
  CHECK(pass(world, kFullDisk, 6min) == Told{"+disk/critical -disk/warning"});
  if (GENERATE(false, true)) world.restart();
  for (int i = 0; i < 22; ++i) CHECK(pass(world, i % 2 == 0 ? kDisk : kFullDisk, 65min).empty());
  CHECK(pass(world, {}, 24h) == Told{"-disk/critical"});
}

TEST_CASE("an end that falls due while it is silenced is told afterwards") {
  World world;
  world.configure(kShipped);
  CHECK(pass(world, kDisk, 1h) == kBegins);
  CHECK(pass(world, {}, 10min).empty());
  const auto now = now_of(world.clock).wall;
  REQUIRE(world.publisher->put_silence({"", matchers("alertname=disk"), now, now + 5h, "", ""}));
  CHECK(pass(world, {}, 4h).empty());
  CHECK(pass(world, {}, 2h) == kEnds);
  CHECK(pass(world, {}, 24h).empty());
}

TEST_CASE("nobody is told that something is over, or less, that is not") {
  World world;
  world.configure(kShipped);
  CHECK(pass(world, kFullDisk, 1h) == Told{"+disk/critical"});
  CHECK(pass(world, kDisk, 10min).empty());  // it is still in trouble, and less so
  const auto reload = GENERATE(0, 1, 2);
  if (reload == 1) world.configure(kShipped);
  if (reload == 2) world.restart();
  CAPTURE(reload);
  CHECK(pass(world, kDisk, 10min).empty());
  SECTION("it is critical again: that is no news") {
    CHECK(pass(world, kFullDisk, 1h).empty());
  }
  SECTION("it stays less: that is told, as something that goes on") {
    CHECK(pass(world, kDisk, 3h) == Told{"+disk/warning -disk/critical"});
    CHECK(pass(world, {}, 6min) == kEnds);
  }
  SECTION("it is over") {
    CHECK(pass(world, {}, 3h) == Told{"-disk/critical"});
  }
}

TEST_CASE("an end is held over reloads and restarts, and told when it is due") {
  World world;
  world.configure(kShipped);
  CHECK(pass(world, kDisk, 1h) == kBegins);
  CHECK(pass(world, {}, 10min).empty());
  SECTION("a reload") {
    world.configure(kShipped);
  }
  SECTION("a reload, after the book has forgotten it") {
    CHECK(pass(world, {}, 20min).empty());
    world.configure(kShipped);
  }
  SECTION("a restart") {
    world.restart();
  }
  CHECK(pass(world, {}, 20min).empty());
  CHECK(pass(world, {}, 80min) == kEnds);
  CHECK(pass(world, {}, 24h).empty());
}

TEST_CASE("who was not told that it began is not told when it is over") {
  World world;
  world.configure(kShipped);
  world.see(kDisk);
  world.run(6s);
  world.see({});
  SECTION("before a new group is looked at") {
    CHECK(pass(world, {}, 24h).empty());
  }
  SECTION("in a group that is looked at every five minutes") {
    CHECK(pass(world, {}, 1h).empty());
    world.see({{"disk", kWarning}});
    world.run(12s);
    CHECK(world.told() == kBegins);
    // Another of the same group comes and goes between two looks.
    world.book->observe("other", {{.kind = analyze::FindingKind::kVital,
                                   .name = "disk",
                                   .subject = "/srv",
                                   .labels = {{"mountpoint", "/srv"}}}});
    world.run(6s);
    world.book->observe("other", {});
    CHECK(pass(world, kDisk, 1h).empty());
  }
}

TEST_CASE("the end of what has no rule any more is told at once") {
  World world;
  world.configure(kShipped);
  CHECK(pass(world, kDisk, 1h) == kBegins);
  world.book->retire([](std::string_view source) { return source == "rule"; });
  world.run(6min);
  CHECK(world.told() == kEnds);
}

TEST_CASE("what is over inhibits nothing while its end is held") {
  World world;
  world.configure(
      std::string(kShipped) +
      "[[inhibit]]\nsource = ['alertname=\"disk\"']\ntarget = ['alertname=\"load\"']\n");
  CHECK(pass(world, {{"disk", kWarning}, {"load", kWarning}}, 1h) == kBegins);
  CHECK(pass(world, {{"load", kWarning}}, 6min) == Told{"+load/warning"});
}

TEST_CASE("an Alertmanager hears every end at once, for it groups by itself") {
  World world;
  world.configure(
      "[routing]\nreceivers = [\"hook\", \"am\"]\n[notify.hook]\ntype = \"webhook\"\n"
      "url = \"http://127.0.0.1:9/\"\n[notify.am]\ntype = \"alertmanager\"\n"
      "urls = [\"http://127.0.0.1:9\"]\n");
  CHECK(pass(world, kDisk, 1h) == kBegins);
  CHECK(world.told("am") == kBegins);
  CHECK(pass(world, {}, 6min).empty());
  CHECK(world.told("am") == kEnds);
  CHECK(pass(world, kDisk, 6min).empty());
  CHECK(world.told("am") == kBegins);
}

TEST_CASE("what settles is bounded, and forgotten a day later") {
  Settling settling;
  settling.set_most(150min);
  const SteadyTime begin{24h};
  for (std::uint64_t i = 0; i < Settling::kMost; ++i) settling.fires(i, begin, begin);
  const SteadyTime end = begin + 10min;
  CHECK(settling.ended(Settling::kMost, begin, end, end) == end);  // no place for it
  CHECK(settling.ended(0, begin, end, end) == end + 15min);
  CHECK(settling.held(end) == 1);
  settling.tidy([](std::uint64_t alert) { return alert == 1; }, end);
  CHECK(settling.ended(Settling::kMost, begin, end, end) == end + 15min);
  settling.tidy([](std::uint64_t) { return false; }, end + 25h);
  CHECK_FALSE(settling.end_of(0));
  SECTION("nothing is held back where that is not wanted") {
    settling.set_most(Millis(0));
    CHECK(settling.ended(7, begin, end, end) == end);
  }
}
