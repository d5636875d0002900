// The routes of Prometheus's API that are no queries; tests/agent/prometheus_api.py asks them of a
// real agent beside a real Prometheus.
#include <boost/json/serialize.hpp>

#include "rooms.hpp"

using namespace nexus;
using namespace nexus::serve;
using namespace nexus::serve::test;

namespace {

void fill(World& world) {
  world.sample("requests_total", {{"path", "/"}, {"code", "200"}}, 7,
               knowledge::MetricType::kCounter);
  world.sample("requests_total", {{"path", "/x"}, {"code", "500"}}, 1,
               knowledge::MetricType::kCounter);
  world.sample("temperature_celsius", {{"sensor", "a \"b\"\n"}}, -3.5);
  world.tick();
}

js::value data_of(const Response& response) {
  const auto body = expect(response);
  CHECK(body.at("status") == "success");
  return body.at("data");
}

std::string bad(const Response& response) {
  const auto body = expect(response, 400);
  CHECK(body.at("status") == "error");
  CHECK(body.at("errorType") == "bad_data");
  return std::string(body.at("error").as_string());
}

}  // namespace

TEST_CASE("series, labels and values: what selectors take, sorted") {
  World world;
  fill(world);
  CHECK(data_of(world.get("/api/v1/series", {{"match[]", "requests_total"}})) ==
        js::parse(R"([{"__name__":"requests_total","code":"200","path":"/"},
                      {"__name__":"requests_total","code":"500","path":"/x"}])"));
  CHECK(data_of(world.get("/api/v1/series", {{"match[]", "requests_total{code=\"200\"}"},
                                             {"match[]", "temperature_celsius"}})) ==
        js::parse(R"([{"__name__":"requests_total","code":"200","path":"/"},
                      {"__name__":"temperature_celsius","sensor":"a \"b\"\n"}])"));
  CHECK(data_of(world.get("/api/v1/labels", {{"match[]", "requests_total"}})) ==
        js::parse(R"(["__name__","code","path"])"));
  CHECK(data_of(world.get("/api/v1/label/code/values")) == js::parse(R"(["200","500"])"));
  CHECK(data_of(world.get("/api/v1/label/nothing/values")).as_array().empty());
  CHECK(data_of(world.get("/api/v1/label/__name__/values", {{"match[]", "{sensor!=\"\"}"}})) ==
        js::parse(R"(["temperature_celsius"])"));
}

