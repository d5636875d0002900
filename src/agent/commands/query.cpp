#include "agent/commands/query.hpp"

#include <fmt/format.h>

#include <boost/json/serialize.hpp>
#include <cstdio>

#include "nexus/base/clock.hpp"
#include "nexus/drivers/http_client.hpp"

namespace nexus::agent {
namespace {

namespace json = boost::json;

/// `metric{a="b"}` of a Prometheus API metric object.
std::string series_name(const json::value& metric) {
  std::string name;
  std::string labels;
  if (const auto* object = metric.if_object()) {
    for (const auto& [key, value] : *object) {
      if (key == "__name__") {
        name = to_cell(value);
      } else {
        labels += fmt::format("{}{}={}", labels.empty() ? "" : ",", std::string_view(key),
                              json::serialize(value));
      }
    }
  }
  return labels.empty() && !name.empty() ? name : fmt::format("{}{{{}}}", name, labels);
}

std::string point(const json::value& pair) {
  const auto* array = pair.if_array();
  if (array == nullptr || array->size() != 2 || !(*array)[0].is_number()) return "-";
  // As promtool prints it: seconds with at most three decimals, never 1.7e+09.
  auto time = fmt::format("{:.3f}", (*array)[0].to_number<double>());
  time.erase(time.find_last_not_of('0') + 1);
  if (time.ends_with('.')) time.pop_back();
  return fmt::format("{} @[{}]", to_cell((*array)[1]), time);
}

void print_result(const json::value& data) {
  const auto* type = find_path(data, "resultType");
  const auto* result = find_path(data, "result");
  if (type == nullptr || result == nullptr) return;
  if (type->as_string() == "scalar" || type->as_string() == "string") {
    fmt::print("{}\n", point(*result));
    return;
  }
  for (const auto& series : result->as_array()) {
    const auto name = series_name(series.at("metric"));
    if (const auto* value = find_path(series, "value")) {
      fmt::print("{} => {}\n", name, point(*value));
      continue;
    }
    fmt::print("{} =>\n", name);
    for (const auto& pair : series.at("values").as_array()) fmt::print("{}\n", point(pair));
  }
}

}  // namespace

int query_agent(const ClientFlags& flags, const std::string& expression, const std::string& time,
                const std::array<std::string, 3>& range) {
  const auto& [start, end, step] = range;
  const bool any = !start.empty() || !end.empty() || !step.empty();
  if (any && (start.empty() || end.empty() || step.empty())) {
    fmt::print(stderr, "a range query needs --start, --end and --step\n");
    return 2;
  }
  std::string path = "/api/v1/query?query=" + drivers::url_encode(expression);
  if (any) {
    path = fmt::format("/api/v1/query_range?query={}&start={}&end={}&step={}",
                       drivers::url_encode(expression), drivers::url_encode(start),
                       drivers::url_encode(end), drivers::url_encode(step));
  } else if (!time.empty()) {
    path += "&time=" + drivers::url_encode(time);
  }
  const auto answer = call(flags, "GET", path);
  if (!answer) return report(answer.error());
  if (flags.output == "json") {
    fmt::print("{}\n", json::serialize(*answer));
  } else if (const auto* data = find_path(*answer, "data")) {
    print_result(*data);
  }
  return 0;
}

}  // namespace nexus::agent
