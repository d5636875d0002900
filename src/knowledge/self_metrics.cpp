#include "nexus/knowledge/self_metrics.hpp"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>

#include <cmath>
#include <deque>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <type_traits>
#include <variant>
#include <vector>

#include "nexus/base/log.hpp"
#include "nexus/base/result.hpp"

namespace nexus::knowledge {
namespace {

constexpr std::size_t kMaxMetrics = 10'000;  // far above what closed sets of labels make

using CounterFamily = prometheus::Family<prometheus::Counter>;
using GaugeFamily = prometheus::Family<prometheus::Gauge>;

/// Sums of durations are told to the microsecond: below it are the rounding of each addition and
/// what no clock of a run is exact to, which is most of what a history would keep of them.
double to_the_microsecond(double seconds) {
  constexpr double kMicros = 1e6;
  return std::nearbyint(seconds * kMicros) / kMicros;
}

struct Metric {
  std::string name;
  std::string help;
  std::vector<Label> labels;
  std::vector<LabelView> views;  // of labels
  std::variant<prometheus::Counter*, prometheus::Gauge*> metric;
  bool sums_seconds = false;

  [[nodiscard]] double value() const {
    const double raw = std::visit([](const auto* one) { return one->Value(); }, metric);
    return sums_seconds ? to_the_microsecond(raw) : raw;
  }
  [[nodiscard]] MetricType type() const {
    return std::holds_alternative<prometheus::Counter*>(metric) ? MetricType::kCounter
                                                                : MetricType::kGauge;
  }
};

}  // namespace

struct SelfMetrics::Impl {
  using FamilyRef = std::variant<CounterFamily*, GaugeFamily*>;

  template <typename T>
  T* get(std::string_view name, std::string_view help, std::initializer_list<LabelView> labels,
         const auto& build);

  std::mutex mutex;  // guards all below; the metrics themselves are atomic
  prometheus::Registry registry;
  std::map<std::string, FamilyRef, std::less<>> families;
  std::map<std::string, const Metric*, std::less<>> by_series;
  std::deque<Metric> metrics;                                 // never removed
  std::shared_ptr<const std::vector<const Metric*>> ordered;  // by_series, as it was at a visit
};

template <typename T>
T* SelfMetrics::Impl::get(std::string_view name, std::string_view help,
                          std::initializer_list<LabelView> labels, const auto& build) {
  const Labels canonical(name, labels);
  const std::string series = to_string(canonical);
  const std::lock_guard guard(mutex);
  if (const auto known = by_series.find(series); known != by_series.end()) {
    NEXUS_CHECK(std::holds_alternative<T*>(known->second->metric));
    return std::get<T*>(known->second->metric);
  }
  NEXUS_CHECK(metrics.size() < kMaxMetrics);
  T* made = nullptr;
  try {
    auto family = families.find(name);
    if (family == families.end()) {
      auto& added = build().Name(std::string(name)).Help(std::string(help)).Register(registry);
      family = families.emplace(std::string(name), &added).first;
    }
    NEXUS_CHECK(std::holds_alternative<prometheus::Family<T>*>(family->second));
    prometheus::Labels given;
    for (const Label& label : canonical) {
      if (label.name != kMetricName) given.emplace(label.name, label.value);
    }
    made = &std::get<prometheus::Family<T>*>(family->second)->Add(given);
  } catch (const std::exception& refused) {
    log::error("knowledge", "metric {}: {}", series, refused.what());
  }
  NEXUS_CHECK(made != nullptr);  // names and labels are ours
  Metric& metric = metrics.emplace_back();
  metric.name = name;
  metric.help = help;
  metric.metric = made;
  metric.sums_seconds = std::is_same_v<T, prometheus::Counter> && name.contains("_seconds");
  for (const Label& label : canonical) {
    if (label.name != kMetricName) metric.labels.push_back(label);
  }
  for (const Label& label : metric.labels) metric.views.push_back({label.name, label.value});
  by_series.emplace(series, &metric);
  return made;
}

void Counter::add(double by) const {
  static_cast<prometheus::Counter*>(impl_)->Increment(by);
}
double Counter::value() const {
  return static_cast<prometheus::Counter*>(impl_)->Value();
}
void Gauge::set(double value) const {
  static_cast<prometheus::Gauge*>(impl_)->Set(value);
}
void Gauge::add(double by) const {
  static_cast<prometheus::Gauge*>(impl_)->Increment(by);
}
double Gauge::value() const {
  return static_cast<prometheus::Gauge*>(impl_)->Value();
}

SelfMetrics::SelfMetrics() : impl_(std::make_unique<Impl>()) {}
SelfMetrics::~SelfMetrics() = default;

Counter SelfMetrics::counter(std::string_view name, std::string_view help,
                             std::initializer_list<LabelView> labels) {
  return Counter(impl_->get<prometheus::Counter>(name, help, labels,
                                                 [] { return prometheus::BuildCounter(); }));
}

Gauge SelfMetrics::gauge(std::string_view name, std::string_view help,
                         std::initializer_list<LabelView> labels) {
  return Gauge(
      impl_->get<prometheus::Gauge>(name, help, labels, [] { return prometheus::BuildGauge(); }));
}

void SelfMetrics::visit(const std::function<void(const Reading&)>& visitor) const {
  std::shared_ptr<const std::vector<const Metric*>> all;
  {
    const std::lock_guard guard(impl_->mutex);
    if (impl_->ordered == nullptr || impl_->ordered->size() != impl_->by_series.size()) {
      auto fresh = std::make_shared<std::vector<const Metric*>>();
      fresh->reserve(impl_->by_series.size());
      for (const auto& [series, metric] : impl_->by_series) fresh->push_back(metric);
      impl_->ordered = std::move(fresh);
    }
    all = impl_->ordered;
  }
  for (const Metric* metric : *all) {
    visitor({metric->name, metric->type(), metric->help, metric->views, metric->value()});
  }
}

}  // namespace nexus::knowledge
