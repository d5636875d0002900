// Prometheus's HTTP API: which series, labels and metrics there are.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "nexus/base/text.hpp"
#include "nexus/knowledge/names.hpp"
#include "nexus/knowledge/promql.hpp"
#include "serve/routes/body.hpp"
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

Response refused(const Error& error) {
  switch (error.code()) {
    case Errc::kUnavailable:
      return prometheus::failure(Failure::kUnavailable, error.message());
    case Errc::kCancelled:
      return prometheus::failure(Failure::kCanceled, error.message());
    default:
      return bad_data(error.message());
  }
}

/// Whether a series has a sample from start to end. Most have one now, which is cheap to see.
bool is_within(const knowledge::History& history, SeriesId id, const prometheus::Span& span) {
  const auto newest = history.latest(id);
  if (!newest || newest->time < span.start) return false;
  return newest->time <= span.end || history.last(id, span.start - 1, span.end).has_value();
}

void sort_once_each(std::vector<SeriesId>& ids) {
  std::ranges::sort(ids);
  const auto again = std::ranges::unique(ids);
  ids.erase(again.begin(), again.end());
}

/// Every series with a sample in the span that any of the selectors takes; all when there are none.
Result<std::vector<SeriesId>> find(const knowledge::History& history, const Request& request,
                                   const prometheus::Span& span,
                                   std::vector<prometheus::Selector> wanted) {
  if (wanted.empty()) wanted.emplace_back();
  std::vector<SeriesId> found;
  for (const auto& selector : wanted) {
    if (request.cancelled && request.cancelled())
      return fail(Errc::kCancelled, "the client is gone or the server shuts down");
    std::ranges::copy(history.select(selector, span.start - 1, span.end),
                      std::back_inserter(found));
    sort_once_each(found);  // each time: many selectors may take the same series
  }
  std::erase_if(found, [&](SeriesId id) { return !is_within(history, id, span); });
  return found;
}

struct Search {
  std::shared_ptr<const void> pin;  // keeps the labels
  std::shared_ptr<base::MemoryHold> hold;
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
  auto hold = std::make_shared<base::MemoryHold>(rooms.answers);
  // Of each series an id, a place in a sorted list and, of its values, a node.
  constexpr std::uint64_t kBytesOfSeries = 64;
  if (Status held = hold->grow(rooms.history.stats().series * kBytesOfSeries); !held)
    return std::unexpected(held.error());
  auto pin = rooms.registry.pin();
  auto found = find(rooms.history, request, *span, std::move(*wanted));
  if (!found) return propagate(std::move(found));
  return Search{std::move(pin), std::move(hold), std::move(*found), *limit};
}

/// Label sets, from the registry's own while it is pinned.
class SeriesBody final : public BodySource {
 public:
  SeriesBody(std::shared_ptr<const void> pin, std::vector<const Labels*> all, std::string tail)
      : pin_(std::move(pin)), all_(std::move(all)), tail_(std::move(tail)) {}
  bool append(std::string& out) override {
    const std::size_t full = out.size() + kPieceBytes;
    if (next_ == 0) (out += prometheus::kSuccess) += '[';
    while (next_ < all_.size()) {
      if (out.size() >= full) return true;
      if (next_ > 0) out += ',';
      prometheus::append_metric(out, *all_[next_++]);
    }
    out += tail_;
    return false;
  }

 private:
  const std::shared_ptr<const void> pin_;
  const std::vector<const Labels*> all_;
  const std::string tail_;
  std::size_t next_ = 0;
};

Response series(const Rooms& rooms, const Request& request) {
  auto result = search(rooms, request, Match::kRequired);
  if (!result) return refused(result.error());
  std::vector<const Labels*> all;
  for (const auto id : result->found) {
    const Labels& labels = rooms.history.labels(id);
    if (!labels.empty()) all.push_back(&labels);  // forgotten meanwhile
  }
  std::ranges::sort(all, {}, [](const Labels* labels) -> const Labels& { return *labels; });
  std::vector<std::string> warnings;
  if (result->limit > 0 && all.size() > result->limit) {
    all.resize(result->limit);
    warnings.emplace_back(prometheus::kTruncated);
  }
  return json_of(std::make_shared<SeriesBody>(std::move(result->pin), std::move(all),
                                              "]" + prometheus::success_end(warnings, {})),
                 std::move(result->hold));
}

Response names(const std::set<std::string_view>& sorted, std::size_t limit) {
  std::vector<std::string> warnings;
  std::string data = "[";
  std::size_t count = 0;
  for (const auto name : sorted) {
    if (limit > 0 && count == limit) {
      warnings.emplace_back(prometheus::kTruncated);
      break;
    }
    if (count++ > 0) data += ',';
    prometheus::append_string(data, name);
  }
  return prometheus::success(data += ']', warnings);
}

Response label_names(const Rooms& rooms, const Request& request) {
  const auto result = search(rooms, request, Match::kOptional);
  if (!result) return refused(result.error());
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
  if (!result) return refused(result.error());
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
