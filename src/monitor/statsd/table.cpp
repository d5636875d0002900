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

/// Whether at least one value of it can be taken.
bool has_value(const StatsdMessage& message) {
  if (message.type == StatsdType::kSet) return true;
  auto rest = message.values;
  while (!rest.empty()) {
    const auto number = base::parse_double(base::take_until(rest, ':'));
    if (number && std::isfinite(*number) && (message.type != StatsdType::kCounter || *number >= 0))
      return true;
  }
  return false;
}

}  // namespace

std::size_t StatsdTable::Hash::operator()(std::string_view text) const noexcept {
  const auto key = knowledge::key_of(text);  // keyed: strangers choose what is hashed
  return key.first;
}

StatsdTable::StatsdTable(const config::StatsdSection& section, StatsdMapper mapper,
                         knowledge::SeriesRegistry& registry)
    : section_(section), mapper_(std::move(mapper)), registry_(registry) {}

std::uint64_t StatsdTable::take(std::string_view datagram, SteadyTime now) {
  std::uint64_t cost = 1;
  while (!datagram.empty()) {
    auto line = base::take_until(datagram, '\n');
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty()) cost += take_line(line, now);
  }
  return cost;
}

void StatsdTable::mistake(std::string_view line, const Error& error) {
  if (error.code() == Errc::kUnsupported) {
    ++counts_.unsupported;
    return;
  }
  ++counts_.invalid;
  if (first_mistake_.empty())
    first_mistake_ =
        fmt::format("\"{}\": {}", base::sanitize_utf8(line.substr(0, 80)), error.message());
}

std::uint64_t StatsdTable::take_line(std::string_view line, SteadyTime now) {
  ++counts_.messages;
  auto message = read_statsd(line);
  if (!message) {
    mistake(line, message.error());
    return 1;
  }
  const Fate fate = fate_of(*message);
  const std::uint64_t cost = was_new_ ? kNewCost : 1;
  if (fate.series == nullptr) {
    if (fate.counted == &StatsdCounts::invalid) {
      mistake(line, Error(Errc::kInvalidArgument, "expected a number"));
    } else {
      ++(counts_.*fate.counted);
    }
    return cost;
  }
  Series* series = fate.series;
  series->seen = now;
  auto rest = message->values;
  if (series->shape == Shape::kSet) {
    apply(*series, *message, rest);  // a member may have colons
    return cost;
  }
  while (!rest.empty()) {
    const auto value = base::take_until(rest, ':');
    apply(*series, *message, value);
  }
  return cost;
}

void StatsdTable::forget_messages() {
  known_.clear();
  remembered_ = 0;
}

StatsdTable::Fate StatsdTable::fate_of(const StatsdMessage& message) {
  key_.assign(message.before);
  key_ += '|';
  key_ += message.behind;
  const auto found = known_.find(std::string_view(key_));
  was_new_ = found == known_.end();
  if (!was_new_) return found->second;
  // A series that only mistakes have named would show a 0 that nobody sent.
  if (!has_value(message)) return {nullptr, &StatsdCounts::invalid};
  // Rates and the order of tags make one series look different: they are forgotten in good time.
  if (known_.size() > section_.max_series * 4UL || remembered_ > kMostRemembered) forget_messages();
  const Fate fate = make(message);
  known_.emplace(key_, fate);
  remembered_ += key_.size();
  return fate;
}

StatsdTable::Shape StatsdTable::shape_of(StatsdType type, const MappedName& mapped) const {
  if (type == StatsdType::kCounter) return Shape::kCounter;
  if (type == StatsdType::kGauge) return Shape::kGauge;
  if (type == StatsdType::kSet) return Shape::kSet;
  const bool own = mapped.mapping != nullptr && !mapped.mapping->timer_type.empty();
  const auto& wanted = own ? mapped.mapping->timer_type : section_.timer_type;
  return wanted == "histogram" ? Shape::kHistogram : Shape::kSummary;
}

/// Tags, and the labels of the mapping, which win; of two tags of one name the later.
std::vector<knowledge::Label> StatsdTable::labels_of(const StatsdMessage& message,
                                                     const MappedName& mapped, Shape shape) {
  std::vector<knowledge::Label> labels;
  const std::string_view own = shape == Shape::kHistogram ? "le"
                               : shape == Shape::kSummary ? "quantile"
                                                          : "";
  const auto put = [&](std::string name, std::string value) {
    set_label(labels, name == own ? "exported_" + name : name, std::move(value));
  };
  auto rest = message.tags;
  for (std::size_t count = 0; !rest.empty() && count < kMostTags; ++count) {
    const auto tag = base::take_until(rest, ',');
    const auto colon = tag.find(':');
    if (colon == 0 || tag.empty() || colon == std::string_view::npos) continue;
    put(label_name(tag.substr(0, colon)), std::string(tag.substr(colon + 1)));
  }
  for (const auto& [name, value] : mapped.labels) put(name, value);
  return labels;
}

