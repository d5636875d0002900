#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>

#include "analyze/cadence.hpp"
#include "analyze/forecast/knee_watch.hpp"
#include "analyze/forecast/leak_watch.hpp"
#include "analyze/forecast/models.hpp"
#include "analyze/forecast/outlook.hpp"
#include "analyze/rules/evaluator.hpp"
#include "nexus/analyze/forecast.hpp"
#include "nexus/base/log.hpp"
#include "nexus/base/text.hpp"

namespace nexus::analyze {
namespace {

constexpr std::string_view kSource = "forecast";
constexpr int kSeenBeforeFiring = 2;  // intervals
constexpr int kGoneBeforeResolved = 4;

/// Drops what lies before the last stale marker, and what is not finite; thins the rest evenly, the
/// newest kept.
void clean(knowledge::Column& column) {
  std::size_t first = 0;
  for (std::size_t i = 0; i < column.size(); ++i) {
    if (knowledge::is_stale_marker(column.values[i])) first = i + 1;
  }
  std::size_t kept = 0;
  for (std::size_t i = first; i < column.size(); ++i) {
    if (!std::isfinite(column.values[i])) continue;
    column.times[kept] = column.times[i];
    column.values[kept++] = column.values[i];
  }
  const std::size_t stride = (kept + Forecaster::kMaxPoints - 1) / Forecaster::kMaxPoints;
  if (stride > 1) {
    const std::size_t skip = (kept - 1) % stride;
    std::size_t thinned = 0;
    for (std::size_t i = skip; i < kept; i += stride) {
      column.times[thinned] = column.times[i];
      column.values[thinned++] = column.values[i];
    }
    kept = thinned;
  }
  column.times.resize(kept);
  column.values.resize(kept);
}

Observation observe(const Track& track, const Prediction& p, Severity severity,
                    const config::ForecastSection& section) {
  const bool critical = severity == Severity::kWarning;
  const double time =
      time_to(track, critical ? track.vital.critical : track.vital.warning, section.interval_level)
          .value_or(0);
  const Millis interval = section.interval;
  Observation seen;
  seen.kind = FindingKind::kForecast;
  seen.name = track.vital.name + "_forecast";
  seen.severity = severity;
  seen.labels = to_map(track.labels);
  seen.subject = subject_of(seen.labels);
  seen.pending = interval * kSeenBeforeFiring;
  seen.keep_firing_for = interval * kGoneBeforeResolved;
  seen.evidence.source = "linear_regression";
  seen.evidence.value = p.predicted_value;
  seen.evidence.threshold = critical ? track.vital.critical : track.vital.warning;
  const auto whole = std::chrono::seconds(std::llround(time));
  seen.evidence.text = fmt::format(
      "{}{} is {:.6g} {} and reaches the {} threshold of {:.6g} in {} (R squared {:.2f})",
      track.vital.name, to_string(track.labels), p.current_value, p.unit,
      critical ? "critical" : "warning", seen.evidence.threshold.value_or(0),
      base::format_duration(whole), p.r_squared.value_or(0));
  seen.annotations = {{"summary", seen.evidence.text},
                      {"seconds_to_threshold", fmt::format("{}", whole.count())}};
  return seen;
}

}  // namespace

struct Forecaster::Impl {
  Impl(Clock& c, const knowledge::Queryable& d, Book& b, knowledge::SelfMetrics& self)
      : clock(c),
        data(d),
        book(b),
        ready(self.gauge("nexus_forecast_series", "Series with a forecast by state",
                         {{"state", "ready"}})),
        warming(self.gauge("nexus_forecast_series", "Series with a forecast by state",
                           {{"state", "warming_up"}})),
        model_bytes(self.gauge("nexus_forecast_model_bytes",
                               "Memory of what is learnt of all series for forecasts")),
        models(d, self.counter("nexus_forecast_series_refused_total",
                               "Series not learnt for forecasts because there are too many")),
        leaks(d, self),
        knees(d),
        metrics(self),
        seconds(self.counter("nexus_forecast_seconds_total", "Time spent in forecasting")) {}

  struct Result {
    config::ForecastSection section;
    std::vector<Track> tracks;
    std::shared_ptr<const std::vector<Prediction>> predictions =
        std::make_shared<const std::vector<Prediction>>();
    std::shared_ptr<const std::vector<Leak>> leaks = std::make_shared<const std::vector<Leak>>();
    std::shared_ptr<const std::vector<Performance>> performance =
        std::make_shared<const std::vector<Performance>>();
  };

  void forecast(const VitalsSnapshot& vitals, Result& result);
  void publish_errors(const Result& result);
  std::optional<Observation> fills(const Track& track) const;
  Track track_of(const VitalsSnapshot& vitals, const VitalValue& value,
                 const config::ForecastSection& settings);
  void publish(std::shared_ptr<const Result> result) {
    const std::lock_guard guard(mutex);
    last = std::move(result);
  }

