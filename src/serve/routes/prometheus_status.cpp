// Prometheus's HTTP API: rules, alerts, targets and what the server says of itself.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/json/serialize.hpp>
#include <filesystem>
#include <limits>
#include <map>
#include <set>
#include <thread>

#include "nexus/base/go_text.hpp"
#include "nexus/base/text.hpp"
#include "nexus/config/config.hpp"
#include "serve/routes/groups.hpp"
#include "serve/routes/prometheus_answer.hpp"
#include "serve/routes/shapes.hpp"

namespace nexus::serve {
namespace {

using analyze::FindingState;
using prometheus::Failure;

/// The Prometheus whose API this is: clients choose by it what they may ask for.
constexpr std::string_view kApiVersion = "3.0.0";

Response answer(const json_ns::value& data) {
  return prometheus::success(json_ns::serialize(data));
}

std::string shown_time(WallTime time) {
  return time == WallTime{} ? "0001-01-01T00:00:00Z" : base::to_rfc3339(time);
}

/// Labels with the metric's name, which labels() of shapes.hpp leaves out.
json_ns::object all_labels(const knowledge::Labels& given) {
  json_ns::object out;
  for (const auto& label : given) out[label.name] = label.value;
  return out;
}

std::string_view word(FindingState state) {
  return state == FindingState::kFiring ? "firing" : "pending";
}

std::string exponent(double value) {
  auto out = base::go_scientific(value);
  std::ranges::replace(out, 'E', 'e');
  return out;
}

json_ns::object render(const analyze::RuleAlert& alert) {
  json_ns::object out = {{"labels", all_labels(alert.labels)},
                         {"annotations", labels(alert.annotations)},
                         {"state", word(alert.state)},
                         {"activeAt", shown_time(alert.active_at)},
                         {"value", exponent(alert.value)}};
  if (alert.keep_firing_since) out["keepFiringSince"] = shown_time(*alert.keep_firing_since);
  return out;
}

std::string_view state_of(const analyze::RuleReport& rule) {
  std::string_view state = "inactive";
  for (const auto& alert : rule.alerts) {
    if (alert.state == FindingState::kFiring) return "firing";
    state = "pending";
  }
  return state;
}

enum class Alerts { kShown, kLeftOut };

json_ns::object render(const analyze::RuleReport& rule, Alerts shown) {
  json_ns::object out;
  if (rule.alerting) out["state"] = state_of(rule);
  out["name"] = rule.name;
  out["query"] = rule.query;
  if (rule.alerting) {
    out["duration"] = static_cast<double>(rule.pending.count()) / 1000;
    out["keepFiringFor"] = static_cast<double>(rule.keep_firing_for.count()) / 1000;
    out["annotations"] = labels(rule.annotations);
    out["alerts"] = nullptr;
    if (shown == Alerts::kShown) {
      auto& alerts = out["alerts"].emplace_array();
      for (const auto& alert : rule.alerts) alerts.push_back(render(alert));
    }
  }
  if (rule.alerting || !rule.labels.empty()) out["labels"] = labels(rule.labels);
  const bool known = rule.evaluated != WallTime{};
  out["health"] = !rule.error.empty() ? "err" : (known ? "ok" : "unknown");
  if (!rule.error.empty()) out["lastError"] = rule.error;
  out["evaluationTime"] = rule.duration_seconds;
  out["lastEvaluation"] = shown_time(rule.evaluated);
  out["type"] = rule.alerting ? "alerting" : "recording";
  return out;
}

/// The intervals of the two groups that agent.toml makes are settings of other sections.
Millis interval_of(const Rooms& rooms, const analyze::GroupReport& group) {
  if (group.interval.count() > 0) return group.interval;
  const auto config = rooms.config();
  return group.name == "vitals" ? config->collect.interval : config->operations.check_interval;
}

bool is_wanted(const Request& request, std::string_view parameter, std::string_view value) {
  const auto wanted = prometheus::all_params(request, parameter);
  return wanted.empty() || std::ranges::find(wanted, value) != wanted.end();
}

/// What the parameters of /rules ask for.
struct RulesWanted {
  std::string_view type;
  std::vector<prometheus::Selector> selectors;
  Alerts alerts = Alerts::kShown;
  std::size_t most = 0;  // groups; 0: all
  std::string_view from;

