#include <fmt/format.h>

#include <cmath>
#include <mutex>

#include "analyze/cadence.hpp"
#include "analyze/forecast/outlook.hpp"
#include "analyze/rules/evaluator.hpp"
#include "nexus/analyze/forecast.hpp"
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

Observation observe(const Track& track, const Prediction& p, Severity severity, Millis interval) {
  const bool critical = severity == Severity::kWarning;
  const double time = (critical ? p.seconds_to_critical : p.seconds_to_warning).value_or(0);
  Observation seen;
  seen.kind = FindingKind::kForecast;
  seen.name = track.vital.name + "_forecast";
  seen.severity = severity;
  seen.labels = to_map(track.labels);
  seen.subject = subject_of(seen.labels);
  seen.pending = interval * kSeenBeforeFiring;
  seen.keep_firing_for = interval * kGoneBeforeResolved;
  seen.evidence.source = p.model;
  seen.evidence.value = p.predicted_value;
  seen.evidence.threshold = critical ? track.vital.critical : track.vital.warning;
  const auto whole = std::chrono::seconds(std::llround(time));
  seen.evidence.text = fmt::format(
      "{}{} is {:.6g} {} and reaches the {} threshold of {:.6g} in {} (R squared {:.2f})",
      track.vital.name, to_string(track.labels), p.current_value, p.unit,
      critical ? "critical" : "warning", seen.evidence.threshold.value_or(0),
      base::format_duration(whole), p.confidence);
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
        seconds(self.counter("nexus_forecast_seconds_total", "Time spent in forecasting")) {}

  struct Result {
    config::ForecastSection section;
    std::vector<Track> tracks;
    std::shared_ptr<const std::vector<Prediction>> predictions =
        std::make_shared<const std::vector<Prediction>>();
  };

  void forecast(const VitalsSnapshot& vitals, Result& result);
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
  double count = 0;
  for (const VitalValue& value : vitals.values) {
    if (!(*vitals.definitions)[value.vital].forecast) continue;
    Track track = track_of(vitals, value, result.section);
    Prediction prediction = predict(track, result.section.horizon, result.section);
    if (const auto severity = credible_crossing(track, prediction, result.section)) {
      seen.push_back(observe(track, prediction, *severity, result.section.interval));
    }
    count += prediction.ready ? 1 : 0;
    predictions->push_back(std::move(prediction));
    result.tracks.push_back(std::move(track));
  }
  ready.set(count);
  warming.set(static_cast<double>(predictions->size()) - count);
  result.predictions = std::move(predictions);
  book.observe(kSource, seen);
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
