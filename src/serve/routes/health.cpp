#include <fmt/format.h>

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <charconv>
#include <cmath>
#include <iterator>
#include <map>
#include <mutex>

#include "nexus/base/text.hpp"
#include "nexus/knowledge/promql_rows.hpp"
#include "serve/routes/body.hpp"
#include "serve/routes/groups.hpp"
#include "serve/routes/requests.hpp"
#include "serve/routes/shapes.hpp"

namespace nexus::serve {
namespace {

constexpr std::size_t kRecentAlerts = 50;
constexpr std::int64_t kChartPoints = 500;  // default number of points of /health/metrics

std::string_view status_of(const analyze::VitalValue& value) {
  if (!value.severity) return "healthy";
  return *value.severity == config::Severity::kCritical ? "critical" : "warning";
}

json_ns::object vital(const analyze::VitalsSnapshot& snapshot, const analyze::VitalValue& value) {
  const auto& definition = (*snapshot.definitions)[value.vital];
  return {{"name", definition.name},
          {"labels", labels(value.labels)},
          {"value", number(value.value)},
          {"unit", definition.unit},
          {"status", status_of(value)},
          {"warning", number(definition.warning)},
          {"critical", number(definition.critical)},
          {"timestamp", time(value.time)}};
}

/// Whether it is one of the host's alerts: the members of an incident are counted already, and
/// what is tuned is no trouble. Drift is: somebody has to look after it.
bool is_alert(const analyze::Finding& f) {
  return f.kind != analyze::FindingKind::kIncident && f.kind != analyze::FindingKind::kOptimization;
}

/// What firing findings say about the host. Forecasts, anomalies and drift are hints: they never
/// make it critical.
std::string_view overall(const analyze::Findings& findings, bool known) {
  if (!known) return "unknown";
  std::string_view status = "healthy";
  for (const auto& f : findings) {
    if (f.state != analyze::FindingState::kFiring || f.severity == config::Severity::kInfo)
      continue;
    const bool hint = f.kind == analyze::FindingKind::kForecast ||
                      f.kind == analyze::FindingKind::kAnomaly ||
                      f.kind == analyze::FindingKind::kDrift;
    if (f.severity == config::Severity::kCritical && !hint) return "critical";
    status = "warning";
  }
  return status;
}

json_ns::value status_body(const Rooms& rooms, const analyze::VitalsSnapshot* vitals,
                           const analyze::Findings& findings) {
  std::map<std::string_view, std::int64_t> breakdown = {
      {"healthy", 0}, {"warning", 0}, {"critical", 0}};
  json_ns::array metrics;
  if (vitals != nullptr) {
    for (const auto& value : vitals->values) {
      ++breakdown[status_of(value)];
      metrics.push_back(vital(*vitals, value));
    }
  }
  json_ns::array alerts;
  std::int64_t active = 0;
  for (const auto& f : findings) {
    if (!is_alert(f)) continue;
    active += f.state == analyze::FindingState::kFiring ? 1 : 0;
    if (f.state != analyze::FindingState::kPending && alerts.size() < kRecentAlerts)
      alerts.push_back(finding(f));
  }
  json_ns::object counted;
  for (const auto& [name, count] : breakdown) counted[name] = count;
  return {{"overall_status", overall(findings, vitals != nullptr && !vitals->values.empty())},
          {"timestamp", base::to_rfc3339(vitals != nullptr ? vitals->time : rooms.clock.wall())},
          {"metrics_count", rooms.history.stats().series},
          {"active_alerts", active},
          {"status_breakdown", std::move(counted)},
          {"recent_metrics", std::move(metrics)},
          {"recent_alerts", std::move(alerts)}};
}

/// /health/status is asked for by every page and script: its body is made once for every new
/// snapshot.
class StatusPage {
 public:
  explicit StatusPage(SharedRooms rooms) : rooms_(std::move(rooms)) {}