  [[nodiscard]] bool takes(const Request& request, const analyze::RuleReport& rule) const {
    if (!type.empty() && (type == "alert") != rule.alerting) return false;
    if (!is_wanted(request, "rule_name[]", rule.name)) return false;
    if (selectors.empty()) return true;
    std::vector<knowledge::Label> all;
    for (const auto& [name, value] : rule.labels) all.push_back({name, value});
    const knowledge::Labels labels(std::move(all));  // as written: templates are not expanded
    return std::ranges::any_of(selectors, [&](const prometheus::Selector& selector) {
      return std::ranges::all_of(
          selector, [&](const knowledge::Matcher& matcher) { return matcher.matches(labels); });
    });
  }
};

Result<RulesWanted> rules_wanted(const Request& request) {
  RulesWanted out;
  out.type = request.param("type").value_or("");
  if (!out.type.empty() && out.type != "alert" && out.type != "record")
    return fail(Errc::kInvalidArgument, "invalid parameter \"type\": not supported value \"{}\"",
                out.type);
  auto selectors = prometheus::selector_params(request);
  if (!selectors) return std::unexpected(selectors.error());
  out.selectors = std::move(*selectors);
  const auto exclude = request.param("exclude_alerts").value_or("");
  if (exclude == "true" || exclude == "1" || exclude == "t" || exclude == "T") {
    out.alerts = Alerts::kLeftOut;
  } else if (!exclude.empty() && exclude != "false" && exclude != "0" && exclude != "f") {
    return fail(Errc::kInvalidArgument,
                "invalid parameter \"exclude_alerts\": expected true or false, got \"{}\"",
                exclude);
  }
  out.from = request.param("group_next_token").value_or("");
  const auto most = request.param("group_limit").value_or("");
  if (most.empty()) {
    if (out.from.empty()) return out;
    return fail(Errc::kInvalidArgument,
                "invalid parameter \"group_limit\": group_limit needs to be present in order to "
                "paginate over the groups");
  }
  const auto number = base::parse_int(most);
  if (!number || *number <= 0)
    return fail(Errc::kInvalidArgument,
                "invalid parameter \"group_limit\": group_limit needs to be greater than 0");
  out.most = static_cast<std::size_t>(*number);
  return out;
}

/// Names the group that the next page begins with.
std::string token_of(const analyze::GroupReport& group) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;  // FNV-1a
  for (const char c : fmt::format("{};{}", group.file, group.name))
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return fmt::format("{:016x}", hash);
}

Response rules(const Rooms& rooms, const Request& request) {
  const auto wanted = rules_wanted(request);
  if (!wanted) return prometheus::failure(Failure::kBadData, wanted.error().message());
  json_ns::array groups;
  std::string next;
  bool begun = wanted->from.empty();
  for (const auto& group : rooms.rules.groups()) {
    begun = begun || token_of(group) == wanted->from;
    if (!begun) continue;
    if (!is_wanted(request, "rule_group[]", group.name)) continue;
    if (!is_wanted(request, "file[]", group.file)) continue;
    json_ns::array rendered;
    for (const auto& rule : group.rules) {
      if (wanted->takes(request, rule)) rendered.push_back(render(rule, wanted->alerts));
    }
    if (rendered.empty()) continue;  // as in Prometheus: nothing of it was asked for
    if (wanted->most > 0 && groups.size() == wanted->most) {
      next = token_of(group);
      break;
    }
    groups.push_back({{"name", group.name},
                      {"file", group.file},
                      {"rules", std::move(rendered)},
                      {"interval", static_cast<double>(interval_of(rooms, group).count()) / 1000},
                      {"limit", group.limit},
                      {"evaluationTime", group.duration_seconds},
                      {"lastEvaluation", shown_time(group.evaluated)}});
  }
  if (!begun)
    return prometheus::failure(
        Failure::kBadData,
        fmt::format("invalid parameter \"group_next_token\": invalid group_next_token '{}'. were "
                    "rule groups changed?",
                    wanted->from));
  json_ns::object data = {{"groups", std::move(groups)}};
  if (!next.empty()) data["groupNextToken"] = next;
  return answer(data);
}

Response alerts(const Rooms& rooms, const Request&) {
  json_ns::array all;
  for (const auto& group : rooms.rules.groups()) {
    for (const auto& rule : group.rules) {
      for (const auto& alert : rule.alerts) all.push_back(render(alert));
    }
  }
  return answer({{"alerts", std::move(all)}});
}

/// A collector as Prometheus shows a target: what is asked, when, and how it went.
json_ns::object render(const monitor::CollectorStatus& collector) {
  const bool good = collector.outcome == "ok" || collector.outcome == "no_data";
  const auto health = collector.outcome == "pending" ? "unknown" : (good ? "up" : "down");
  const auto url = fmt::format("nexus-agent://localhost/collector/{}", collector.name);
  return {{"discoveredLabels", {{"__address__", "localhost"}, {"job", collector.name}}},
          {"labels", {{"instance", "localhost"}, {"job", collector.name}}},
          {"scrapePool", collector.name},
          {"scrapeUrl", url},
          {"globalUrl", url},
          {"lastError", collector.error},
          {"lastScrape", shown_time(collector.last_run)},
          {"lastScrapeDuration", collector.duration_seconds},
          {"health", health},
          {"scrapeInterval", base::format_duration(collector.interval)},
          {"scrapeTimeout", base::format_duration(collector.deadline)}};
}

/// A scraped or probed target.
json_ns::object render(const monitor::SourceStatus& source) {
  const auto url = source.url.empty() ? source.instance : source.url;
  return {{"discoveredLabels", {{"__address__", source.instance}, {"job", source.name}}},
          {"labels", all_labels(source.labels)},
          {"scrapePool", source.name},
          {"scrapeUrl", url},
          {"globalUrl", url},
          {"lastError", source.error},
          {"lastScrape", shown_time(source.last)},
          {"lastScrapeDuration", source.duration_seconds},
          {"health", source.health},
          {"scrapeInterval", base::format_duration(source.interval)},
          {"scrapeTimeout", base::format_duration(source.timeout)}};
}

Response targets(const Rooms& rooms, const Request& request) {
  const auto state = request.param("state").value_or("");
  const auto pool = request.param("scrapePool").value_or("");
  const auto is_of_pool = [&](std::string_view name) { return pool.empty() || pool == name; };
  json_ns::array active;
  if (state != "dropped") {
    for (const auto& collector : rooms.collectors()) {
      if (is_of_pool(collector.name)) active.push_back(render(collector));
    }
    for (const auto& source : rooms.sources.status()) {
      if (!is_of_pool(source.name)) continue;
      if (source.kind == "scrape" || source.kind == "probe") active.push_back(render(source));
    }
  }
  return answer({{"activeTargets", std::move(active)},
                 {"droppedTargets", json_ns::array()},
                 {"droppedTargetCounts", json_ns::object()}});
}

Response scrape_pools(const Rooms& rooms, const Request&) {
  std::set<std::string> names;
  for (const auto& collector : rooms.collectors()) names.emplace(collector.name);
  for (const auto& source : rooms.sources.status()) {
    if (source.kind == "scrape" || source.kind == "probe") names.emplace(source.name);
  }
  return answer({{"scrapePools", json_ns::array(names.begin(), names.end())}});
}

/// A history that is being read at the start answers nothing yet: who gets this sees it done.
Response wal_replay(const Rooms&, const Request&) {
  return answer({{"min", 0}, {"max", 0}, {"current", 0}});
}

Response notifications(const Rooms&, const Request&) {
  return prometheus::success("[]");
}

Response alertmanagers(const Rooms&, const Request&) {
  return answer(
      {{"activeAlertmanagers", json_ns::array()}, {"droppedAlertmanagers", json_ns::array()}});
}

Response build_info(const Rooms& rooms, const Request&) {
  return answer({{"version", kApiVersion},
                 {"revision", fmt::format("nexus-agent {}", rooms.info.version)},
                 {"branch", ""},
                 {"buildUser", ""},
                 {"buildDate", ""},
                 {"goVersion", ""}});
}

/// What of the configuration every viewer may see, as YAML in Prometheus's shape.
Response configuration(const Rooms& rooms, const Request&) {
  const auto config = rooms.config();
  std::string yaml = fmt::format(
      "global:\n  scrape_interval: {}\n  scrape_timeout: {}\n  evaluation_interval: {}\n",
      base::format_duration(config->collect.interval),
      base::format_duration(config->collect.deadline),
      base::format_duration(config->operations.check_interval));
  if (!config->agent.external_labels.empty()) yaml += "  external_labels:\n";
  for (const auto& [name, value] : config->agent.external_labels) {
    yaml += fmt::format("    {}: ", name);
    prometheus::append_string(yaml, value);
    yaml += '\n';
  }
  if (!config->rule_files.empty()) yaml += "rule_files:\n";
  for (const auto& file : config->rule_files) {
    yaml += "- ";
    prometheus::append_string(yaml, file);
    yaml += '\n';
  }
  return answer({{"yaml", yaml}});
}

Response flags(const Rooms& rooms, const Request&) {
  const auto config = rooms.config();
  return answer({{"query.lookback-delta", "5m"},
                 {"query.max-samples", fmt::format("{}", prometheus::kMaxSamples)},
                 {"query.timeout", "30s"},
                 {"storage.tsdb.path", config->agent.data_dir + "/history"},
                 {"storage.tsdb.retention.time", base::format_duration(config->history.retention)},
                 {"web.listen-address", config->http.listen.empty() ? "" : config->http.listen[0]},
                 {"web.enable-admin-api", "false"}});
}

/// The last value of one of the agent's own metrics without labels.
std::optional<double> own_metric(const Rooms& rooms, std::string_view name) {
  auto matcher = knowledge::Matcher::make(std::string(knowledge::kMetricName),
                                          knowledge::MatchOp::kEqual, std::string(name));
  if (!matcher) return std::nullopt;
  const std::vector<knowledge::Matcher> matchers = {std::move(*matcher)};
  for (const auto id : rooms.registry.select(matchers)) {
    if (const auto sample = rooms.history.latest(id)) return sample->value;
  }
  return std::nullopt;
}

Response runtime_info(const Rooms& rooms, const Request&) {
  std::error_code ec;
  const auto config = rooms.config();
  const auto reloaded = own_metric(rooms, "nexus_config_last_reload_success_timestamp_seconds");
  const auto loaded = reloaded && *reloaded > 0
                          ? base::from_unix_millis(static_cast<std::int64_t>(*reloaded * 1000))
                          : rooms.info.started;
  const auto threads = std::distance(std::filesystem::directory_iterator("/proc/self/task", ec),
                                     std::filesystem::directory_iterator());
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
  return answer({{"startTime", base::to_rfc3339(rooms.info.started)},
                 {"CWD", std::filesystem::current_path(ec).string()},
                 {"hostname", std::string_view(host.data())},
                 {"serverTime", base::to_rfc3339(rooms.clock.wall())},
                 {"reloadConfigSuccess",
                  own_metric(rooms, "nexus_config_last_reload_successful").value_or(1) != 0},
                 {"lastConfigTime", base::to_rfc3339(loaded)},
                 {"corruptionCount", 0},
                 {"goroutineCount", threads},
                 {"GOMAXPROCS", std::thread::hardware_concurrency()},
                 {"GOMEMLIMIT", std::numeric_limits<std::int64_t>::max()},
                 {"GOGC", ""},
                 {"GODEBUG", ""},
                 {"storageRetention", base::format_duration(config->history.retention)}});
}

json_ns::array greatest(const std::map<std::string_view, std::uint64_t>& counts, std::size_t most) {
  std::vector<std::pair<std::string_view, std::uint64_t>> sorted(counts.begin(), counts.end());
  std::ranges::stable_sort(sorted, std::greater(),
                           &std::pair<std::string_view, std::uint64_t>::second);
  sorted.resize(std::min(sorted.size(), most));
  json_ns::array out;
  for (const auto& [name, value] : sorted) out.push_back({{"name", name}, {"value", value}});
  return out;
}

Response tsdb(const Rooms& rooms, const Request& request) {
  const auto limit = request.param("limit").value_or("");
  const auto most = limit.empty() ? std::optional<std::int64_t>(10) : base::parse_int(limit);
  if (!most || *most < 1)
    return prometheus::failure(Failure::kBadData, "limit must be a positive number");
  const auto shown = static_cast<std::size_t>(*most);
  std::map<std::string_view, std::uint64_t> by_metric;
  std::map<std::string_view, std::map<std::string_view, std::uint64_t>> by_label;
  const auto stats = rooms.history.stats();
  const auto pin = rooms.registry.pin();
  for (const auto id : rooms.history.select({}, stats.oldest - 1, stats.newest)) {
    const auto& series = rooms.history.labels(id);
    ++by_metric[series.metric()];
    for (const auto& label : series) ++by_label[label.name][label.value];
  }
  std::map<std::string_view, std::uint64_t> values;
  std::map<std::string_view, std::uint64_t> bytes;
  std::map<std::string, std::uint64_t> pairs;
  for (const auto& [name, counts] : by_label) {
    values[name] = counts.size();
    for (const auto& [value, count] : counts) {
      bytes[name] += value.size() * count;
      pairs[fmt::format("{}={}", name, value)] = count;
    }
  }
  const std::map<std::string_view, std::uint64_t> shown_pairs(pairs.begin(), pairs.end());
  return answer({{"headStats",
                  {{"numSeries", stats.series},
                   {"numLabelPairs", pairs.size()},
                   {"chunkCount", stats.blocks},
                   {"minTime", stats.oldest},
                   {"maxTime", stats.newest}}},
                 {"seriesCountByMetricName", greatest(by_metric, shown)},
                 {"labelValueCountByLabelName", greatest(values, shown)},
                 {"memoryInBytesByLabelName", greatest(bytes, shown)},
                 {"seriesCountByLabelValuePair", greatest(shown_pairs, shown)}});
}

}  // namespace

