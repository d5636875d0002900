#include "analyze/anomaly/processes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <optional>

#include "analyze/anomaly/wording.hpp"

namespace nexus::analyze {
namespace {

constexpr std::int64_t kMinute = 60'000;
constexpr std::int64_t kFresh = 2 * kMinute;
constexpr std::int64_t kStarted = 15 * kMinute;
constexpr std::size_t kMostEach = 3;
constexpr double kLeastShare = 0.05;  // of all change of that resource
constexpr double kLeastChange = 0.1;  // of what is usual

struct Resource {
  std::string_view name;
  std::string_view unit;
  std::array<std::string_view, 2> metrics;  // added up; the second may be empty
  bool counter;
  double least;  // a change below it is none
};
constexpr std::array kResources = {
    Resource{"cpu", "processors", {"namedprocess_namegroup_cpu_seconds_total", ""}, true, 0.02},
    Resource{"memory", "bytes", {"namedprocess_namegroup_memory_bytes", ""}, false, 1 << 20},
    Resource{
        "io",
        "bytes_per_second",
        {"namedprocess_namegroup_read_bytes_total", "namedprocess_namegroup_write_bytes_total"},
        true,
        4096},
};

/// Which resources explain a vital; all where none does.
std::array<bool, kResources.size()> resources_for(std::string_view metric) {
  struct Rule {
    std::string_view part;
    std::array<bool, kResources.size()> wanted;
  };
  constexpr std::array kRules = {
      Rule{"iowait", {false, false, true}}, Rule{"pressure_io", {false, false, true}},
      Rule{"disk", {false, false, true}},   Rule{"memory", {false, true, false}},
      Rule{"swap", {false, true, true}},    Rule{"cpu", {true, false, false}},
      Rule{"load", {true, false, true}},
  };
  for (const Rule& rule : kRules)
    if (metric.contains(rule.part)) return rule.wanted;
  return {true, true, true};
}

std::vector<knowledge::SeriesId> series_of(const knowledge::Queryable& data, std::string_view name,
                                           std::int64_t now) {
  using knowledge::Matcher;
  using knowledge::MatchOp;
  std::vector<Matcher> wanted;
  const auto add = [&](std::string_view label, MatchOp op, std::string_view value) {
    if (auto made = Matcher::make(std::string(label), op, std::string(value)))
      wanted.push_back(std::move(*made));
  };
  add(knowledge::kMetricName, MatchOp::kEqual, name);
  add("instance", MatchOp::kEqual, "");  // of this host
  if (name == "namedprocess_namegroup_memory_bytes") add("memtype", MatchOp::kEqual, "resident");
  return data.select(wanted, now - kFresh, now);
}

std::optional<knowledge::Sample> at(const knowledge::Queryable& data, knowledge::SeriesId id,
                                    std::int64_t time, std::int64_t reach) {
  const auto sample = data.last(id, time - reach, time);
  if (!sample || !std::isfinite(sample->value)) return std::nullopt;
  return sample;
}

struct Shift {
  double usual = 0;
  double present = 0;
};

std::optional<double> rate(const std::optional<knowledge::Sample>& from,
                           const std::optional<knowledge::Sample>& to) {
  if (!from || !to || to->time <= from->time || to->value < from->value) return std::nullopt;
  return (to->value - from->value) * 1000 / static_cast<double>(to->time - from->time);
}

std::optional<Shift> change_of(const knowledge::Queryable& data, knowledge::SeriesId id,
                               bool counter, std::int64_t now) {
  const auto newest = at(data, id, now, kFresh);
  const auto before = at(data, id, now - 10 * kMinute, kFresh);
  if (!newest) return std::nullopt;
  if (counter) {
    const auto present = rate(at(data, id, now - kFresh, kFresh), newest);
    if (!present) return std::nullopt;
    std::optional<double> usual;
    for (int part = 6; part >= 2 && !usual; --part)
      usual = rate(at(data, id, now - 10 * kMinute * part, kFresh), before);
    if (!usual)
      usual =
          rate(at(data, id, now - 7 * kMinute, kFresh), at(data, id, now - 4 * kMinute, kFresh));
    return Shift{usual.value_or(0), *present};
  }
  double sum = 0;
  double n = 0;
  for (int part = 1; part <= 6; ++part) {
    if (const auto one = at(data, id, now - 10 * kMinute * part, kFresh)) {
      sum += one->value;
      n += 1;
    }
  }
  // An agent that has just begun knows minutes, not an hour.
  if (const auto one = at(data, id, now - 5 * kMinute, kFresh); one && n == 0)
    return Shift{one->value, newest->value};
  return Shift{n > 0 ? sum / n : 0, newest->value};
}

}  // namespace

std::vector<ProcessPart> processes_near(const knowledge::Queryable& data, std::int64_t now,
                                        std::string_view metric) {
  const auto pin = data.pin();
  std::map<std::string, double, std::less<>> started;
  for (const auto id : series_of(data, "namedprocess_namegroup_oldest_start_time_seconds", now)) {
    const auto start = at(data, id, now, kFresh);
    if (!start) continue;
    const double ago = static_cast<double>(now) / 1000 - start->value;
    if (ago >= 0 && ago < kStarted / 1000.0)
      started[std::string(data.labels(id).get("groupname"))] = ago;
  }
  std::vector<ProcessPart> out;
  const auto wanted = resources_for(metric);
  for (std::size_t r = 0; r < kResources.size(); ++r) {
    if (!wanted[r]) continue;
    const Resource& resource = kResources[r];
    std::map<std::string, Shift> changes;
    bool compared = false;
    for (const std::string_view name : resource.metrics) {
      if (name.empty()) continue;
      for (const auto id : series_of(data, name, now)) {
        const auto change = change_of(data, id, resource.counter, now);
        if (!change) continue;
        Shift& sum = changes[std::string(data.labels(id).get("groupname"))];
        sum.usual += change->usual;
        sum.present += change->present;
        compared = compared || change->usual != 0;
      }
    }
    if (!compared) continue;  // there is no past to compare with
    double all = 0;
    for (const auto& [group, c] : changes) all += std::abs(c.present - c.usual);
    std::vector<ProcessPart> parts;
    for (const auto& [group, c] : changes) {
      const double change = std::abs(c.present - c.usual);
      if (change < resource.least || change < kLeastShare * all ||
          change < kLeastChange * std::abs(c.usual))
        continue;
      ProcessPart part{group,
                       std::string(resource.name),
                       std::string(resource.unit),
                       change / all,
                       c.usual,
                       c.present,
                       std::nullopt};
      if (const auto start = started.find(group); start != started.end())
        part.started_seconds_ago = start->second;
      parts.push_back(std::move(part));
    }
    std::ranges::stable_sort(parts, std::greater(), &ProcessPart::share);
    if (parts.size() > kMostEach) parts.resize(kMostEach);
    std::ranges::move(parts, std::back_inserter(out));
  }
  return out;
}

std::string to_sentence(const std::vector<ProcessPart>& parts) {
  std::string out;
  for (const ProcessPart& part : parts) {
    out += fmt::format(
        "{}{} {} {} (usually {}{})", out.empty() ? "; processes: " : ", ", part.group,
        part.resource, amount_text(part.present, part.unit), amount_text(part.usual, part.unit),
        part.started_seconds_ago ? fmt::format(", started {:.0f} s ago", *part.started_seconds_ago)
                                 : "");
  }
  return out;
}

}  // namespace nexus::analyze
