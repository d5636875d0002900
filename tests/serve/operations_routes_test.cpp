// /operations... and /-/reload: what can be changed, how mistakes are answered, and that everything
// is in the audit log.
#include <unistd.h>

#include <boost/json/serialize.hpp>

#include "nexus/host/process.hpp"
#include "rooms.hpp"
#include "support/recording_proxy.hpp"
#include "support/temporary_directory.hpp"

using namespace nexus;
using namespace nexus::serve;
using namespace nexus::serve::test;

namespace {

constexpr std::string_view kFix =
    R"({"action_type":"run_command","target_component":"web","parameters":{"command":"fix"}})";

void check_action(const js::value& action) {
  check_shape(action, {"id:s",
                       "action_type:s",
                       "target_component:s",
                       "parameters:o",
                       "priority:n",
                       "state:s",
                       "dry_run:b",
                       "remedy:s0",
                       "attempt:n",
                       "cause:o",
                       "created:t",
                       "approved:t0",
                       "approved_by:s0",
                       "approval_reason:s0",
                       "ladder:s0",
                       "steps:a",
                       "started:t0",
                       "finished:t0",
                       "timeout_seconds:n",
                       "detection_to_start_seconds:n0",
                       "outcome:o"});
  check_shape(action.at("cause"),
              {"finding:s0", "fingerprint:s0", "summary:s", "requested_by:s", "detected:t0"});
  check_shape(action.at("outcome"),
              {"result:s0", "output:s0", "would_do:s0", "verified:b0", "before:so0", "after:so0",
               "undone:s0", "reason_code:s0", "fleet_lock:s0", "experiment:o0", "evidence:so0"});
}

std::string id_of(const js::value& action) {
  return std::string(action.at("id").as_string());
}

/// The newest audit records, as "who from what subject result".
std::vector<std::string> records(World& world) {
  std::vector<std::string> out;
  const auto found = world.audit->list(100);
  REQUIRE(found);
  for (const auto& r : *found)
    out.push_back(r.who + " " + r.from + " " + r.what + " " + r.subject + ": " + r.result);
  return out;
}

}  // namespace

TEST_CASE("/operations/status counts what is going on") {
  World world;
  auto status = expect(world.get("/operations/status"));
  check_shape(status, {"operations_running:b", "mode:s", "queue_size:n", "proposed_actions:n",
                       "in_progress_actions:n", "completed_actions_today:n",
                       "active_security_incidents:n", "last_check:t0"});
  CHECK(status.at("operations_running") == true);
  world.sample("intruders", {}, 1);
  world.tick();
  world.fail_service();
  world.planner->tick();
  expect(
      world.post(
          "/operations/actions",
          R"({"action_type":"run_command","target_component":"db","parameters":{"command":"fix"}})"),
      202);
  status = expect(world.get("/operations/status"));
  CHECK(status.at("mode") == "propose");
  CHECK(status.at("queue_size").to_number<int>() == 1);
  CHECK(status.at("proposed_actions").to_number<int>() == 1);
  CHECK(status.at("active_security_incidents").to_number<int>() == 1);
  CHECK(status.at("last_check").is_string());
}

