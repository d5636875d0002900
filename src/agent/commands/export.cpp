// The samples series by series, a few hours at a time, written as they come: from the running
// agent, or from the directory of a stopped one.
#include <fmt/format.h>

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <memory>
#include <optional>
#include <set>

#include "agent/commands/moment.hpp"
#include "agent/commands/transfer.hpp"
#include "nexus/base/clock.hpp"
#include "nexus/base/go_text.hpp"
#include "nexus/base/text.hpp"
#include "nexus/drivers/http_client.hpp"
#include "nexus/knowledge/names.hpp"
#include "nexus/knowledge/promql.hpp"

namespace nexus::agent {
namespace {

namespace json = boost::json;

constexpr std::int64_t kHour = 3'600'000;  // ms
constexpr std::int64_t kWindow = 6 * kHour;

struct Span {
  std::int64_t start = 0;  // ms, both included
  std::int64_t end = 0;
};

using LabelPairs = std::vector<std::pair<std::string, std::string>>;

/// What is not said: the last hour before `now`, or from `oldest` on.
Result<Span> span_of(const ExportFlags& wanted, std::int64_t now,
                     std::optional<std::int64_t> oldest) {
  Span out;
  out.end = now;
  if (!wanted.end.empty()) {
    const auto end = moment("--end", wanted.end, now);
    if (!end) return std::unexpected(end.error());
    out.end = *end;
  }
  out.start = oldest.value_or(out.end - kHour);
  if (!wanted.start.empty()) {
    const auto start = moment("--start", wanted.start, now);
    if (!start) return std::unexpected(start.error());
    out.start = *start;
  }
  if (out.end < out.start) return fail(Errc::kInvalidArgument, "--end is before --start");
  return out;
}

std::string seconds(std::int64_t millis) {
  std::string out;
  base::append_go_fixed(out, static_cast<double>(millis) / 1000);
  return out;
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out;
}

std::string quoted(std::string_view name) {
  return '"' + escaped(name) + '"';
}

/// `name{a="b"}`, or `{"a name",a="b"}`: the head of a line, and the selector of exactly this
/// series but for labels that others have besides.
std::string head_of(const LabelPairs& labels) {
  std::string name;
  std::string inner;
  for (const auto& [key, value] : labels) {
    const char* comma = inner.empty() ? "" : ",";
    if (key != "__name__") {
      const bool plain = knowledge::is_legacy_label_name(key);
      inner += fmt::format("{}{}=\"{}\"", comma, plain ? key : quoted(key), escaped(value));
    } else if (knowledge::is_legacy_metric_name(value)) {
      name = value;
    } else {
      inner = quoted(value) + (inner.empty() ? "" : ",") + inner;
    }
  }
  return inner.empty() ? name : fmt::format("{}{{{}}}", name, inner);
}

std::string name_of(const LabelPairs& labels) {
  const auto found = std::ranges::find(labels, "__name__", &LabelPairs::value_type::first);
  return found == labels.end() ? std::string() : found->second;
}

Result<std::vector<LabelPairs>> find_series(const ClientFlags& flags, const ExportFlags& wanted,
                                            const Span& span) {
  std::string path =
      fmt::format("/api/v1/series?start={}&end={}", seconds(span.start), seconds(span.end));
  for (const auto& match : wanted.matches) path += "&match%5B%5D=" + drivers::url_encode(match);
  const auto answer = call(flags, "GET", path);
  if (!answer) return std::unexpected(answer.error());
  std::vector<LabelPairs> out;
  for (const auto& series : answer->at("data").as_array()) {
    auto& labels = out.emplace_back();
    for (const auto& [key, value] : series.as_object())
      labels.emplace_back(key, std::string(value.as_string()));
  }
  std::ranges::stable_sort(out, {}, name_of);
  return out;
}

class Writer {
 public:
  virtual ~Writer() = default;
  virtual void begin(const LabelPairs& labels) = 0;
  virtual void sample(std::string_view time, std::string_view value) = 0;
  virtual void end() {}
};

class OpenMetricsWriter final : public Writer {
 public:
  void begin(const LabelPairs& labels) override {
    head_ = head_of(labels);
    // Samples of a family stand together; its type is not asked for.
    if (auto name = name_of(labels); name != name_) {
      name_ = std::move(name);
      const bool plain = knowledge::is_legacy_metric_name(name_);
      fmt::print("# TYPE {} unknown\n", plain ? name_ : quoted(name_));
    }
  }
  void sample(std::string_view time, std::string_view value) override {
    fmt::print("{} {} {}\n", head_, value, time);
  }
  void end() override { fmt::print("# EOF\n"); }

