#include <catch2/catch.hpp>

#include "bench.hpp"
#include "execute/journal_json.hpp"

using namespace nexus;
using namespace nexus::execute;
using namespace nexus::execute::test;
using namespace std::chrono_literals;

namespace {

Action full_action(const Clock& clock) {
  Action a;
  a.id = base::make_id(clock.wall());
  a.type = "run_command";
  a.target = "true";
  a.parameters = {{"flag", true},
                  {"count", std::int64_t{7}},
                  {"share", 0.25},
                  {"text", std::string("a \"quoted\" \n line")},
                  {"list", std::vector<std::string>{"x", ""}}};
  a.priority = 3;
  a.cause = {.finding = "f",
             .fingerprint = "0123456789abcdef",
             .summary = "it broke",
             .requested_by = "system",
             .detected = clock.wall() - 5s};
  a.remedy = "r";
  a.dry_run = true;
  a.idempotency_key = "k";
  a.timeout = 12s;
  a.verify = config::VerifyConfig{.expr = {"up == 1", {}}, .within = 7s};
  a.attempt = 4;
  a.state = ActionState::kUnverified;
  a.created = clock.wall();
  a.approved = clock.wall() + 1s;
  a.approved_by = "alice";
  a.started = clock.wall() + 2s;
  a.finished = clock.wall() + 3s;
  a.detection_to_start_seconds = 0.0125;
  a.outcome = {.result = "done",
               .output = "text",
               .would_do = "x",
               .verified = false,
               .before = "{}",
               .after = "{\"a\":1}"};
  return a;
}

}  // namespace

TEST_CASE("an action reads back from the journal as it was written") {
  base::ManualClock clock;
  Bench bench(clock);
  const auto a = full_action(clock);
  REQUIRE(bench.journal->write(a));
  const auto b = bench.journal->get(a.id).value();
  CHECK(b.type == a.type);
  CHECK(b.target == a.target);
  CHECK(b.parameters == a.parameters);
  CHECK(b.priority == a.priority);
  CHECK(b.cause == a.cause);
  CHECK(b.remedy == a.remedy);
  CHECK(b.dry_run);
  CHECK(b.idempotency_key == "k");
  CHECK(b.timeout == a.timeout);
  CHECK(b.verify == a.verify);
  CHECK(b.attempt == 4);
  CHECK(b.state == a.state);
  CHECK(b.created == a.created);
  CHECK(b.approved == a.approved);
  CHECK(b.approved_by == "alice");
  CHECK(b.started == a.started);
  CHECK(b.finished == a.finished);
  CHECK(b.detection_to_start_seconds == 0.0125);
  CHECK(b.outcome == a.outcome);
}

TEST_CASE("output that is no UTF-8 and text with every byte survive as valid JSON") {
  base::ManualClock clock;
  Bench bench(clock);
  auto a = full_action(clock);
  a.outcome.output = "a\xff\x80 b";
  REQUIRE(bench.journal->write(a));
  CHECK(bench.journal->get(a.id).value().outcome.output == "a\xEF\xBF\xBD\xEF\xBF\xBD b");
}

TEST_CASE("lists are newest first, filtered and paged, also within one millisecond") {
  base::ManualClock clock;
  Bench bench(clock);
  std::vector<std::string> ids;
  for (int i = 0; i < 10; ++i) {
    auto a = full_action(clock);
    a.idempotency_key.clear();
    a.target = i % 2 == 0 ? "even" : "odd";
    a.state = i < 3 ? ActionState::kRunning : ActionState::kSucceeded;
    if (i < 3) a.finished.reset();
    ids.push_back(a.id);
    REQUIRE(bench.journal->write(a));
  }
  const auto all = bench.journal->list({}).value();
  REQUIRE(all.size() == 10);
  for (std::size_t i = 0; i < 10; ++i) CHECK(all[i].id == ids[9 - i]);
  CHECK(bench.journal->list({.target = "odd", .limit = 2}).value().size() == 2);
  CHECK(bench.journal->list({.state = ActionState::kRunning}).value().size() == 3);
  CHECK(bench.journal->list({.type = "none"}).value().empty());
  const auto page = bench.journal->list({.limit = 3, .before = ids[7]}).value();
  REQUIRE(page.size() == 3);
  CHECK(page[0].id == ids[6]);
  const auto open = bench.journal->unfinished().value();
  REQUIRE(open.size() == 3);
  CHECK(open[0].id == ids[0]);
  CHECK(bench.journal->finished_since(clock.wall()).value() == 7);
  CHECK(bench.journal->finished_since(clock.wall() + 1h).value() == 0);
}