TEST_CASE("an action is queued, found, listed and cancelled") {
  World world;
  const auto made = expect(world.post("/operations/actions", std::string(kFix)), 202);
  check_action(made);
  CHECK(made.at("state") == "queued");
  CHECK(made.at("cause").at("requested_by") == "token ci");
  CHECK(made.at("priority").to_number<int>() == 50);
  const auto id = id_of(made);
  CHECK(expect(world.get("/operations/actions/" + id)) == made);
  auto list = expect(world.get("/operations/actions"));
  check_shape(list, {"proposed:a", "queue:a", "in_progress:a", "history:a", "next:s0"});
  CHECK(list.at("queue").at(0) == made);
  const auto cancelled = expect(world.post("/operations/actions/" + id + "/cancel"));
  check_action(cancelled);
  CHECK(cancelled.at("state") == "cancelled");
  list = expect(world.get(
      "/operations/actions",
      {{"status", "cancelled"}, {"type", "run_command"}, {"target", "web"}, {"limit", "1"}}));
  CHECK(list.at("history").as_array().size() == 1);
  CHECK(list.at("queue").as_array().empty());
  CHECK(list.at("next").as_string() == id);
  const auto history = [&](const World::Params& query) {
    return expect(world.get("/operations/actions", query)).at("history").as_array().size();
  };
  CHECK(history({{"cause", "token ci"}}) == 1);
  CHECK(history({{"cause", "service_failed"}}) == 0);
  CHECK(history({{"since", "2000-01-01T00:00:00Z"}}) == 1);
  CHECK(history({{"until", "2000-01-01T00:00:00Z"}}) == 0);
  CHECK(history({{"before", id}}) == 0);
  CHECK(expect(world.get("/operations/actions", {{"decisions", "1"}}))
            .at("decisions")
            .at(0)
            .at("reason_code") == "ok");
  CHECK_THAT(message_of(world.get("/operations/actions", {{"since", "yesterday"}}), 400),
             Catch::Contains("since: expected a time"));
  CHECK(world.get("/operations/actions", {{"decisions", "yes"}}).status == 400);
  // It was cancelled: there is nothing to undo.
  CHECK(world.post("/operations/actions/" + id + "/rollback").status >= 400);
  CHECK(expect(world.post("/operations/actions/" + id + "/cancel"), 409).at("error").is_object());
  CHECK(expect(world.post("/operations/actions/" + id + "/approve"), 409).at("error").is_object());
  for (const std::string verb : {"", "/cancel", "/approve"}) {
    for (const std::string unknown : {"00000000-0000-7000-8000-000000000000", "1", "x' or 1=1"}) {
      const auto path = "/operations/actions/" + unknown + verb;
      CHECK((verb.empty() ? world.get(path) : world.post(path)).status == 404);
    }
  }
}

TEST_CASE("a proposed action waits for an approval, which is recorded") {
  World world;
  world.fail_service();
  auto list = expect(world.get("/operations/actions"));
  REQUIRE(list.at("proposed").as_array().size() == 1);
  const auto& proposed = list.at("proposed").at(0);
  check_action(proposed);
  CHECK(proposed.at("remedy") == "fix-web");
  CHECK(proposed.at("cause").at("finding") == "service_failed");
  const auto approved = expect(world.post("/operations/actions/" + id_of(proposed) + "/approve",
                                          R"({"reason":"change 4711"})"));
  CHECK(approved.at("approval_reason") == "change 4711");
  CHECK(approved.at("state") == "queued");
  CHECK(approved.at("approved_by") == "token ci");
  CHECK(records(world).at(0) == "token ci 127.0.0.1:5 actions.approve " + id_of(proposed) + ": ok");
  const auto decisions = expect(world.get("/operations/decisions"));
  check_shape(decisions.at("decisions").at(0),
              {"id:n", "time:t", "verdict:s", "reason_code:s", "reason:s", "remedy:s0",
               "finding:s0", "fingerprint:s0", "action_type:s", "target:s", "action_id:s0"});
  CHECK(decisions.at("decisions").at(0).at("verdict") == "acted");
  CHECK(decisions.at("decisions").at(0).at("reason").as_string().find("approved by token ci") !=
        std::string::npos);
  CHECK(decisions.at("decisions").at(1).at("verdict") == "proposed");
}

