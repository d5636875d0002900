#include "agent/commands/foresee.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <cmath>
#include <map>

#include "nexus/analyze/backtest.hpp"
#include "nexus/analyze/combination.hpp"
#include "nexus/base/text.hpp"
#include "nexus/drivers/http_client.hpp"

namespace nexus::agent {
namespace {

namespace json = boost::json;

constexpr std::int64_t kMinute = 60;  // seconds: what anomaly detection sees live
constexpr std::int64_t kStep = 300;   // seconds: the scale that live forecasts up to an hour have
constexpr std::uint32_t kMostLeads = 2016;

double number(const json::value& value) {
  if (value.is_number()) return value.to_number<double>();
  return std::nan("");
}

std::string duration(const json::value& seconds) {
  const double value = number(seconds);
  if (std::isnan(value)) return "-";
  if (value < 60) return "now";
  return base::format_duration(std::chrono::minutes(std::llround(value / 60)));
}

std::string gib(double bytes) {
  return std::isnan(bytes) ? "-" : fmt::format("{:.3g} GiB", bytes / (1 << 30));
}

std::string labels_text(const json::value& labels) {
  std::string out;
  if (!labels.is_object()) return out;
  for (const auto& [key, value] : labels.get_object()) {
    if (key == "__name__" || !value.is_string()) continue;
    out += fmt::format("{}{}=\"{}\"", out.empty() ? "" : ",", std::string_view(key),
                       std::string_view(value.get_string()));
  }
  return out;
}

struct Vital {
  std::string unit;
  std::optional<double> warning;
  bool above = true;
};

/// The vitals that have a value now, with threshold and the side of it that is bad.
Result<std::map<std::string, Vital>> vitals_of(const ClientFlags& flags) {
  auto status = call(flags, "GET", "/health/status");
  if (!status) return std::unexpected(status.error());
  std::map<std::string, Vital> out;
  for (const auto& metric : status->at("recent_metrics").as_array()) {
    Vital vital;
    vital.unit = std::string(metric.at("unit").as_string());
    const double warning = number(metric.at("warning"));
    const double critical = number(metric.at("critical"));
    if (!std::isnan(warning)) vital.warning = warning;
    vital.above = std::isnan(warning) || std::isnan(critical) || critical >= warning;
    out[std::string(metric.at("name").as_string())] = vital;
  }
  return out;
}

class Backtest {
 public:
  Backtest(const ClientFlags& flags, const BacktestFlags& wanted, std::uint32_t leads,
           std::int64_t end)
      : flags_(flags), wanted_(wanted), leads_(leads), end_(end) {}

  Status vital(const std::string& name, const Vital& vital) {
    const auto series = history(name, kStep);
    if (!series) return std::unexpected(series.error());
    if (series->empty()) ++short_;  // not even one mean
    const auto minutes = history(name, kMinute);
    if (!minutes) return std::unexpected(minutes.error());
    for (const auto& [labels, columns] : *series) {
      const auto finer = minutes->find(labels);
      one(name, labels, vital, columns, finer == minutes->end() ? columns : finer->second);
    }
    return {};
  }

  [[nodiscard]] json::array rows() && { return std::move(rows_); }
  [[nodiscard]] std::size_t short_ones() const { return short_; }
  /// What the series without a row lack, for people.
  [[nodiscard]] std::string missing() const {
    constexpr std::int64_t kNeeded = analyze::Combination::kFewestRows + 1;
    return fmt::format(
        "{} series are too short for a backtest yet: it needs {} means of {} at least ({}), better "
        "days; the longest of these has {} in the last {} days\n",
        short_, kNeeded, base::format_duration(std::chrono::seconds(kStep)),
        base::format_duration(std::chrono::seconds(kNeeded * kStep)), longest_short_, wanted_.days);
  }

 private:
  struct Columns {
    std::vector<std::int64_t> times;
    std::vector<double> values;
  };
  using Series = std::map<std::string, Columns>;  // by labels

  /// Means of so many seconds.
  Result<Series> history(const std::string& name, std::int64_t step) const {
    // The server gives at most 11,000 points a series: a few days a question.
    constexpr std::int64_t kChunk = 7 * 86'400;
    Series series;
    const std::int64_t begin = end_ - static_cast<std::int64_t>(wanted_.days) * 86'400;
    for (std::int64_t from = begin; from < end_; from += kChunk) {
      const auto path =
          fmt::format("/api/v1/query_range?query={}&start={}&end={}&step={}",
                      drivers::url_encode(fmt::format("avg_over_time({}[{}s])", name, step)), from,
                      std::min(from + kChunk - step, end_), step);
      const auto answer = call(flags_, "GET", path);
      if (!answer) return std::unexpected(answer.error());
      for (const auto& one : answer->at("data").at("result").as_array()) {
        auto& [times, values] = series[labels_text(one.at("metric"))];
        for (const auto& point : one.at("values").as_array()) {
          times.push_back(std::llround(number(point.at(0)) * 1000));
          const auto value = base::parse_double(std::string_view(point.at(1).as_string()));
          values.push_back(value.value_or(std::nan("")));
        }
      }
    }
    return series;
  }

