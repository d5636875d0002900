#include "agent/commands/query.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <cmath>
#include <cstdio>
#include <map>
#include <set>

#include "agent/commands/graph.hpp"
#include "agent/commands/moment.hpp"
#include "nexus/base/clock.hpp"
#include "nexus/base/go_text.hpp"
#include "nexus/base/text.hpp"
#include "nexus/drivers/http_client.hpp"
#include "nexus/knowledge/labels.hpp"

namespace nexus::agent {
namespace {

namespace json = boost::json;

/// `metric{a="b"}` of a Prometheus API metric object, as a selector takes it: odd names in quotes.
std::string series_name(const json::value& metric) {
  std::vector<knowledge::Label> labels;
  if (const auto* object = metric.if_object()) {
    for (const auto& [name, value] : *object) labels.push_back({std::string(name), to_cell(value)});
  }
  return to_string(knowledge::Labels(std::move(labels)));
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

std::vector<std::pair<std::string, std::string>> labels_of(const json::value& metric) {
  std::vector<std::pair<std::string, std::string>> out;
  if (const auto* object = metric.if_object()) {
    for (const auto& [key, value] : *object) out.emplace_back(key, to_cell(value));
  }
  return out;
}

/// As the API wrote it: times in seconds and milliseconds, and not 1.7957330005E9.
void append_json(std::string& out, const json::value& value) {
  const auto each = [&](const auto& items, char open, char close, const auto& append) {
    out += open;
    for (const auto& item : items) {
      if (&item != &*items.begin()) out += ',';
      append(item);
    }
    out += close;
  };
  if (const auto* object = value.if_object()) {
    each(*object, '{', '}', [&](const auto& member) {
      out += json::serialize(json::string(member.key())) + ':';
      append_json(out, member.value());
    });
  } else if (const auto* array = value.if_array()) {
    each(*array, '[', ']', [&](const json::value& item) { append_json(out, item); });
  } else if (const auto* real = value.if_double()) {
    base::append_go_json(out, *real);
  } else {
    out += json::serialize(value);
  }
}

std::string csv_cell(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + '"';
}

std::string go_fixed(double value) {
  std::string out;
  base::append_go_fixed(out, value);
  return out;
}

/// [time, "value"] as "time,value".
std::string csv_point(const json::value& pair) {
  const auto& array = pair.as_array();
  return fmt::format("{},{}", go_fixed(array.at(0).to_number<double>()),
                     csv_cell(to_cell(array.at(1))));
}

/// A row a sample: time, value, and a column for every label that any series has.
void print_csv(const json::value& data) {
  const auto& result = data.at("result");
  const auto type = data.at("resultType").as_string();
  if (type == "scalar" || type == "string") {
    fmt::print("time,value\n{}\n", csv_point(result));
    return;
  }
  std::set<std::string> names;
  for (const auto& series : result.as_array()) {
    for (const auto& [name, value] : labels_of(series.at("metric"))) names.insert(name);
  }
  std::string header = "time,value";
  for (const auto& name : names) header += "," + csv_cell(name);
  fmt::print("{}\n", header);
  for (const auto& series : result.as_array()) {
    std::map<std::string, std::string> labels;
    for (auto& [name, value] : labels_of(series.at("metric"))) labels[name] = std::move(value);
    std::string tail;
    for (const auto& name : names) tail += "," + csv_cell(labels[name]);
    if (const auto* value = find_path(series, "value")) {
      fmt::print("{}{}\n", csv_point(*value), tail);
      continue;
    }
    for (const auto& pair : series.at("values").as_array())
      fmt::print("{}{}\n", csv_point(pair), tail);
  }
}

/// A number as Prometheus writes it, infinities and NaN too.
double number_of(const json::value& value) {
  const auto text = to_cell(value);
  if (text == "+Inf" || text == "-Inf" || text == "NaN") return std::nan("");
  return base::parse_double(text).value_or(std::nan(""));
}

void print_graph(const json::value& data, double start, double end) {
  std::vector<GraphSeries> all;
  for (const auto& series : data.at("result").as_array()) {
    auto& one = all.emplace_back();
    one.name = series_name(series.at("metric"));
    for (const auto& pair : series.at("values").as_array()) {
      one.points.emplace_back(pair.at(0).to_number<double>(), number_of(pair.at(1)));
    }
  }
  fmt::print("{}", draw(all, start, end, terminal_size()));
}

/// Times as the API takes them, and what is not said: a graph is of the last hour with a point for
/// every column of dots; other ranges go to now, by promtool's step.
Result<QueryFlags> settled(QueryFlags query, bool graph, std::int64_t now) {
  const auto to_seconds = [](std::int64_t millis) {
    return fmt::format("{:.3f}", static_cast<double>(millis) / 1000);
  };
  if (!query.time.empty()) {
    const auto time = moment("--time", query.time, now);
    if (!time) return std::unexpected(time.error());
    query.time = to_seconds(*time);
  }
  if (!graph && query.start.empty()) {
    if (query.end.empty() && query.step.empty()) return query;
    return fail(Errc::kInvalidArgument, "a range query needs --start");
  }
  const auto end = query.end.empty() ? now : moment("--end", query.end, now);
  if (!end) return std::unexpected(end.error());
  constexpr std::int64_t kHour = 3'600'000;
  const auto start = query.start.empty() ? *end - kHour : moment("--start", query.start, now);
  if (!start) return std::unexpected(start.error());
  query.start = to_seconds(*start);
  query.end = to_seconds(*end);
  if (query.step.empty()) {
    const auto length = static_cast<double>(*end - *start) / 1000;
    const double step = graph ? length / (static_cast<double>(terminal_size().width) * 2)
                              : std::floor(length / 250);
    query.step = fmt::format("{:.3f}", std::max(1.0, step));
  }
  return query;
}

std::string range_path(const std::string& expression, const std::string& start,
                       const std::string& end, const std::string& step) {
  return fmt::format("/api/v1/query_range?query={}&start={}&end={}&step={}",
                     drivers::url_encode(expression), drivers::url_encode(start),
                     drivers::url_encode(end), drivers::url_encode(step));
}

/// Whom to ask: the agent, or the history of one that is stopped.
class Source {
 public:
  explicit Source(const ClientFlags& flags) : flags_(flags) {}
  Status open(const StoppedFlags& flags) {
    if (flags.data_dir.empty()) return {};
    auto opened = StoppedHistory::open(flags, StoppedHistory::Access::kRead);
    if (!opened) return std::unexpected(opened.error());
    stopped_ = std::move(*opened);
    return {};
  }
  Result<json::value> ask(const StoppedQuery& query) const {
    if (stopped_ != nullptr) return ask_stopped(*stopped_, query);
    if (!query.start.empty())
      return call(flags_, "GET", range_path(query.expression, query.start, query.end, query.step));
    std::string path = "/api/v1/query?query=" + drivers::url_encode(query.expression);
    if (!query.time.empty()) path += "&time=" + drivers::url_encode(query.time);
    return call(flags_, "GET", path);
  }
  [[nodiscard]] std::int64_t now() const {
    base::SystemClock clock;
    return stopped_ != nullptr ? stopped_->newest() : base::to_unix_millis(clock.wall());
  }

 private:
  const ClientFlags& flags_;
  std::unique_ptr<StoppedHistory> stopped_;
};

}  // namespace

int query_agent(const ClientFlags& flags, const StoppedFlags& stopped, const QueryFlags& asked) {
  Source source(flags);
  if (Status opened = source.open(stopped); !opened) return report(opened.error());
  const auto& format = asked.format.empty() ? flags.output : asked.format;
  const bool graph = format == "graph";
  const auto query = settled(asked, graph, source.now());
  if (!query) {
    fmt::print(stderr, "{}\n", query.error().message());
    return 2;
  }
  const auto answer =
      source.ask({query->expression, query->time, query->start, query->end, query->step});
  if (!answer) return report(answer.error());
  for (const char* kind : {"warnings", "infos"}) {
    const auto* notes = find_path(*answer, kind);
    if (notes == nullptr || format == "json") continue;
    for (const auto& note : notes->as_array()) fmt::print(stderr, "{}\n", to_cell(note));
  }
  const auto* data = find_path(*answer, "data");
  if (format == "json" || data == nullptr) {
    std::string text;
    append_json(text, *answer);
    fmt::print("{}\n", text);
  } else if (graph) {
    print_graph(*data, base::parse_double(query->start).value_or(0),
                base::parse_double(query->end).value_or(0));
  } else if (format == "csv") {
    print_csv(*data);
  } else {
    print_result(*data);
  }
  return 0;
}

}  // namespace nexus::agent