TEST_CASE("holds are made, listed and ended, and on record") {
  World world;
  const auto made = expect(
      world.post("/operations/holds",
                 R"({"targets":["web*"],"duration":"2h","reason":"deploy","remedy":"fix*"})"),
      201);
  check_shape(made, {"id:s", "targets:a", "remedy:s", "who:s", "reason:s", "created:t", "until:t"});
  CHECK(made.at("who") == "token ci");
  CHECK(expect(world.get("/operations/holds")).at("holds").at(0) == made);
  CHECK(records(world).at(0) == "token ci 127.0.0.1:5 holds.create web*: ok");
  world.fail_service();
  CHECK(expect(world.get("/operations/decisions")).at("decisions").at(0).at("reason_code") ==
        "held");
  const std::string id(made.at("id").as_string());
  CHECK(expect(world.post("/operations/holds/" + id + "/end")) == made);
  CHECK(expect(world.get("/operations/holds")).at("holds").as_array().empty());
  CHECK(world.post("/operations/holds/" + id + "/end").status == 404);
  CHECK(world.post("/operations/holds/x/end").status == 404);
  for (const std::string wrong :
       {R"({})", R"({"targets":[],"duration":"2h"})", R"({"targets":["a"],"duration":"soon"})",
        R"({"targets":["a"],"duration":"0s"})", R"({"targets":"a","duration":"2h"})",
        R"({"targets":["a\nb"],"duration":"2h"})", R"({"targets":["a"],"duration":"1000d"})"})
    CHECK(world.post("/operations/holds", wrong).status == 400);
}

TEST_CASE("a deployment is told, is on record, and explains what is found afterwards") {
  World world;
  const auto told = expect(
      world.post("/operations/events", R"({"text":"shop 4.7.1","subject":"web.service"})"), 201);
  check_shape(told, {"time:t", "kind:s", "subject:s", "text:s"});
  CHECK(told.at("kind") == "deploy");
  CHECK(told.at("text") == "shop 4.7.1 (told by token ci)");
  CHECK(records(world).at(0) == "token ci 127.0.0.1:5 events.note web.service: ok");
  CHECK(expect(world.get("/health/events", {{"kind", "deploy"}})).at("events").at(0) == told);
  const auto earlier = base::to_rfc3339(world.clock.wall() - std::chrono::hours(2));
  expect(world.post("/operations/events",
                    R"({"text":"a","kind":"network-work","time":")" + earlier + R"("})"),
         201);
  CHECK(expect(world.get("/health/events")).at("events").at(1).at("subject") == "host");
  const auto wrong = [&](const std::string& body, std::string_view said) {
    INFO(body);
    CHECK(message_of(world.post("/operations/events", body), 400).contains(said));
  };
  wrong("{}", "text: expected one line");
  wrong(R"({"text":"a\nb"})", "text: expected one line");
  wrong(R"({"text":"a","subject":""})", "subject: expected one line");
  wrong(R"({"text":")" + std::string(401, 'a') + R"("})", "text: expected one line");
  wrong(R"({"text":"a","kind":"unit"})", "told by the agent itself");
  wrong(R"({"text":"a","kind":"Deploy"})", "kind: expected");
  wrong(R"({"text":"a","time":"soon"})", "time: expected one of the last day");
  wrong(R"({"text":"a","time":"2019-01-01T00:00:00Z"})", "time: expected one of the last day");
  wrong(R"({"text":"a","who":"me"})", "who");
  // What was wrong does not count; two were told.
  const auto longest = R"({"text":")" + std::string(400, 'a') + R"("})";
  for (int i = 2; i < 60; ++i) expect(world.post("/operations/events", longest), 201);
  CHECK(world.book->changes()->front().text == std::string(400, 'a') + " (told by token ci)");
  const auto recorded = [&] { return world.audit->list(1000).value().size(); };
  const auto before = recorded();
  CHECK(before >= 60);
  CHECK(message_of(world.post("/operations/events", longest), 429).contains("try again in 60 s"));
  CHECK(recorded() == before);
  world.clock.advance(std::chrono::minutes(1));
  expect(world.post("/operations/events", longest), 201);
}

