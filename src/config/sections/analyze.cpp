// [[vital]], [forecast], [anomaly] and [[alert]].
#include <fmt/core.h>

#include <algorithm>
#include <filesystem>

#include "config/sections/sections.hpp"
#include "config/shapes.hpp"

namespace nexus::config {
namespace {

constexpr Period kTick{100ms, 24h};
constexpr Period kWindow{1s, kLongest};

/// A number, or `false` to take a shipped threshold away.
void read_threshold(Section& section, std::string_view key, std::optional<double>& out) {
  const Node* node = section.take(key);
  if (node == nullptr) return;
  if (const bool* flag = node->as<bool>(); flag != nullptr && !*flag) {
    out.reset();
    return;
  }
  section.optional(&Section::number, key, out, Interval{});
}

void check_vital(Section& section, const VitalConfig& vital) {
  if (vital.warning && vital.critical) {
    const bool above = vital.direction == Direction::kAbove;
    if (above ? *vital.critical < *vital.warning : *vital.critical > *vital.warning) {
      section.report().add(
          section.place_of({"critical", "warning", "direction"}),
          fmt::format("{}: expected critical {} or equal to warning because direction is \"{}\", "
                      "got critical {} and "
                      "warning {}",
                      section.name_of("critical"), to_string(vital.direction),
                      to_string(vital.direction), *vital.critical, *vital.warning));
    }
  }
  const auto& nearest = vital.warning ? vital.warning : vital.critical;
  if (vital.clear && nearest) {
    const bool above = vital.direction == Direction::kAbove;
    if (above ? *vital.clear > *nearest : *vital.clear < *nearest) {
      section.report().add(section.place_of({"clear", "warning", "critical"}),
                           fmt::format("{}: expected a value on the good side of {}, got {}",
                                       section.name_of("clear"), *nearest, *vital.clear));
    }
  }
  if (vital.minimum && vital.maximum && *vital.minimum >= *vital.maximum) {
    section.report().add(section.place_of({"maximum", "minimum"}),
                         fmt::format("{}: expected more than minimum {}, got {}",
                                     section.name_of("maximum"), *vital.minimum, *vital.maximum));
  }
}

void read_vital_keys(Section& section, VitalConfig& vital) {
  section.expression("expr", vital.expr);
  section.text("unit", vital.unit, kPlainName);
  section.text("help", vital.help);
  read_threshold(section, "warning", vital.warning);
  read_threshold(section, "critical", vital.critical);
  section.choice("direction", vital.direction, {Direction::kAbove, Direction::kBelow});
  section.optional(&Section::number, "minimum", vital.minimum, Interval{});
  section.optional(&Section::number, "maximum", vital.maximum, Interval{});
  read_threshold(section, "clear", vital.clear);
  section.duration("for", vital.pending);
  section.duration("keep_firing_for", vital.keep_firing_for);
  section.choice("on_missing", vital.on_missing,
                 {OnMissing::kResolve, OnMissing::kHold, OnMissing::kFire});
  section.boolean("forecast", vital.forecast);
  section.boolean("anomaly", vital.anomaly);
  section.boolean("enabled", vital.enabled);
  vital.where = section.where();
  check_vital(section, vital);
}

void read_vital(Section& section, Reading& reading) {
  section.require("name", kMetricName.expected);
  std::string name;
  if (section.text("name", name, kMetricName) != nullptr) {
    reading.report.claim("vital", name, section.place_of({"name"}));
  }
  auto& vitals = reading.config.vitals;
  const auto shipped = std::ranges::find(vitals, name, &VitalConfig::name);
  if (shipped != vitals.end()) {
    read_vital_keys(section, *shipped);
    return;
  }
  VitalConfig vital;
  vital.name = name;
  section.require("expr", "a PromQL expression, for this is not a shipped vital");
  read_vital_keys(section, vital);
  vitals.push_back(std::move(vital));
}

void read_alert(Section& section, Reading& reading) {
  AlertConfig alert;
  alert.where = section.where();
  section.require("name", kMetricName.expected);
  section.require("expr", "a PromQL expression");
  if (section.text("name", alert.name, kMetricName) != nullptr) {
    reading.report.claim("alert", alert.name, section.place_of({"name"}));
  }
  section.expression("expr", alert.expr);
  section.expression("clear", alert.clear);
  section.choice("on_missing", alert.on_missing,
                 {OnMissing::kResolve, OnMissing::kHold, OnMissing::kFire});
  section.duration("for", alert.pending);
  section.duration("keep_firing_for", alert.keep_firing_for);
  section.choice("severity", alert.severity,
                 {Severity::kInfo, Severity::kWarning, Severity::kCritical});
  read_labels(section, "labels", alert.labels);
  read_labels(section, "annotations", alert.annotations);
  reading.config.alerts.push_back(std::move(alert));
}

}  // namespace

void read_labels(Section& section, std::string_view key, StringMap& out) {
  section.table(key, [&](Section& labels) {
    for (const auto& entry : labels.entries()) {
      std::string value;
      if (!is_label_name(entry.key)) {
        labels.take(entry.key);
        labels.complain(
            entry.key,
            "expected a label name of letters, digits and _, not beginning with a digit or __");
      } else if (labels.text(entry.key, value, kAnyText) != nullptr) {
        out.insert_or_assign(entry.key, std::move(value));
      }
    }
  });
}

void read_vitals(Section& root, Reading& reading) {
  root.tables("vital", [&](Section& section) { read_vital(section, reading); });
}

void read_alerts(Section& root, Reading& reading) {
  root.tables("alert", [&](Section& section) { read_alert(section, reading); });
}

void read_rule_files(Section& root, Reading& reading) {
  root.texts("rule_files", reading.config.rule_files);
}

void place_rule_files(Reading& reading) {
  const auto beside = std::filesystem::path(reading.options.file).parent_path();
  for (auto& pattern : reading.config.rule_files) {
    if (!pattern.starts_with('/')) pattern = (beside / pattern).string();
  }
}

void read_forecast(Section& root, Reading& reading) {
  ForecastSection& out = reading.config.forecast;
  root.table("forecast", [&](Section& forecast) {
    forecast.boolean("enabled", out.enabled);
    forecast.duration("horizon", out.horizon, kWindow);
    forecast.duration("window", out.window, kWindow);
    forecast.duration("interval", out.interval, kTick);
    // Three points are the fewest that leave a line a residual.
    forecast.integer("minimum_samples", out.minimum_samples, 3, 1'000'000);
    forecast.number("minimum_r_squared", out.minimum_r_squared, {0, 1});
    forecast.number("interval_level", out.interval_level, {0, 1, true, true});
  });
}

void read_anomaly(Section& root, Reading& reading) {
  AnomalySection& out = reading.config.anomaly;
  root.table("anomaly", [&](Section& anomaly) {
    anomaly.boolean("enabled", out.enabled);
    anomaly.number("contamination", out.contamination, {0, 0.5, true});
    anomaly.integer("trees", out.trees, 1, 1'000);
    anomaly.integer("subsample", out.subsample, 2, 32'768);
    anomaly.duration("window", out.window, kWindow);
    anomaly.duration("retrain", out.retrain, kWindow);
    anomaly.duration("interval", out.interval, kTick);
    anomaly.integer("minimum_samples", out.minimum_samples, 2, 1'000'000);
    anomaly.number("alarms_per_day", out.alarms_per_day, {0.001, 1000});
  });
}

}  // namespace nexus::config
