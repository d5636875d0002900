// Models: what PromQL's functions of this agent's own ask: nexus_forecast, nexus_forecast_lower,
// nexus_forecast_upper, nexus_anomaly and nexus_time_to.
//
// Knowledge knows no statistics; a room above implements Models and puts it beside the data that is
// queried (WithModels). Over data that brings none the functions are unknown. Pure functions of one
// window of one series: `times` are milliseconds since the epoch, strictly ascending, as many as
// `values`, at least one, no stale markers but NaN and infinities where they were measured. `now`
// is the right edge of the window (milliseconds): the time that the query asks about, not the
// clock's, and not before the last sample.
//
// No answer (nullopt) where a model cannot tell, e.g. too few samples; the expression then gives no
// element. The same arguments give the same answer. Cost: a query calls these once a series and
// step; nothing may be kept per call. Thread safety: all members, any thread at once.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "nexus/knowledge/queryable.hpp"

namespace nexus::knowledge {

class Models {
 public:
  virtual ~Models() = default;

  struct Window {
    std::span<const std::int64_t> times;
    std::span<const double> values;
    std::int64_t now = 0;
  };

  struct Forecast {
    double value = 0;
    double lower = 0;  // of the interval in which the value is expected with 95 %
    double upper = 0;
  };
  /// `horizon` in seconds after `now`; negative ones look back along the model.
  [[nodiscard]] virtual std::optional<Forecast> forecast(const Window& window,
                                                         double horizon) const = 0;
  /// How unusual the newest sample is among those of the window: 0 to 1; about 0.5 and less is
  /// usual, towards 1 is not.
  [[nodiscard]] virtual std::optional<double> anomaly(const Window& window) const = 0;
  /// Seconds from `now` until the trend is at `threshold`: 0 when it is there, infinity when it
  /// stands still or goes the other way.
  [[nodiscard]] virtual std::optional<double> time_to(const Window& window,
                                                      double threshold) const = 0;
};

/// What a Queryable is besides when it brings models.
class ModelSource {
 public:
  virtual ~ModelSource() = default;
  [[nodiscard]] virtual const Models* models() const = 0;
};

/// The models of `data`, nullptr when it brings none.
[[nodiscard]] inline const Models* models_of(const Queryable& data) {
  const auto* source = dynamic_cast<const ModelSource*>(&data);
  return source == nullptr ? nullptr : source->models();
}

/// `data` and `models`, which both outlive it.
class WithModels final : public Queryable, public ModelSource {
 public:
  WithModels(const Queryable& data, const Models& models) : data_(data), models_(models) {}

  [[nodiscard]] std::vector<SeriesId> select(std::span<const Matcher> matchers, std::int64_t start,
                                             std::int64_t end) const override {
    return data_.select(matchers, start, end);
  }
  [[nodiscard]] const Labels& labels(SeriesId id) const override { return data_.labels(id); }
  [[nodiscard]] std::shared_ptr<const void> pin() const override { return data_.pin(); }
  void read(SeriesId id, std::int64_t start, std::int64_t end, Column& out) const override {
    data_.read(id, start, end, out);
  }
  void read_buckets(SeriesId id, std::int64_t start, std::int64_t end, BucketValue what,
                    Column& out) const override {
    data_.read_buckets(id, start, end, what, out);
  }
  [[nodiscard]] std::optional<Sample> last(SeriesId id, std::int64_t start,
                                           std::int64_t end) const override {
    return data_.last(id, start, end);
  }
  [[nodiscard]] std::int64_t step_for(std::int64_t start) const override {
    return data_.step_for(start);
  }
  [[nodiscard]] const Models* models() const override { return &models_; }

 private:
  const Queryable& data_;
  const Models& models_;
};

}  // namespace nexus::knowledge
