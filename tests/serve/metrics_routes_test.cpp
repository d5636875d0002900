// /metrics as scrapers ask for it, and Prometheus's query API.
#include <fstream>

#include "nexus/host/subprocess.hpp"
#include "rooms.hpp"
#include "serve/encoding.hpp"

using namespace nexus;
using namespace nexus::serve;
using namespace nexus::serve::test;

namespace {

std::string header(const Response& response, std::string_view name) {
  for (const auto& [key, value] : response.headers) {
    if (key == name) return value;
  }
  return "";
}

void fill(World& world) {
  world.sample("requests_total", {{"path", "a \"quoted\" \\ path\n"}}, 5,
               knowledge::MetricType::kCounter);
  world.sample("requests_total", {{"path", "/"}}, 7, knowledge::MetricType::kCounter);
  world.sample("temperature_celsius", {}, -3.5);
  world.tick();
}

void check_api_error(const Response& response, unsigned status, std::string_view type) {
  const auto body = expect(response, status);
  check_shape(body, {"status:s", "errorType:s", "error:s"});
  CHECK(body.at("status") == "error");
  CHECK(body.at("errorType").as_string() == type);
  CHECK_FALSE(body.at("error").as_string().empty());
}

}  // namespace

TEST_CASE("/metrics is what promtool calls sound") {
  World world;
  fill(world);
  const auto response = world.get("/metrics");
  CHECK(response.status == 200);
  CHECK(response.content_type == kTextType);
  CHECK(response.body->find("# TYPE requests_total counter\n") != std::string::npos);
  CHECK(response.body->find(R"(requests_total{path="a \"quoted\" \\ path\n"} 5)") !=
        std::string::npos);
  const TemporaryDirectory directory;
  const auto file = directory.file("metrics");
  std::ofstream out(file);
  for (const auto line : base::split(*response.body, '\n')) {
    // node_exporter's names, not ours, are no snake_case.
    if (!line.empty() && !line.contains("node_memory_")) out << line << '\n';
  }
  out.close();
  base::SystemClock clock;
  const auto checked =
      host::run({.argv = {"/bin/sh", "-c", "exec /usr/bin/promtool check metrics < " + file}},
                clock, clock.steady() + 60s);
  REQUIRE(checked);
  INFO(checked->output);
  CHECK(checked->status == 0);
}

TEST_CASE("/metrics by Accept and Accept-Encoding") {
  World world;
  fill(world);
  Request request;
  request.accept = "application/openmetrics-text; version=1.0.0";
  const auto open = world.call(Method::kGet, "/metrics", request);
  CHECK(open.content_type == kOpenMetricsType);
  CHECK(open.body->ends_with("# EOF\n"));
  CHECK(open.body->find("# TYPE requests counter\n") != std::string::npos);
  for (const std::string coding : {"gzip", "zstd"}) {
    request.accept_encoding = coding;
    const auto packed = world.call(Method::kGet, "/metrics", request);
    CHECK(header(packed, "Content-Encoding") == coding);
    CHECK(header(packed, "Vary") == "Accept, Accept-Encoding");
    CHECK(*packed.body == compress(*open.body, coding == "gzip" ? Coding::kGzip : Coding::kZstd));
  }
}

TEST_CASE("/metrics with names in quotes, and escaped as Accept asks") {
  World world;
  world.sample("disk.io", {{"device.name", "sda"}}, 7);
  world.tick();
  Request request;
  const auto line = [&](std::string accept) {
    request.accept = std::move(accept);
    const auto page = world.call(Method::kGet, "/metrics", request);
    for (const auto row : base::split(*page.body, '\n')) {
      if (row.find("sda") != std::string_view::npos)
        return std::string(row) + " | " + page.content_type.substr(page.content_type.rfind(';'));
    }
    return std::string();
  };
  CHECK(line("text/plain") == "disk_io{device_name=\"sda\"} 7 | ; charset=utf-8");
  CHECK(line("text/plain;version=1.0.0;escaping=allow-utf-8") ==
        "{\"disk.io\",\"device.name\"=\"sda\"} 7 | ; escaping=allow-utf-8");
  CHECK(line("application/openmetrics-text;version=1.0.0;escaping=values;q=0.9,text/plain;q=0.1") ==
        "U__disk_2E_io{U__device_2E_name=\"sda\"} 7 | ; escaping=values");
  CHECK(line("text/plain; escaping=dots") ==
        "disk_dot_io{device_dot_name=\"sda\"} 7 | ; escaping=dots");
  const auto values = world.get("/api/v1/label/U__device_2E_name/values");
  CHECK(*values.body == "{\"status\":\"success\",\"data\":[\"sda\"]}\n");
}

