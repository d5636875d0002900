#include "agent/client.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/json/parse.hpp>
#include <cstdlib>

#include "agent/commands.hpp"
#include "agent/commands/action_rows.hpp"
#include "agent/commands/chart.hpp"
#include "agent/commands/client_flags.hpp"
#include "agent/commands/follow.hpp"
#include "agent/commands/foresee.hpp"
#include "agent/commands/query.hpp"
#include "agent/commands/rollback.hpp"
#include "agent/commands/transfer.hpp"
#include "nexus/analyze/finding.hpp"
#include "nexus/drivers/http_client.hpp"
#include "nexus/execute/step.hpp"

namespace nexus::agent {
namespace {

namespace json = boost::json;

/// What the callbacks of all client commands need.
struct Shared {
  ClientFlags flags;
  std::string id;
  std::string target;
  std::string type;
  std::string reason;
  std::string duration = "1h";
  std::string remedy;
  std::vector<std::string> targets;
  std::string cause;
  std::string severity;
  std::string state;
  std::string since;
  std::string until;
  std::string before;
  std::vector<std::string> parameters;
  bool dry_run = false;
  bool no_wait = false;
  bool all = false;
  int priority = 50;
};
using SharedPtr = std::shared_ptr<Shared>;

int table(const ClientFlags& flags, const std::string& path, std::string_view array,
          const std::vector<ColumnSpec>& columns) {
  const auto answer = call(flags, "GET", path);
  if (!answer) return report(answer.error());
  print_table(flags, *answer, array, columns);
  return 0;
}

int object(const ClientFlags& flags, std::string_view method, const std::string& path,
           const std::vector<ColumnSpec>& rows, const json::value* body = nullptr) {
  const auto answer = call(flags, method, path, body);
  if (!answer) return report(answer.error());
  print_object(flags, *answer, rows);
  return 0;
}

/// As the action's descriptor has it: "5000" may be a text. What it does not know is JSON when it
/// reads as JSON, a text otherwise.
json::value parameter_value(std::string_view type, std::string_view name, const std::string& text) {
  using enum execute::ParameterType;
  boost::system::error_code ec;
  auto value = json::parse(text, ec);
  if (ec) value = json::value(text);
  const auto* action = execute::find_action(type);
  if (action == nullptr) return value;
  const auto known =
      std::ranges::find(action->parameters, name, &execute::ParameterDescriptor::name);
  if (known == action->parameters.end()) return value;
  const bool one_text = known->type == kString || known->type == kDuration;
  if (one_text && !value.is_string()) return json::value(text);
  if (known->type == kStrings && !value.is_array())
    return json::array{value.is_string() ? value : json::value(text)};
  return value;
}

/// KEY=VALUE, of an action of this type.
Result<json::object> parse_parameters(std::string_view type,
                                      const std::vector<std::string>& given) {
  json::object out;
  for (const auto& text : given) {
    const auto equals = text.find('=');
    if (equals == std::string::npos || equals == 0)
      return fail(Errc::kInvalidArgument, "--param {}: expected KEY=VALUE", text);
    const auto name = text.substr(0, equals);
    out[name] = parameter_value(type, name, text.substr(equals + 1));
  }
  return out;
}

int run_action(const Shared& shared) {
  auto parameters = parse_parameters(shared.type, shared.parameters);
  if (!parameters) return report(parameters.error());
  const json::value body = {{"action_type", shared.type},
                            {"target_component", shared.target},
                            {"parameters", std::move(*parameters)},
                            {"priority", shared.priority},
                            {"dry_run", shared.dry_run}};
  return ask_for_action(shared.flags, "/operations/actions", body, shared.no_wait);
}

int list_actions(const Shared& shared) {
  const auto& flags = shared.flags;
  std::string path = "/operations/actions?limit=100";
  for (const auto& [name, value] :
       {std::pair("status", &shared.state), std::pair("type", &shared.type),
        std::pair("target", &shared.target), std::pair("cause", &shared.cause),
        std::pair("since", &shared.since), std::pair("until", &shared.until),
        std::pair("before", &shared.before)}) {
    if (!value->empty()) path += fmt::format("&{}={}", name, drivers::url_encode(*value));
  }
  const auto answer = call(flags, "GET", path);
  if (!answer) return report(answer.error());
  json::array all;
  for (const auto* part : {"proposed", "in_progress", "queue", "history"}) {
    if (const auto* found = find_path(*answer, part); found != nullptr && found->is_array()) {
      for (const auto& item : found->get_array()) all.push_back(item);
    }
  }
  const json::value merged = {{"actions", std::move(all)}};
  print_table(flags, flags.output == "json" ? *answer : merged, "actions",
              {{"ID", "id"},
               {"STATE", "state"},
               {"TYPE", "action_type"},
               {"TARGET", "target_component"},
               {"CREATED", "created"},
               {"CAUSE", "cause.summary"},
               {"RESULT", "outcome.result"}});
  return 0;
}

int list_findings(const Shared& shared) {
  std::string path = "/health/alerts?limit=10000";
  for (const auto& [name, value] :
       {std::pair("kind", &shared.type), std::pair("state", &shared.state),
        std::pair("severity", &shared.severity), std::pair("cause", &shared.cause)}) {
    if (!value->empty()) path += fmt::format("&{}={}", name, drivers::url_encode(*value));
  }
  return table(shared.flags, path, "alerts",
               {{"STATE", "state"},
                {"SEVERITY", "severity"},
                {"KIND", "kind"},
                {"NAME", "name"},
                {"SUBJECT", "subject"},
                {"SINCE", "started"},
                {"WHAT", "description"}});
}

int show_operations(const ClientFlags& flags) {
  return object(flags, "GET", "/operations/status",
                {{"acting", "operations_running"},
                 {"mode", "mode"},
                 {"queue", "queue_size"},
                 {"in progress", "in_progress_actions"},
                 {"done today", "completed_actions_today"},
                 {"last check", "last_check"}});
}

void add_foresight(CLI::App& app, CommandContext& context, const SharedPtr& shared) {
  app.add_subcommand("capacity", "What fills when, and what 30, 90 and 180 days would need")
      ->callback([&context, shared] { context.code = show_capacity(shared->flags); });
  auto backtest_flags = std::make_shared<BacktestFlags>();
  auto* backtest = app.add_subcommand(
      "backtest", "How good the forecasts would have been on this host's own history");
  backtest->add_option("--vital", backtest_flags->vital, "Only this vital (default: all)");
  backtest->add_option("--days", backtest_flags->days, "How far back")
      ->check(CLI::Range(1, 30))
      ->capture_default_str();
  backtest->add_option("--horizon", backtest_flags->horizon, "How far ahead each looks")
      ->capture_default_str();
  backtest->callback([&context, shared, backtest_flags] {
    context.code = backtest_agent(shared->flags, *backtest_flags);
  });
  app.add_subcommand("predictions", "Forecasts of the vitals")->callback([&context, shared] {
    context.code = table(shared->flags, "/health/predictions", "predictions",
                         {{"METRIC", "metric_name"},
                          {"LABELS", "labels"},
                          {"NOW", "current_value"},
                          {"PREDICTED", "predicted_value"},
                          {"LOWER", "lower"},
                          {"UPPER", "upper"},
                          {"CONFIDENCE", "confidence"},
                          {"TREND", "trend"},
                          {"RISK", "risk_level"},
                          {"CRITICAL IN (s)", "seconds_to_critical"}});
  });
  auto chart_flags = std::make_shared<ChartFlags>();
  auto* chart = app.add_subcommand("chart", "Draws a vital's history, forecast and anomalies");
  chart->add_option("vital", chart_flags->vital, "Its name; `predictions` lists them")->required();
  chart->add_option("--labels", chart_flags->labels, "Of one series: a=\"b\",c=\"d\"");
  chart->add_option("--hours", chart_flags->hours, "How far back")
      ->check(CLI::Range(1, 24 * 366))
      ->capture_default_str();
  chart->add_option("--horizon", chart_flags->horizon, "How far ahead, two days at most")
      ->capture_default_str();
  chart->add_option("--png", chart_flags->png, "Into this file, instead of the terminal");
  chart->callback(
      [&context, shared, chart_flags] { context.code = show_chart(shared->flags, *chart_flags); });
}

void add_anomalies(CLI::App& app, CommandContext& context, const SharedPtr& shared) {
  auto* anomalies = app.add_subcommand("anomalies", "What was unusual in the last hour");
  anomalies->require_subcommand(0, 1);
  auto* verdict = anomalies->add_subcommand(
      "verdict", "Say whether one was real or noise; the last word counts");
  auto word = std::make_shared<std::string>();
  verdict->add_option("id", shared->id, "Its id")->required();
  verdict->add_option("verdict", *word, "real or noise")
      ->required()
      ->check(CLI::IsMember({"real", "noise"}));
  verdict->callback([&context, shared, word] {
    const json::value body = {{"verdict", *word}};
    const auto answer =
        call(shared->flags, "POST",
             fmt::format("/health/anomalies/{}/verdict", drivers::url_encode(shared->id)), &body);
    context.code = answer ? 0 : report(answer.error());
  });
  anomalies->callback([&context, shared, anomalies] {
    if (!anomalies->get_subcommands().empty()) return;
    context.code = table(shared->flags, "/health/anomalies", "anomalies",
                         {{"ID", "id"},
                          {"TIME", "timestamp"},
                          {"METRIC", "metric_name"},
                          {"LABELS", "labels"},
                          {"VALUE", "value"},
                          {"SCORE", "anomaly_score"},
                          {"SEVERITY", "severity"},
                          {"WHAT", "description"}});
  });
}

void add_reads(CLI::App& app, CommandContext& context, const SharedPtr& shared) {
  app.add_subcommand("status", "Health of the host and what the agent is doing")
      ->callback([&context, shared] {
        context.code = object(shared->flags, "GET", "/health/status",
                              {{"overall", "overall_status"},
                               {"time", "timestamp"},
                               {"metrics", "metrics_count"},
                               {"active alerts", "active_alerts"},
                               {"breakdown", "status_breakdown"}});
        if (context.code != 0 || shared->flags.output == "json") return;
        context.code = show_operations(shared->flags);
      });
  auto* findings =
      app.add_subcommand("findings", "Pending, firing and lately resolved findings, of every kind");
  std::vector<std::string_view> kinds;
  for (const auto kind : analyze::kFindingKinds) kinds.push_back(to_string(kind));
  findings->add_option("--kind", shared->type, fmt::format("{}", fmt::join(kinds, ", ")));
  findings->add_option("--state", shared->state, "pending, firing, resolved");
  findings->add_option("--severity", shared->severity, "info, warning, critical");
  findings->add_option("--cause", shared->cause, "Those that this one explains: its fingerprint");
  findings->callback([&context, shared] { context.code = list_findings(*shared); });
  app.add_subcommand("decisions", "What the planner decided, and why not")
      ->callback([&context, shared] {
        context.code = table(shared->flags, "/operations/decisions", "decisions",
                             {{"TIME", "time"},
                              {"VERDICT", "verdict"},
                              {"REASON", "reason"},
                              {"REMEDY", "remedy"},
                              {"FINDING", "finding"},
                              {"TARGET", "target"}});
      });
  app.add_subcommand("audit", "Every change, by whom")->callback([&context, shared] {
    context.code = table(shared->flags, "/operations/audit", "records",
                         {{"TIME", "time"},
                          {"WHO", "who"},
                          {"FROM", "from"},
                          {"WHAT", "what"},
                          {"SUBJECT", "subject"},
                          {"RESULT", "result"}});
  });
}

void add_actions(CLI::App& app, CommandContext& context, const SharedPtr& shared) {
  auto* actions = app.add_subcommand("actions", "What the agent did, does and would do");
  actions->require_subcommand(0, 1);
  actions->callback([&context, shared, actions] {
    if (actions->get_subcommands().empty()) context.code = list_actions(*shared);
  });
  actions->add_option("--status", shared->state, "succeeded, failed, queued, ...");
  actions->add_option("--type", shared->type, "restart_service, ...");
  actions->add_option("--target", shared->target, "Only of this target");
  actions->add_option("--cause", shared->cause, "A finding, its fingerprint, or who asked");
  actions->add_option("--since", shared->since, "Made at this time or later");
  actions->add_option("--until", shared->until, "Made before this time");
  actions->add_option("--before", shared->before, "Older than the action of this id: a next page");
  auto* show = actions->add_subcommand("show", "One action with cause, timings and outcome");
  show->add_option("id", shared->id, "Its id")->required();
  show->callback([&context, shared] { context.code = show_action(shared->flags, shared->id); });
  auto* run = actions->add_subcommand("run", "Queue an action through the guardrails");
  run->add_option("type", shared->type, "See `nexus-agent list actions`")->required();
  run->add_option("target", shared->target, "A unit, a listed command, ...")->required();
  run->add_option("--param", shared->parameters, "A parameter")->take_all()->type_name("KEY=VALUE");
  run->add_option("--priority", shared->priority, "0 first, 100 last")->capture_default_str();
  run->add_flag("--dry-run", shared->dry_run, "Say what would be done, do nothing");
  add_no_wait(*run, shared->no_wait);
  run->callback([&context, shared] { context.code = run_action(*shared); });
  for (const std::string verb : {"approve", "cancel"}) {
    auto* command = actions->add_subcommand(
        verb, verb == "approve" ? "Let a proposed action run" : "Cancel an action");
    command->add_option("id", shared->id, "Its id")->required();
    if (verb == "approve") {
      command->add_option("--reason", shared->reason, "Why");
      add_no_wait(*command, shared->no_wait);
    }
    command->callback([&context, shared, verb] {
      const auto path = "/operations/actions/" + drivers::url_encode(shared->id) + "/" + verb;
      if (verb == "cancel") {
        context.code = object(shared->flags, "POST", path, kActionRows);
        return;
      }
      context.code =
          ask_for_action(shared->flags, path, {{"reason", shared->reason}}, shared->no_wait);
    });
  }
  auto* rollback = actions->add_subcommand("rollback", "Undo an action that has succeeded");
  auto* which = rollback->add_option("id", shared->id, "Its id");
  auto* all =
      rollback->add_flag("--all", shared->all, "Everything that can be undone, newest first")
          ->excludes(which);
  rollback->add_option("--reason", shared->reason, "Why");
  rollback->add_flag("--dry-run", shared->dry_run, "Say what would be done, do nothing");
  add_no_wait(*rollback, shared->no_wait)->excludes(all);  // which goes one after the other
  rollback->callback([&context, shared] {
    if (shared->all) {
      context.code = roll_back_all(shared->flags, shared->reason, shared->dry_run);
      return;
    }
    if (shared->id.empty()) throw CLI::RequiredError("id or --all");
    const json::value body = {{"reason", shared->reason}, {"dry_run", shared->dry_run}};
    context.code = ask_for_action(
        shared->flags, "/operations/actions/" + drivers::url_encode(shared->id) + "/rollback", body,
        shared->no_wait);
  });
}

void add_operations(CLI::App& app, CommandContext& context, const SharedPtr& shared) {
  auto* operations = app.add_subcommand(
      "operations", "Whether the agent acts; stops it from acting, or lets it act");
  operations->require_subcommand(0, 1);
  operations->callback([&context, shared, operations] {
    if (operations->get_subcommands().empty()) context.code = show_operations(shared->flags);
  });
  for (const std::string verb : {"start", "stop"}) {
    operations
        ->add_subcommand(
            verb, verb == "start" ? "Let the agent act" : "Stop it from acting; findings go on")
        ->callback([&context, shared, verb] {
          context.code = object(shared->flags, "POST", "/operations/" + verb,
                                {{"acting", "operations_running"}, {"warnings", "warnings"}});
        });
  }
}

void add_events(CLI::App& app, CommandContext& context, const SharedPtr& shared) {
  auto* events = app.add_subcommand(
      "events", "What changed on the host: boots, units, packages, clock, deployments");
  events->require_subcommand(0, 1);
  events->callback([&context, shared, events] {
    if (!events->get_subcommands().empty()) return;
    context.code =
        table(shared->flags, "/health/events", "events",
              {{"TIME", "time"}, {"KIND", "kind"}, {"SUBJECT", "subject"}, {"WHAT", "text"}});
  });
  auto* add =
      events->add_subcommand("add", "Tell of a deployment, or of what else may explain findings");
  add->add_option("text", shared->reason, "One sentence: \"shop 4.7.1 was rolled out\"")
      ->required();
  add->add_option("--kind", shared->type, "deploy, configuration, ...")->default_str("deploy");
  add->add_option("--subject", shared->target, "What it was done to, such as web.service")
      ->default_str("host");
  add->add_option("--time", shared->since, "When; now where it is left out");
  add->callback([&context, shared] {
    json::object body = {{"text", shared->reason}};
    if (!shared->type.empty()) body["kind"] = shared->type;
    if (!shared->target.empty()) body["subject"] = shared->target;
    if (!shared->since.empty()) body["time"] = shared->since;
    const json::value all = std::move(body);
    context.code = object(
        shared->flags, "POST", "/operations/events",
        {{"time", "time"}, {"kind", "kind"}, {"subject", "subject"}, {"text", "text"}}, &all);
  });
}

void add_holds(CLI::App& app, CommandContext& context, const SharedPtr& shared) {
  static const std::vector<ColumnSpec> kRows = {{"id", "id"},         {"targets", "targets"},
                                                {"remedy", "remedy"}, {"by", "who"},
                                                {"until", "until"},   {"reason", "reason"}};
  auto* holds = app.add_subcommand("holds", "Keep remedies off targets for a while");
  holds->require_subcommand(0, 1);
  holds->callback([&context, shared, holds] {
    if (!holds->get_subcommands().empty()) return;
    context.code = table(shared->flags, "/operations/holds", "holds",
                         {{"ID", "id"},
                          {"TARGETS", "targets"},
                          {"REMEDY", "remedy"},
                          {"BY", "who"},
                          {"UNTIL", "until"},
                          {"REASON", "reason"}});
  });
  auto* add = holds->add_subcommand("add", "Hold remedies off these targets");
  add->add_option("targets", shared->targets, "Globs: \"web*\"; \"*\" is everything")->required();
  add->add_option("--for", shared->duration, "How long")->capture_default_str();
  add->add_option("--remedy", shared->remedy, "Only remedies of this name, a glob");
  add->add_option("--reason", shared->reason, "Why");
  add->callback([&context, shared] {
    json::array targets;
    for (const auto& one : shared->targets) targets.push_back(json::value(one));
    const json::value body = {{"targets", std::move(targets)},
                              {"remedy", shared->remedy},
                              {"duration", shared->duration},
                              {"reason", shared->reason}};
    context.code = object(shared->flags, "POST", "/operations/holds", kRows, &body);
  });
  auto* end = holds->add_subcommand("end", "End a hold before its time");
  end->add_option("id", shared->id, "Its id")->required();
  end->callback([&context, shared] {
    context.code = object(shared->flags, "POST",
                          "/operations/holds/" + drivers::url_encode(shared->id) + "/end", kRows);
  });
}

void add_remedies(CLI::App& app, CommandContext& context, const SharedPtr& shared) {
  auto* remedies =
      app.add_subcommand("remedies", "Attempts, cool-downs and breakers of the remedies");
  remedies->require_subcommand(0, 1);
  remedies->callback([&context, shared, remedies] {
    if (!remedies->get_subcommands().empty()) return;
    context.code = table(shared->flags, "/operations/breakers", "breakers",
                         {{"REMEDY", "remedy"},
                          {"TARGET", "target"},
                          {"STATE", "state"},
                          {"ATTEMPTS", "attempts"},
                          {"COOL-DOWN UNTIL", "cooldown_until"},
                          {"REASON", "reason"}});
  });
  remedies
      ->add_subcommand("report",
                       "What remedies that only observe would have done, and what happened without")
      ->callback([&context, shared] {
        context.code = table(shared->flags, "/operations/remedies/report", "remedies",
                             {{"REMEDY", "remedy"},
                              {"ACTION", "action_type"},
                              {"WOULD HAVE ACTED", "would_have_acted"},
                              {"BY ITSELF", "resolved_by_itself"},
                              {"STILL THERE", "still_there"},
                              {"UNKNOWN", "unknown"},
                              {"MEDIAN (s)", "median_seconds"},
                              {"LONGEST (s)", "longest_seconds"},
                              {"ACTING TAKES (s)", "action_seconds"},
                              {"WOULD SAVE (s)", "saved_seconds"}});
      });
  auto* reset = remedies->add_subcommand("reset", "Re-arm a remedy whose breaker is open");
  reset->add_option("remedy", shared->type, "Its name")->required();
  reset->add_option("target", shared->target, "The target")->required();
  reset->callback([&context, shared] {
    const json::value body = {{"remedy", shared->type}, {"target", shared->target}};
    context.code = object(shared->flags, "POST", "/operations/breakers/reset",
                          {{"remedy", "remedy"}, {"target", "target"}, {"state", "state"}}, &body);
  });
}

void add_stopped(CLI::App& command, StoppedFlags& flags) {
  command.add_option("--data-dir", flags.data_dir,
                     "The data directory of a stopped agent, instead of the running one");
  command.add_option("--key-file", flags.key_file,
                     "With --data-dir: the key of an encrypted history, as history.key_file");
}

void add_transfer(CLI::App& app, CommandContext& context, const SharedPtr& shared) {
  auto file = std::make_shared<std::string>();
  auto stopped = std::make_shared<StoppedFlags>();
  auto* import = app.add_subcommand(
      "import",
      "OpenMetrics text with timestamps into the history of an agent, running or stopped");
  add_stopped(*import, *stopped);
  import->add_option("file", *file, "The file, plain or gzip; - is standard input")->required();
  import->callback([&context, shared, stopped, file] {
    context.code = import_file(shared->flags, *stopped, *file);
  });
  auto wanted = std::make_shared<ExportFlags>();
  auto* exports =
      app.add_subcommand("export", "Write samples of an agent's history, running or stopped");
  add_stopped(*exports, *stopped);
  exports->add_option("--match", wanted->matches, "A series selector; more than one may be given")
      ->required();
  exports->add_option("--start", wanted->start,
                      "RFC 3339, Unix seconds or now-1h; an hour before --end, of a directory: the "
                      "oldest");
  exports->add_option(
      "--end", wanted->end,
      "RFC 3339, Unix seconds or now-1h; now when absent, of a directory: the newest");
  exports->add_option("--format", wanted->format, "openmetrics or csv")
      ->check(CLI::IsMember({"openmetrics", "csv"}))
      ->capture_default_str();
  exports->callback([&context, shared, stopped, wanted] {
    context.code = export_samples(shared->flags, *stopped, *wanted);
  });
}

void add_query(CLI::App& app, CommandContext& context, const SharedPtr& shared) {
  auto asked = std::make_shared<QueryFlags>();
  auto stopped = std::make_shared<StoppedFlags>();
  auto* query = app.add_subcommand(
      "query", "Evaluate a PromQL expression over the history of an agent, running or stopped");
  add_stopped(*query, *stopped);
  query->add_option("expr", asked->expression, "The expression")->required();
  query->add_option("--time", asked->time,
                    "RFC 3339, Unix seconds or now-1h; now when absent, of a directory: the newest "
                    "sample");
  query->add_option("--start", asked->start, "Start of a range query, given as --time is");
  query->add_option("--end", asked->end, "End of a range query; now when absent");
  query->add_option("--step", asked->step,
                    "Step of a range query, e.g. 15s; a 250th of the range when absent");
  query
      ->add_option("--format", asked->format,
                   "table, json, csv, or graph: drawn in the terminal, of the last hour unless "
                   "--start and --end say otherwise")
      ->check(CLI::IsMember({"table", "json", "csv", "graph"}));
  query->callback([&context, shared, stopped, asked] {
    context.code = query_agent(shared->flags, *stopped, *asked);
  });
}

}  // namespace

void add_client(CLI::App& app, CommandContext& context) {
  auto shared = std::make_shared<Shared>();
  if (const char* socket = std::getenv("NEXUS_AGENT_SOCKET")) shared->flags.socket = socket;
  app.add_option("--socket", shared->flags.socket,
                 "Unix socket of the running agent, or $NEXUS_AGENT_SOCKET; otherwise the one in "
                 "data_dir/addresses of the configuration");
  app.add_option("--config,-c", shared->flags.config,
                 "The configuration of the running agent, to find its socket")
      ->capture_default_str();
  app.add_option("--output", shared->flags.output, "table or json")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
  app.fallthrough();
  add_reads(app, context, shared);
  add_foresight(app, context, shared);
  add_anomalies(app, context, shared);
  add_actions(app, context, shared);
  add_operations(app, context, shared);
  add_events(app, context, shared);
  add_holds(app, context, shared);
  add_services(app, context, {shared, &shared->flags});
  add_remedies(app, context, shared);
  auto* reload = app.add_subcommand("reload", "Let the running agent read its configuration anew");
  reload->callback([&context, shared] {
    context.code = object(shared->flags, "POST", "/-/reload",
                          {{"result", "result"}, {"needs a restart", "needs_restart"}});
  });

  add_transfer(app, context, shared);
  add_query(app, context, shared);
}

}  // namespace nexus::agent
