// `nexus-agent chart VITAL`: history, forecast and anomalies of a vital, drawn in the terminal or,
// by the agent, into a PNG file.
#include "agent/commands/chart.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cmath>
#include <map>
#include <utility>

#include "agent/commands/graph.hpp"
#include "nexus/base/text.hpp"
#include "nexus/drivers/http_client.hpp"
#include "nexus/host/file.hpp"

namespace nexus::agent {
namespace {

namespace json = boost::json;

constexpr int kLeads = 12;             // asked of the forecast
constexpr std::size_t kMostDrawn = 2;  // series: each takes five lines with its forecast

double number(const json::value& value) {
  return value.is_number() ? value.to_number<double>() : std::nan("");
}

std::string text_of(const json::value& labels) {
  std::string out;
  for (const auto& [key, value] : labels.as_object()) {
    if (key == "__name__") continue;
    out += fmt::format("{}{}=\"{}\"", out.empty() ? "" : ",", std::string_view(key),
                       std::string_view(value.as_string()));
  }
  return out;
}

/// One series with its forecast and its anomalies.
struct Drawn {
  GraphSeries history;
  GraphSeries forecast{"forecast", {}, false};
  GraphSeries low{"low 95 %", {}, false};
  GraphSeries high{"high 95 %", {}, false};
  GraphSeries anomalies{"anomalies", {}, true};
};

class Terminal {
 public:
  Terminal(const ClientFlags& flags, const ChartFlags& wanted, std::int64_t minutes, double now)
      : flags_(flags),
        wanted_(wanted),
        minutes_(minutes),
        now_(now),
        begin_(now - 3600.0 * wanted.hours) {}

  Status show() {
    for (const auto step :
         {&Terminal::read_history, &Terminal::read_forecast, &Terminal::read_anomalies}) {
      if (Status done = (this->*step)(); !done) return done;
    }
    std::vector<GraphSeries> all;
    for (auto& [labels, drawn] : series_) {
      if (series_.size() > 1) {
        for (auto* line : {&drawn.forecast, &drawn.low, &drawn.high, &drawn.anomalies})
          line->name = labels + " " + line->name;
      }
      for (auto* line :
           {&drawn.history, &drawn.high, &drawn.forecast, &drawn.low, &drawn.anomalies})
        if (!line->points.empty()) all.push_back(std::move(*line));
    }
    fmt::print("{}",
               draw(all, begin_, now_ + 60.0 * static_cast<double>(minutes_), terminal_size()));
    if (left_out_ > 0) {
      fmt::print("and {} series more, which are not drawn: choose one with --labels\n", left_out_);
    }
    return {};
  }

 private:
  Status read_history() {
    const double step =
        std::max(1.0, (now_ - begin_) / static_cast<double>(terminal_size().width) / 2);
    const auto answer =
        call(flags_, "GET",
             fmt::format("/api/v1/query_range?query={}&start={:.3f}&end={:.3f}&step={:.3f}",
                         drivers::url_encode(wanted_.vital), begin_, now_, step));
    if (!answer) return std::unexpected(answer.error());
    for (const auto& one : answer->at("data").at("result").as_array()) {
      const std::string labels = text_of(one.at("metric"));
      if (!wanted_.labels.empty() && labels != wanted_.labels) continue;
      if (series_.size() == kMostDrawn) {
        ++left_out_;
        continue;
      }
      Drawn& drawn = series_[labels];
      drawn.history.name = labels.empty() ? wanted_.vital : labels;
      for (const auto& point : one.at("values").as_array()) {
        const auto value = base::parse_double(std::string_view(point.at(1).as_string()));
        drawn.history.points.emplace_back(number(point.at(0)), value.value_or(std::nan("")));
      }
    }
    if (!series_.empty()) return {};
    return fail(Errc::kNotFound,
                "{}{}: no value in the last {} hours; `nexus-agent predictions` lists the vitals",
                wanted_.vital, wanted_.labels.empty() ? "" : "{" + wanted_.labels + "}",
                wanted_.hours);
  }

