#include "nexus/analyze/book.hpp"

#include <atomic>
#include <catch2/catch.hpp>
#include <limits>
#include <thread>

#include "analyze/ledger.hpp"
#include "analyze/world.hpp"

using namespace nexus;
using namespace nexus::analyze;
using namespace nexus::analyze::test;

namespace {

using Heard = std::vector<std::string>;

}  // namespace

TEST_CASE("fingerprints depend on kind, name and labels, not on how they are cut") {
  const std::string one = fingerprint(FindingKind::kAlert, "a", {{"x", "y"}});
  CHECK(one.size() == 16);
  CHECK(one == fingerprint(FindingKind::kAlert, "a", {{"x", "y"}}));
  CHECK(one != fingerprint(FindingKind::kVital, "a", {{"x", "y"}}));
  CHECK(one != fingerprint(FindingKind::kAlert, "ax", {{"", "y"}}));
  CHECK(one != fingerprint(FindingKind::kAlert, "a", {{"xy", ""}}));
  CHECK(one != fingerprint(FindingKind::kAlert, "a", {}));
  // Written in databases of agents that are running: it must not change.
  CHECK(fingerprint(FindingKind::kService, "service_failed", {{"service", "web.service"}}) ==
        "54a65e8392483bac");
}

TEST_CASE("without a `for` a finding fires at once, and resolves when it is not seen") {
  World world;
  const auto before = world.clock.steady();
  world.clock.advance(10s);
  world.book->observe("rule", {observation("hot")});
  CHECK(world.heard == Heard{"hot firing"});
  const Finding* finding = world.find("hot");
  REQUIRE(finding != nullptr);
  CHECK(finding->state == FindingState::kFiring);
  CHECK(finding->episodes == 1);
  CHECK(finding->fired == finding->started);
  CHECK(finding->received == before + 10s);
  CHECK(metric(world.self, "nexus_findings", "firing") == 1);

  world.clock.advance(5s);
  world.book->observe("rule", {});
  CHECK(world.heard == Heard{"hot firing", "hot resolved"});
  finding = world.find("hot");
  REQUIRE(finding != nullptr);
  CHECK(finding->state == FindingState::kResolved);
  CHECK(*finding->resolved - *finding->fired == 5s);

  world.clock.advance(Book::kKeepResolved - 1s);
  world.book->tick();
  CHECK(world.find("hot") != nullptr);
  world.clock.advance(1s);
  world.book->tick();
  CHECK(world.find("hot") == nullptr);
  CHECK(metric(world.self, "nexus_findings") == 0);
}

TEST_CASE("`for`: pending until the time has passed; gone while pending leaves nothing") {
  World world;
  Observation seen = observation("hot");
  seen.pending = 30s;
  world.book->observe("rule", {seen});
  CHECK(world.find("hot")->state == FindingState::kPending);
  world.clock.advance(29s);
  world.book->observe("rule", {seen});
  world.book->tick();
  CHECK(world.find("hot")->state == FindingState::kPending);
  world.book->observe("rule", {});
  CHECK(world.find("hot") == nullptr);
  CHECK(world.heard.empty());

  world.book->observe("rule", {seen});  // begins anew
  world.clock.advance(29s);
  world.book->tick();
  CHECK(world.find("hot")->state == FindingState::kPending);
  world.clock.advance(1s);
  world.book->tick();  // an event-driven source does not report again: tick() fires it
  CHECK(world.find("hot")->state == FindingState::kFiring);
  CHECK(world.find("hot")->received == world.clock.steady());
  CHECK(world.heard == Heard{"hot firing"});
}

TEST_CASE("`keep_firing_for` bridges gaps and counts from when it was last seen") {
  World world;
  Observation seen = observation("hot");
  seen.keep_firing_for = 60s;
  world.book->observe("rule", {seen});
  for (int i = 0; i < 5; ++i) {  // a flapping condition: one finding, one notice
    world.clock.advance(50s);
    world.book->observe("rule", {});
    world.book->tick();
    CHECK(world.find("hot")->state == FindingState::kFiring);
    world.clock.advance(5s);
    world.book->observe("rule", {seen});
  }
  CHECK(world.heard == Heard{"hot firing"});
  world.book->observe("rule", {});
  world.clock.advance(60s);
  world.book->tick();
  CHECK(world.find("hot")->state == FindingState::kResolved);
  CHECK(world.find("hot")->episodes == 1);
}