TEST_CASE("the shadow ledger is reported") {
  World world;
  check_shape(expect(world.get("/operations/remedies/report")), {"remedies:a"});
  check_shape(expect(world.get("/operations/remedies/shadow", {{"remedy", "x"}})), {"entries:a"});
  CHECK(world.get("/operations/remedies/shadow", {{"limit", "0"}}).status == 400);
}

TEST_CASE("a dry run ends by itself and says what it would do") {
  World world;
  world.executor->start();
  const auto made = expect(
      world.post(
          "/operations/actions",
          R"({"action_type":"run_command","target_component":"web","parameters":{"command":"fix"},"dry_run":true,"priority":3,"reason":"to see"})"),
      202);
  CHECK(made.at("dry_run") == true);
  js::value now;
  do {
    now = expect(world.get("/operations/actions/" + id_of(made)));
    world.clock.advance(10ms);
  } while (now.at("finished").is_null());
  check_action(now);
  CHECK(now.at("state") == "succeeded");
  CHECK(now.at("outcome").at("would_do").is_string());
  CHECK(now.at("priority").to_number<int>() == 3);
  CHECK(expect(world.get("/operations/status")).at("completed_actions_today").to_number<int>() ==
        1);
}

TEST_CASE("the same idempotency key makes one action") {
  World world;
  const std::string body =
      R"({"action_type":"run_command","target_component":"web","parameters":{"command":"fix"},"idempotency_key":"k1"})";
  const auto first = id_of(expect(world.post("/operations/actions", body), 202));
  CHECK(id_of(expect(world.post("/operations/actions", body), 202)) == first);
  CHECK(expect(world.get("/operations/actions")).at("queue").as_array().size() == 1);
}

TEST_CASE("mistakes in a request for an action are named") {
  World world;
  const auto refused = [&](std::string body) {
    return message_of(world.post("/operations/actions", std::move(body)), 400);
  };
  CHECK(refused("{").starts_with("the body is not valid JSON: "));
  CHECK(refused(R"({"action_type":"run_command"} x)").starts_with("the body is not valid JSON: "));
  CHECK(refused(std::string(100, '[') + std::string(100, ']'))
            .starts_with("the body is not valid JSON: "));
  CHECK(refused("{\"action_type\":\"\xff\"}").starts_with("the body is not valid JSON: "));
  CHECK(refused("[]") == "the body: expected a JSON object");
  CHECK(refused("") == "action_type: expected the type of an action");
  CHECK(refused(R"({"action_type":7})") == "action_type: expected a string");
  CHECK(refused(R"({"action_type":"run_command"})") == "target_component: expected what to act on");
  CHECK(refused(R"({"action_typ":"run_command"})")
            .starts_with("action_typ: unknown key; expected one of action_type, "));
  const auto with = [&](const std::string& more) {
    return refused(R"({"action_type":"run_command","target_component":"web",)" + more + "}");
  };
  CHECK(with(R"("priority":"high")") == "priority: expected a whole number from 0 to 100");
  CHECK(with(R"("priority":101)") == "priority: expected a whole number from 0 to 100");
  CHECK(with(R"("priority":1.5)") == "priority: expected a whole number from 0 to 100");
  CHECK(with(R"("dry_run":1)") == "dry_run: expected true or false");
  CHECK(with(R"("parameters":[])") == "parameters: expected an object");
  CHECK(with(R"("parameters":{"command":{}})")
            .starts_with("parameters.command: expected a boolean, number"));
  CHECK(with(R"("parameters":{"command":["a",1]})") ==
        "parameters.command: expected an array of strings");
  CHECK(with(R"("parameters":{"command":7})").find("\"command\": expected") != std::string::npos);
  CHECK(with(R"("parameters":{"comand":"fix"})").find("has no parameter \"comand\"") !=
        std::string::npos);
  CHECK(with(R"("reason":")" + std::string(2000, 'x') + "\"") == "reason: longer than 1024 bytes");
  CHECK(refused(R"({"action_type":"explode","target_component":"web"})").find("explode") !=
        std::string::npos);
  const auto unlisted = world.post("/operations/actions",
                                   R"({"action_type":"run_command","target_component":"web"})");
  CHECK(message_of(unlisted, 404).find("not listed as a [[command]]") != std::string::npos);
  const auto plain = world.post("/operations/actions", std::string(kFix), "text/plain");
  CHECK(message_of(plain, 400).starts_with("Content-Type: expected application/json"));
  CHECK(world.post("/operations/actions", std::string(kFix), "application/jsonx").status == 400);
  CHECK(world.post("/operations/actions", std::string(kFix), "Application/JSON; charset=utf-8")
            .status == 202);
  CHECK(expect(world.get("/operations/status")).at("queue_size").to_number<int>() == 1);
}