TEST_CASE("series: only those with a sample in the span") {
  World world;
  fill(world);
  const auto first = base::to_unix_millis(world.clock.wall());
  world.clock.advance(100s);
  world.samples.clear();
  world.sample("late", {}, 1);
  world.tick();
  const auto at = [](std::int64_t millis) { return std::to_string(millis / 1000); };
  const auto names = [&](std::int64_t start, std::int64_t end) {
    return data_of(world.get("/api/v1/label/__name__/values",
                             {{"start", at(start)},
                              {"end", at(end)},
                              {"match[]", "{__name__=~\"late|requests_total\"}"}}));
  };
  CHECK(names(first - 50'000, first + 50'000) == js::parse(R"(["requests_total"])"));
  CHECK(names(first, first) == js::parse(R"(["requests_total"])"));
  CHECK(names(first + 1000, first + 200'000) == js::parse(R"(["late"])"));
  CHECK(names(first - 9'000, first - 1'000).as_array().empty());
}

TEST_CASE("a limit cuts an answer and says so") {
  World world;
  fill(world);
  const auto series =
      expect(world.get("/api/v1/series", {{"match[]", "requests_total"}, {"limit", "1"}}));
  CHECK(series.at("data").as_array().size() == 1);
  CHECK(series.at("warnings") == js::parse(R"(["results truncated due to limit"])"));
  const auto query =
      expect(world.get("/api/v1/query", {{"query", "requests_total"}, {"limit", "1"}}));
  CHECK(query.at("data").at("result").as_array().size() == 1);
  CHECK(query.at("warnings") == js::parse(R"(["results truncated due to limit"])"));
  CHECK_FALSE(expect(world.get("/api/v1/label/code/values", {{"limit", "2"}}))
                  .as_object()
                  .contains("warnings"));
  CHECK(bad(world.get("/api/v1/labels", {{"limit", "-1"}})).contains("non-negative"));
  CHECK(bad(world.get("/api/v1/labels", {{"limit", "x"}})).contains("\"limit\""));
}

TEST_CASE("stats and notes go with an answer") {
  World world;
  fill(world);
  const auto plain = expect(world.get("/api/v1/query", {{"query", "requests_total"}}));
  CHECK_FALSE(plain.at("data").as_object().contains("stats"));
  const auto data =
      data_of(world.get("/api/v1/query", {{"query", "requests_total"}, {"stats", "all"}}));
  check_shape(data.at("stats").at("timings"),
              {"evalTotalTime:n", "resultSortTime:n", "queryPreparationTime:n", "innerEvalTime:n",
               "execQueueTime:n", "execTotalTime:n"});
  CHECK(data.at("stats").at("samples").at("totalQueryableSamples").to_number<std::size_t>() ==
        data.at("result").as_array().size());
  const auto noted = expect(world.get("/api/v1/query", {{"query", "quantile(2, requests_total)"}}));
  CHECK(noted.at("warnings") == js::parse(R"(["PromQL warning: quantile value should be )"
                                          R"x(between 0 and 1, got 2 (1:10)"])x"));
}

TEST_CASE("mistakes in the routes for series are bad_data") {
  World world;
  fill(world);
  CHECK(bad(world.get("/api/v1/series")) == "no match[] parameter provided");
  CHECK(bad(world.get("/api/v1/series", {{"match[]", "up{"}}))
            .starts_with("invalid parameter \"match[]\": 1:"));
  CHECK(bad(world.get("/api/v1/series", {{"match[]", "{a=~\".*\"}"}})).contains("non-empty"));
  CHECK(
      bad(world.get("/api/v1/labels", {{"start", "x"}})) ==
      "invalid parameter \"start\": Invalid time value for 'start': cannot parse \"x\" to a valid "
      "timestamp");
  CHECK(bad(world.get("/api/v1/query_exemplars", {{"query", "("}})).contains("parse error"));
  CHECK(bad(world.get("/api/v1/format_query")).contains("\"query\""));
}

TEST_CASE("numbers and times are written as Prometheus writes them") {
  World world;
  fill(world);
  const auto result = [&](std::string query, std::string time) {
    const auto response =
        world.get("/api/v1/query", {{"query", std::move(query)}, {"time", std::move(time)}});
    const std::string& body = *response.body;
    const auto begin = body.find("\"result\":") + 9;
    return body.substr(begin, body.rfind("}}") - begin);
  };
  CHECK(result("1e5", "1700000000.5") == "[1700000000.5,\"100000\"]");
  CHECK(result("1e21", "2023-11-14T22:13:20Z") == "[1700000000,\"1000000000000000000000\"]");
  CHECK(result("0.0000001", "2023-11-14T22:13:20.007Z") == "[1700000000.007,\"0.0000001\"]");
  CHECK(result("-1 / 0", "0.001") == "[0.001,\"-Inf\"]");
  CHECK(result("\"a\\\"\"", "1") == "[1,\"a\\\"\"]");
}

TEST_CASE("metadata: type and help") {
  World world;
  fill(world);
  CHECK(data_of(world.get("/api/v1/metadata", {{"metric", "requests_total"}})) ==
        js::parse(R"({"requests_total":[{"type":"counter","help":"What requests_total is.",
                                         "unit":""}]})"));
  CHECK(data_of(world.get("/api/v1/metadata", {{"limit", "2"}})).as_object().size() == 2);
  CHECK(data_of(world.get("/api/v1/metadata", {{"metric", "none"}})).as_object().empty());
}

TEST_CASE("rules and alerts: vitals and [[alert]] as groups") {
  World world;
  world.sample("intruders", {{"door", "back"}}, 2);
  world.tick();
  const auto groups = data_of(world.get("/api/v1/rules")).at("groups").as_array();
  REQUIRE(groups.size() == 2);
  check_shape(groups[0], {"name:s", "file:s", "rules:a", "interval:n", "limit:n",
                          "evaluationTime:n", "lastEvaluation:t"});
  CHECK(groups[0].at("name") == "vitals");
  CHECK(groups[0].at("interval").to_number<double>() == 1);
  check_shape(groups[0].at("rules").at(0),
              {"name:s", "query:s", "health:s", "evaluationTime:n", "lastEvaluation:t", "type:s"});
  const auto& rule = groups[1].at("rules").at(0);
  check_shape(rule, {"state:s", "name:s", "query:s", "duration:n", "keepFiringFor:n", "labels:o",
                     "annotations:o", "alerts:a", "health:s", "evaluationTime:n",
                     "lastEvaluation:t", "type:s"});
  CHECK(rule.at("state") == "firing");
  const auto alerts = data_of(world.get("/api/v1/alerts")).at("alerts").as_array();
  REQUIRE(alerts.size() == 1);
  check_shape(alerts[0], {"labels:o", "annotations:o", "state:s", "activeAt:t", "value:s"});
  CHECK(alerts[0].at("labels") ==
        js::parse(R"({"alertname":"Intruder","category":"security","door":"back"})"));
  CHECK(alerts[0].at("value") == "2e+00");
  CHECK(alerts[0].at("annotations").at("summary") == "2 of them");
  // Groups of which nothing is left are left out, as by Prometheus.
  const auto alerting =
      data_of(world.get("/api/v1/rules", {{"type", "alert"}})).at("groups").as_array();
  REQUIRE(alerting.size() == 1);
  CHECK(alerting[0].at("rules").as_array().size() == 1);
  CHECK(alerting[0].at("rules").at(0).at("type") == "alerting");
  CHECK(data_of(world.get("/api/v1/rules", {{"rule_name[]", "Intruder"}}))
            .at("groups")
            .as_array()
            .size() == 1);
  CHECK(bad(world.get("/api/v1/rules", {{"type", "x"}})).contains("not supported value \"x\""));
}