  Status read_forecast() {
    std::int64_t before = 0;
    for (int k = 1; k <= kLeads; ++k) {
      const auto lead = minutes_ * k / kLeads;
      if (lead == std::exchange(before, lead)) continue;  // of a few minutes
      const auto answer = call(flags_, "GET",
                               fmt::format("/health/predictions?metric={}&horizon={}",
                                           drivers::url_encode(wanted_.vital), lead));
      if (!answer) return std::unexpected(answer.error());
      for (const auto& p : answer->at("predictions").as_array()) {
        const auto place = series_.find(text_of(p.at("labels")));
        if (place == series_.end() || std::isnan(number(p.at("predicted_value")))) continue;
        const double time = now_ + 60.0 * static_cast<double>(lead);
        place->second.forecast.points.emplace_back(time, number(p.at("predicted_value")));
        place->second.low.points.emplace_back(time, number(p.at("lower")));
        place->second.high.points.emplace_back(time, number(p.at("upper")));
      }
    }
    return {};
  }

  Status read_anomalies() {
    const auto answer = call(flags_, "GET", "/health/anomalies");
    if (!answer) return std::unexpected(answer.error());
    for (const auto& a : answer->at("anomalies").as_array()) {
      if (std::string_view(a.at("metric_name").as_string()) != wanted_.vital) continue;
      const auto place = series_.find(text_of(a.at("labels")));
      const auto time = base::parse_time(std::string_view(a.at("timestamp").as_string()));
      if (place == series_.end() || !time) continue;
      const double at = static_cast<double>(base::to_unix_millis(*time)) / 1000;
      if (at >= begin_) place->second.anomalies.points.emplace_back(at, number(a.at("value")));
    }
    for (auto& [labels, drawn] : series_) std::ranges::sort(drawn.anomalies.points);
    return {};
  }

  const ClientFlags& flags_;
  const ChartFlags& wanted_;
  std::int64_t minutes_;
  double now_;
  double begin_;
  std::map<std::string, Drawn> series_;  // by labels
  std::size_t left_out_ = 0;
};

/// The agent's own picture.
Status save_png(const ClientFlags& flags, const ChartFlags& wanted, std::int64_t minutes) {
  drivers::HttpRequest request;
  request.timeout = kAnswerTimeout;
  request.method = "GET";
  request.url = fmt::format("http://localhost/health/predictions/{}/chart.png?hours={}&horizon={}",
                            drivers::url_encode(wanted.vital), wanted.hours, minutes);
  if (!wanted.labels.empty())
    request.url += "&labels=" + drivers::url_encode("{" + wanted.labels + "}");
  request.unix_socket = socket_of(flags);
  auto response = drivers::http_request(request);
  if (!response) return std::unexpected(response.error().with_context("no answer from the agent"));
  if (response->status >= 400) {
    boost::system::error_code ec;
    const auto answer = json::parse(response->body, ec);
    const auto* message = ec ? nullptr : find_path(answer, "error.message");
    return fail(
        Errc::kConflict, "{}: {}", wanted.vital,
        message != nullptr ? to_cell(*message) : fmt::format("status {}", response->status));
  }
  constexpr int kReadable = 0644;
  return host::write_file_atomically(wanted.png, response->body, kReadable);
}

}  // namespace

int show_chart(const ClientFlags& flags, const ChartFlags& wanted) {
  const auto horizon = base::parse_duration(wanted.horizon);
  if (!horizon) return report(horizon.error().with_context("--horizon"));
  const std::int64_t minutes = *horizon / Millis(60'000);
  constexpr std::int64_t kMost = 2880;  // two days: what forecasts learn
  if (minutes < 1 || minutes > kMost) {
    return report(Error(Errc::kInvalidArgument,
                        fmt::format("--horizon {}: expected 1m to 2d", wanted.horizon)));
  }
  base::SystemClock clock;
  const double now = static_cast<double>(base::to_unix_millis(clock.wall())) / 1000;
  const Status done = wanted.png.empty() ? Terminal(flags, wanted, minutes, now).show()
                                         : save_png(flags, wanted, minutes);
  return done ? 0 : report(done.error());
}

}  // namespace nexus::agent
