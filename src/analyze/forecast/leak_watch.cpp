#include "analyze/forecast/leak_watch.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "nexus/base/log.hpp"
#include "nexus/base/text.hpp"

namespace nexus::analyze {
namespace {

constexpr std::int64_t kEvery = 300'000;
constexpr std::int64_t kPresent = 2 * kEvery;  // a newer value, or the series has ended
constexpr std::int64_t kDay = 86'400'000;
constexpr std::int64_t kLearnt = 14 * kDay;
constexpr double kShown = 0.05;  // p of what is listed without being a claim
constexpr double kQuick = 0.25;  // of the present value a day: a warning
constexpr std::size_t kListed = 50;

struct Resource {
  std::string_view metric;
  std::string_view memtype;  // empty: no such label
  std::string_view name;
  std::string_view text;
  std::string_view unit;
  double least_a_day;
};

constexpr std::array kResources = {
    Resource{"namedprocess_namegroup_memory_bytes", "resident", "memory", "memory", "bytes",
             4.0 * (1 << 20)},
    Resource{"namedprocess_namegroup_open_filedesc", "", "open_files", "number of open files",
             "count", 4},
    Resource{"namedprocess_namegroup_num_threads", "", "threads", "number of threads", "count", 2},
};

std::vector<knowledge::Matcher> matchers_of(std::string_view metric, std::string_view memtype) {
  using knowledge::Matcher;
  using knowledge::MatchOp;
  std::vector<Matcher> out;
  const auto add = [&](std::string_view name, MatchOp op, std::string_view value) {
    if (auto made = Matcher::make(std::string(name), op, std::string(value)))
      out.push_back(std::move(*made));
  };
  add(knowledge::kMetricName, MatchOp::kEqual, metric);
  add("groupname", MatchOp::kNotEqual, "(other)");  // its members come and go
  if (!memtype.empty()) add("memtype", MatchOp::kEqual, memtype);
  // Those of this host: what is scraped from others has an instance.
  add("instance", MatchOp::kEqual, "");
  return out;
}

std::string amount(double value, std::string_view unit) {
  if (unit != "bytes") return fmt::format("{:.4g}", value);
  return std::abs(value) >= (1 << 30) ? fmt::format("{:.2f} GiB", value / (1 << 30))
                                      : fmt::format("{:.1f} MiB", value / (1 << 20));
}

}  // namespace

LeakWatch::LeakWatch(const knowledge::Queryable& data, knowledge::SelfMetrics& self)
    : data_(data),
      refused_(self.counter("nexus_leak_series_refused_total",
                            "Series of process groups not watched for leaks for want of room")) {}

void LeakWatch::feed(Trend& trend, const std::string& group, knowledge::SeriesId series) {
  values_.clear();
  started_.clear();
  data_.read(series, trend.fed, now_, values_);
  if (const auto start = starts_.find(group); start != starts_.end())
    data_.read(start->second, trend.fed, now_, started_);
  // Both come from one collector: at a value's time, or before it, its start is known.
  std::size_t at = 0;
  for (std::size_t i = 0; i < values_.size(); ++i) {
    while (at + 1 < started_.size() && started_.times[at + 1] <= values_.times[i]) ++at;
    const bool known = at < started_.size() && started_.times[at] <= values_.times[i];
    trend.trend.add(values_.times[i], values_.values[i],
                    known ? started_.values[at] : std::numeric_limits<double>::quiet_NaN());
  }
  trend.fed = now_;
}

void LeakWatch::turn(std::int64_t now_ms) {
  if (now_ms < next_ && next_ - now_ms <= kEvery) return;
  next_ = now_ms + kEvery;
  now_ = now_ms;
  const auto pin = data_.pin();
  starts_.clear();
  for (const auto id :
       data_.select(matchers_of("namedprocess_namegroup_oldest_start_time_seconds", ""),
                    now_ - kPresent, now_))
    starts_.emplace(std::string(data_.labels(id).get("groupname")), id);
  std::size_t learnt = 0;
  for (std::size_t r = 0; r < kResources.size(); ++r) {
    const Resource& resource = kResources[r];
    for (const auto id :
         data_.select(matchers_of(resource.metric, resource.memtype), now_ - kPresent, now_)) {
      const std::string group(data_.labels(id).get("groupname"));
      if (group.empty() || !data_.last(id, now_ - kPresent, now_)) continue;
      auto known = trends_.find({r, group});
      if (known == trends_.end()) {
        if (trends_.size() >= kMost) {
          refused_.add();
          continue;
        }
        if (learnt++ >= kLearntPerTurn) continue;
        known = trends_.try_emplace({r, group}).first;
        known->second.resource = r;
        known->second.fed = now_ - kLearnt;
      }
      Trend& trend = known->second;
      trend.seen = now_;
      feed(trend, group, id);
      // Without a new whole hour nothing is new.
      if (trend.trend.hours() < LeakTrend::kFewestHours || trend.fitted == trend.trend.last_hour())
        continue;
      trend.fitted = trend.trend.last_hour();
      trend.fit = trend.trend.fit(resource.least_a_day);
      if (!trend.fit) continue;
      trend.fit->group = group;
      trend.fit->resource = resource.name;
      trend.fit->unit = resource.unit;
    }
  }
  std::erase_if(trends_, [this](const auto& t) {
    return now_ - t.second.seen > kDay || t.second.fed > now_ + kDay;
  });
  if (learnt > kLearntPerTurn) next_ = now_ms + kEvery / 30;  // the others soon
  leaks_.clear();
  for (const auto& [key, trend] : trends_) {
    if (trend.fit && trend.seen == now_ && trend.fit->per_day > 0 &&
        (trend.fit->certain || trend.fit->p_value < kShown))
      leaks_.push_back(*trend.fit);
  }
  std::ranges::stable_sort(leaks_, [](const Leak& a, const Leak& b) {
    return a.certain != b.certain ? a.certain : a.p_value < b.p_value;
  });
  if (leaks_.size() > kListed) leaks_.resize(kListed);
}

std::vector<Observation> LeakWatch::observations() const {
  std::vector<Observation> out;
  for (const Leak& leak : leaks_) {
    if (!leak.certain) break;
    const auto resource = std::ranges::find(kResources, leak.resource, &Resource::name);
    Observation seen;
    seen.kind = FindingKind::kForecast;
    seen.name = "leak";
    seen.severity =
        leak.per_day >= kQuick * std::abs(leak.current) ? Severity::kWarning : Severity::kInfo;
    seen.labels = {{"groupname", leak.group}, {"resource", leak.resource}};
    seen.subject = leak.group;
    seen.keep_firing_for = Millis(2 * 3'600'000);
    seen.evidence.source = "leak trend";
    seen.evidence.value = leak.per_day;
    seen.evidence.text = fmt::format(
        "The {} of {} is {} and grows by {} a day (95 %: {} to {}) against its own daily pattern, "
        "in {} hours since {}{} (p {:.1g})",
        resource != kResources.end() ? resource->text : std::string_view(leak.resource), leak.group,
        amount(leak.current, leak.unit), amount(leak.per_day, leak.unit),
        amount(leak.per_day - leak.per_day_error, leak.unit),
        amount(leak.per_day + leak.per_day_error, leak.unit), leak.hours,
        base::to_rfc3339(leak.from),
        leak.restarts > 0 ? fmt::format(", over {} restarts", leak.restarts) : "", leak.p_value);
    seen.annotations = {{"summary", seen.evidence.text}};
    out.push_back(std::move(seen));
  }
  return out;
}

}  // namespace nexus::analyze