  Clock& clock;
  const knowledge::Queryable& data;
  Book& book;
  knowledge::Gauge ready;
  knowledge::Gauge warming;
  knowledge::Gauge model_bytes;
  Models models;
  LeakWatch leaks;
  KneeWatch knees;
  knowledge::SelfMetrics& metrics;
  knowledge::Counter seconds;
  Cadence cadence;
  knowledge::Column column;

  mutable std::mutex mutex;  // guards the two below
  config::ForecastSection section;
  std::shared_ptr<const Result> last = std::make_shared<const Result>();
};

Track Forecaster::Impl::track_of(const VitalsSnapshot& vitals, const VitalValue& value,
                                 const config::ForecastSection& settings) {
  static const std::string kName(knowledge::kMetricName);
  Track track;
  track.vital = (*vitals.definitions)[value.vital];
  track.labels = value.labels.without(std::span(&kName, 1));
  track.current = value.value;
  track.view = models.feed(track.vital, track.labels, value.series);
  const std::int64_t end = base::to_unix_millis(value.time);
  column.clear();
  data.read(value.series, end - settings.window.count(), end, column);
  clean(column);
  track.samples = column.size();
  if (column.size() == 0) return track;
  track.covered_seconds = static_cast<double>(column.times.back() - column.times.front()) / 1000;
  fit_track(column.times, column.values, settings.minimum_r_squared, track);
  return track;
}

void Forecaster::Impl::forecast(const VitalsSnapshot& vitals, Result& result) {
  auto predictions = std::make_shared<std::vector<Prediction>>();
  std::vector<Observation> seen;
  models.begin(base::to_unix_millis(vitals.time));
  double count = 0;
  for (const VitalValue& value : vitals.values) {
    if (!(*vitals.definitions)[value.vital].forecast) continue;
    Track track = track_of(vitals, value, result.section);
    Prediction prediction = predict(track, result.section.horizon, result.section);
    if (const auto severity = credible_crossing(track, prediction, result.section)) {
      seen.push_back(observe(track, prediction, *severity, result.section));
    }
    if (auto full = fills(track)) seen.push_back(std::move(*full));
    count += prediction.ready ? 1 : 0;
    predictions->push_back(std::move(prediction));
    result.tracks.push_back(std::move(track));
  }
  ready.set(count);
  model_bytes.set(static_cast<double>(models.bytes()));
  warming.set(static_cast<double>(predictions->size()) - count);
  result.predictions = std::move(predictions);
  publish_errors(result);
  leaks.turn(base::to_unix_millis(vitals.time));
  for (Observation& leak : leaks.observations()) seen.push_back(std::move(leak));
  knees.turn(vitals, result.tracks);
  for (Observation& knee : knees.observations(result.section.horizon))
    seen.push_back(std::move(knee));
  result.performance = std::make_shared<const std::vector<Performance>>(knees.all());
  result.leaks = std::make_shared<const std::vector<Leak>>(leaks.leaks());
  if (Status saved = models.save(false); !saved)
    log::warning("forecast", "what was learnt is not saved: {}", saved.error().message());
  book.observe(kSource, seen);
}

/// Something that is to be full within a week, surely, and for an hour already.
std::optional<Observation> Forecaster::Impl::fills(const Track& track) const {
  constexpr double kWeek = 7 * 86'400.0;
  constexpr double kDay = 86'400.0;
  constexpr double kSharpness = 4;  // latest over earliest, at most
  if (!track.view || !track.view->capacity) return std::nullopt;
  const Capacity& capacity = *track.view->capacity;
  const Reach& end = capacity.critical.threshold ? capacity.critical : capacity.exhaustion;
  if (capacity.days_seen < 1 || !end.seconds || !end.latest || !end.earliest) return std::nullopt;
  if (*end.seconds <= 0 || *end.latest > kWeek ||
      *end.latest > kSharpness * *end.earliest + kDay / 4)
    return std::nullopt;
  Observation seen;
  seen.kind = FindingKind::kForecast;
  seen.name = track.vital.name + "_fills";
  seen.severity = *end.seconds < kDay ? Severity::kWarning : Severity::kInfo;
  seen.labels = to_map(track.labels);
  seen.subject = subject_of(seen.labels);
  seen.pending = Millis(3'600'000);
  seen.keep_firing_for = Millis(3'600'000);
  seen.evidence.source = "fill: " + capacity.pattern;
  seen.evidence.value = capacity.current;
  seen.evidence.threshold = end.threshold;
  const auto whole = [](double s) {
    return base::format_duration(std::chrono::minutes(std::llround(s / 60)));
  };
  seen.evidence.text = fmt::format(
      "{}{} is {:.6g} {}, changes by {:.4g} a day and reaches {:.6g} in {} ({} to {})",
      track.vital.name, to_string(track.labels), capacity.current, capacity.unit, capacity.per_day,
      end.threshold.value_or(0), whole(*end.seconds), whole(*end.earliest), whole(*end.latest));
  seen.annotations = {{"summary", seen.evidence.text},
                      {"seconds_to_threshold", fmt::format("{}", std::llround(*end.seconds))}};
  return seen;
}

/// The agent's own error, an hour ahead: in each vital's unit, and over all of them. Nothing is
/// said before there is one: a coverage of 0 would be a bad one.
void Forecaster::Impl::publish_errors(const Result& result) {
  std::map<std::string_view, std::pair<double, double>> of_vital;
  double in80 = 0;
  double in95 = 0;
  double ratios = 0;
  double n = 0;
  for (const Track& track : result.tracks) {
    if (!track.view || track.view->near.records.empty()) continue;
    const LeadRecord& hour = track.view->near.records.back();
    if (hour.verified < kVerified) continue;
    auto& [sum, count] = of_vital[track.vital.name];
    sum += hour.error;
    count += 1;
    if (!(hour.last_value_error > 0)) continue;  // it never moved
    in80 += hour.coverage80;
    in95 += hour.coverage95;
    ratios += std::log(std::max(hour.error / hour.last_value_error, 1e-3));
    n += 1;
  }
  for (const auto& [name, sum] : of_vital) {
    metrics
        .gauge("nexus_forecast_abs_error",
               "Mean absolute error of the forecasts an hour ahead, in the vital's unit",
               {{"vital", name}})
        .set(sum.first / sum.second);
  }
  if (n == 0) return;
  const auto covered = [&](std::string_view level, double share) {
    metrics
        .gauge("nexus_forecast_coverage_ratio",
               "Share of past values inside the forecasts' intervals", {{"level", level}})
        .set(share);
  };
  covered("0.8", in80 / n);
  covered("0.95", in95 / n);
  metrics
      .gauge("nexus_forecast_relative_error",
             "Mean error of the forecasts an hour ahead, of that of the last value")
      .set(std::exp(ratios / n));
}

Forecaster::Forecaster(Clock& clock, const knowledge::Queryable& data, Book& book,
                       knowledge::SelfMetrics& self)
    : impl_(std::make_unique<Impl>(clock, data, book, self)) {}

Forecaster::~Forecaster() = default;

void Forecaster::configure(const config::ForecastSection& section) {
  const std::lock_guard guard(impl_->mutex);
  impl_->section = section;
}

void Forecaster::tick(const VitalsSnapshot& vitals) {
  auto result = std::make_shared<Impl::Result>();
  {
    const std::lock_guard guard(impl_->mutex);
    result->section = impl_->section;
  }
  const SteadyTime begin = impl_->clock.steady();
  if (!impl_->cadence.due(begin, result->section.interval)) return;
  if (result->section.enabled && vitals.definitions) {
    impl_->forecast(vitals, *result);
  } else {
    impl_->ready.set(0);
    impl_->warming.set(0);
    impl_->book.observe(kSource, {});
  }
  impl_->seconds.add(std::chrono::duration<double>(impl_->clock.steady() - begin).count());
  impl_->publish(std::move(result));
}

std::shared_ptr<const std::vector<Prediction>> Forecaster::predictions() const {
  const std::lock_guard guard(impl_->mutex);
  return impl_->last->predictions;
}

std::vector<Capacity> Forecaster::capacity() const {
  std::shared_ptr<const Impl::Result> last;
  {
    const std::lock_guard guard(impl_->mutex);
    last = impl_->last;
  }
  std::vector<Capacity> all;
  for (const Track& track : last->tracks) {
    if (track.view && track.view->capacity) all.push_back(*track.view->capacity);
  }
  const auto soonest = [](const Capacity& c) {
    constexpr double kNever = 1e18;
    return std::min({c.warning.seconds.value_or(kNever), c.critical.seconds.value_or(kNever),
                     c.exhaustion.seconds.value_or(kNever)});
  };
  std::ranges::stable_sort(all, {}, soonest);
  return all;
}

std::shared_ptr<const std::vector<Leak>> Forecaster::leaks() const {
  const std::lock_guard guard(impl_->mutex);
  return impl_->last->leaks;
}

std::shared_ptr<const std::vector<Performance>> Forecaster::performance() const {
  const std::lock_guard guard(impl_->mutex);
  return impl_->last->performance;
}

Status Forecaster::keep(knowledge::StateDb& db) {
  return impl_->models.keep(db);
}

Status Forecaster::save() {
  return impl_->models.save(true);
}

std::vector<Prediction> Forecaster::predictions(Millis horizon) const {
  std::shared_ptr<const Impl::Result> last;
  {
    const std::lock_guard guard(impl_->mutex);
    last = impl_->last;
  }
  std::vector<Prediction> all;
  all.reserve(last->tracks.size());
  for (const Track& track : last->tracks) all.push_back(predict(track, horizon, last->section));
  return all;
}

}  // namespace nexus::analyze
