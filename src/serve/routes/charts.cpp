// Pictures of a vital: its history, the forecast's bands, anomalies and thresholds.
#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>
#include <string>

#include "nexus/base/text.hpp"
#include "nexus/knowledge/promql_rows.hpp"
#include "nexus/serve/chart.hpp"
#include "serve/routes/groups.hpp"
#include "serve/routes/requests.hpp"
#include "serve/routes/shapes.hpp"

namespace nexus::serve {
namespace {

constexpr std::size_t kMostSeries = 5;
constexpr std::int64_t kPoints = 600;
constexpr int kForecastPoints = 24;
constexpr std::array kColours = {ChartColour::kBlue, ChartColour::kGreen, ChartColour::kPurple,
                                 ChartColour::kInk, ChartColour::kRed};

struct Wanted {
  std::int64_t hours = 0;
  std::int64_t horizon = 0;  // minutes
  std::int64_t width = 0;
  std::int64_t height = 0;
};

Result<Wanted> wanted(const Request& request) {
  Wanted out;
  const auto take = [&](std::int64_t& into, std::string_view name, std::int64_t fallback,
                        std::int64_t low, std::int64_t high) -> Status {
    const auto value = integer_param(request, name, fallback, low, high);
    if (!value) return std::unexpected(value.error());
    into = *value;
    return {};
  };
  if (Status s = take(out.hours, "hours", 6, 1, 24 * 366); !s) return std::unexpected(s.error());
  if (Status s = take(out.horizon, "horizon", 60, 1, 2880); !s) return std::unexpected(s.error());
  if (Status s = take(out.width, "width", 900, 200, Chart::kMostWidth); !s)
    return std::unexpected(s.error());
  if (Status s = take(out.height, "height", 360, 120, Chart::kMostHeight); !s)
    return std::unexpected(s.error());
  return out;
}

/// The bands of both intervals and the middle, from now on.
void add_forecast(Chart& chart, const Rooms& rooms, const std::string& name,
                  const std::set<std::string>& shown, double now, std::int64_t horizon) {
  std::map<std::string, std::size_t> places;  // of a series' line and bands
  for (int k = 1; k <= kForecastPoints; ++k) {
    const double minutes = static_cast<double>(horizon) * k / kForecastPoints;
    const Millis lead(std::llround(minutes * 60'000));
    for (const auto& p : rooms.forecaster.predictions(lead)) {
      const std::string key = to_string(p.labels);
      if (p.metric_name != name || !p.ready || !shown.contains(key)) continue;
      const auto [place, fresh] = places.try_emplace(key, places.size());
      const std::size_t band = 2 * place->second;
      if (fresh) {
        chart.bands.resize(band + 2);
        chart.bands[band].points.push_back({now, p.current_value, p.current_value});
        chart.bands[band + 1] = {ChartColour::kNarrowBand,
                                 {{now, p.current_value, p.current_value}}};
        chart.lines.push_back({places.size() == 1 ? "forecast" : "",
                               ChartColour::kOrange,
                               false,
                               {{now, p.current_value}}});
      }
      const double time = now + minutes * 60;
      chart.bands[band].points.push_back({time, p.lower, p.upper});
      if (p.lower80 && p.upper80)
        chart.bands[band + 1].points.push_back({time, *p.lower80, *p.upper80});
      chart.lines[chart.lines.size() - places.size() + place->second].points.emplace_back(
          time, p.predicted_value);
    }
  }
}

void add_anomalies(Chart& chart, const Rooms& rooms, const std::string& name,
                   const std::set<std::string>& shown, double begin) {
  ChartLine line{"anomalies", ChartColour::kRed, true, {}};
  for (const auto& anomaly : *rooms.anomalies.anomalies()) {
    const double time = static_cast<double>(base::to_unix_millis(anomaly.time)) / 1000;
    if (anomaly.metric_name == name && shown.contains(to_string(anomaly.labels)) && time >= begin)
      line.points.emplace_back(time, anomaly.value);
  }
  if (line.points.empty()) return;
  std::ranges::sort(line.points);
  chart.lines.push_back(std::move(line));
}

Response chart(const Rooms& rooms, const Request& request) {
  static const std::string kName(knowledge::kMetricName);
  const std::string& name = request.captures.at(0);
  const auto size = wanted(request);
  if (!size) return error(size.error());
  const auto vitals = rooms.rules.vitals();
  const config::VitalConfig* vital = nullptr;
  if (vitals && vitals->definitions) {
    const auto found = std::ranges::find(*vitals->definitions, name, &config::VitalConfig::name);
    if (found != vitals->definitions->end()) vital = &*found;
  }
  if (vital == nullptr)
    return error(404, "not_found", "no vital of this name; /health/status lists them");
  const auto query = knowledge::promql::Query::parse(name);
  if (!query) return error(query.error());
  const auto limits = limits_of(rooms, request);
  if (!limits) return error(limits.error());
  const std::int64_t end = base::to_unix_millis(rooms.clock.wall());
  const std::int64_t begin = end - size->hours * 3'600'000;
  const auto rows = query->range_rows(
      rooms.history, begin, end, std::max<std::int64_t>(1000, (end - begin) / kPoints), *limits);
  if (!rows) return error(rows.error());
  Chart out;
  out.title = vital->name + " (" + vital->unit + ")";
  out.width = static_cast<std::size_t>(size->width);
  out.height = static_cast<std::size_t>(size->height);
  std::set<std::string> shown;
  knowledge::Column samples;
  for (std::size_t row = 0; row < rows->size(); ++row) {
    const std::string key = to_string(rows->labels(row).all.without(std::span(&kName, 1)));
    if (const auto filter = request.param("labels"); filter && key != *filter) continue;
    if (shown.size() >= kMostSeries) {
      out.title += ", and more";
      break;
    }
    ChartLine line{key == "{}" || key.empty() ? "history" : key, kColours[shown.size()], false, {}};
    for (std::size_t place = 0;;) {
      place = rows->read(row, place, static_cast<std::size_t>(kPoints) + 1, samples);
      for (std::size_t i = 0; i < samples.size(); ++i)
        line.points.emplace_back(static_cast<double>(samples.times[i]) / 1000, samples.values[i]);
      if (place == 0) break;
    }
    out.lines.push_back(std::move(line));
    shown.insert(key);
  }
  if (vital->warning) out.levels.push_back({"warning", *vital->warning});
  if (vital->critical) out.levels.push_back({"critical", *vital->critical});
  add_forecast(out, rooms, name, shown, static_cast<double>(end) / 1000, size->horizon);
  add_anomalies(out, rooms, name, shown, static_cast<double>(begin) / 1000);
  Response response;
  response.content_type = "image/png";
  response.body = std::make_shared<const std::string>(to_png(out));
  return response;
}

}  // namespace

void add_charts(std::vector<Route>& routes, const SharedRooms& rooms) {
  routes.push_back({Method::kGet, "/health/predictions/{vital}/chart.png", config::Role::kViewer,
                    Runs::kBlocking, [rooms](const Request& r) { return chart(*rooms, r); },
                    "History, forecast and anomalies of a vital, drawn"});
}

}  // namespace nexus::serve
