#include "plan/guardrails.hpp"

#include <catch2/catch.hpp>

using namespace nexus;
using namespace nexus::plan;
using namespace std::chrono_literals;

namespace {

constexpr WallTime kNow{Millis(1'700'000'000'000)};

Rails rails() {
  Rails out;
  out.cooldown = 10s;
  out.max_attempts = 5;
  return out;
}

Situation calm() {
  Situation s;
  s.now = kNow;
  s.fired = kNow;
  s.remedy = "restart-web";
  s.target = "web.service";
  return s;
}

std::string code(const Situation& s, const Rails& r = rails()) {
  return std::string(judge(s, r).code);
}

}  // namespace

TEST_CASE("nothing objects: act, or propose where the mode says so") {
  auto s = calm();
  CHECK(judge(s, rails()).verdict == Verdict::kAct);
  s.mode = config::Mode::kPropose;
  CHECK(judge(s, rails()).verdict == Verdict::kPropose);
  s.asker = Asker::kPerson;
  CHECK(judge(s, rails()).verdict == Verdict::kAct);
}

TEST_CASE("the first rail that objects gives the reason, in the order of the contract") {
  auto s = calm();
  s.other_targets = 3;
  CHECK(code(s) == "blast_radius");
  s.hour_total = 60;
  CHECK(code(s) == "rate");
  s.pair.attempts = 1;
  s.pair.cooldown_until = kNow + 1s;
  s.pair.last_end = kNow;
  CHECK(code(s) == "cooldown");
  s.pair.open = true;
  s.pair.why = "gave up";
  CHECK(code(s) == "breaker_open");
  s.in_flight = true;
  CHECK(code(s) == "in_flight");
  s.dependency_down = "db.service, which is down";
  CHECK(code(s) == "dependency");
  s.missing_data = "x was last looked at 11m ago";
  CHECK(code(s) == "missing_data");
  s.not_seen = "x is not seen now";
  CHECK(code(s) == "not_seen");
  s.name_unknown = "web";
  CHECK(code(s) == "name_unknown");
  s.suspect = "3 of 4";
  CHECK(code(s) == "too_many_unhealthy");
  s.held = "held by alice";
  CHECK(code(s) == "held");
  s.maintenance = "backup";
  CHECK(code(s) == "maintenance");
  s.protected_reason = "it is sshd";
  CHECK(code(s) == "protected");
  s.mode = config::Mode::kObserve;
  CHECK(code(s) == "observe");
  s.stopped = "stopped by alice";
  CHECK(code(s) == "stopped");
  CHECK(judge(s, rails()).reason == "skipped: stopped by alice");
}

TEST_CASE("a person is held back by everything but breaker, cool-down and propose") {
  auto s = calm();
  s.asker = Asker::kPerson;
  s.pair.open = true;
  s.pair.cooldown_until = kNow + 1h;
  CHECK(code(s) == "ok");
  s.other_targets = 3;
  CHECK(code(s) == "blast_radius");
  s.mode = config::Mode::kObserve;
  CHECK(code(s) == "observe");
}

TEST_CASE("proposals have a rate of their own, besides that of what they become") {
  auto s = calm();
  s.mode = config::Mode::kPropose;
  s.hour_proposals = 30;
  CHECK(code(s) == "rate");
  s.mode = config::Mode::kAct;
  CHECK(code(s) == "ok");
  s.mode = config::Mode::kPropose;
  s.hour_proposals = 0;
  s.hour_total = 60;
  CHECK(code(s) == "rate");
}

TEST_CASE("of the watched services only a share is acted on at once, but always one") {
  auto s = calm();
  s.watched = 4;
  s.other_targets = 1;
  CHECK(code(s) == "ok");
  s.other_targets = 2;
  CHECK(code(s) == "blast_radius");
  s.watched = 1;
  s.other_targets = 0;
  CHECK(code(s) == "ok");
}