TEST_CASE("what fires and is not seen says so: kept firing, doubted, restored") {
  World world;
  Observation seen = observation("hot");
  seen.keep_firing_for = 60s;
  world.book->observe("rule", {seen});
  CHECK(world.find("hot")->seen_now);
  world.book->observe("rule", {});
  CHECK(world.find("hot")->state == FindingState::kFiring);
  CHECK_FALSE(world.find("hot")->seen_now);
  world.book->observe("rule", {seen});
  CHECK(world.find("hot")->seen_now);
  world.book->doubt("another rule");
  CHECK(world.find("hot")->seen_now);
  world.book->doubt("rule");
  CHECK_FALSE(world.find("hot")->seen_now);
  world.book->observe("rule", {seen});
  const std::string print = world.find("hot")->fingerprint;
  CHECK(world.book->find(print)->seen_now);
  world.book->tick();
  world.open_book();
  CHECK(world.book->find(print)->state == FindingState::kFiring);
  CHECK_FALSE(world.book->find(print)->seen_now);
  world.book->observe("rule", {seen});
  CHECK(world.book->find(print)->seen_now);
  CHECK_FALSE(world.book->find("0123456789abcdef").has_value());
}

TEST_CASE("a finding that comes back is a new episode of the same finding") {
  World world;
  world.book->observe("rule", {observation("hot")});
  world.book->observe("rule", {});
  world.clock.advance(1min);
  world.book->observe("rule", {observation("hot")});
  const Finding* finding = world.find("hot");
  CHECK(finding->episodes == 2);
  CHECK(finding->started == world.clock.wall());
  CHECK_FALSE(finding->resolved);
  CHECK(world.book->snapshot()->size() == 1);
  CHECK(world.heard == Heard{"hot firing", "hot resolved", "hot firing"});
}

TEST_CASE("severity may change while it fires: one finding, no transition") {
  World world;
  world.book->observe("rule", {observation("disk", "/var", Severity::kWarning)});
  world.book->observe("rule", {observation("disk", "/var", Severity::kCritical)});
  CHECK(world.book->snapshot()->size() == 1);
  CHECK(world.find("disk")->severity == Severity::kCritical);
  CHECK(world.heard.size() == 1);
  CHECK(metric(world.self, "nexus_findings", "critical") == 1);
  CHECK(metric(world.self, "nexus_findings", "warning") == 0);
}

TEST_CASE("seen twice in one pass: the worst counts") {
  World world;
  world.book->observe("rule", {observation("disk", "/", Severity::kCritical),
                               observation("disk", "/", Severity::kWarning)});
  CHECK(world.book->snapshot()->size() == 1);
  CHECK(world.find("disk")->severity == Severity::kCritical);
}

TEST_CASE("sources do not touch each other's findings; report and clear touch one") {
  World world;
  world.book->observe("a", {observation("one")});
  world.book->observe("b", {});
  world.book->report("c", observation("two", "x"));
  world.book->report("c", observation("two", "y"));
  CHECK(metric(world.self, "nexus_findings", "firing") == 3);
  const Observation y = observation("two", "y");
  const std::string print = fingerprint(y.kind, y.name, y.labels);
  world.book->clear("a", print);  // not its own
  CHECK(world.find("two", "y")->state == FindingState::kFiring);
  world.book->clear("c", print);
  world.book->clear("c", "no such finding");
  CHECK(world.find("two", "y")->state == FindingState::kResolved);
  CHECK(world.find("two", "x")->state == FindingState::kFiring);
  CHECK(world.find("one")->state == FindingState::kFiring);
}

