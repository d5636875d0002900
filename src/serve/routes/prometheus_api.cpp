// Prometheus's HTTP API (prometheus.io/docs/prometheus/latest/querying/api), so that Grafana,
// promtool and habits work: the queries.
#include <algorithm>
#include <chrono>
#include <iterator>

#include "nexus/analyze/models.hpp"
#include "nexus/base/go_text.hpp"
#include "nexus/base/text.hpp"
#include "nexus/knowledge/promql_rows.hpp"
#include "nexus/knowledge/promql_tree.hpp"
#include "nexus/knowledge/tier_watch.hpp"
#include "serve/routes/body.hpp"
#include "serve/routes/groups.hpp"
#include "serve/routes/prometheus_answer.hpp"
#include "serve/routes/shapes.hpp"

namespace nexus::serve {

namespace promql = knowledge::promql;

Result<promql::Limits> limits_of(const Rooms& rooms, const Request& request) {
  constexpr Millis kQueryTimeout{30'000};
  auto timeout = kQueryTimeout;
  if (!request.param("timeout").value_or("").empty()) {
    const auto given = prometheus::duration_param(request, "timeout");
    if (!given) return std::unexpected(given.error());
    timeout = std::min(timeout, *given);
  }
  promql::Limits limits;
  if (!request.param("lookback_delta").value_or("").empty()) {
    const auto given = prometheus::duration_param(request, "lookback_delta");
    if (!given) return std::unexpected(given.error());
    if (given->count() > 0) limits.lookback_ms = given->count();
  }
  limits.max_samples = prometheus::kMaxSamples;
  limits.hold = std::make_shared<base::MemoryHold>(rooms.answers);
  const auto deadline = rooms.clock.steady() + timeout;
  limits.cancelled = [&clock = rooms.clock, deadline, stopped = request.cancelled] {
    return clock.steady() >= deadline || (stopped && stopped());
  };
  return limits;
}

namespace {

using prometheus::Failure;

void count_stopped(const Rooms& rooms, std::string_view reason) {
  rooms.self
      .counter("nexus_queries_stopped_total",
               "Queries that were ended before they had a result, by reason", {{"reason", reason}})
      .add();
}

/// How a failed evaluation is answered: as Prometheus's api.go does.
Response evaluation_error(const Rooms& rooms, const Request& request, const Error& error) {
  switch (error.code()) {
    case Errc::kCancelled:  // of the reasons to stop the time limit is the one that cannot be seen
      if (request.cancelled && request.cancelled()) {
        count_stopped(rooms, "canceled");
        return prometheus::failure(
            Failure::kCanceled, "query was canceled: its client is gone or the server shuts down");
      }
      count_stopped(rooms, "timeout");
      return prometheus::failure(Failure::kTimeout, "query timed out in expression evaluation");
    case Errc::kTimeout:
      return prometheus::failure(Failure::kTimeout, error.message());
    case Errc::kInvalidArgument:
      return prometheus::failure(Failure::kBadData, error.message());
    case Errc::kExhausted:
      count_stopped(rooms, "too_large");
      return prometheus::failure(Failure::kExecution, error.message());
    case Errc::kUnavailable:
      count_stopped(rooms, "busy");
      return prometheus::failure(Failure::kUnavailable, error.message());
    default:
      return prometheus::failure(Failure::kExecution, error.message());
  }
}

Response bad_data(const Error& error) {
  return prometheus::failure(Failure::kBadData, error.message());
}

/// `limit` cuts a result to its first series; 0 is none.
std::vector<std::string> cut(promql::Rows& result, std::size_t limit) {
  if (limit == 0 || result.size() <= limit) return {};
  result.truncate(limit);
  return {std::string(prometheus::kTruncated)};
}

void append_labels(std::string& out, const promql::Rows::RowLabels& labels) {
  out += "{\"metric\":";
  prometheus::append_metric(
      out, labels.all, labels.nameless ? prometheus::Name::kLeftOut : prometheus::Name::kShown);
}

constexpr RowFormat kVectorRow = {[](std::string& out, const promql::Rows::RowLabels& labels) {
                                    append_labels(out, labels);
                                    out += ",\"value\":";
                                  },
                                  prometheus::append_sample, "}"};
constexpr RowFormat kMatrixRow = {[](std::string& out, const promql::Rows::RowLabels& labels) {
                                    append_labels(out, labels);
                                    out += ",\"values\":[";
                                  },
                                  prometheus::append_sample, "]}"};

/// Which tier of the history served a query, where it was not the samples as they came.
std::vector<std::string> tier_info(const knowledge::TierWatch& watch) {
  const Millis step(watch.coarsest());
  if (step.count() == 0) return {};
  return {fmt::format(
      "served from the tier of {}: one value (the last) for each {}; ranges below {} "
      "have fewer than two samples",
      base::format_duration(step), base::format_duration(step), base::format_duration(step * 2))};
}

/// How a query went: the notes on its result, and what `stats=`, whatever its value, asks for.
class Stats {
 public:
  Stats(const Rooms& rooms, const Request& request)
      : clock_(rooms.clock),
        wanted_(!request.param("stats").value_or("").empty()),
        begin_(clock_.steady()),
        prepared_(begin_) {}

  void watch(promql::Limits& limits) {
    prepared_ = clock_.steady();
    limits.account = &account_;
  }
  [[nodiscard]] const promql::Account& account() const noexcept { return account_; }
  /// Results come sorted and no query waits in a queue of the engine: those times are none.
  void append(std::string& out) const {
    if (!wanted_) return;
    const auto end = clock_.steady();
    const auto seconds = [](auto span) { return std::chrono::duration<double>(span).count(); };
    out += fmt::format(
        R"(,"stats":{{"timings":{{"evalTotalTime":{},"resultSortTime":0,"queryPreparationTime":{},)"
        R"("innerEvalTime":{},"execQueueTime":0,"execTotalTime":{}}},)"
        R"("samples":{{"totalQueryableSamples":{},"peakSamples":{}}}}})",
        seconds(end - begin_), seconds(prepared_ - begin_), seconds(end - prepared_),
        seconds(end - begin_), account_.samples, account_.peak);
  }

 private:
  Clock& clock_;
  bool wanted_;
  SteadyTime begin_;
  SteadyTime prepared_;
  promql::Account account_;
};

using Value = std::variant<promql::Scalar, promql::Rows, std::string>;

/// The answer to a query whose result is of that type. What is long is written from the rows
/// themselves, which the hold of `limits` counts until then.
Response answer(promql::ValueType type, Value value, std::int64_t time, std::size_t limit,
                const knowledge::TierWatch& watch, const Stats& stats,
                const promql::Limits& limits) {
  std::vector<std::string> warnings;
  std::string head =
      fmt::format("{}{{\"resultType\":\"{}\",\"result\":[", prometheus::kSuccess, to_string(type));
  auto* rows = std::get_if<promql::Rows>(&value);
  if (rows != nullptr) {
    warnings = cut(*rows, limit);
  } else if (const auto* scalar = std::get_if<promql::Scalar>(&value)) {
    prometheus::append_scalar_time(head, scalar->time);
    head += ",\"";
    base::append_go_fixed(head, scalar->value);
    head += '"';
  } else {
    prometheus::append_scalar_time(head, time);
    head += ',';
    prometheus::append_string(head, std::get<std::string>(value));
  }
  std::string tail = "]";
  stats.append(tail);
  tail += '}';
  const auto& account = stats.account();
  warnings.insert(warnings.end(), account.warnings.begin(), account.warnings.end());
  auto infos = account.infos;
  std::ranges::move(tier_info(watch), std::back_inserter(infos));
  tail += prometheus::success_end(warnings, infos);
  if (rows == nullptr) return json(head + tail);
  const RowFormat& format = type == promql::ValueType::kVector ? kVectorRow : kMatrixRow;
  return json_of(body_of(std::move(head), std::move(*rows), format, std::move(tail)), limits.hold);
}

Result<promql::Query> query_param(const Request& request) {
  auto query = promql::Query::parse(request.param("query").value_or(""));
  if (!query) return propagate(std::move(query), "invalid parameter \"query\"");
  return query;
}

Response instant(const Rooms& rooms, const Request& request) {
  Stats stats(rooms, request);
  const auto limit = prometheus::limit_param(request, "limit");
  if (!limit) return bad_data(limit.error());
  const auto time =
      prometheus::time_param(request, "time", base::to_unix_millis(rooms.clock.wall()));
  if (!time) return bad_data(time.error());
  auto limits = limits_of(rooms, request);
  if (!limits) return bad_data(limits.error());
  const auto query = query_param(request);
  if (!query) return bad_data(query.error());
  stats.watch(*limits);
  const knowledge::TierWatch watch(rooms.history);
  const knowledge::WithModels data(watch, analyze::standard_models());
  auto value = query->instant_rows(data, *time, *limits);
  if (!value) return evaluation_error(rooms, request, value.error());
  return answer(query->type(), std::move(*value), *time, *limit, watch, stats, *limits);
}

struct Range {
  std::int64_t start = 0;
  std::int64_t end = 0;
  std::int64_t step = 0;  // ms, > 0
};

Result<Range> range_params(const Request& request) {
  constexpr std::int64_t kMaxSteps = 11'000;
  const auto start = prometheus::time_param(request, "start", std::nullopt);
  if (!start) return std::unexpected(start.error());
  const auto end = prometheus::time_param(request, "end", std::nullopt);
  if (!end) return std::unexpected(end.error());
  if (*end < *start)
    return fail(Errc::kInvalidArgument,
                "invalid parameter \"end\": end timestamp must not be before start time");
  const auto step = prometheus::duration_param(request, "step");
  if (!step) return std::unexpected(step.error());
  if (step->count() <= 0)
    return fail(Errc::kInvalidArgument,
                "invalid parameter \"step\": zero or negative query resolution step widths are not "
                "accepted. Try a positive integer");
  if ((*end - *start) / step->count() > kMaxSteps)
    return fail(Errc::kInvalidArgument,
                "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the "
                "query resolution (?step=XX)");
  return Range{*start, *end, step->count()};
}

Response range(const Rooms& rooms, const Request& request) {
  Stats stats(rooms, request);
  const auto limit = prometheus::limit_param(request, "limit");
  if (!limit) return bad_data(limit.error());
  const auto span = range_params(request);
  if (!span) return bad_data(span.error());
  auto limits = limits_of(rooms, request);
  if (!limits) return bad_data(limits.error());
  const auto query = query_param(request);
  if (!query) return bad_data(query.error());
  if (const auto type = query->type();
      type == promql::ValueType::kMatrix || type == promql::ValueType::kString) {
    return prometheus::failure(
        Failure::kBadData,
        fmt::format("invalid parameter \"query\": invalid expression type \"{}\" for range query, "
                    "must be Scalar or instant Vector",
                    type == promql::ValueType::kMatrix ? "range vector" : "string"));
  }
  stats.watch(*limits);
  const knowledge::TierWatch watch(rooms.history);
  const knowledge::WithModels data(watch, analyze::standard_models());
  auto matrix = query->range_rows(data, span->start, span->end, span->step, *limits);
  if (!matrix) return evaluation_error(rooms, request, matrix.error());
  return answer(promql::ValueType::kMatrix, std::move(*matrix), span->end, *limit, watch, stats,
                *limits);
}

Response format_query(const Request& request) {
  const auto query = query_param(request);
  if (!query) return bad_data(query.error());
  std::string text;
  prometheus::append_string(text, query->format());
  return prometheus::success(text);
}

Response parse_query(const Request& request) {
  const auto tree = promql::tree_of(request.param("query").value_or(""));
  if (!tree) return bad_data(tree.error().with_context("invalid parameter \"query\""));
  return prometheus::success(*tree);
}

/// What clients look for before they offer it to people: of Prometheus's categories only the
/// functions are told, for the others are about servers of another kind.
Response features(const Request&) {
  std::string functions;
  for (const std::string_view name : promql::function_names()) {
    functions += fmt::format("{}\"{}\":true", functions.empty() ? "" : ",", name);
  }
  return prometheus::success(fmt::format(R"({{"promql_functions":{{{}}}}})", functions));
}

/// Samples here carry no exemplars: what Prometheus answers when it has stored none.
Response exemplars(const Request& request) {
  const auto span = prometheus::span_params(request);
  if (!span) return bad_data(span.error());
  if (span->end < span->start)
    return prometheus::failure(Failure::kBadData,
                               "end timestamp must not be before start timestamp");
  const auto query = promql::Query::parse(request.param("query").value_or(""));
  if (!query) return bad_data(query.error());
  return prometheus::success("[]");
}

}  // namespace

void add_prometheus_api(std::vector<Route>& routes, const SharedRooms& rooms) {
  for (const auto method : {Method::kGet, Method::kPost}) {
    const auto add = [&](std::string_view path, Runs runs, Handler handler, std::string_view help) {
      routes.push_back({method, fmt::format("/api/v1/{}", path), config::Role::kViewer, runs,
                        std::move(handler), help});
    };
    add(
        "query", Runs::kBlocking, [rooms](const Request& r) { return instant(*rooms, r); },
        "PromQL at one time");
    add(
        "query_range", Runs::kBlocking, [rooms](const Request& r) { return range(*rooms, r); },
        "PromQL over a range");
    add("query_exemplars", Runs::kBlocking, exemplars, "exemplars: there are none");
    add("parse_query", Runs::kBlocking, parse_query, "PromQL as the tree of its syntax");
    if (method == Method::kGet) add("features", Runs::kSnapshot, features, "functions of PromQL");
    add("format_query", Runs::kBlocking, format_query, "PromQL in its canonical form");
  }
  add_prometheus_series(routes, rooms);
  add_prometheus_status(routes, rooms);
}

}  // namespace nexus::serve
