#include "analyze/forecast/knee_watch.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "analyze/rules/evaluator.hpp"
#include "nexus/base/text.hpp"

namespace nexus::analyze {
namespace {

constexpr std::int64_t kMinute = 60'000;
constexpr std::int64_t kDay = 86'400'000;
constexpr std::int64_t kLearnt = 7 * kDay;
constexpr std::int64_t kFitEvery = 10 * kMinute;

bool is_response(const config::VitalConfig& vital) {
  return vital.direction == config::Direction::kAbove &&
         (vital.unit == "seconds" || vital.unit == "percent" || vital.unit == "ratio");
}

/// Means of whole minutes.
std::map<std::int64_t, double> minutes_of(const knowledge::Column& column, std::int64_t end) {
  std::map<std::int64_t, double> out;
  double sum = 0;
  double count = 0;
  for (std::size_t i = 0; i < column.size(); ++i) {
    const std::int64_t minute = column.times[i] / kMinute;
    if (minute >= end) break;
    if (std::isfinite(column.values[i])) {
      sum += column.values[i];
      count += 1;
    }
    if (i + 1 == column.size() || column.times[i + 1] / kMinute != minute) {
      if (count > 0) out[minute] = sum / count;
      sum = count = 0;
    }
  }
  return out;
}

/// Until a line through the forecast's points, from now's value on, is at the goal.
std::optional<double> reached(const ModelView& view, double now, double goal, bool upper) {
  if (now >= goal) return 0;
  double before = now;
  double at = 0;
  for (const ScaleView* scale : {&view.near, &view.far}) {
    const double step = static_cast<double>(scale->step.count()) / 1000;
    for (std::size_t i = 0; i < scale->points.size(); ++i) {
      const double time = step * static_cast<double>(i + 1);
      if (time <= at) continue;  // the finer scale has said it
      const double value = upper ? scale->points[i].hi80 : scale->points[i].mean;
      if (value >= goal) return at + (time - at) * (goal - before) / (value - before);
      before = value;
      at = time;
    }
  }
  return std::nullopt;
}

}  // namespace

void KneeWatch::feed(Trend& trend, knowledge::SeriesId load, knowledge::SeriesId response) {
  const std::int64_t end = now_ / kMinute;  // the minute that is going on is left for later
  if (end * kMinute <= trend.fed) return;
  load_.clear();
  response_.clear();
  data_.read(load, trend.fed - 1, now_, load_);
  data_.read(response, trend.fed - 1, now_, response_);
  const auto loads = minutes_of(load_, end);
  for (const auto& [minute, value] : minutes_of(response_, end))
    if (const auto at = loads.find(minute); at != loads.end()) trend.trend.add(at->second, value);
  trend.fed = end * kMinute;
}

void KneeWatch::turn(const VitalsSnapshot& vitals, std::span<const Track> tracks) {
  static const std::string kName(knowledge::kMetricName);
  now_ = base::to_unix_millis(vitals.time);
  all_.clear();
  struct Load {
    const VitalValue* value;
    const config::VitalConfig* vital;
  };
  std::map<std::string, Load> loads;  // by prefix and labels
  for (const VitalValue& value : vitals.values) {
    const auto& vital = (*vitals.definitions)[value.vital];
    if (!vital.name.ends_with(kLoad)) continue;
    loads[vital.name.substr(0, vital.name.size() - kLoad.size()) +
          to_string(value.labels.without(std::span(&kName, 1)))] = {&value, &vital};
  }
  if (loads.empty()) {
    trends_.clear();
    return;
  }
  for (const VitalValue& value : vitals.values) {
    const auto& vital = (*vitals.definitions)[value.vital];
    if (!is_response(vital)) continue;
    const auto labels = value.labels.without(std::span(&kName, 1));
    const std::string suffix = to_string(labels);
    // The longest prefix that has a load: "shop_cart_seconds" is of "shop_cart" before "shop".
    auto load = loads.end();
    for (std::size_t end = vital.name.rfind('_'); end != std::string::npos && load == loads.end();
         end = end == 0 ? std::string::npos : vital.name.rfind('_', end - 1))
      load = loads.find(vital.name.substr(0, end) + suffix);
    if (load == loads.end()) continue;
    const std::string key = vital.name + suffix;
    if (!trends_.contains(key) && trends_.size() >= kMost) continue;
    auto [place, fresh] = trends_.try_emplace(key);
    Trend& trend = place->second;
    if (fresh) trend.fed = now_ - kLearnt;
    trend.seen = now_;
    feed(trend, load->second.value->series, value.series);
    if (now_ - trend.fitted >= kFitEvery || now_ < trend.fitted) {
      trend.knee = trend.trend.fit();
      trend.fitted = now_;
    }
    Performance out;
    out.metric_name = vital.name;
    out.load_name = load->second.vital->name;
    out.labels = labels;
    out.unit = vital.unit;
    out.load = load->second.value->value;
    out.response = value.value;
    out.minutes = trend.trend.minutes();
    out.knee = trend.knee;
    const auto track = std::ranges::find_if(tracks, [&](const Track& t) {
      return t.vital.name == out.load_name && t.labels == labels;
    });
    if (out.knee && track != tracks.end() && track->view) {
      out.seconds = reached(*track->view, out.load, out.knee->load, false);
      out.earliest = reached(*track->view, out.load, out.knee->load, true);
    }
    all_.push_back(std::move(out));
  }
  std::erase_if(trends_, [this](const auto& t) { return now_ - t.second.seen > kDay; });
}

std::vector<Observation> KneeWatch::observations(Millis horizon) const {
  std::vector<Observation> out;
  const double within = static_cast<double>(horizon.count()) / 1000;
  for (const Performance& p : all_) {
    if (!p.knee || !p.seconds || *p.seconds > within) continue;
    Observation seen;
    seen.kind = FindingKind::kForecast;
    seen.name = p.metric_name + "_knee";
    seen.severity = Severity::kInfo;
    seen.labels = to_map(p.labels);
    seen.subject = subject_of(seen.labels);
    seen.pending = Millis(2 * kMinute);
    seen.keep_firing_for = Millis(10 * kMinute);
    seen.evidence.source = "knee over " + p.load_name;
    seen.evidence.value = p.load;
    seen.evidence.threshold = p.knee->load;
    seen.evidence.text = fmt::format(
        "{}{} is about {:.4g} {} up to a load of {:.4g} and rises by {:.3g} for each more of {} "
        "({} minutes, p {:.1g}); the load is {:.4g} and {}",
        p.metric_name, to_string(p.labels), p.knee->flat, p.unit, p.knee->load, p.knee->slope,
        p.load_name, p.knee->minutes, p.knee->p_value, p.load,
        *p.seconds <= 0
            ? std::string("beyond it")
            : fmt::format("gets there in {}", base::format_duration(std::chrono::minutes(
                                                  std::llround(std::ceil(*p.seconds / 60))))));
    seen.annotations = {{"summary", seen.evidence.text}};
    out.push_back(std::move(seen));
  }
  return out;
}

}  // namespace nexus::analyze