TEST_CASE("retired sources: what they saw is resolved at once") {
  World world;
  Observation keeps = observation("kept");
  keeps.keep_firing_for = 1h;
  Observation waits = observation("waits");
  waits.pending = 1h;
  world.book->observe("old", {keeps, waits});
  world.book->observe("new", {observation("stays")});
  world.book->retire([](std::string_view source) { return source == "old"; });
  CHECK(world.find("kept")->state == FindingState::kResolved);
  CHECK(world.find("waits") == nullptr);
  CHECK(world.find("stays")->state == FindingState::kFiring);
}

TEST_CASE("the snapshot is ordered by the newest transition and does not change") {
  World world;
  world.book->observe("a", {observation("first")});
  world.book->observe("b", {observation("second")});
  const auto snapshot = world.book->snapshot();
  REQUIRE(snapshot->size() == 2);
  CHECK((*snapshot)[0].name == "second");
  world.book->observe("a", {});
  CHECK((*snapshot)[1].state == FindingState::kFiring);
  CHECK((*world.book->snapshot())[0].name == "first");
  CHECK(world.book->snapshot() == world.book->snapshot());
}

TEST_CASE("bounded: resolved findings make room, then newcomers are refused and counted") {
  World world;
  world.open_book(10);
  for (int i = 0; i < 10; ++i) world.book->report("s", observation("n", std::to_string(i)));
  world.book->report("s", observation("n", "late"));
  CHECK(world.find("n", "late") == nullptr);
  CHECK(metric(world.self, "nexus_findings_refused_total") == 1);
  const Observation third = observation("n", "3");
  world.book->clear("s", fingerprint(third.kind, third.name, third.labels));
  world.book->report("s", observation("n", "late"));
  CHECK(world.find("n", "late") != nullptr);
  CHECK(world.find("n", "3") == nullptr);
  CHECK(world.book->snapshot()->size() == 10);
  std::vector<Observation> flood;
  for (int i = 0; i < 5000; ++i) flood.push_back(observation("flood", std::to_string(i)));
  world.book->observe("flood", flood);
  CHECK(world.book->snapshot()->size() == 10);
  CHECK(metric(world.self, "nexus_findings_refused_total") == 5001);
}