TEST_CASE("targets and status have Prometheus's shapes") {
  World world;
  fill(world);
  monitor::CollectorStatus cpu;
  cpu.name = "cpu";
  cpu.outcome = "failed";
  cpu.error = "read /proc/stat: no";
  cpu.interval = Millis(1000);
  world.collectors = {cpu};
  const auto targets = data_of(world.get("/api/v1/targets"));
  check_shape(targets, {"activeTargets:a", "droppedTargets:a", "droppedTargetCounts:o"});
  check_shape(targets.at("activeTargets").at(0),
              {"discoveredLabels:o", "labels:o", "scrapePool:s", "scrapeUrl:s", "globalUrl:s",
               "lastError:s", "lastScrape:t", "lastScrapeDuration:n", "health:s",
               "scrapeInterval:s", "scrapeTimeout:s"});
  CHECK(targets.at("activeTargets").at(0).at("health") == "down");
  CHECK(data_of(world.get("/api/v1/targets", {{"state", "dropped"}}))
            .at("activeTargets")
            .as_array()
            .empty());
  check_shape(data_of(world.get("/api/v1/status/buildinfo")),
              {"version:s", "revision:s", "branch:s", "buildUser:s", "buildDate:s", "goVersion:s"});
  check_shape(data_of(world.get("/api/v1/status/config")), {"yaml:s"});
  CHECK(data_of(world.get("/api/v1/status/flags")).at("query.timeout") == "30s");
  check_shape(data_of(world.get("/api/v1/status/runtimeinfo")),
              {"startTime:t", "CWD:s", "reloadConfigSuccess:b", "lastConfigTime:t",
               "corruptionCount:n", "hostname:s", "serverTime:t", "goroutineCount:n",
               "GOMAXPROCS:n", "GOMEMLIMIT:n", "GOGC:s", "GODEBUG:s", "storageRetention:s"});
  const auto tsdb = data_of(world.get("/api/v1/status/tsdb"));
  check_shape(tsdb, {"headStats:o", "seriesCountByMetricName:a", "labelValueCountByLabelName:a",
                     "memoryInBytesByLabelName:a", "seriesCountByLabelValuePair:a"});
  CHECK(tsdb.at("seriesCountByMetricName").at(0).at("name") == "requests_total");
  CHECK(data_of(world.get("/api/v1/query_exemplars", {{"query", "up"}})).as_array().empty());
  CHECK(data_of(world.get("/api/v1/format_query", {{"query", "sum(up)by(job)"}})) ==
        "sum by (job) (up)");
}

TEST_CASE("parse_query: the tree, key by key as Prometheus gives it") {
  World world;
  const auto tree = [&](const std::string& query) {
    return data_of(world.get("/api/v1/parse_query", {{"query", query}}));
  };
  CHECK(tree(R"(sum by (job) (rate(a_total{b!="c"}[5m] offset 1m)))") == js::parse(R"({
    "type": "aggregation", "op": "sum", "param": null, "grouping": ["job"], "without": false,
    "expr": {"type": "call",
             "func": {"name": "rate", "argTypes": ["matrix"], "variadic": 0, "returnType": "vector"},
             "args": [{"type": "matrixSelector", "name": "a_total", "range": 300000, "offset": 60000,
                       "matchers": [{"name": "b", "type": "!=", "value": "c"},
                                    {"name": "__name__", "type": "=", "value": "a_total"}],
                       "timestamp": null, "startOrEnd": null}]}})"));
  CHECK(tree("a / on (x) group_left (y) b") == js::parse(R"({
    "type": "binaryExpr", "op": "/", "bool": false,
    "matching": {"card": "many-to-one", "labels": ["x"], "on": true, "include": ["y"]},
    "lhs": {"type": "vectorSelector", "name": "a", "offset": 0, "timestamp": null, "startOrEnd": null,
            "matchers": [{"name": "__name__", "type": "=", "value": "a"}]},
    "rhs": {"type": "vectorSelector", "name": "b", "offset": 0, "timestamp": null, "startOrEnd": null,
            "matchers": [{"name": "__name__", "type": "=", "value": "b"}]}})"));
  CHECK(tree("-(1.5)") == js::parse(R"({"type": "unaryExpr", "op": "-", "expr":
    {"type": "parenExpr", "expr": {"type": "numberLiteral", "val": "1.5"}}})"));
  CHECK(tree("\"a\\n\"") == js::parse(R"({"type": "stringLiteral", "val": "a\n"})"));
  CHECK(bad(world.get("/api/v1/parse_query", {{"query", "sum("}})).contains("parse error"));
  const auto functions = data_of(world.get("/api/v1/features")).at("promql_functions").as_object();
  CHECK(functions.contains("rate"));
  CHECK(functions.contains("nexus_forecast"));
}
