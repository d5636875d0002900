#include "monitor/statsd/table.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "nexus/base/text.hpp"

namespace nexus::monitor {
namespace {

constexpr std::size_t kMostTags = 30;

/// A tag's name as Prometheus takes it; not one of its own.
std::string label_name(std::string_view text) {
  std::string out = metric_name(text);
  std::ranges::replace(out, ':', '_');
  while (out.starts_with("__")) out.erase(0, 1);
  return out;
}

}  // namespace

std::size_t StatsdTable::Hash::operator()(std::string_view text) const noexcept {
  const auto key = knowledge::key_of(text);  // keyed: strangers choose what is hashed
  return key.first;
}

StatsdTable::StatsdTable(const config::StatsdSection& section, StatsdMapper mapper,
                         knowledge::SeriesRegistry& registry)
    : section_(section), mapper_(std::move(mapper)), registry_(registry) {}

void StatsdTable::take(std::string_view datagram, SteadyTime now) {
  while (!datagram.empty()) {
    auto line = base::take_until(datagram, '\n');
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty()) take_line(line, now);
  }
}

void StatsdTable::mistake(std::string_view line, const Error& error) {
  if (error.code() == Errc::kUnsupported) {
    ++counts_.unsupported;
    return;
  }
  ++counts_.invalid;
  if (counts_.first_mistake.empty())
    counts_.first_mistake =
        fmt::format("\"{}\": {}", base::sanitize_utf8(line.substr(0, 80)), error.message());
}

void StatsdTable::take_line(std::string_view line, SteadyTime now) {
  ++counts_.messages;
  auto message = read_statsd(line);
  if (!message) return mistake(line, message.error());
  Series* series = series_of(*message);
  if (series == nullptr) return;
  series->seen = now;
  auto rest = message->values;
  if (series->shape == Shape::kSet) {
    apply(*series, *message, rest);  // a member may have colons
    return;
  }
  while (!rest.empty()) {
    const auto value = base::take_until(rest, ':');
    apply(*series, *message, value);
  }
}

StatsdTable::Series* StatsdTable::series_of(const StatsdMessage& message) {
  key_.assign(message.before);
  key_ += '|';
  key_ += message.behind;
  const auto found = known_.find(std::string_view(key_));
  if (found != known_.end() && found->second != nullptr) return found->second;
  Series* series = make(message);
  if (series == nullptr) return nullptr;
  // Rates and the order of tags make one series look different: they are forgotten in good time.
  if (known_.size() > section_.max_series * 4UL) known_.clear();
  known_.insert_or_assign(key_, series);
  return series;
}

StatsdTable::Series* StatsdTable::make(const StatsdMessage& message) {
  const auto mapped = mapper_.map(message.name, message.type);
  if (mapped.dropped) {
    ++counts_.mapped_away;
    return nullptr;
  }
  std::vector<knowledge::Label> labels;
  auto rest = message.tags;
  while (!rest.empty() && labels.size() < kMostTags) {
    const auto tag = base::take_until(rest, ',');
    const auto colon = tag.find(':');
    if (colon == 0 || tag.empty() || colon == std::string_view::npos) continue;
    labels.push_back({label_name(tag.substr(0, colon)), std::string(tag.substr(colon + 1))});
  }
  for (const auto& [name, value] : mapped.labels) labels.push_back({name, value});
  const bool timer = message.type == StatsdType::kTimer;
  Shape shape = Shape::kCounter;
  if (message.type == StatsdType::kGauge) shape = Shape::kGauge;
  if (message.type == StatsdType::kSet) shape = Shape::kSet;
  if (timer || message.type == StatsdType::kHistogram ||
      message.type == StatsdType::kDistribution) {
    const bool own = mapped.mapping != nullptr && !mapped.mapping->timer_type.empty();
    const auto& type = own ? mapped.mapping->timer_type : section_.timer_type;
    shape = type == "histogram" ? Shape::kHistogram : Shape::kSummary;
  }
  const knowledge::Labels full(mapped.name, [&] {
    std::vector<LabelView> views;
    for (const auto& label : labels) views.push_back({label.name, label.value});
    return views;
  }());
  auto key = knowledge::to_string(full);
  if (const auto there = series_.find(key); there != series_.end()) {
    if (there->second->shape == shape) return there->second.get();
    ++counts_.conflicts;
    return nullptr;
  }
  const auto known = shapes_.find(mapped.name);
  if (known != shapes_.end() && known->second.first != shape) {
    ++counts_.conflicts;
    return nullptr;
  }
  if (series_.size() >= section_.max_series) {
    ++counts_.dropped;
    return nullptr;
  }
  auto series = std::make_unique<Series>();
  series->name = mapped.name;
  series->labels = std::move(labels);
  series->shape = shape;
  series->scale = timer ? 0.001 : 1;
  if (shape == Shape::kHistogram) {
    const bool own = mapped.mapping != nullptr && !mapped.mapping->buckets.empty();
    series->buckets = own ? mapped.mapping->buckets : section_.buckets;
    series->counts.resize(series->buckets.size() + 1);
  }
  ++shapes_.try_emplace(mapped.name, shape, 0).first->second.second;
  return series_.emplace(std::move(key), std::move(series)).first->second.get();
}