  void one(const std::string& name, const std::string& labels, const Vital& vital,
           const Columns& columns, const Columns& minutes) {
    analyze::BacktestPlan plan;
    plan.step = std::chrono::seconds(kStep);
    plan.leads = leads_;
    plan.threshold = vital.warning;
    plan.above = vital.above;
    auto result = analyze::backtest(columns.times, columns.values, plan);
    if (result.forecasts == 0) {
      ++short_;
      longest_short_ = std::max(longest_short_, static_cast<std::int64_t>(columns.times.size()));
      return;
    }
    analyze::judge_alarms(minutes.times, minutes.values, plan, result);
    json::array each;
    for (const auto& crossing : result.each) {
      const auto early = [](const std::optional<double>& seconds) {
        return seconds ? json::value(*seconds) : json::value(nullptr);
      };
      each.push_back({{"time", base::to_rfc3339(base::from_unix_millis(crossing.time))},
                      {"foretold_seconds", early(crossing.foretold_seconds)},
                      {"alarm_seconds", early(crossing.alarm_seconds)}});
    }
    const auto a_day = [&](std::size_t alarms) {
      return result.alarm_days > 0
                 ? json::value(static_cast<double>(alarms) / std::max(result.alarm_days, 1.0))
                 : json::value(nullptr);
    };
    const auto ratio = [&](double other) {
      return other > 0 ? json::value(result.error / other) : json::value(nullptr);
    };
    rows_.push_back(
        {{"metric_name", name},
         {"labels", labels},
         {"unit", vital.unit},
         {"forecasts", result.forecasts},
         {"error", result.error},
         {"of_last_value", ratio(result.last_value_error)},
         {"of_seasonal", result.seasonal_error ? ratio(*result.seasonal_error) : nullptr},
         {"coverage80", result.coverage80},
         {"coverage95", result.coverage95},
         {"crossings", result.crossings},
         {"foretold", result.foretold},
         {"warned_seconds",
          result.foretold > 0 ? json::value(result.warned_seconds) : json::value(nullptr)},
         {"each_crossing", std::move(each)},
         {"alarms", result.alarms},
         {"alarms_per_day", a_day(result.alarms)},
         {"false_alarms_per_day", a_day(result.false_alarms)},
         {"alarm_days", result.alarm_days}});
  }