 private:
  std::string head_;
  std::string name_;
};

class CsvWriter final : public Writer {
 public:
  CsvWriter() { fmt::print("series,time,value\n"); }
  void begin(const LabelPairs& labels) override {
    series_ = "\"";
    for (const char c : head_of(labels)) {
      if (c == '"') series_ += '"';
      series_ += c;
    }
    series_ += '"';
  }
  void sample(std::string_view time, std::string_view value) override {
    fmt::print("{},{},{}\n", series_, time, value);
  }

 private:
  std::string series_;
};

/// The samples of one series, a window after the other; a window is open on the left.
Status write_series(const ClientFlags& flags, const LabelPairs& labels, const Span& span,
                    Writer& writer) {
  const auto selector = head_of(labels);
  writer.begin(labels);
  for (std::int64_t from = span.start - 1; from < span.end; from += kWindow) {
    const auto to = std::min(from + kWindow, span.end);
    const auto query = fmt::format("{}[{}ms]", selector, to - from);
    const auto answer = call(
        flags, "GET",
        fmt::format("/api/v1/query?query={}&time={}", drivers::url_encode(query), seconds(to)));
    if (!answer) return std::unexpected(answer.error());
    for (const auto& series : answer->at("data").at("result").as_array()) {
      // Series with more labels are found by the same selector.
      if (series.at("metric").as_object().size() != labels.size()) continue;
      for (const auto& pair : series.at("values").as_array()) {
        std::string time;
        base::append_go_fixed(time, pair.at(0).to_number<double>());
        writer.sample(time, to_cell(pair.at(1)));
      }
    }
  }
  return {};
}

std::unique_ptr<Writer> make_writer(const ExportFlags& wanted) {
  if (wanted.format == "csv") return std::make_unique<CsvWriter>();
  return std::make_unique<OpenMetricsWriter>();
}

/// All series of the directory that any of the selectors names, by name.
Result<std::vector<knowledge::SeriesId>> find_stopped(StoppedHistory& stopped,
                                                      const ExportFlags& wanted, const Span& span) {
  std::vector<knowledge::SeriesId> ids;
  for (const std::string& match : wanted.matches) {
    const auto matchers = knowledge::promql::parse_selector(match);
    if (!matchers) return fail(Errc::kInvalidArgument, "--match: {}", matchers.error().message());
    const auto some = stopped.history().select(*matchers, span.start - 1, span.end);
    ids.insert(ids.end(), some.begin(), some.end());
  }
  std::ranges::sort(ids, {}, [&](knowledge::SeriesId id) {
    return std::pair(stopped.history().labels(id).metric(), id);
  });
  const auto doubled = std::ranges::unique(ids);
  ids.erase(doubled.begin(), doubled.end());
  return ids;
}

int export_stopped(const StoppedFlags& flags, const ExportFlags& wanted) {
  auto stopped = StoppedHistory::open(flags, StoppedHistory::Access::kRead);
  if (!stopped) return report(stopped.error());
  const auto span = span_of(wanted, (*stopped)->newest(), 0);
  if (!span) {
    fmt::print(stderr, "{}\n", span.error().message());
    return 2;
  }
  const auto ids = find_stopped(**stopped, wanted, *span);
  if (!ids) return report(ids.error());
  const auto writer = make_writer(wanted);
  knowledge::Column column;
  for (const knowledge::SeriesId id : *ids) {
    column.clear();
    (*stopped)->history().read(id, span->start - 1, span->end, column);
    if (column.size() == 0) continue;
    LabelPairs labels;
    for (const auto& label : (*stopped)->history().labels(id))
      labels.emplace_back(label.name, label.value);
    writer->begin(labels);
    for (std::size_t i = 0; i < column.size(); ++i) {
      if (knowledge::is_stale_marker(column.values[i])) continue;
      std::string value;
      base::append_go_json(value, column.values[i]);
      writer->sample(seconds(column.times[i]), value);
    }
  }
  writer->end();
  return 0;
}

}  // namespace

int export_samples(const ClientFlags& given, const StoppedFlags& stopped,
                   const ExportFlags& wanted) {
  if (!stopped.data_dir.empty()) return export_stopped(stopped, wanted);
  auto flags = given;
  flags.socket = socket_of(given);  // once for all series
  base::SystemClock clock;
  const auto span = span_of(wanted, base::to_unix_millis(clock.wall()), std::nullopt);
  if (!span) {
    fmt::print(stderr, "{}\n", span.error().message());
    return 2;
  }
  const auto series = find_series(flags, wanted, *span);
  if (!series) return report(series.error());
  const auto writer = make_writer(wanted);
  for (const auto& labels : *series) {
    if (const Status written = write_series(flags, labels, *span, *writer); !written)
      return report(written.error());
  }
  writer->end();
  return 0;
}

}  // namespace nexus::agent