  Response get() {
    auto vitals = rooms_->rules.vitals();
    auto findings = rooms_->book.snapshot();
    Response response;
    const std::lock_guard guard(mutex_);
    if (!body_ || vitals != vitals_ || findings != findings_) {
      vitals_ = std::move(vitals);
      findings_ = std::move(findings);
      body_ = to_response(status_body(*rooms_, vitals_.get(), *findings_)).body;
    }
    response.body = body_;
    return response;
  }

 private:
  const SharedRooms rooms_;
  std::mutex mutex_;
  std::shared_ptr<const analyze::VitalsSnapshot> vitals_;
  std::shared_ptr<const analyze::Findings> findings_;
  std::shared_ptr<const std::string> body_;
};

Response health(const Rooms& rooms) {
  json_ns::object parts;
  std::string_view status = "healthy";
  for (const auto& component : rooms.components()) {
    parts[component.name] = {{"status", component.status}, {"message", component.message}};
    if (component.status != "healthy" && component.status != "not_configured") status = "degraded";
  }
  std::string why;
  if (!rooms.healthy(why)) status = "failed";
  const auto uptime =
      std::chrono::duration<double>(rooms.clock.steady() - rooms.info.started_steady).count();
  return to_response(
      {{"status", status},
       {"version", rooms.info.version},
       {"started", base::to_rfc3339(rooms.info.started)},
       {"uptime_seconds", uptime},
       {"ready", rooms.ready()},
       {"unhealthy_because", why.empty() ? json_ns::value(nullptr) : json_ns::value(why)},
       {"needs_restart", strings(rooms.needs_restart())},
       {"rooms", std::move(parts)}});
}

/// Of the last good values; null when there never were any.
json_ns::value age(const Clock& clock, WallTime last_success) {
  if (last_success == WallTime{}) return nullptr;
  return std::chrono::duration<double>(clock.wall() - last_success).count();
}

Response components(const Rooms& rooms) {
  json_ns::array parts;
  for (const auto& component : rooms.components()) {
    parts.push_back(
        {{"name", component.name}, {"status", component.status}, {"message", component.message}});
  }
  json_ns::array collectors;
  for (const auto& c : rooms.collectors()) {
    collectors.push_back(
        {{"name", c.name},
         {"outcome", c.outcome},
         {"error", c.error},
         {"note", c.note},
         {"last_run", time(c.last_run)},
         {"last_success", time(c.last_success)},
         {"age_seconds", age(rooms.clock, c.last_success)},
         {"interval_seconds", static_cast<double>(c.interval.count()) / 1000.0},
         {"present_interval_seconds", static_cast<double>(c.present_interval.count()) / 1000.0},
         {"deadline_seconds", static_cast<double>(c.deadline.count()) / 1000.0},
         {"duration_seconds", c.duration_seconds},
         {"cpu_seconds", c.cpu_seconds},
         {"cpu_seconds_total", c.cpu_seconds_sum},
         {"samples", c.samples},
         {"runs", c.runs},
         {"failures", c.failures},
         {"stuck", c.stuck},
         {"skipped", c.skipped},
         {"dropped", c.dropped},
         {"series_budget", c.series_budget}});
  }
  json_ns::array sources;
  for (const auto& s : rooms.sources.status()) {
    sources.push_back({{"kind", s.kind},
                       {"name", s.name},
                       {"instance", s.instance},
                       {"health", s.health},
                       {"error", s.error},
                       {"last", time(s.last)},
                       {"age_seconds", age(rooms.clock, s.last)},
                       {"interval_seconds", static_cast<double>(s.interval.count()) / 1000.0},
                       {"duration_seconds", s.duration_seconds},
                       {"samples", s.samples},
                       {"series", s.series},
                       {"dropped", s.dropped}});
  }
  json_ns::array rules;
  for (const auto& r : rooms.rules.status()) {
    if (!r.error.empty())
      rules.push_back({{"name", r.name}, {"error", r.error}, {"evaluated", time(r.evaluated)}});
  }
  return to_response({{"components", std::move(parts)},
                      {"collectors", std::move(collectors)},
                      {"sources", std::move(sources)},
                      {"failing_rules", std::move(rules)},
                      {"timestamp", base::to_rfc3339(rooms.clock.wall())}});
}

json_ns::object prediction(const analyze::Prediction& p) {
  return {{"metric_name", p.metric_name},
          {"labels", labels(p.labels)},
          {"unit", p.unit},
          {"current_value", number(p.current_value)},
          {"predicted_value", number(p.predicted_value)},
          {"lower", number(p.lower)},
          {"upper", number(p.upper)},
          {"lower80", number(p.lower80)},
          {"upper80", number(p.upper80)},
          {"confidence", number(p.confidence)},
          {"tolerance", number(p.tolerance)},
          {"past_error", number(p.past_error)},
          {"slope_per_second", p.fit.n > 0 ? number(p.fit.slope) : json_ns::value(nullptr)},
          {"slope_p_value", p.fit.n > 2 ? number(p.fit.slope_p_value()) : json_ns::value(nullptr)},
          {"r_squared", number(p.r_squared)},
          {"time_horizon", static_cast<double>(p.horizon.count()) / 60'000.0},
          {"trend", p.trend},
          {"risk_level", p.risk_level},
          {"model", p.model},
          {"ready", p.ready},
          {"seconds_to_warning", number(p.seconds_to_warning)},
          {"seconds_to_critical", number(p.seconds_to_critical)}};
}

Response predictions(const Rooms& rooms, const Request& request) {
  constexpr std::int64_t kMaxHorizon = 366LL * 24 * 60;
  const auto horizon = integer_param(request, "horizon", 0, 1, kMaxHorizon);
  if (!horizon) return error(horizon.error());
  const auto metric = request.param("metric");
  json_ns::array out;
  const auto add = [&](const std::vector<analyze::Prediction>& all) {
    for (const auto& p : all) {
      if (!metric || p.metric_name == *metric) out.push_back(prediction(p));
    }
  };
  if (*horizon > 0) {
    add(rooms.forecaster.predictions(std::chrono::minutes(*horizon)));
  } else {
    add(*rooms.forecaster.predictions());
  }
  return to_response(
      {{"predictions", std::move(out)}, {"timestamp", base::to_rfc3339(rooms.clock.wall())}});
}

/// What the loop would do: the remedies of the anomaly's own finding, and those of the vital's
/// threshold, should it get there.
json_ns::array recommended(const Rooms& rooms, const analyze::Anomaly& a) {
  json_ns::array out;
  const auto add = [&](std::string name, analyze::FindingKind kind, std::string_view when) {
    analyze::Finding finding;
    finding.kind = kind;
    finding.name = std::move(name);
    for (const auto& label : a.labels) finding.labels[label.name] = label.value;
    finding.subject = a.subject;
    finding.severity =
        kind == analyze::FindingKind::kVital ? config::Severity::kCritical : a.severity;
    for (const auto& answer : rooms.planner.answers_to(finding)) {
      out.push_back(json_ns::value(fmt::format("Remedy {}{}: {} {} (mode {})", answer.remedy, when,
                                               answer.action, answer.target,
                                               config::to_string(answer.mode))));
    }
  };
  const bool host = a.metric_name == "host_anomaly";
  add(host ? a.metric_name : a.metric_name + "_anomaly", analyze::FindingKind::kAnomaly, "");
  if (!host) {
    add(a.metric_name, analyze::FindingKind::kVital, ", when it is beyond its threshold");
    add(a.metric_name + "_forecast", analyze::FindingKind::kForecast, ", when that is foreseen");
  }
  for (const auto& text : a.recommended_actions) out.push_back(json_ns::value(text));
  return out;
}

json_ns::object event(const analyze::Change& change) {
  return {{"time", time(change.time)},
          {"kind", change.kind},
          {"subject", change.subject},
          {"text", change.text}};
}

/// What changed on the host, newest first.
Response events(const Rooms& rooms, const Request& request) {
  constexpr std::int64_t kMostHours = 24 * 366;
  const auto hours = integer_param(request, "hours", kMostHours, 1, kMostHours);
  if (!hours) return error(hours.error());
  const auto kind = request.param("kind");
  const WallTime now = rooms.clock.wall();
  json_ns::array out;
  const auto changes = rooms.book.changes();
  for (const auto& change : *changes) {
    if (kind && *kind != change.kind) continue;
    if (change.time + std::chrono::hours(*hours) < now) continue;
    out.push_back(event(change));
  }
  return to_response({{"events", std::move(out)}, {"timestamp", base::to_rfc3339(now)}});
}

/// Changes within a quarter of an hour.
json_ns::array changes_near(const analyze::Changes& changes, WallTime at) {
  constexpr Millis kNear{15 * 60'000};
  json_ns::array out;
  for (const auto& change : changes) {
    if (change.time <= at + kNear && at <= change.time + kNear) out.push_back(event(change));
  }
  return out;
}

Response anomalies(const Rooms& rooms) {
  json_ns::array out;
  const auto changes = rooms.book.changes();
  for (const auto& a : *rooms.anomalies.anomalies()) {
    json_ns::array contributors;
    for (const auto& part : a.contributors) {
      contributors.push_back({{"metric_name", part.metric_name},
                              {"labels", labels(part.labels)},
                              {"share", number(part.share)},
                              {"usual", number(part.usual)},
                              {"present", number(part.present)}});
    }
    json_ns::array processes;
    for (const auto& part : a.processes) {
      processes.push_back({{"group", part.group},
                           {"resource", part.resource},
                           {"unit", part.unit},
                           {"share", number(part.share)},
                           {"usual", number(part.usual)},
                           {"present", number(part.present)},
                           {"started_seconds_ago", number(part.started_seconds_ago)}});
    }
    out.push_back({{"id", a.id},
                   {"metric_name", a.metric_name},
                   {"labels", labels(a.labels)},
                   {"timestamp", time(a.time)},
                   {"value", number(a.value)},
                   {"anomaly_score", number(a.anomaly_score)},
                   {"probability", number(a.probability)},
                   {"severity", config::to_string(a.severity)},
                   {"description", a.description},
                   {"contributors", std::move(contributors)},
                   {"processes", std::move(processes)},
                   {"changes", changes_near(*changes, a.time)},
                   {"verdict", a.real ? json_ns::value("real") : json_ns::value()},
                   {"recommended_actions", recommended(rooms, a)}});
  }
  json_ns::array models;
  const auto known = rooms.anomalies.models();
  for (const auto& m : *known) {
    models.push_back({{"metric_name", m.metric_name},
                      {"labels", labels(m.labels)},
                      {"ready", m.ready},
                      {"state", m.state},
                      {"progress", number(m.progress)},
                      {"trained", time(m.trained)}});
  }
  return to_response({{"anomalies", std::move(out)},
                      {"models", std::move(models)},
                      {"timestamp", base::to_rfc3339(rooms.clock.wall())}});
}

/// {"verdict": "real"} or {"verdict": "noise"}.
Response verdict(const Rooms& rooms, const Request& request) {
  const auto& text = request.captures.at(0);
  std::uint64_t id = 0;
  const auto [end, bad] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (bad != std::errc() || end != text.data() + text.size())
    return error(404, "not_found", "no anomaly of that id");
  const auto body = parse_object(request, {"verdict"});
  if (!body) return error(body.error());
  const auto* given = body->if_contains("verdict");
  const std::string word =
      given != nullptr && given->is_string() ? std::string(given->get_string()) : std::string();
  if (word != "real" && word != "noise")
    return error(400, "invalid_argument",
                 "expected a JSON object {\"verdict\": \"real\"} or {\"verdict\": \"noise\"}");
  return audited(rooms, request, "anomalies.verdict", text, word, [&] {
    if (auto done = rooms.anomalies.judge(id, word == "real"); !done) return error(done.error());
    return to_response({{"id", id}, {"verdict", word}});
  });
}

/// The step of a chart: as asked for, or what gives kChartPoints points, at least a second.
Result<std::int64_t> chart_step(const Request& request, double hours) {
  if (const auto text = request.param("step")) {
    const auto step = base::parse_duration(*text);
    if (!step) return fail(Errc::kInvalidArgument, "step: {}", step.error().message());
    if (step->count() <= 0) return fail(Errc::kInvalidArgument, "step: expected more than 0");
    return step->count();
  }
  return std::max<std::int64_t>(1000,
                                static_cast<std::int64_t>(hours * 3'600'000.0) / kChartPoints);
}

void begin_series(std::string& out, const knowledge::promql::Rows::RowLabels& of) {
  const auto name = of.nameless ? std::string_view() : of.all.metric();
  const json_ns::object head = {{"metric_name", name}, {"labels", labels(of.all)}};
  out += json_ns::serialize(head);
  out.back() = ',';
  out += "\"points\":[";
}

void append_point(std::string& out, std::int64_t time, double value) {
  out += "[\"";
  out += base::to_rfc3339(base::from_unix_millis(time));
  out += "\",";
  if (std::isfinite(value)) {
    fmt::format_to(std::back_inserter(out), "{}", value);
  } else {
    out += "null";
  }
  out += ']';
}

constexpr RowFormat kPointsOfSeries = {begin_series, append_point, "]}"};

Response metrics(const Rooms& rooms, const Request& request) {
  constexpr double kMaxHours = 24.0 * 366;
  const auto metric = request.param("metric");
  if (!metric)
    return error(400, "invalid_argument",
                 "metric: expected the name of a vital or a series selector");
  const auto hours = base::parse_double(request.param("hours").value_or("1"));
  if (!hours || !(*hours > 0) || *hours > kMaxHours)
    return error(400, "invalid_argument", "hours: expected a number above 0");
  const auto step = chart_step(request, *hours);
  if (!step) return error(step.error());
  if (const auto selector = knowledge::promql::parse_selector(*metric); !selector)
    return error(selector.error());
  const auto query = knowledge::promql::Query::parse(*metric);
  if (!query) return error(query.error());
  const auto end = base::to_unix_millis(rooms.clock.wall());
  const auto limits = limits_of(rooms, request);
  if (!limits) return error(limits.error());
  auto rows = query->range_rows(
      rooms.history, end - static_cast<std::int64_t>(*hours * 3'600'000.0), end, *step, *limits);
  if (!rows) return error(rows.error());
  const json_ns::object head = {{"metric", *metric},
                                {"hours", *hours},
                                {"step_seconds", static_cast<double>(*step) / 1000.0}};
  std::string begin = json_ns::serialize(head);
  begin.back() = ',';
  return json_of(body_of(begin + "\"series\":[", std::move(*rows), kPointsOfSeries, "]}\n"),
                 limits->hold);
}

}  // namespace

void add_health(std::vector<Route>& routes, const SharedRooms& rooms) {
  const auto viewer = config::Role::kViewer;
  auto page = std::make_shared<StatusPage>(rooms);
  const auto add = [&](std::string path, Runs runs, Handler handler, std::string_view help) {
    routes.push_back({Method::kGet, std::move(path), viewer, runs, std::move(handler), help});
  };
  add(
      "/health", Runs::kSnapshot, [rooms](const Request&) { return health(*rooms); },
      "The agent itself");
  add(
      "/health/status", Runs::kSnapshot, [page](const Request&) { return page->get(); },
      "The host at a glance");
  add(
      "/health/predictions", Runs::kSnapshot,
      [rooms](const Request& r) { return predictions(*rooms, r); }, "Forecasts of the vitals");
  add(
      "/health/anomalies", Runs::kSnapshot, [rooms](const Request&) { return anomalies(*rooms); },
      "What was unusual");
  add(
      "/health/events", Runs::kSnapshot, [rooms](const Request& r) { return events(*rooms, r); },
      "What changed on the host");
  routes.push_back({Method::kPost, "/health/anomalies/{id}/verdict", config::Role::kOperator,
                    Runs::kBlocking, [rooms](const Request& r) { return verdict(*rooms, r); },
                    "Say whether an anomaly was real or noise"});
  add(
      "/health/components", Runs::kSnapshot, [rooms](const Request&) { return components(*rooms); },
      "Collectors and connections");
  add(
      "/health/metrics", Runs::kBlocking, [rooms](const Request& r) { return metrics(*rooms, r); },
      "History of a vital or a series");
}

}  // namespace nexus::serve