  const ClientFlags& flags_;
  const BacktestFlags& wanted_;
  std::uint32_t leads_;
  std::int64_t end_;
  json::array rows_;
  std::size_t short_ = 0;
  std::int64_t longest_short_ = 0;  // rows
};

/// Groups of processes that grow, below what fills up; nothing when none does.
void show_leaks(const ClientFlags& flags, const json::value& answer) {
  const auto* leaks = answer.as_object().if_contains("leaks");
  if (leaks == nullptr || leaks->as_array().empty()) return;
  json::array rows;
  for (const auto& leak : leaks->as_array()) {
    rows.push_back({{"group", leak.at("group")},
                    {"resource", leak.at("resource")},
                    {"now", fmt::format("{:.4g}", number(leak.at("current_value")))},
                    {"per_day", fmt::format("{:+.3g} +- {:.2g}", number(leak.at("per_day")),
                                            number(leak.at("per_day_error")))},
                    {"unit", leak.at("unit")},
                    {"p", fmt::format("{:.1g}", number(leak.at("p_value")))},
                    {"hours", leak.at("hours")},
                    {"restarts", leak.at("restarts")},
                    {"verdict", leak.at("certain").as_bool() ? "leak" : "perhaps"}});
  }
  fmt::print("\n");
  print_table(flags, json::object{{"leaks", std::move(rows)}}, "leaks",
              {{"GROUP", "group"},
               {"OF", "resource"},
               {"NOW", "now"},
               {"A DAY", "per_day"},
               {"UNIT", "unit"},
               {"P", "p"},
               {"HOURS", "hours"},
               {"RESTARTS", "restarts"},
               {"", "verdict"}});
}

/// Labels, the interval of the date, how it grows: lines of a hundred columns below a row.
std::string note_of(const json::value& c) {
  std::vector<std::string> words;
  if (const auto* labels = c.at("labels").if_object()) {
    for (const auto& [key, value] : *labels)
      if (key != "__name__" && value.is_string())
        words.push_back(
            fmt::format("{}=\"{}\"", std::string_view(key), std::string_view(value.get_string())));
  }
  const auto& end = c.at("exhaustion");
  if (!std::isnan(number(end.at("seconds"))))
    words.push_back(
        std::isnan(number(end.at("latest_seconds")))
            ? fmt::format("full in {} at the earliest", duration(end.at("earliest_seconds")))
            : fmt::format("full in {} to {}", duration(end.at("earliest_seconds")),
                          duration(end.at("latest_seconds"))));
  words.push_back("pattern: " + std::string(c.at("pattern").as_string()));
  constexpr std::size_t kWide = 100;
  std::string out;
  std::string line;
  for (const auto& word : words) {
    if (!line.empty() && line.size() + 2 + word.size() > kWide) {
      out += line + ",\n";
      line.clear();
    }
    line += (line.empty() ? "    " : ", ") + word;
  }
  return out + line + "\n";
}

std::vector<std::size_t> widths_of(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths(rows.front().size(), 0);
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  return widths;
}

}  // namespace

int show_capacity(const ClientFlags& flags) {
  const auto answer = call(flags, "GET", "/operations/capacity");
  if (!answer) return report(answer.error());
  if (flags.output == "json") {
    fmt::print("{}\n", json::serialize(*answer));
    return 0;
  }
  // What is long stands below its row, so that a hundred columns are enough.
  std::vector<std::vector<std::string>> rows{
      {"METRIC", "NOW", "A DAY", "WARNING IN", "CRITICAL IN", "FULL IN", "30 DAYS", "90", "180"}};
  std::vector<std::string> notes(1);
  for (const auto& c : answer->at("capacity").as_array()) {
    const auto& end = c.at("exhaustion");
    const bool in_bytes = c.at("unit") == "bytes";
    const auto needed = [&](std::size_t i) {
      const double times = number(c.at("plan").at(i).at("times_needed"));
      if (!std::isnan(times)) return fmt::format("{:.2f}x", times);
      return in_bytes ? gib(number(c.at("plan").at(i).at("expected"))) : std::string("-");
    };
    rows.push_back(
        {std::string(c.at("metric_name").as_string()),
         fmt::format("{:.4g}", number(c.at("current_value"))),
         fmt::format("{:+.3g} +- {:.2g}", number(c.at("per_day")), number(c.at("per_day_error"))),
         duration(c.at("warning").at("seconds")), duration(c.at("critical").at("seconds")),
         duration(end.at("seconds")), needed(0), needed(1), needed(2)});
    notes.push_back(note_of(c));
  }
  const std::vector<std::size_t> widths = widths_of(rows);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    std::string line;
    for (std::size_t k = 0; k < widths.size(); ++k)
      line += fmt::format("{:<{}}  ", rows[i][k], widths[k]);
    fmt::print("{}\n{}", line.substr(0, line.find_last_not_of(' ') + 1), notes[i]);
  }
  show_leaks(flags, *answer);
  return 0;
}

int backtest_agent(const ClientFlags& flags, const BacktestFlags& wanted) {
  const auto horizon = base::parse_duration(wanted.horizon);
  if (!horizon) return report(horizon.error().with_context("--horizon"));
  const auto leads = *horizon / std::chrono::seconds(kStep);
  if (leads < 1 || leads > kMostLeads) {
    return report(Error(Errc::kInvalidArgument,
                        fmt::format("--horizon {}: expected 5m to {}", wanted.horizon,
                                    base::format_duration(std::chrono::seconds(
                                        kStep * static_cast<std::int64_t>(kMostLeads))))));
  }
  const auto vitals = vitals_of(flags);
  if (!vitals) return report(vitals.error());
  if (!wanted.vital.empty() && !vitals->contains(wanted.vital)) {
    return report(
        Error(Errc::kNotFound, fmt::format("--vital {}: no vital of this name has a value; "
                                           "`nexus-agent predictions` lists them",
                                           wanted.vital)));
  }
  base::SystemClock clock;
  const std::int64_t end = base::to_unix_millis(clock.wall()) / 1000 / kStep * kStep;
  Backtest test(flags, wanted, static_cast<std::uint32_t>(leads), end);
  for (const auto& [name, vital] : *vitals) {
    if (!wanted.vital.empty() && name != wanted.vital) continue;
    if (const Status done = test.vital(name, vital); !done) return report(done.error());
  }
  const std::size_t too_short = test.short_ones();
  const std::string missing = test.missing();
  print_table(flags, json::object{{"backtest", std::move(test).rows()}}, "backtest",
              {{"METRIC", "metric_name"},
               {"LABELS", "labels"},
               {"FORECASTS", "forecasts"},
               {"ERROR", "error"},
               {"UNIT", "unit"},
               {"OF LAST VALUE", "of_last_value"},
               {"OF SEASONAL", "of_seasonal"},
               {"IN 80 %", "coverage80"},
               {"IN 95 %", "coverage95"},
               {"CROSSINGS", "crossings"},
               {"FORETOLD", "foretold"},
               {"EARLY BY (s)", "warned_seconds"},
               {"ALARMS A DAY", "alarms_per_day"},
               {"FALSE", "false_alarms_per_day"}});
  if (too_short > 0) fmt::print(stderr, "{}", missing);
  return 0;
}

}  // namespace nexus::agent