TEST_CASE("a list's filters are checked") {
  World world;
  CHECK(message_of(world.get("/operations/actions", {{"status", "done"}}), 400) ==
        "status: \"done\" is not a state of an action");
  CHECK(message_of(world.get("/operations/actions", {{"before", "x"}}), 400) ==
        "before: expected the id of an action");
  for (const std::string path :
       {"/operations/actions", "/operations/audit", "/operations/decisions"}) {
    CHECK(message_of(world.get(path, {{"limit", "0"}}), 400).starts_with("limit: "));
    CHECK(message_of(world.get(path, {{"limit", "1001"}}), 400).starts_with("limit: "));
  }
}

TEST_CASE("stop cancels what is queued and refuses what comes; start lets it act again") {
  World world;
  const auto id = id_of(expect(world.post("/operations/actions", std::string(kFix)), 202));
  CHECK(expect(world.post("/operations/stop")).at("operations_running") == false);
  CHECK(expect(world.get("/operations/actions/" + id)).at("state") == "cancelled");
  CHECK(world.post("/operations/actions", std::string(kFix)).status == 409);
  CHECK(expect(world.post("/operations/start")).at("operations_running") == true);
  CHECK(world.post("/operations/actions", std::string(kFix)).status == 202);
  const auto all = records(world);
  REQUIRE(all.size() == 9);
  CHECK(all.at(8) == "token ci 127.0.0.1:5 actions.create web: requested");
  CHECK(all.at(7) == "token ci 127.0.0.1:5 actions.create web: ok");
  CHECK(all.at(6) == "token ci 127.0.0.1:5 operations.stop operations: ok");
  CHECK(all.at(4).starts_with("token ci 127.0.0.1:5 actions.create web: "));
  CHECK(all.at(4).find(": ok") == std::string::npos);
  CHECK(all.at(2) == "token ci 127.0.0.1:5 operations.start operations: ok");
}

TEST_CASE("a change that cannot be recorded is not made") {
  World world;
  REQUIRE(world.planner->set_running(false, "test"));
  REQUIRE(world.db->execute("DROP TABLE audit"));
  CHECK(message_of(world.post("/operations/start"), 500).find("audit log") != std::string::npos);
  CHECK_FALSE(world.planner->running());
  REQUIRE(world.planner->set_running(true, "test"));
  CHECK(world.post("/operations/actions", std::string(kFix)).status == 500);
  CHECK(expect(world.get("/operations/status")).at("queue_size").to_number<int>() == 0);
}

TEST_CASE("the kill switch stops although nothing can be written down, and says so") {
  World world;
  const auto stopped = expect(world.post("/operations/stop"));
  check_shape(stopped, {"operations_running:b", "warnings:a"});
  CHECK(stopped.at("warnings").as_array().empty());
  CHECK(expect(world.post("/operations/start")).at("operations_running") == true);
  expect(world.post("/operations/actions", std::string(kFix)), 202);
  REQUIRE(world.db->execute("PRAGMA query_only = 1"));  // as on a full disk
  const auto unwritten = expect(world.post("/operations/stop"));
  CHECK(unwritten.at("operations_running") == false);
  REQUIRE(unwritten.at("warnings").as_array().size() == 2);
  CHECK(unwritten.at("warnings").at(0).as_string().starts_with("stopped, but not stored: "));
  CHECK(unwritten.at("warnings").at(1).as_string().starts_with("the stop is not in the audit log"));
  CHECK_FALSE(world.planner->running());
  CHECK(world.executor->status().queued == 0);
  CHECK(metric(world.self, "nexus_audit_lost_records_total") == 1);
}

