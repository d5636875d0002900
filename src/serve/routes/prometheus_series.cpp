// Prometheus's HTTP API: which series, labels and metrics there are.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "nexus/base/text.hpp"
#include "nexus/knowledge/names.hpp"
#include "nexus/knowledge/promql.hpp"
#include "serve/routes/groups.hpp"
#include "serve/routes/prometheus_answer.hpp"

namespace nexus::serve {
namespace {

using knowledge::Labels;
using knowledge::SeriesId;
using prometheus::Failure;

Response bad_data(std::string_view message) {
  return prometheus::failure(Failure::kBadData, message);
}

/// Whether a series has a sample from start to end. Most have one now, which is cheap to see.
bool is_within(const knowledge::History& history, SeriesId id, const prometheus::Span& span) {
  const auto newest = history.latest(id);
  if (!newest || newest->time < span.start) return false;
  return newest->time <= span.end || history.last(id, span.start - 1, span.end).has_value();
}

/// Every series with a sample in the span that any of the selectors takes; all when there are none.
std::vector<SeriesId> find(const knowledge::History& history, const prometheus::Span& span,
                           std::vector<prometheus::Selector> wanted) {
  if (wanted.empty()) wanted.emplace_back();
  std::vector<SeriesId> found;
  for (const auto& selector : wanted)
    std::ranges::copy(history.select(selector, span.start - 1, span.end),
                      std::back_inserter(found));
  std::ranges::sort(found);
  const auto again = std::ranges::unique(found);
  found.erase(again.begin(), again.end());
  std::erase_if(found, [&](SeriesId id) { return !is_within(history, id, span); });
  return found;
}

struct Search {
  std::shared_ptr<const void> pin;  // keeps the labels
  std::vector<SeriesId> found;
  std::size_t limit = 0;  // 0: none
};

enum class Match { kRequired, kOptional };

Result<Search> search(const Rooms& rooms, const Request& request, Match match) {
  if (match == Match::kRequired && prometheus::all_params(request, "match[]").empty())
    return fail(Errc::kInvalidArgument, "no match[] parameter provided");
  const auto limit = prometheus::limit_param(request, "limit");
  if (!limit) return std::unexpected(limit.error());
  const auto span = prometheus::span_params(request);
  if (!span) return std::unexpected(span.error());
  auto wanted = prometheus::selector_params(request);
  if (!wanted) return std::unexpected(wanted.error());
  auto pin = rooms.registry.pin();
  return Search{std::move(pin), find(rooms.history, *span, std::move(*wanted)), *limit};
}

Response series(const Rooms& rooms, const Request& request) {
  const auto result = search(rooms, request, Match::kRequired);
  if (!result) return bad_data(result.error().message());
  std::vector<const Labels*> all;
  for (const auto id : result->found) all.push_back(&rooms.history.labels(id));
  std::ranges::sort(all, {}, [](const Labels* labels) -> const Labels& { return *labels; });
  std::vector<std::string> warnings;
  if (result->limit > 0 && all.size() > result->limit) {
    all.resize(result->limit);
    warnings.emplace_back(prometheus::kTruncated);
  }
  std::string data = "[";
  for (const auto* labels : all) {
    if (data.size() > 1) data += ',';
    prometheus::append_metric(data, *labels);
  }
  return prometheus::success(data += ']', warnings);
}

Response names(const std::set<std::string_view>& sorted, std::size_t limit) {
  std::vector<std::string> out;
  std::vector<std::string> warnings;
  for (const auto name : sorted) {
    if (limit > 0 && out.size() == limit) {
      warnings.emplace_back(prometheus::kTruncated);
      break;
    }
    out.emplace_back(name);
  }
  std::string data;
  prometheus::append_names(data, out);
  return prometheus::success(data, warnings);
}

Response label_names(const Rooms& rooms, const Request& request) {
  const auto result = search(rooms, request, Match::kOptional);
  if (!result) return bad_data(result.error().message());
  std::set<std::string_view> sorted;
  for (const auto id : result->found) {
    for (const auto& label : rooms.history.labels(id)) sorted.insert(label.name);
  }
  return names(sorted, result->limit);
}

Response label_values(const Rooms& rooms, const Request& request) {
  // A name that does not fit into a path may come escaped: U__my_2E_label.
  const std::string name =
      knowledge::unescape_name(request.captures.front()).value_or(request.captures.front());
  if (name.empty()) return bad_data("invalid label name: \"\"");
  const auto result = search(rooms, request, Match::kOptional);
  if (!result) return bad_data(result.error().message());
  std::set<std::string_view> sorted;
  for (const auto id : result->found) {
    if (const auto value = rooms.history.labels(id).get(name); !value.empty()) sorted.insert(value);
  }
  return names(sorted, result->limit);
}

/// Prometheus's word for what node_exporter calls untyped.
std::string_view type_of(const knowledge::Family& family) {
  return family.type == knowledge::MetricType::kUntyped ? "unknown"
                                                        : knowledge::to_string(family.type);
}

Response metadata(const Rooms& rooms, const Request& request) {
  // Other than elsewhere 0 is none here, and what is negative no limit.
  const auto number = [&](std::string_view name) {
    const auto text = request.param(name).value_or("");
    return text.empty() ? std::optional<std::int64_t>(-1) : base::parse_int(text);
  };
  const auto limit = number("limit");
  if (!limit) return bad_data("limit must be a number");
  if (!number("limit_per_metric")) return bad_data("limit_per_metric must be a number");
  const auto metric = request.param("metric").value_or("");
  std::map<std::string_view, const knowledge::Family*> sorted;
  for (std::size_t i = 0; i < rooms.registry.families(); ++i) {
    const auto& family = rooms.registry.family(static_cast<knowledge::FamilyId>(i));
    if (metric.empty() || family.name == metric) sorted.emplace(family.name, &family);
  }
  std::string data = "{";
  std::int64_t count = 0;
  for (const auto& [name, family] : sorted) {
    if (count == *limit) break;
    if (count++ > 0) data += ',';
    prometheus::append_string(data, name);
    data += fmt::format(":[{{\"type\":\"{}\",\"help\":", type_of(*family));
    prometheus::append_string(data, family->help);
    data += ",\"unit\":\"\"}]";
  }
  return prometheus::success(data += '}');
}

}  // namespace

void add_prometheus_series(std::vector<Route>& routes, const SharedRooms& rooms) {
  const auto add = [&](Method method, std::string_view path,
                       Response (*handler)(const Rooms&, const Request&), std::string_view help) {
    routes.push_back({method, fmt::format("/api/v1/{}", path), config::Role::kViewer,
                      Runs::kBlocking,
                      [rooms, handler](const Request& r) { return handler(*rooms, r); }, help});
  };
  for (const auto method : {Method::kGet, Method::kPost}) {
    add(method, "series", series, "the series that selectors take");
    add(method, "labels", label_names, "names of labels");
  }
  add(Method::kGet, "label/{name}/values", label_values, "values of a label");
  add(Method::kGet, "metadata", metadata, "type and help of metrics");
}

}  // namespace nexus::serve
