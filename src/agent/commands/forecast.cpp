// `forecast FILE.csv`: any series through the same code path as live data.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <optional>

#include "agent/commands.hpp"
#include "agent/commands/csv_problems.hpp"
#include "agent/commands/graph.hpp"
#include "agent/commands/picture.hpp"
#include "nexus/analyze/csv.hpp"
#include "nexus/analyze/fill.hpp"
#include "nexus/analyze/rolling.hpp"
#include "nexus/base/text.hpp"

namespace nexus::agent {
namespace {

namespace json = boost::json;

constexpr std::uint32_t kMostLeads = 2016;
constexpr std::int64_t kMostOrigins = 1'000'000;

struct Flags {
  std::vector<std::string> files;
  std::string horizon = "60m";
  std::string step;
  std::int64_t rolling = 0;
  std::optional<double> limit;
  bool below = false;
  std::string png;
  std::vector<std::string> columns;
  std::string time_column;
  std::string output = "csv";
};

int complain(const Error& error) {
  fmt::print(stderr, "nexus-agent: {}\n", error.message());
  return 1;
}

struct Times {
  Millis step{};
  std::uint32_t leads = 0;
};

Result<Times> times_of(const Flags& flags, const analyze::CsvTable& table) {
  Times out;
  out.step = table.step(Millis(60'000));
  if (!flags.step.empty()) {
    auto step = base::parse_duration(flags.step);
    if (!step) return propagate(std::move(step), "--step");
    out.step = *step;
  }
  auto horizon = base::parse_duration(flags.horizon);
  if (!horizon) return propagate(std::move(horizon), "--horizon");
  if (out.step <= Millis(0))
    return fail(Errc::kInvalidArgument, "--step {}: expected more than 0", flags.step);
  if (*horizon < out.step) {
    return fail(Errc::kInvalidArgument,
                "--horizon {}: expected at least one step of the series, which is {}",
                flags.horizon, base::format_duration(out.step));
  }
  const auto leads = *horizon / out.step;
  if (leads > kMostLeads) {
    return fail(Errc::kInvalidArgument, "--horizon {}: {} steps of {}, expected at most {}",
                flags.horizon, leads, base::format_duration(out.step), kMostLeads);
  }
  out.leads = static_cast<std::uint32_t>(leads);
  return out;
}

/// The name of the folder and of the file: how shared data sets are laid out.
std::pair<std::string, std::string> names_of(const std::string& file) {
  const std::filesystem::path path = std::filesystem::absolute(file);
  return {path.parent_path().filename().string(), path.stem().string()};
}

std::string cell(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + "\"";
}

void print_point(const analyze::ForecastPoint& p) {
  fmt::print("{:.9g},{:.9g},{:.9g},{:.9g},{:.9g}\n", p.mean, p.lo80, p.hi80, p.lo95, p.hi95);
}

std::string time_text(const analyze::CsvTable& table, std::int64_t millis, std::int64_t row) {
  if (!table.timed) return fmt::format("{}", row);
  return fmt::format("{}", base::format_double(static_cast<double>(millis) / 1000));
}

/// One column of one file.
class Printer {
 public:
  Printer(const Flags& flags, std::string file, const analyze::CsvTable& table, Times times)
      : flags_(flags), file_(std::move(file)), table_(table), times_(times) {}

  Status column(std::size_t c) {
    const std::size_t rows = table_.rows();
    if (flags_.limit) return until_limit(c);
    analyze::RollingPlan plan;
    plan.step = times_.step;
    plan.leads = times_.leads;
    plan.origins =
        flags_.rolling > 0
            ? analyze::rolling_origins(rows, times_.leads, static_cast<std::size_t>(flags_.rolling))
            : std::vector<std::size_t>{rows};
    const auto rolled = analyze::roll(table_.times, table_.columns[c], plan);
    tell_late(c, rolled.out_of_order);
    if (rolled.paths.empty()) {
      return fail(Errc::kInvalidArgument,
                  "{}: {}: {} rows hold a value, too few for a forecast{}: at least {} are needed",
                  file_, table_.names[c], rows - rolled.missing - rolled.out_of_order,
                  flags_.rolling > 0
                      ? fmt::format(" of {} steps with rows to compare with", times_.leads)
                      : "",
                  analyze::Combination::kFewestRows);
    }
    for (const auto& path : rolled.paths) {
      if (flags_.rolling > 0) {
        rolling(path, c);
      } else if (flags_.output == "json") {
        as_json(path, c, rolled.model);
      } else if (!flags_.png.empty()) {
        if (Status drawn = picture(path, c); !drawn) return drawn;
      } else if (flags_.output == "graph") {
        graph(path, c);
      } else {
        ahead(path, c);
      }
    }
    return {};
  }

 private:
  void tell_late(std::size_t c, std::size_t rows) const {
    if (rows == 0) return;
    const std::size_t line = table_.first_not_later();
    fmt::print(stderr,
               "{}{}: {}: {} rows are not at least a step ({}) later than the row before and are "
               "left out\n",
               file_, line > 0 ? fmt::format(":{}", line) : "", table_.names[c], rows,
               base::format_duration(times_.step));
  }

  /// Of every row: when the limit is reached, by what was known then.
  Status until_limit(std::size_t c) {
    analyze::Fill fill(times_.step);
    const auto cell_of = [](const std::optional<double>& seconds) {
      return seconds ? fmt::format("{:.0f}", *seconds) : std::string();
    };
    const std::int64_t step = times_.step.count();
    std::size_t late = 0;
    for (std::size_t i = 0; i < table_.rows(); ++i) {
      const double value = table_.columns[c][i];
      // As rolling forecasts place their rows: from the first one's own place.
      const std::int64_t slot =
          table_.times[0] / step +
          std::llround(static_cast<double>(table_.times[i] - table_.times[0]) /
                       static_cast<double>(step));
      late += fill.add(slot, value) ? 0 : 1;
      const auto eta = fill.until(*flags_.limit, !flags_.below);
      fmt::print("{},{},{},{},{},{}\n", cell(series(c)),
                 time_text(table_, table_.times[i], static_cast<std::int64_t>(i)),
                 std::isfinite(value) ? base::format_double(value) : std::string(),
                 cell_of(eta.seconds), cell_of(eta.earliest), cell_of(eta.latest));
    }
    tell_late(c, late);
    return {};
  }

  [[nodiscard]] std::string series(std::size_t c) const {
    const auto name = names_of(file_).second;
    return table_.names.size() == 1 ? name : name + "_" + table_.names[c];
  }

  void rolling(const analyze::ForecastPath& path, std::size_t c) const {
    const auto set = names_of(file_).first;
    for (std::size_t k = 0; k < path.points.size(); ++k) {
      fmt::print("{},{},{},{},", cell(set), cell(series(c)), path.origin, k + 1);
      print_point(path.points[k]);
    }
  }

  [[nodiscard]] std::string time_at(const analyze::ForecastPath& path, std::size_t k) const {
    const auto ahead = static_cast<std::int64_t>(k + 1);
    return time_text(table_, path.time + ahead * times_.step.count(),
                     path.time / std::max<std::int64_t>(times_.step.count(), 1) + ahead);
  }

  void ahead(const analyze::ForecastPath& path, std::size_t c) const {
    for (std::size_t k = 0; k < path.points.size(); ++k) {
      fmt::print("{},{},{},", cell(series(c)), time_at(path, k), k + 1);
      print_point(path.points[k]);
    }
  }

  /// The last of the history, as long as three horizons, and the band that follows.
  void graph(const analyze::ForecastPath& path, std::size_t c) const {
    std::vector<GraphSeries> drawn(4);
    drawn[0].name = series(c);
    drawn[1].name = "forecast";
    drawn[2].name = "low 95 %";
    drawn[3].name = "high 95 %";
    const std::size_t rows = table_.rows();
    const std::size_t shown = std::min(rows, std::size_t{3} * times_.leads + 1);
    for (std::size_t i = rows - shown; i < rows; ++i) {
      drawn[0].points.emplace_back(static_cast<double>(table_.times[i]) / 1000,
                                   table_.columns[c][i]);
    }
    for (std::size_t k = 0; k < path.points.size(); ++k) {
      const double at =
          static_cast<double>(path.time + static_cast<std::int64_t>(k + 1) * times_.step.count()) /
          1000;
      drawn[1].points.emplace_back(at, path.points[k].mean);
      drawn[2].points.emplace_back(at, path.points[k].lo95);
      drawn[3].points.emplace_back(at, path.points[k].hi95);
    }
    fmt::print("{}", draw(drawn, drawn[0].points.front().first, drawn[1].points.back().first,
                          terminal_size()));
  }

  /// The same as a PNG file, with both bands.
  Status picture(const analyze::ForecastPath& path, std::size_t c) const {
    serve::Chart chart;
    chart.title = fmt::format("{}, {} ahead", series(c),
                              base::format_duration(times_.step * static_cast<int>(times_.leads)));
    serve::ChartLine history{"history", serve::ChartColour::kBlue, false, {}};
    serve::ChartLine mean{"forecast", serve::ChartColour::kOrange, false, {}};
    serve::ChartBand wide{serve::ChartColour::kWideBand, {}};
    serve::ChartBand narrow{serve::ChartColour::kNarrowBand, {}};
    const std::size_t rows = table_.rows();
    for (std::size_t i = rows - std::min(rows, std::size_t{3} * times_.leads + 1); i < rows; ++i)
      history.points.emplace_back(static_cast<double>(table_.times[i]) / 1000,
                                  table_.columns[c][i]);
    for (std::size_t k = 0; k < path.points.size(); ++k) {
      const auto& p = path.points[k];
      const double at =
          static_cast<double>(path.time + static_cast<std::int64_t>(k + 1) * times_.step.count()) /
          1000;
      mean.points.emplace_back(at, p.mean);
      wide.points.push_back({at, p.lo95, p.hi95});
      narrow.points.push_back({at, p.lo80, p.hi80});
    }
    chart.lines = {std::move(history), std::move(mean)};
    chart.bands = {std::move(wide), std::move(narrow)};
    return write_png(flags_.png, chart);
  }

  void as_json(const analyze::ForecastPath& path, std::size_t c,
               const analyze::Combination& model) const {
    json::array points;
    for (std::size_t k = 0; k < path.points.size(); ++k) {
      const auto& p = path.points[k];
      points.push_back({{"time", time_at(path, k)},
                        {"lead", k + 1},
                        {"mean", p.mean},
                        {"lo80", p.lo80},
                        {"hi80", p.hi80},
                        {"lo95", p.lo95},
                        {"hi95", p.hi95}});
    }
    json::array records;
    for (const auto& r : model.records()) {
      if (r.verified <= 0) continue;
      records.push_back({{"lead", r.lead},
                         {"verified", r.verified},
                         {"mean_absolute_error", r.error},
                         {"last_value_error", r.last_value_error},
                         {"seasonal_error", r.seasonal_error},
                         {"coverage80", r.coverage80},
                         {"coverage95", r.coverage95}});
    }
    const json::object out{{"series", series(c)},
                           {"step_seconds", static_cast<double>(times_.step.count()) / 1000},
                           {"rows", model.rows()},
                           {"seasons", model.seasons()},
                           {"experts", model.experts(times_.leads)},
                           {"level_changes", model.changes()},
                           {"forecast", std::move(points)},
                           {"past", std::move(records)}};
    fmt::print("{}\n", json::serialize(out));
  }

  const Flags& flags_;
  std::string file_;
  const analyze::CsvTable& table_;
  Times times_;
};

int forecast_file(const Flags& flags, const std::string& file) {
  analyze::CsvOptions options;
  options.columns = flags.columns;
  options.time_column = flags.time_column;
  if (!flags.step.empty()) {
    const auto step = base::parse_duration(flags.step);
    if (step && *step > Millis(0)) options.step = *step;
  }
  const auto table = analyze::read_csv(file, options);
  if (!table) return complain(table.error());
  tell_problems(file, *table);
  const auto times = times_of(flags, *table);
  if (!times) return complain(times.error());
  if (!flags.png.empty() && table->names.size() != 1) {
    return complain(Error(Errc::kInvalidArgument,
                          fmt::format("--png: {} has {} series, choose one with --column", file,
                                      table->names.size())));
  }
  Printer printer(flags, file, *table, *times);
  int code = table->problem_count == 0 ? 0 : 1;
  for (std::size_t c = 0; c < table->names.size(); ++c) {
    if (const Status done = printer.column(c); !done) code = complain(done.error());
  }
  return code;
}

int forecast(const Flags& flags) {
  if (flags.rolling < 0 || flags.rolling > kMostOrigins) {
    return complain(Error(Errc::kInvalidArgument, fmt::format("--rolling {}: expected 0 to {}",
                                                              flags.rolling, kMostOrigins)));
  }
  if (flags.limit && !std::isfinite(*flags.limit)) {
    return complain(
        Error(Errc::kInvalidArgument, fmt::format("--limit {}: expected a number", *flags.limit)));
  }
  if (!flags.png.empty() && (flags.rolling > 0 || flags.limit || flags.files.size() > 1)) {
    return complain(Error(Errc::kInvalidArgument,
                          "--png: a picture has one series: neither --rolling nor --limit nor "
                          "several files go with it"));
  }
  if (flags.limit && (flags.rolling > 0 || flags.output != "csv")) {
    return complain(Error(Errc::kInvalidArgument,
                          "--limit: its answer has a row a row, in CSV: neither --rolling nor "
                          "another --output goes with it"));
  }
  if (flags.limit) {
    fmt::print("series,time,value,eta,earliest,latest\n");
  } else if (flags.rolling > 0) {
    fmt::print("set,series,origin,step,mean,lo80,hi80,lo95,hi95\n");
  } else if (flags.output == "csv" && flags.png.empty()) {
    fmt::print("series,time,lead,mean,lo80,hi80,lo95,hi95\n");
  }
  int code = 0;
  for (const auto& file : flags.files) code = std::max(code, forecast_file(flags, file));
  return code;
}

}  // namespace

void add_forecast(CLI::App& app, CommandContext& context) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand(
      "forecast",
      "Forecasts the series of CSV files, with 80 and 95 % intervals, as live data are");
  command->add_option("file", flags->files, "CSV files (- is standard input)")->required();
  command->add_option("--horizon", flags->horizon, "How far ahead")->capture_default_str();
  command->add_option("--step", flags->step,
                      "Between two rows, where the file does not say (default: as it says, 1m)");
  command->add_option("--rolling", flags->rolling,
                      "N origins from the middle of the series to its end, each with its forecast "
                      "(set,series,origin,step,...)");
  command->add_option("--png", flags->png,
                      "Draw history and forecast of one series into this file instead");
  command->add_option("--limit", flags->limit,
                      "Instead, for every row: seconds until this value is reached, by what was "
                      "known then (empty: no date), with the interval's ends");
  command->add_flag("--below", flags->below, "The limit is a least one: the series falls to it");
  command->add_option("--column", flags->columns, "Only these columns (default: all of numbers)");
  command->add_option("--time,--time-column", flags->time_column,
                      "The column of times (default: found)");
  command->add_option("--output", flags->output, "csv, json or graph")
      ->check(CLI::IsMember({"csv", "json", "graph"}))
      ->capture_default_str();
  command->callback([flags, &context] { context.code = forecast(*flags); });
}

}  // namespace nexus::agent