TEST_CASE("old ended actions are pruned by age and by count, open ones and the newest never") {
  base::ManualClock clock;
  Bench bench(clock);
  auto open = full_action(clock);
  open.idempotency_key.clear();
  open.state = ActionState::kProposed;
  open.finished.reset();
  REQUIRE(bench.journal->write(open));
  std::vector<std::string> ids;
  for (int i = 0; i < 1100; ++i) {
    auto ended = full_action(clock);
    ended.id = base::make_id(clock.wall());
    ended.idempotency_key.clear();
    ids.push_back(ended.id);
    REQUIRE(bench.journal->write(ended));
  }
  const auto count = [&] { return bench.journal->finished_since(WallTime{}).value(); };
  REQUIRE(bench.journal->prune(clock.wall() - 24h, 100'000));
  CHECK(count() == 1100);
  REQUIRE(bench.journal->prune(clock.wall() - 24h, 1050));
  CHECK(count() == 1050);
  // A clock that was set forward by years: the newest stay.
  REQUIRE(bench.journal->prune(clock.wall() + 24h, 100'000));
  CHECK(count() == Journal::kAlwaysKept);
  CHECK(bench.journal->get(ids.front()).error().code() == Errc::kNotFound);
  CHECK(bench.journal->get(ids.back()));
  CHECK(bench.journal->get(open.id));
}

TEST_CASE("actions are found by their cause, their ladder and their time, page by page") {
  base::ManualClock clock;
  Bench bench(clock);
  std::vector<Action> all;
  for (int i = 0; i < 5; ++i) {
    auto action = full_action(clock);
    action.id = base::make_id(clock.wall());
    action.idempotency_key.clear();
    action.created = clock.wall() + i * 1h;
    action.cause.finding = i % 2 == 0 ? "even" : "odd";
    action.parent = i == 4 ? all[0].id : "";
    all.push_back(action);
    REQUIRE(bench.journal->write(action));
  }
  const auto found = [&](const ActionFilter& filter) {
    return bench.journal->list(filter).value().size();
  };
  CHECK(found({.cause = "even"}) == 3);
  CHECK(found({.cause = all[0].cause.requested_by}) == 5);
  CHECK(found({.parent = all[0].id}) == 1);
  CHECK(found({.since = clock.wall() + 1h, .until = clock.wall() + 3h}) == 2);
  CHECK(found({.ended = true, .limit = 3}) == 3);
  CHECK(found({.cause = "even", .before = all[4].id}) == 2);
  CHECK(bench.journal->get(all[4].id).value().parent == all[0].id);
}

TEST_CASE("a key belongs to one action") {
  base::ManualClock clock;
  Bench bench(clock);
  const auto a = full_action(clock);
  REQUIRE(bench.journal->write(a));
  auto b = full_action(clock);
  CHECK_FALSE(bench.journal->write(b));
  CHECK(bench.journal->find_by_key("k").value()->id == a.id);
  CHECK_FALSE(bench.journal->find_by_key("other").value());
  CHECK_FALSE(bench.journal->find_by_key("").value());
}

TEST_CASE("a damaged row is an error by itself and hides no other") {
  base::ManualClock clock;
  Bench bench(clock);
  auto a = full_action(clock);
  auto b = full_action(clock);
  b.idempotency_key.clear();
  REQUIRE(bench.journal->write(a));
  REQUIRE(bench.journal->write(b));
  const std::array<knowledge::SqlValue, 1> id{a.id};
  REQUIRE(bench.db->execute("UPDATE action SET details = '[1' WHERE id = ?", id));
  CHECK(bench.journal->get(a.id).error().code() == Errc::kCorrupt);
  const auto rest = bench.journal->list({}).value();
  REQUIRE(rest.size() == 1);
  CHECK(rest[0].id == b.id);
  // One that was open ends, rather than stay so for ever.
  auto c = full_action(clock);
  c.idempotency_key.clear();
  c.state = ActionState::kRunning;
  c.finished.reset();
  REQUIRE(bench.journal->write(c));
  const std::array<knowledge::SqlValue, 1> open{c.id};
  REQUIRE(bench.db->execute("UPDATE action SET details = '[1' WHERE id = ?", open));
  CHECK(bench.journal->unfinished().value().empty());
  CHECK(bench.db->query("SELECT 1 FROM action WHERE final = 0").value().empty());
  CHECK(bench.db->query("SELECT 1 FROM action WHERE state = 'interrupted'").value().size() == 1);
}

TEST_CASE("evidence is one JSON object, whatever it was") {
  CHECK(with_member("{\"a\":1}", "verify", "up 0") == "{\"a\":1,\"verify\":\"up 0\"}");
  CHECK(with_member("", "verify", "x") == "{\"verify\":\"x\"}");
  CHECK(with_member("no json", "verify", "x") == "{\"state\":\"no json\",\"verify\":\"x\"}");
  CHECK(member_of("{\"id\":\"z\",\"n\":1}", "id") == "z");
  CHECK(member_of("{\"n\":1}", "n").empty());
  CHECK(member_of("}", "n").empty());
}
