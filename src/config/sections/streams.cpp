// [statsd] and [[log]].
#include <algorithm>

#include "config/sections/sources.hpp"
#include "config/shapes.hpp"

namespace nexus::config {
namespace {

bool is_listen(std::string_view text) {
  if (text.starts_with("udp:")) return kListenAddress.accepts(text.substr(4));
  return text.starts_with("unix:") && kListenAddress.accepts(text);
}
const Shape kDatagramAddress{is_listen,
                             "an address such as \"udp:127.0.0.1:8125\" or "
                             "\"unix:/run/nexus-agent/statsd.sock\""};

void read_mapping(Section& section, StatsdSection& out) {
  StatsdMapping mapping;
  mapping.where = section.where();
  section.require("match", "a pattern such as \"web.*.requests\"");
  if (section.text("match", mapping.match) != nullptr) mapping.where = section.place_of({"match"});
  section.choice("match_type", mapping.match_type, {"glob", "regex"});
  section.text("name", mapping.name);
  read_map(section, "labels", mapping.labels, Keys::kLabels);
  section.choice("action", mapping.action, {"map", "drop"});
  section.choice("timer_type", mapping.timer_type, {"summary", "histogram"});
  section.choice("match_metric_type", mapping.match_metric_type,
                 {"counter", "gauge", "timer", "set"});
  read_buckets(section, mapping.buckets);
  if (mapping.action == "map" && mapping.name.empty())
    section.require("name", "the metric that it becomes");
  out.mappings.push_back(std::move(mapping));
}

void read_pattern(Section& section, LogConfig& log) {
  LogPattern pattern;
  pattern.where = section.where();
  section.require("metric", kMetricName.expected);
  section.require("regex", "a regular expression (RE2)");
  section.text("metric", pattern.metric, kMetricName);
  section.text("help", pattern.help, kAnyText);
  if (section.text("regex", pattern.regex) != nullptr) pattern.where = section.place_of({"regex"});
  section.choice("type", pattern.type, {"counter", "gauge", "histogram"});
  section.text("value", pattern.value);
  section.texts("labels", pattern.labels);
  read_buckets(section, pattern.buckets);
  if (pattern.type != "counter" && pattern.value.empty())
    section.require("value", "the named group of the regex that is the number");
  log.patterns.push_back(std::move(pattern));
}

void read_log(Section& section, Reading& reading) {
  LogConfig log;
  log.where = section.where();
  read_name(section, reading, "log", log.name);
  section.texts("files", log.files, kAbsolutePath);
  section.boolean("journal", log.journal);
  section.texts("units", log.units, kUnitName);
  section.choice("from", log.from, {"end", "begin"});
  read_map(section, "labels", log.labels, Keys::kLabels);
  section.integer("max_series", log.max_series, 1, kMostSeries);
  section.tables("pattern", [&](Section& pattern) { read_pattern(pattern, log); });
  if (log.files.empty() == !log.journal)
    section.complain("files", "expected either files, or journal = true");
  if (!log.units.empty() && !log.journal) section.complain("units", "expected journal = true");
  for (auto& unit : log.units) unit = with_unit_suffix(unit);
  if (log.patterns.empty()) section.require("pattern", "[[log.pattern]], at least once");
  reading.config.sources.logs.push_back(std::move(log));
}

}  // namespace

void read_statsd(Section& root, Reading& reading) {
  StatsdSection& out = reading.config.sources.statsd;
  root.table("statsd", [&](Section& statsd) {
    statsd.texts("listen", out.listen, kDatagramAddress);
    statsd.duration("interval", out.interval, kSourceInterval);
    statsd.duration("expire_after", out.expire_after, {1s, kLongest});
    statsd.integer("max_series", out.max_series, 1, kMostSeries);
    statsd.choice("timer_type", out.timer_type, {"summary", "histogram"});
    read_buckets(statsd, out.buckets);
    read_numbers(statsd, "quantiles", out.quantiles);
    if (std::ranges::any_of(out.quantiles, [](double q) { return !(q >= 0 && q <= 1); }))
      statsd.complain("quantiles", "expected numbers from 0 to 1");
    statsd.tables("mapping", [&](Section& mapping) { read_mapping(mapping, out); });
  });
}

void read_logs(Section& root, Reading& reading) {
  root.tables("log", [&](Section& section) { read_log(section, reading); });
}

}  // namespace nexus::config