TEST_CASE("a breaker that opens again and again cools off later each time") {
  auto r = rails();
  CHECK(open_for(3, r) == 0s);
  r.limits.breaker_open_for = 10min;
  CHECK(open_for(1, r) == 10min);
  CHECK(open_for(2, r) == 20min);
  CHECK(open_for(4'000'000'000U, r) == 24h);
  PairState pair{.attempts = 5, .last_end = kNow, .open = true, .opened = kNow, .openings = 2};
  CHECK_FALSE(settle(pair, kNow, r, kNow + 20min - 1ms));
  CHECK(settle(pair, kNow, r, kNow + 20min));
}

TEST_CASE("used-up attempts open the breaker when a further one is due") {
  auto s = calm();
  s.pair.attempts = 5;
  s.pair.last_end = kNow - 5s;
  s.pair.cooldown_until = kNow + 5s;
  s.fired = kNow - 20s;
  SECTION("still the same episode, cooling down: wait") {
    CHECK_FALSE(judge(s, rails()).opens_breaker);
  }
  SECTION("the cool-down is over") {
    s.now = kNow + 5s;
    CHECK(judge(s, rails()).opens_breaker);
  }
  SECTION("it came back after the last action") {
    s.fired = kNow - 1s;
    const auto ruling = judge(s, rails());
    CHECK(ruling.opens_breaker);
    CHECK(ruling.code == "breaker_open");
    CHECK(ruling.reason ==
          "skipped: gave up on web.service after 5 attempts of restart-web; it stays so until it "
          "is reset");
  }
}

TEST_CASE("cool-downs double from attempt to attempt up to the ceiling, jitter on top") {
  auto r = rails();
  CHECK(cooldown_after(1, r, 0) == 10s);
  CHECK(cooldown_after(2, r, 0) == 20s);
  CHECK(cooldown_after(5, r, 0) == 160s);
  CHECK(cooldown_after(6, r, 0) == 300s);
  CHECK(cooldown_after(4'000'000'000U, r, 0) == 300s);
  CHECK(cooldown_after(6, r, 0.5) == 315s);
  r.cooldown = 10min;  // the remedy's own, longer than the general ceiling
  CHECK(cooldown_after(3, r, 0) == 10min);
  r.cooldown = 0s;
  CHECK(cooldown_after(3, r, 0.9) == 0s);
}

TEST_CASE("quiet forgets attempts, but never an open breaker that waits for a person") {
  PairState pair{.attempts = 3, .last_end = kNow};
  CHECK_FALSE(settle(pair, kNow, rails(), kNow + 10min - 1ms));
  CHECK_FALSE(settle(pair, kNow + 5min, rails(), kNow + 10min));
  CHECK(settle(pair, kNow, rails(), kNow + 10min));
  CHECK(pair.attempts == 0);
  PairState open{.attempts = 5, .last_end = kNow, .open = true, .opened = kNow};
  CHECK_FALSE(settle(open, kNow, rails(), kNow + 24h));
  CHECK(open.open);
}

TEST_CASE("an open breaker cools off into exactly one more attempt") {
  auto r = rails();
  r.limits.breaker_open_for = 5min;
  PairState pair{.attempts = 5, .last_end = kNow, .open = true, .opened = kNow, .why = "gave up"};
  CHECK_FALSE(settle(pair, kNow + 5min, r, kNow + 5min - 1ms));
  CHECK(settle(pair, kNow + 5min, r, kNow + 5min));
  CHECK_FALSE(pair.open);
  CHECK(pair.attempts == 4);
  CHECK(pair.why.empty());
}

TEST_CASE("times in the future of a clock that was set back are pulled back once") {
  PairState pair{.attempts = 1, .last_end = kNow + 24h, .cooldown_until = kNow + 24h};
  CHECK(settle(pair, kNow + 24h, rails(), kNow));
  CHECK(pair.cooldown_until == kNow + 330s);
  CHECK(pair.last_end == kNow);
  CHECK_FALSE(settle(pair, kNow, rails(), kNow + 1s));
  CHECK(pair.cooldown_until == kNow + 330s);
}

TEST_CASE("an approval is held back by every rail but its own cool-down and the mode propose") {
  auto s = calm();
  s.asker = Asker::kApproval;
  s.mode = config::Mode::kPropose;
  s.pair.attempts = 5;  // the proposal itself is the last of them
  s.pair.cooldown_until = kNow + 1h;
  CHECK(judge(s, rails()).verdict == Verdict::kAct);
  s.other_targets = 3;
  CHECK(code(s) == "blast_radius");
  s.hour_total = 60;
  CHECK(code(s) == "rate");
  s.pair.open = true;
  CHECK(code(s) == "breaker_open");
  s.dependency_down = "db.service";
  CHECK(code(s) == "dependency");
  s.protected_reason = "web.service is protected";
  CHECK(code(s) == "protected");
  s.mode = config::Mode::kObserve;
  CHECK(code(s) == "observe");
  s.stopped = "operations were stopped";
  CHECK(code(s) == "stopped");
}

TEST_CASE("quiet forgets proposals that nobody answered") {
  PairState pair{.unanswered = 3, .last_end = kNow};
  auto r = rails();
  r.limits.reset_after = 1h;
  CHECK_FALSE(settle(pair, kNow, r, kNow + 59min));
  CHECK(pair.unanswered == 3);
  CHECK(settle(pair, kNow, r, kNow + 1h));
  CHECK(pair.unanswered == 0);
}