TEST_CASE("what a command was given and printed is for operators; viewers see the rest") {
  World world;
  world.executor->start();
  const auto id = id_of(expect(
      world.post(
          "/operations/actions",
          R"({"action_type":"run_command","target_component":"web","parameters":{"command":"fix"},"dry_run":true})"),
      202));
  js::value full;
  do {
    full = expect(world.get("/operations/actions/" + id));
    world.clock.advance(10ms);
  } while (full.at("finished").is_null());
  CHECK(full.at("outcome").at("would_do").is_string());
  CHECK(full.at("parameters").at("command") == "fix");
  auto ran = world.journal->get(id).value();
  ran.outcome.output = "a password";
  ran.outcome.after = R"({"argv":["/bin/true","--key","secret"]})";
  REQUIRE(world.journal->write(ran));
  CHECK(expect(world.get("/operations/actions/" + id)).at("outcome").at("output") == "a password");
  world.role = config::Role::kViewer;
  const auto list = expect(world.get("/operations/actions"));
  for (const auto& shown :
       {expect(world.get("/operations/actions/" + id)), list.at("history").at(0)}) {
    check_action(shown);
    CHECK(shown.at("state") == "succeeded");
    CHECK(shown.at("parameters").as_object().empty());
    for (const auto* member : {"output", "would_do", "before", "after"})
      CHECK(shown.at("outcome").at(member).is_null());
  }
}

TEST_CASE("reload answers with the problems, and both are recorded") {
  World world;
  world.needs_restart = {"http.listen: bound"};
  const auto reloaded = expect(world.post("/-/reload"));
  check_shape(reloaded, {"result:s", "needs_restart:a"});
  CHECK(reloaded.at("result") == "reloaded");
  CHECK(reloaded.at("needs_restart").at(0) == "http.listen: bound");
  world.reload_result = fail(Errc::kInvalidArgument, "agent.toml:3:1: bad");
  CHECK(message_of(world.call(Method::kPut, "/-/reload"), 400) == "agent.toml:3:1: bad");
  CHECK(records(world).at(0) == "token ci 127.0.0.1:5 reload configuration: agent.toml:3:1: bad");
  CHECK(records(world).at(2) == "token ci 127.0.0.1:5 reload configuration: ok");
}

TEST_CASE("/operations/audit shows the records, newest first") {
  World world;
  world.post("/operations/stop");
  world.post("/operations/stop");
  world.post("/operations/start");
  const auto found = expect(world.get("/operations/audit", {{"limit", "3"}}));
  REQUIRE(found.at("records").as_array().size() == 3);
  check_shape(found.at("records").at(0), {"id:n", "time:t", "who:s", "from:s", "what:s",
                                          "subject:s", "result:s", "details:s"});
  CHECK(found.at("records").at(0).at("what") == "operations.start");
  const auto before = std::to_string(found.at("records").at(2).at("id").to_number<int>());
  CHECK(expect(world.get("/operations/audit", {{"before", before}}))
            .at("records")
            .as_array()
            .size() == 1);
}

