// Prometheus's HTTP API (prometheus.io/docs/prometheus/latest/querying/api), so that Grafana,
// promtool and habits work.
#include <boost/json/serialize.hpp>

#include "nexus/base/text.hpp"
#include "nexus/knowledge/promql.hpp"
#include "serve/routes/groups.hpp"
#include "serve/routes/shapes.hpp"

namespace nexus::serve {
namespace {

namespace promql = knowledge::promql;

constexpr Millis kQueryTimeout{30'000};

}  // namespace

namespace {

Response api_error(unsigned status, std::string_view type, std::string_view message) {
  return to_response({{"status", "error"}, {"errorType", type}, {"error", message}}, status);
}

Response success(json_ns::value data) {
  return to_response({{"status", "success"}, {"data", std::move(data)}});
}

/// How a failed evaluation is answered: as Prometheus's api.go does.
Response evaluation_error(const Error& error) {
  switch (error.code()) {
    case Errc::kTimeout:
      return api_error(503, "timeout", error.message());
    case Errc::kCancelled:
      return api_error(503, "canceled", error.message());
    case Errc::kInvalidArgument:
      return api_error(400, "bad_data", error.message());
    default:
      return api_error(422, "execution", error.message());
  }
}

json_ns::array point(std::int64_t time, double value) {
  return {static_cast<double>(time) / 1000.0, json_ns::value(base::format_double(value))};
}

json_ns::object metric(const knowledge::Labels& given) {
  json_ns::object out;
  for (const auto& label : given) out[label.name] = label.value;
  return out;
}

json_ns::value render(const promql::Matrix& matrix) {
  json_ns::array out;
  for (const auto& series : matrix) {
    json_ns::array values;
    values.reserve(series.samples.size());
    for (std::size_t i = 0; i < series.samples.size(); ++i)
      values.push_back(point(series.samples.times[i], series.samples.values[i]));
    out.push_back({{"metric", metric(series.labels)}, {"values", std::move(values)}});
  }
  return out;
}

json_ns::value render(const promql::Vector& vector) {
  json_ns::array out;
  for (const auto& element : vector)
    out.push_back(
        {{"metric", metric(element.labels)}, {"value", point(element.time, element.value)}});
  return out;
}

json_ns::value render_result(const promql::Value& value, std::int64_t time) {
  if (const auto* vector = std::get_if<promql::Vector>(&value)) return render(*vector);
  if (const auto* matrix = std::get_if<promql::Matrix>(&value)) return render(*matrix);
  if (const auto* scalar = std::get_if<promql::Scalar>(&value))
    return point(scalar->time, scalar->value);
  return json_ns::array{static_cast<double>(time) / 1000.0,
                        json_ns::value(std::get<std::string>(value))};
}

}  // namespace

Result<promql::Limits> limits_of(const Rooms& rooms, const Request& request) {
  auto timeout = kQueryTimeout;
  if (const auto text = request.param("timeout")) {
    const auto given = base::parse_duration(*text);
    if (!given)
      return fail(Errc::kInvalidArgument, "invalid parameter \"timeout\": {}",
                  given.error().message());
    timeout = std::min(timeout, *given);
  }
  promql::Limits limits;
  limits.max_samples = kMaxQuerySamples;
  const auto deadline = rooms.clock.steady() + timeout;
  limits.cancelled = [&clock = rooms.clock, deadline, stopped = request.cancelled] {
    return clock.steady() >= deadline || (stopped && stopped());
  };
  return limits;
}

namespace {

Result<std::int64_t> time_param(const Request& request, std::string_view name,
                                std::optional<std::int64_t> fallback) {
  const auto text = request.param(name);
  if (!text && fallback) return *fallback;
  const auto time = base::parse_time(text.value_or(""));
  if (!time)
    return fail(Errc::kInvalidArgument, "invalid parameter \"{}\": {}", name,
                time.error().message());
  return base::to_unix_millis(*time);
}

Result<promql::Query> query_param(const Request& request) {
  auto query = promql::Query::parse(request.param("query").value_or(""));
  if (!query) return propagate(std::move(query), "invalid parameter \"query\"");
  return query;
}

Response instant(const Rooms& rooms, const Request& request) {
  const auto time = time_param(request, "time", base::to_unix_millis(rooms.clock.wall()));
  if (!time) return evaluation_error(time.error());
  const auto query = query_param(request);
  if (!query) return evaluation_error(query.error());
  const auto limits = limits_of(rooms, request);
  if (!limits) return evaluation_error(limits.error());
  const auto value = query->instant(rooms.history, *time, *limits);
  if (!value) return evaluation_error(value.error());
  return success(
      {{"resultType", to_string(type_of(*value))}, {"result", render_result(*value, *time)}});
}

Response range(const Rooms& rooms, const Request& request) {
  const auto start = time_param(request, "start", std::nullopt);
  const auto end = time_param(request, "end", std::nullopt);
  if (!start) return evaluation_error(start.error());
  if (!end) return evaluation_error(end.error());
  const auto step = base::parse_duration(request.param("step").value_or(""));
  if (!step)
    return api_error(400, "bad_data",
                     fmt::format("invalid parameter \"step\": {}", step.error().message()));
  if (step->count() <= 0) {
    return api_error(400, "bad_data",
                     "invalid parameter \"step\": zero or negative query resolution step widths "
                     "are not accepted");
  }
  if (*end < *start)
    return api_error(400, "bad_data",
                     "invalid parameter \"end\": end timestamp must not be before start time");
  const auto query = query_param(request);
  if (!query) return evaluation_error(query.error());
  const auto limits = limits_of(rooms, request);
  if (!limits) return evaluation_error(limits.error());
  const auto matrix = query->range(rooms.history, *start, *end, step->count(), *limits);
  if (!matrix) return evaluation_error(matrix.error());
  return success({{"resultType", "matrix"}, {"result", render(*matrix)}});
}

}  // namespace

void add_prometheus_api(std::vector<Route>& routes, const SharedRooms& rooms) {
  for (const auto method : {Method::kGet, Method::kPost}) {
    routes.push_back({method, "/api/v1/query", config::Role::kViewer, Runs::kBlocking,
                      [rooms](const Request& r) { return instant(*rooms, r); },
                      "PromQL at one time"});
    routes.push_back({method, "/api/v1/query_range", config::Role::kViewer, Runs::kBlocking,
                      [rooms](const Request& r) { return range(*rooms, r); },
                      "PromQL over a range"});
  }
}

}  // namespace nexus::serve
