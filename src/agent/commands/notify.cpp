// `nexus-agent silence` and `nexus-agent notify`: against the running agent.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <cstdlib>

#include "agent/commands.hpp"
#include "agent/commands/client_flags.hpp"
#include "nexus/base/text.hpp"
#include "nexus/drivers/http_client.hpp"
#include "nexus/publish/matchers.hpp"

namespace nexus::agent {
namespace {

namespace json = boost::json;

struct Wanted {
  std::vector<std::string> matchers;
  std::string duration = "1h";
  std::string comment;
  std::string author;
  std::string id;
  std::string receiver;
  bool expired = false;
};
using WantedPtr = std::shared_ptr<Wanted>;

int add(const ClientFlags& flags, const Wanted& wanted) {
  const auto matchers = publish::parse_matchers(wanted.matchers);
  if (!matchers) return report(matchers.error());
  const auto duration = base::parse_duration(wanted.duration);
  if (!duration) return report(duration.error().with_context("--duration"));
  json::array list;
  for (const auto& one : *matchers) {
    using knowledge::MatchOp;
    list.push_back(
        json::object{{"name", one.name()},
                     {"value", one.value()},
                     {"isRegex", one.op() == MatchOp::kRegex || one.op() == MatchOp::kNotRegex},
                     {"isEqual", one.op() == MatchOp::kEqual || one.op() == MatchOp::kRegex}});
  }
  const WallTime now = base::SystemClock().wall();
  const json::value body = {{"matchers", std::move(list)},
                            {"startsAt", base::to_rfc3339(now)},
                            {"endsAt", base::to_rfc3339(now + *duration)},
                            {"createdBy", wanted.author},
                            {"comment", wanted.comment}};
  const auto answer = call(flags, "POST", "/api/v2/silences", &body);
  if (!answer) return report(answer.error());
  print_object(flags, *answer, {{"silence", "silenceID"}});
  return 0;
}

std::string matchers_of(const json::value& silence) {
  std::string out;
  for (const auto& one : silence.at("matchers").as_array()) {
    const bool is_regex = one.at("isRegex").as_bool();
    const bool is_equal = one.at("isEqual").as_bool();
    out += fmt::format("{}{}{}{}", out.empty() ? "" : ",", to_cell(one.at("name")),
                       is_regex ? (is_equal ? "=~" : "!~") : (is_equal ? "=" : "!="),
                       json::serialize(one.at("value")));
  }
  return out;
}

int list(const ClientFlags& flags, bool expired) {
  const auto answer = call(flags, "GET", "/api/v2/silences");
  if (!answer) return report(answer.error());
  if (!answer->is_array())
    return report(Error(Errc::kCorrupt, "the agent's answer is no list of silences"));
  json::array shown;
  for (const auto& one : answer->as_array()) {
    if (!expired && to_cell(one.at_pointer("/status/state")) == "expired") continue;
    json::object row = one.as_object();
    if (flags.output != "json") row["matchers"] = matchers_of(one);
    shown.push_back(std::move(row));
  }
  const json::value all = {{"silences", std::move(shown)}};
  print_table(flags, all, "silences",
              {{"ID", "id"},
               {"STATE", "status.state"},
               {"ENDS", "endsAt"},
               {"BY", "createdBy"},
               {"MATCHERS", "matchers"},
               {"COMMENT", "comment"}});
  return 0;
}

}  // namespace

void add_notify(CLI::App& app, CommandContext& context) {
  auto wanted = std::make_shared<Wanted>();
  if (const char* user = std::getenv("SUDO_USER")) {
    wanted->author = user;
  } else if (const char* login = std::getenv("USER")) {
    wanted->author = login;
  }
  auto* silence = app.add_subcommand("silence", "Keep notifications of some findings back");
  silence->require_subcommand(1);
  auto* make = silence->add_subcommand("add", "Make a silence");
  make->add_option("matchers", wanted->matchers,
                   "alertname=\"disk_usage_percent\", severity!=critical, team=~\"web|db\"")
      ->required();
  make->add_option("--duration", wanted->duration, "For how long")->capture_default_str();
  make->add_option("--comment", wanted->comment, "Why")->required();
  make->add_option("--author", wanted->author, "By whom")->capture_default_str();
  make->callback([&app, &context, wanted] { context.code = add(client_flags(app), *wanted); });
  auto* show = silence->add_subcommand("list", "Silences that are active or to come");
  show->add_flag("--expired", wanted->expired, "Those that are over too");
  show->callback(
      [&app, &context, wanted] { context.code = list(client_flags(app), wanted->expired); });
  auto* expire = silence->add_subcommand("expire", "End a silence");
  expire->add_option("id", wanted->id, "Its id")->required();
  expire->callback([&app, &context, wanted] {
    const auto flags = client_flags(app);
    const auto answer = call(flags, "DELETE", "/api/v2/silence/" + drivers::url_encode(wanted->id));
    context.code = answer ? 0 : report(answer.error());
    if (answer) print_object(flags, *answer, {{"result", "result"}});
  });

  auto* notify = app.add_subcommand("notify", "Receivers of notifications");
  notify->require_subcommand(1);
  notify->add_subcommand("list", "Receivers: what waits, what was sent, what fails")
      ->callback([&app, &context] {
        const auto flags = client_flags(app);
        const auto answer = call(flags, "GET", "/health/notifications");
        context.code = answer ? 0 : report(answer.error());
        if (!answer) return;
        print_table(flags, *answer, "receivers",
                    {{"RECEIVER", "name"},
                     {"TYPE", "type"},
                     {"STATE", "state"},
                     {"WAITING", "queued"},
                     {"SENT", "sent"},
                     {"FAILED", "failed"},
                     {"DROPPED", "dropped"},
                     {"LAST SENT", "last_sent"},
                     {"ERROR", "last_error"}});
      });
  auto* test = notify->add_subcommand("test", "Send a real notification that says it is a test");
  test->add_option("receiver", wanted->receiver, "Its name")->required();
  test->callback([&app, &context, wanted] {
    const auto flags = client_flags(app);
    const auto answer = call(
        flags, "POST", "/operations/notify/" + drivers::url_encode(wanted->receiver) + "/test");
    context.code = answer ? 0 : report(answer.error());
    if (answer) print_object(flags, *answer, {{"receiver", "receiver"}, {"result", "result"}});
  });
}

}  // namespace nexus::agent