void StatsdTable::apply(Series& series, const StatsdMessage& message, std::string_view value) {
  if (series.shape == Shape::kSet) {
    if (series.members.size() < kMostMembers) {
      series.members.insert(knowledge::key_of(value).first);
    } else {
      ++counts_.dropped;
    }
    return;
  }
  const auto number = base::parse_double(value);
  if (!number || !std::isfinite(*number)) {
    mistake(value, Error(Errc::kInvalidArgument, "expected a number"));
    return;
  }
  switch (series.shape) {
    case Shape::kCounter:
      if (*number < 0) {
        mistake(value, Error(Errc::kInvalidArgument, "a counter cannot go down"));
      } else {
        series.value += *number / message.rate;
      }
      break;
    case Shape::kGauge: {
      const bool relative = value.front() == '+' || value.front() == '-';
      series.value = relative ? series.value + *number : *number;
      break;
    }
    case Shape::kSummary:
    case Shape::kHistogram:
      observe(series, *number * series.scale, 1 / message.rate);
      break;
    case Shape::kSet:
      break;
  }
}

void StatsdTable::observe(Series& series, double value, double times) {
  series.value += value * times;
  series.count += times;
  if (series.shape == Shape::kHistogram) {
    const auto at = std::ranges::lower_bound(series.buckets, value) - series.buckets.begin();
    series.counts[static_cast<std::size_t>(at)] += times;
    return;
  }
  // Algorithm R: each observation has the same chance to stay.
  ++series.observed;
  if (series.recent.size() < kReservoir) {
    series.recent.push_back(value);
    return;
  }
  random_ ^= random_ << 13;
  random_ ^= random_ >> 7;
  random_ ^= random_ << 17;
  const auto at = random_ % series.observed;
  if (at < kReservoir) series.recent[at] = value;
}

void StatsdTable::add_to(Sink& sink, SteadyTime now) {
  bool forgotten = false;
  for (auto it = series_.begin(); it != series_.end();) {
    Series& series = *it->second;
    if (now - series.seen > section_.expire_after) {
      const auto shape = shapes_.find(series.name);
      if (shape != shapes_.end() && --shape->second.second == 0) shapes_.erase(shape);
      it = series_.erase(it);
      forgotten = true;
      continue;
    }
    add(sink, series);
    ++it;
  }
  if (forgotten) known_.clear();  // it leads to series that are gone
}

void StatsdTable::add(Sink& sink, Series& series) {
  std::vector<LabelView> labels;
  for (const auto& label : series.labels) labels.push_back({label.name, label.value});
  const auto put = [&](const std::string& name, MetricType type, double value) {
    sink.add(registry_.family(name, type, "From statsd."), labels, value);
  };
  if (series.shape == Shape::kCounter) return put(series.name, MetricType::kCounter, series.value);
  if (series.shape == Shape::kGauge) return put(series.name, MetricType::kGauge, series.value);
  if (series.shape == Shape::kSet) {
    put(series.name, MetricType::kGauge, static_cast<double>(series.members.size()));
    series.members.clear();
    return;
  }
  put(series.name + "_sum", MetricType::kUntyped, series.value);
  put(series.name + "_count", MetricType::kUntyped, series.count);
  if (series.shape == Shape::kHistogram) {
    double below = 0;
    for (std::size_t i = 0; i < series.counts.size(); ++i) {
      below += series.counts[i];
      const auto bound =
          i < series.buckets.size() ? base::format_double(series.buckets[i]) : "+Inf";
      labels.push_back({"le", bound});
      put(series.name + "_bucket", MetricType::kUntyped, below);
      labels.pop_back();
    }
    return;
  }
  if (!series.recent.empty()) {
    std::ranges::sort(series.recent);
    series.quantiles.clear();
    for (const double q : section_.quantiles) {
      const auto rank = std::ceil(q * static_cast<double>(series.recent.size()));
      const auto at = static_cast<std::size_t>(std::max(rank, 1.0)) - 1;
      series.quantiles.push_back(series.recent[at]);
    }
    series.recent.clear();
    series.observed = 0;
  }
  for (std::size_t i = 0; i < series.quantiles.size(); ++i) {
    const auto q = base::format_double(section_.quantiles[i]);
    labels.push_back({"quantile", q});
    put(series.name, MetricType::kUntyped, series.quantiles[i]);
    labels.pop_back();
  }
}

}  // namespace nexus::monitor