void add_prometheus_status(std::vector<Route>& routes, const SharedRooms& rooms) {
  const auto add = [&](std::string_view path, Runs runs,
                       Response (*handler)(const Rooms&, const Request&), std::string_view help) {
    routes.push_back({Method::kGet, fmt::format("/api/v1/{}", path), config::Role::kViewer, runs,
                      [rooms, handler](const Request& r) { return handler(*rooms, r); }, help});
  };
  add("rules", Runs::kBlocking, rules, "rules and how they went");
  add("alerts", Runs::kBlocking, alerts, "alerts that are pending or firing");
  add("targets", Runs::kSnapshot, targets, "collectors, scraped and probed targets");
  add("alertmanagers", Runs::kSnapshot, alertmanagers, "none");
  add("status/buildinfo", Runs::kSnapshot, build_info, "the version of the API");
  add("status/config", Runs::kSnapshot, configuration, "intervals and rule files");
  add("status/flags", Runs::kSnapshot, flags, "limits of queries and of the history");
  add("status/runtimeinfo", Runs::kBlocking, runtime_info, "the process");
  add("scrape_pools", Runs::kSnapshot, scrape_pools, "names of collectors, scrapes and probes");
  add("notifications", Runs::kSnapshot, notifications, "none");
  add("status/walreplay", Runs::kSnapshot, wal_replay, "that there is nothing to wait for");
  add("status/tsdb", Runs::kBlocking, tsdb, "series, by metric and label");
}

}  // namespace nexus::serve