TEST_CASE("breakers are listed, and only one that exists is re-armed") {
  World world;
  check_shape(expect(world.get("/operations/breakers")), {"breakers:a"});
  CHECK(world.post("/operations/breakers/reset", R"({"remedy":"fix-web","target":"web"})").status ==
        404);
  CHECK(message_of(world.post("/operations/breakers/reset", R"({"remedy":"fix-web"})"), 400) ==
        "remedy and target are expected");
  world.fail_service();
  const auto list = expect(world.get("/operations/actions"));
  world.post("/operations/actions/" + id_of(list.at("proposed").at(0)) + "/cancel");
  const auto breakers = expect(world.get("/operations/breakers"));
  REQUIRE(breakers.at("breakers").as_array().size() == 1);
  check_shape(breakers.at("breakers").at(0),
              {"remedy:s", "target:s", "state:s", "attempts:n", "unanswered:n", "cooldown_until:t0",
               "opened:t0", "reason:s0"});
  CHECK(expect(world.post("/operations/breakers/reset", R"({"remedy":"fix-web","target":"web"})"))
            .at("state") == "closed");
}

TEST_CASE("services: what is watched, and a restart through the guardrails") {
  World world;
  auto list = expect(world.get("/operations/services"));
  check_shape(list.at("services").at(0), {"name:s", "kind:s", "state:s", "watched:b"});
  knowledge::ServiceEvent event;
  event.service = "web.service";
  event.kind = "systemd";
  event.state = "failed";
  event.detail = "failed/signal";
  event.pid = 7;
  event.time = world.clock.wall();
  world.services->on_event(event);
  list = expect(world.get("/operations/services"));
  check_shape(list.at("services").at(0),
              {"name:s", "kind:s", "state:s", "detail:s", "main_pid:n", "since:t0", "watched:b"});
  CHECK(list.at("services").at(0).at("state") == "failed");
  CHECK(world.get("/operations/services/a b/status").status == 400);
  CHECK(message_of(world.post("/operations/services/web/restart", R"({"priority":-1})"), 400)
            .starts_with("priority: "));
  CHECK(message_of(world.post("/operations/services/web/restart", R"({"x":1})"), 400)
            .starts_with("x: unknown key"));
  const auto refused = world.post("/operations/services/sshd/restart");
  CHECK(message_of(refused, 409).find("protected") != std::string::npos);
  const auto queued =
      expect(world.post("/operations/services/db/restart", R"({"reason":"slow"})"), 202);
  check_action(queued);
  CHECK(queued.at("target_component") == "db.service");
  CHECK(records(world).at(0) == "token ci 127.0.0.1:5 services.restart db.service: ok");
}

TEST_CASE("services: by kind, whatever runs them, and how one is") {
  World world;
  CHECK(message_of(world.get("/operations/services", {{"kind", "upstart"}}), 400)
            .starts_with("kind: expected systemd, docker, kubernetes or process"));
  auto list = expect(world.get("/operations/services", {{"kind", "docker"}}));
  CHECK(list.at("services").as_array().empty());
  CHECK(list.at("unavailable").at(0).at("kind") == "docker");
  // Of what is not asked for and not there, nothing is said; processes are nobody's.
  list = expect(world.get("/operations/services"));
  for (const auto& one : list.at("services").as_array()) CHECK(one.at("kind") != "process");
  const auto self = host::to_string(host::process_facts({.pid = ::getpid()}).value().id);
  const auto process = expect(world.get("/operations/services/process:" + self + "/status"));
  CHECK(process.at("name").as_string() == std::string_view("process:" + self));
  CHECK(process.at("main_pid") == ::getpid());
  CHECK(process.at("condition") == "up");
  CHECK(js::serialize(process.at("can")) == R"(["stop","reload"])");
  CHECK(world.get("/operations/services/process:1/status").status == 200);
  CHECK(world.get("/operations/services/process:x/status").status == 400);
  CHECK(world.get("/operations/services/docker:nowhere/status").status == 404);
}