StatsdTable::Fate StatsdTable::make(const StatsdMessage& message) {
  const auto mapped = mapper_.map(message.name, message.type);
  if (mapped.dropped) return {nullptr, &StatsdCounts::mapped_away};
  const Shape shape = shape_of(message.type, mapped);
  auto labels = labels_of(message, mapped, shape);
  const knowledge::Labels full(mapped.name, [&] {
    std::vector<LabelView> views;
    for (const auto& label : labels) views.push_back({label.name, label.value});
    return views;
  }());
  auto key = knowledge::to_string(full);
  if (const auto there = series_.find(key); there != series_.end()) {
    if (there->second->shape == shape) return {there->second.get(), nullptr};
    return {nullptr, &StatsdCounts::conflicts};
  }
  const auto known = shapes_.find(mapped.name);
  if (known != shapes_.end() && known->second.first != shape)
    return {nullptr, &StatsdCounts::conflicts};
  // A few long ones fit into any budget.
  const std::size_t most_bytes = kMeanLabelBytes * (section_.max_series + 1024UL);
  if (series_.size() >= section_.max_series || label_bytes_ + key.size() > most_bytes)
    return {nullptr, &StatsdCounts::dropped};
  label_bytes_ += key.size();
  auto series = std::make_unique<Series>();
  series->name = mapped.name;
  series->labels = std::move(labels);
  series->shape = shape;
  series->scale = message.type == StatsdType::kTimer ? 0.001 : 1;
  if (shape == Shape::kHistogram) {
    const bool own = mapped.mapping != nullptr && !mapped.mapping->buckets.empty();
    series->buckets = own ? mapped.mapping->buckets : section_.buckets;
    series->counts.resize(series->buckets.size() + 1);
  }
  ++shapes_.try_emplace(mapped.name, shape, 0).first->second.second;
  return {series_.emplace(std::move(key), std::move(series)).first->second.get(), nullptr};
}

void StatsdTable::apply(Series& series, const StatsdMessage& message, std::string_view value) {
  if (series.shape == Shape::kSet) {
    if (members_ < kMostMembers) {
      members_ += series.members.insert(knowledge::key_of(value).first).second ? 1 : 0;
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
      members_ -= series.members.size();
      label_bytes_ -= it->first.size();
      it = series_.erase(it);
      forgotten = true;
      continue;
    }
    add(sink, series);
    ++it;
  }
  if (forgotten) forget_messages();  // it leads to series that are gone
}

void StatsdTable::add(Sink& sink, Series& series) {
  std::vector<LabelView> labels;
  for (const auto& label : series.labels) labels.push_back({label.name, label.value});
  const auto family = [&](MetricType type) {
    return registry_.family(series.name, type, "From statsd.");
  };
  if (series.shape == Shape::kCounter)
    return sink.add(family(MetricType::kCounter), labels, series.value);
  if (series.shape == Shape::kGauge)
    return sink.add(family(MetricType::kGauge), labels, series.value);
  if (series.shape == Shape::kSet) {
    sink.add(family(MetricType::kGauge), labels, static_cast<double>(series.members.size()));
    members_ -= series.members.size();
    series.members = {};
    return;
  }
  const bool histogram = series.shape == Shape::kHistogram;
  const auto own = family(histogram ? MetricType::kHistogram : MetricType::kSummary);
  sink.add_named(own, series.name + "_sum", labels, series.value);
  sink.add_named(own, series.name + "_count", labels, series.count);
  if (histogram) {
    const auto name = series.name + "_bucket";
    double below = 0;
    for (std::size_t i = 0; i < series.counts.size(); ++i) {
      below += series.counts[i];
      const auto bound =
          i < series.buckets.size() ? base::format_double(series.buckets[i]) : "+Inf";
      labels.push_back({"le", bound});
      sink.add_named(own, name, labels, below);
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
    series.recent = {};
    series.observed = 0;
  }
  for (std::size_t i = 0; i < series.quantiles.size(); ++i) {
    const auto q = base::format_double(section_.quantiles[i]);
    labels.push_back({"quantile", q});
    sink.add(own, labels, series.quantiles[i]);
    labels.pop_back();
  }
}

}  // namespace nexus::monitor