TEST_CASE("/metrics is rendered once for a state of the history, and anew for the next") {
  World world;
  fill(world);
  const auto first = world.get("/metrics").body;
  CHECK(world.get("/metrics").body == first);
  world.sample("temperature_celsius", {}, 4);
  world.tick();
  CHECK(world.get("/metrics").body->find("temperature_celsius 4\n") != std::string::npos);
}

TEST_CASE("/api/v1/query answers vectors, scalars, strings and matrices as Prometheus does") {
  World world;
  fill(world);
  const auto now = static_cast<double>(base::to_unix_millis(world.clock.wall())) / 1000;
  auto answer = expect(world.get("/api/v1/query", {{"query", "requests_total{path=\"/\"}"}}));
  check_shape(answer, {"status:s", "data:o"});
  CHECK(answer.at("status") == "success");
  check_shape(answer.at("data"), {"resultType:s", "result:a"});
  CHECK(answer.at("data").at("resultType") == "vector");
  const auto& element = answer.at("data").at("result").at(0);
  CHECK(element.at("metric") == js::parse(R"({"__name__":"requests_total","path":"/"})"));
  CHECK(element.at("value").at(0).to_number<double>() == now);
  CHECK(element.at("value").at(1) == "7");
  const auto data = [&](std::string query) {
    return expect(world.get("/api/v1/query",
                            {{"query", std::move(query)}, {"time", std::to_string(now)}}))
        .at("data");
  };
  CHECK(data("1 / 0").at("resultType") == "scalar");
  CHECK(data("1 / 0").at("result").at(1) == "+Inf");
  CHECK(data("\"text\"").at("resultType") == "string");
  CHECK(data("\"text\"").at("result").at(1) == "text");
  CHECK(data("temperature_celsius[1m]").at("resultType") == "matrix");
  CHECK(data("temperature_celsius[1m]").at("result").at(0).at("values").at(0).at(1) == "-3.5");
  CHECK(data("nothing").at("result").as_array().empty());
}

TEST_CASE("/api/v1/query_range answers a matrix") {
  World world;
  for (int i = 0; i < 60; ++i) fill(world);
  const auto end = base::to_unix_millis(world.clock.wall()) / 1000;
  World::Params params = {{"query", "temperature_celsius"},
                          {"start", std::to_string(end - 40)},
                          {"end", base::to_rfc3339(world.clock.wall())},
                          {"step", "10s"}};
  auto answer = expect(world.get("/api/v1/query_range", params));
  CHECK(answer.at("data").at("resultType") == "matrix");
  CHECK(answer.at("data").at("result").at(0).at("values").as_array().size() == 5);
  // Parameters of a POST are in its form; the session has put them with the others.
  Request form;
  form.query = params;
  CHECK(expect(world.call(Method::kPost, "/api/v1/query_range", form)) == answer);
  CHECK(expect(world.call(Method::kPost, "/api/v1/query", form)).at("status") == "success");
}

TEST_CASE("mistakes in queries are bad_data, with the word for what is wrong") {
  World world;
  fill(world);
  check_api_error(world.get("/api/v1/query"), 400, "bad_data");
  check_api_error(world.get("/api/v1/query", {{"query", "sum("}}), 400, "bad_data");
  check_api_error(world.get("/api/v1/query", {{"query", "up"}, {"time", "x"}}), 400, "bad_data");
  check_api_error(world.get("/api/v1/query", {{"query", "up"}, {"timeout", "x"}}), 400, "bad_data");
  const auto range = [&](std::string start, std::string end, std::string step,
                         std::string query = "up") {
    return world.get("/api/v1/query_range", {{"query", std::move(query)},
                                             {"start", std::move(start)},
                                             {"end", std::move(end)},
                                             {"step", std::move(step)}});
  };
  check_api_error(range("x", "2", "1"), 400, "bad_data");
  check_api_error(range("1", "", "1"), 400, "bad_data");
  check_api_error(range("2", "1", "1"), 400, "bad_data");
  check_api_error(range("1", "2", "0"), 400, "bad_data");
  check_api_error(range("1", "2", "-1s"), 400, "bad_data");
  check_api_error(range("1", "100000", "1"), 400, "bad_data");  // more than 11,000 points
  check_api_error(range("1", "2", "1", "up[5m]"), 400, "bad_data");
  check_api_error(world.get("/api/v1/query_range", {{"query", "up"}}), 400, "bad_data");
}

TEST_CASE("a query that cannot be answered says why") {
  World world;
  fill(world);
  check_api_error(
      world.get("/api/v1/query",
                {{"query", "requests_total * on() temperature_celsius + on() requests_total"}}),
      422, "execution");
}