TEST_CASE("one source cannot take the places of all others") {
  constexpr std::size_t kMostOfOneSource = 2500;  // Ledger's
  World world;
  world.open_book(10'000);
  std::vector<Observation> flood;
  for (int i = 0; i < 9000; ++i) flood.push_back(observation("flood", std::to_string(i)));
  world.book->observe("rule", flood);
  CHECK(world.book->snapshot()->size() == kMostOfOneSource);
  CHECK(metric(world.self, "nexus_findings_refused_total") ==
        static_cast<double>(flood.size() - kMostOfOneSource));
  world.book->report("other", observation("late"));
  CHECK(world.find("late") != nullptr);
}

TEST_CASE("each source that is refused is complained of once an hour, a full book once for all") {
  base::ManualClock clock;
  knowledge::SelfMetrics self;
  Ledger ledger(clock, self, 2 * Ledger::kMostOfOneSource + 1);
  std::vector<Observation> flood;
  for (std::size_t i = 0; i < Ledger::kMostOfOneSource + 9; ++i)
    flood.push_back(observation("flood", std::to_string(i)));
  const auto complaints = [&](const char* source, const std::string& name) {
    for (auto& seen : flood) seen.name = name;
    ledger.observe(source, flood, {});
    return ledger.take_complaints();
  };
  const auto first = complaints("one", "a");
  REQUIRE(first.size() == 1);
  CHECK(first.front().contains("findings of one are refused: at most 2500 of one rule"));
  CHECK(complaints("one", "a").empty());
  const auto second = complaints("two", "b");
  REQUIRE(second.size() == 1);
  CHECK(second.front().contains("findings of two"));
  const auto full = complaints("three", "c");
  REQUIRE(full.size() == 1);
  CHECK(full.front().contains("findings of three are refused: at most 5001 of all"));
  CHECK(complaints("four", "d").empty());
  clock.advance(1h);
  CHECK(complaints("one", "a").size() == 1);
}

TEST_CASE("a restart: firing findings, `for` timers and episodes survive") {
  World world;
  Observation waits = observation("waits");
  waits.pending = 10min;
  Observation hot = observation("hot", "/var", Severity::kCritical);
  hot.annotations = {{"summary", "quote \" and \n line"}};
  hot.evidence = {"expr > 1", 2.5, 1.0, "text"};
  const auto see = [&] { world.book->observe("rule", {waits, hot}); };
  see();
  world.book->observe("done", {observation("done")});
  world.book->observe("done", {});
  world.book->tick();
  world.clock.advance(4min);
  see();
  world.open_book();  // the steady clock goes on here; it begins anew in life
  world.heard.clear();
  const Finding* finding = world.find("hot");
  REQUIRE(finding != nullptr);
  CHECK(finding->state == FindingState::kFiring);
  CHECK(finding->severity == Severity::kCritical);
  CHECK(finding->subject == "/var");
  CHECK(finding->labels == StringMap{{"where", "/var"}});
  CHECK(finding->annotations == hot.annotations);
  CHECK(finding->evidence.threshold == 1.0);
  CHECK(finding->episodes == 1);
  CHECK(world.find("done")->state == FindingState::kResolved);
  CHECK(metric(world.self, "nexus_findings", "firing") == 1);

  world.clock.advance(5min);
  see();
  CHECK(world.find("waits")->state == FindingState::kPending);
  world.clock.advance(1min);
  see();
  CHECK(world.find("waits")->state == FindingState::kFiring);
  CHECK(world.heard == Heard{"waits firing"});
}

TEST_CASE("a restart: rules that cannot see yet resolve nothing in the first minute") {
  World world;
  world.book->observe("rule", {observation("hot")});
  world.open_book();
  world.book->observe("rule", {});  // the history is still empty
  CHECK(world.find("hot")->state == FindingState::kFiring);
  world.clock.advance(30s);
  world.book->observe("rule", {observation("hot")});
  CHECK(world.find("hot")->state == FindingState::kFiring);
  world.book->observe("rule", {});  // now it is known to be gone
  CHECK(world.find("hot")->state == FindingState::kResolved);
}

TEST_CASE("a restart: what ended just before is no new episode while old samples still show it") {
  World world;
  world.book->observe("rule", {observation("hot"), observation("cold")});
  world.book->observe("rule", {});
  world.book->tick();
  world.clock.advance(5s);
  world.open_book();  // the samples that ended it are missing
  world.heard.clear();
  world.book->observe("rule", {observation("hot")});
  world.clock.advance(19s);
  world.book->observe("rule", {observation("hot")});
  CHECK(world.find("hot")->state == FindingState::kResolved);
  // What is told once is no sample.
  world.book->report("events", observation("cold"));
  CHECK(world.heard == Heard{"cold firing"});
  world.clock.advance(1s);
  world.book->observe("rule", {observation("hot")});
  CHECK(world.find("hot")->state == FindingState::kFiring);
  CHECK(world.find("hot")->episodes == 2);
}

TEST_CASE("a restart: what ended long before begins anew at once") {
  World world;
  world.book->observe("rule", {observation("hot")});
  world.book->observe("rule", {});
  world.book->tick();
  world.clock.advance(10min);
  world.book->observe("rule", {observation("other")});
  world.book->tick();
  world.open_book();
  world.book->observe("rule", {observation("hot")});
  CHECK(world.find("hot")->state == FindingState::kFiring);
}

TEST_CASE("a restart: what nobody reports any more is resolved after a minute") {
  World world;
  world.book->report("gone", observation("hot"));
  Observation waits = observation("waits");
  waits.pending = 10s;
  world.book->report("gone", waits);
  world.book->tick();
  world.open_book();
  world.heard.clear();
  world.clock.advance(59s);
  world.book->tick();
  CHECK(world.find("hot")->state == FindingState::kFiring);
  CHECK(world.find("waits")->state == FindingState::kPending);  // nobody has seen it since
  world.clock.advance(1s);
  world.book->tick();
  CHECK(world.heard == Heard{"hot resolved"});
  CHECK(world.find("waits") == nullptr);
}

TEST_CASE("a restart after hours: `for` timers are dropped, firing findings are not") {
  World world;
  Observation waits = observation("waits");
  waits.pending = 6h;
  world.book->observe("rule", {waits, observation("hot")});
  world.book->tick();
  world.book.reset();
  world.clock.advance(3h);
  world.open_book();
  CHECK(world.find("waits") == nullptr);
  CHECK(world.find("hot")->state == FindingState::kFiring);
}

TEST_CASE("a damaged row is skipped, the others are read") {
  World world;
  world.book->observe("rule", {observation("bad"), observation("good")});
  world.book->tick();
  world.book.reset();
  REQUIRE(world.db->execute("UPDATE findings SET labels = '{\"x\": [' WHERE name = 'bad'"));
  world.open_book();
  CHECK(world.find("bad") == nullptr);
  CHECK(world.find("good") != nullptr);
}

TEST_CASE("a database that refuses: the book goes on, counts it and writes later") {
  World world;
  REQUIRE(world.db->execute("ALTER TABLE findings RENAME TO away"));
  world.book->observe("rule", {observation("hot")});
  world.book->tick();
  CHECK(world.heard == Heard{"hot firing"});
  CHECK(metric(world.self, "nexus_findings_write_errors_total") == 1);
  REQUIRE(world.db->execute("ALTER TABLE away RENAME TO findings"));
  world.book->tick();
  CHECK(metric(world.self, "nexus_findings_write_errors_total") == 1);
  world.open_book();
  CHECK(world.find("hot") != nullptr);
}

TEST_CASE("observations without a change are not written") {
  World world;
  world.book->observe("rule", {observation("hot")});
  world.book->tick();
  const auto changes = [&] {
    return world.db->query("SELECT total_changes()").value()[0].integer(0);
  };
  const auto before = changes();
  for (int i = 0; i < 50; ++i) {
    world.clock.advance(1s);
    world.book->observe("rule", {observation("hot")});
    world.book->tick();
  }
  CHECK(changes() == before);
}

TEST_CASE("the wall clock may jump: timers do not follow it") {
  World world;
  Observation seen = observation("hot");
  seen.pending = 30s;
  world.book->observe("rule", {seen});
  world.clock.step_wall(24h);
  world.book->observe("rule", {seen});
  CHECK(world.find("hot")->state == FindingState::kPending);
  world.clock.step_wall(-48h);
  world.clock.advance(30s);
  world.book->observe("rule", {seen});
  CHECK(world.find("hot")->state == FindingState::kFiring);
  world.book->observe("rule", {});
  world.open_book();  // resolved "in the future" or in the past: nothing breaks
  world.clock.step_wall(1000h);
  world.open_book();
  CHECK(world.find("hot") == nullptr);
}

TEST_CASE("a wall clock that is set ends nothing: there are no samples of the new time yet") {
  for (const Millis step : {Millis(2h), Millis(-48h)}) {
    World world;
    Observation alert = observation("alert");
    alert.kind = FindingKind::kAlert;
    world.book->observe("rule", {alert, observation("hot")});
    world.book->report("events", observation("failed"));
    world.clock.step_wall(step);
    world.book->observe("rule", {});
    world.book->tick();
    world.clock.advance(5s);
    world.book->observe("rule", {alert});
    CHECK(world.find("alert")->episodes == 1);
    CHECK(world.find("alert")->seen_now);
    CHECK(world.find("hot")->state == FindingState::kFiring);
    CHECK_FALSE(world.find("hot")->seen_now);
    world.book->observe("rule", {});
    CHECK(world.find("alert")->state == FindingState::kResolved);  // seen since, so it is over
    world.clock.advance(56s);
    world.book->tick();
    CHECK(world.find("hot")->state == FindingState::kFiring);  // nobody has looked since
    world.book->observe("rule", {});
    CHECK(world.find("hot")->state == FindingState::kResolved);
    CHECK(world.find("failed")->state == FindingState::kFiring);  // nobody looks at it again
  }
  World world;
  world.book->observe("rule", {observation("hot")});
  world.clock.step_wall(30s);
  world.book->observe("rule", {});
  CHECK(world.find("hot")->state == FindingState::kResolved);
}

TEST_CASE("a wall clock that is set ends nothing of a rule that looks seldom, or fails") {
  World world;
  Observation waits = observation("waits");
  waits.pending = 10min;
  Observation soon = observation("soon");
  soon.pending = 30s;
  world.book->observe("seldom", {observation("hot"), waits});
  world.book->observe("fails", {observation("warm")});
  world.book->observe("often", {soon});
  const auto steady = [&] { return world.clock.steady(); };
  const SteadyTime begun = steady();
  world.clock.step_wall(2h);
  for (int i = 0; i < 14; ++i) {  // 70 s
    world.clock.advance(5s);
    world.book->doubt("fails");
    world.book->observe("often", {});
    world.book->tick();
    if (i == 10) CHECK(world.find("soon")->state == FindingState::kPending);  // not seen: no `for`
  }
  CHECK(world.heard == Heard{"hot firing", "warm firing"});
  CHECK(world.find("hot")->episodes == 1);
  CHECK(world.find("waits")->state == FindingState::kPending);
  CHECK(world.find("warm")->state == FindingState::kFiring);
  CHECK(world.find("soon") == nullptr);
  world.clock.advance(5min);
  world.book->observe("seldom", {observation("hot"), waits});
  world.book->observe("fails", {});  // now it could look
  world.clock.advance(begun + 10min - steady());
  world.book->tick();
  CHECK(world.heard == Heard{"hot firing", "warm firing", "warm resolved", "waits firing"});
}

TEST_CASE("what was seen before the wall clock was set was seen as long ago as it was") {
  for (const Millis step : {Millis(72h), Millis(-72h)}) {
    World world;
    world.book->observe("rule", {observation("hot")});
    world.clock.advance(7s);
    world.clock.step_wall(step);
    world.book->tick();
    CHECK(world.clock.wall() - world.find("hot")->last_seen == 7s);
  }
}

TEST_CASE("a listener may call the book; it hears everything in order") {
  World world;
  std::vector<std::string> order;
  world.book->subscribe([&](const Finding& finding) {
    order.push_back(finding.name + " " + std::string(to_string(finding.state)));
    if (finding.name == "first" && finding.state == FindingState::kFiring) {
      world.book->report("inner", observation("second"));
      world.book->observe("rule", {});
      order.push_back("first done");
    }
  });
  world.book->observe("rule", {observation("first")});
  CHECK(order == Heard{"first firing", "first done", "second firing", "first resolved"});
}

TEST_CASE("many threads: every finding alternates between firing and resolved, and none is lost") {
  World world;
  world.heard.clear();
  std::atomic<int> wrong{0};
  std::map<std::string, FindingState> last;  // only listeners touch it, one at a time
  world.open_book();
  world.book->subscribe([&](const Finding& finding) {
    const auto [place, fresh] = last.try_emplace(finding.subject, FindingState::kResolved);
    if (place->second == finding.state) ++wrong;
    place->second = finding.state;
  });
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&world, t] {
      const std::string source = "source" + std::to_string(t);
      for (int i = 0; i < 200; ++i) {
        std::vector<Observation> seen;
        for (int k = 0; k < 5; ++k) {
          if ((i + k) % 3 != 0) {
            seen.push_back(observation("n", source + "." + std::to_string(k)));
          }
        }
        world.book->observe(source, seen);
        const Observation shared = observation("n", "shared");
        if (i % 2 == 0) {
          world.book->report("shared", shared);
        } else {
          world.book->clear("shared", fingerprint(shared.kind, shared.name, shared.labels));
        }
      }
    });
  }
  threads.emplace_back([&world] {
    for (int i = 0; i < 100; ++i) {
      world.book->tick();
      (void)world.book->snapshot()->size();
    }
  });
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(world.book->snapshot()->size() == 16);
  CHECK(metric(world.self, "nexus_findings") == 16);
  const double transitions = metric(world.self, "nexus_finding_transitions_total");
  CHECK(static_cast<double>(world.heard.size()) == transitions);
}