TEST_CASE("services: an engine that does not answer is not waited for by every reader") {
  World world;
  const nexus::test::TemporaryDirectory directory;
  // Nobody listens behind it: what is asked ends without an answer.
  nexus::test::RecordingProxy engine(directory.file("engine.sock"), directory.file("nowhere"));
  auto changed = *world.configuration;
  changed.connections.docker.enabled = true;
  changed.connections.docker.socket = directory.file("engine.sock");
  world.configuration = std::make_shared<const config::Config>(std::move(changed));
  world.executor->configure(world.configuration);
  const auto list = expect(world.get("/operations/services", {{"kind", "docker"}}));
  CHECK(list.at("unavailable").at(0).at("kind") == "docker");
  const int asked = engine.connections();
  CHECK(asked > 0);
  CHECK(world.get("/operations/services/docker:web/status").status == 503);
  CHECK(list == expect(world.get("/operations/services", {{"kind", "docker"}})));
  CHECK(engine.connections() == asked);
  world.clock.advance(1min);
  CHECK(world.get("/operations/services/docker:web/status").status == 503);
  CHECK(engine.connections() > asked);
}

TEST_CASE("services: scaled and rolled out through the guardrails, as actions of these names") {
  World world;
  const std::string shop = "/operations/services/podman:shop/web/";
  CHECK(message_of(world.post(shop + "scale", "{}"), 400).starts_with("replicas: expected"));
  CHECK(message_of(world.post(shop + "scale", R"({"replicas":-2})"), 400).starts_with("replicas"));
  CHECK(message_of(world.post(shop + "scale", R"({"replicas":0})"), 400).contains("1 to 100"));
  const auto scaled = expect(world.post(shop + "scale", R"({"replicas":3,"reason":"busy"})"), 202);
  check_action(scaled);
  CHECK(scaled.at("action_type") == "scale_service");
  CHECK(scaled.at("target_component") == "docker:shop/web");
  CHECK(scaled.at("parameters").at("replicas") == 3);
  CHECK(records(world).at(0) == "token ci 127.0.0.1:5 services.scale docker:shop/web: ok");

  const std::string web = "/operations/services/docker:web/";
  CHECK(message_of(world.post(web + "rollout", R"({"undo":true,"image":"a:1"})"), 400)
            .contains("does not go with undo"));
  CHECK(message_of(world.post(web + "rollout", R"({"revision":2})"), 400)
            .contains("goes with undo only"));
  const auto rolled = expect(world.post(web + "rollout", R"({"image":"a:1","dry_run":true})"), 202);
  CHECK(rolled.at("action_type") == "rolling_update");
  CHECK(rolled.at("parameters").at("image") == "a:1");
  CHECK(rolled.at("dry_run") == true);
  CHECK(expect(world.post("/operations/services/docker:other/rollout", R"({"undo":true})"), 202)
            .at("action_type") == "rollback_deployment");
  const auto timed =
      expect(world.post("/operations/services/docker:third/restart", R"({"timeout":"5s"})"), 202);
  CHECK(timed.at("parameters").at("timeout") == "5s");
  CHECK(message_of(world.post("/operations/services/docker:a b/restart"), 400)
            .contains("expected the name of a container"));
  CHECK(
      message_of(world.post("/operations/services/dbus/rollout", "{}"), 409).contains("protected"));
}

TEST_CASE("every route that changes something needs more than a viewer, and says what it is for") {
  World world;
  for (const auto& route : world.router->routes()) {
    INFO(route.pattern);
    CHECK_FALSE(route.help.empty());
    // Prometheus takes the parameters of what only reads in a form too.
    const bool query = route.pattern.starts_with("/api/v1/query") ||
                       route.pattern == "/api/v1/format_query" ||
                       route.pattern == "/api/v1/parse_query" ||
                       route.pattern == "/api/v1/series" || route.pattern == "/api/v1/labels";
    if (route.method != Method::kGet && !query) CHECK(route.needs >= config::Role::kOperator);
    if (route.method == Method::kGet && !route.pattern.starts_with("/-/"))
      CHECK(route.needs >= config::Role::kViewer);
  }
}
