// `replay`: a CSV of the past through the agent's detectors and rules, row by row.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "agent/commands.hpp"
#include "agent/commands/csv_problems.hpp"
#include "agent/commands/graph.hpp"
#include "agent/commands/picture.hpp"
#include "nexus/analyze/replay.hpp"

namespace nexus::agent {
namespace {

constexpr int kBad = 1;

/// A row, and the column that made it strange most.
using Flagged = std::pair<std::size_t, std::size_t>;

/// CLI::Range alone takes "nan": it is neither below nor above.
CLI::Validator within(double least, double most) {
  const auto finite = [](const std::string& text) {
    return std::isfinite(std::strtod(text.c_str(), nullptr))
               ? std::string()
               : fmt::format("\"{}\" is not a number", text);
  };
  return CLI::Range(least, most) & CLI::Validator(finite, "");
}

struct ReplayFlags {
  std::string file;
  std::string output = "csv";
  std::vector<std::string> rules;
  std::vector<std::string> columns;
  std::string time_column;
  bool multivariate = false;
  bool forest = false;
  double contamination = 0.01;
  std::string png;
  double alarms_a_day = 1;
};

/// A cell of CSV, quoted where it must be.
std::string cell(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + '"';
}

std::string join(const std::vector<std::string>& texts) {
  std::string out;
  for (const auto& text : texts) out += (out.empty() ? "" : "; ") + text;
  return out;
}

std::string_view state_of(const analyze::ReplayRow& row) {
  if (!row.score) return "left out";
  if (!row.score->ready) return "warming up";
  if (row.score->known) return "known";
  return "";
}

class Printer {
 public:
  Printer(const analyze::CsvTable& table, const ReplayFlags& flags)
      : table_(table),
        json_(flags.output == "json"),
        drawn_(flags.output == "graph"),
        rules_(!flags.rules.empty()) {}

  void begin() const {
    if (drawn_) return;
    if (json_) {
      std::fputs("[", stdout);
      return;
    }
    fmt::print("{}", cell(table_.time_name.empty() ? "row" : table_.time_name));
    if (single()) fmt::print(",value");
    fmt::print(",anomaly_score,probability,flag,state{}{}\n", single() ? "" : ",columns",
               rules_ ? ",alerts" : "");
  }
  void row(const analyze::ReplayRow& row) const {
    if (!drawn_) json_ ? print_json(row) : print_csv(row);
  }
  void end() const {
    if (json_) std::fputs("\n]\n", stdout);
  }

 private:
  [[nodiscard]] bool single() const { return table_.columns.size() == 1; }
  [[nodiscard]] std::string when(std::size_t row) const {
    return table_.time_texts.empty() ? std::to_string(row) : table_.time_texts[row];
  }
  static std::string number(double value) {
    return std::isfinite(value) ? fmt::format("{}", value) : "";
  }

  void print_csv(const analyze::ReplayRow& row) const {
    const bool ready = row.score && row.score->ready;
    std::string line = cell(when(row.row));
    if (single()) line += "," + number(table_.columns[0][row.row]);
    line += ready ? fmt::format(",{:.6g},{:.4g},{}", row.score->score, row.score->probability,
                                row.score->flag ? 1 : 0)
                  : ",,,0";
    line += fmt::format(",{}", state_of(row));
    if (!single()) {
      std::vector<std::string> parts;
      for (const auto& c : row.columns)
        parts.push_back(fmt::format("{} {:.0f} % ({:.4g}, usually {:.4g})", table_.names[c.column],
                                    100 * c.share, c.present, c.usual));
      line += "," + cell(join(parts));
    }
    if (rules_) line += "," + cell(join(row.alerts));
    line += '\n';
    std::fwrite(line.data(), 1, line.size(), stdout);
  }

  void print_json(const analyze::ReplayRow& row) const {
    namespace json = boost::json;
    json::object out;
    out["time"] = when(row.row);
    if (single() && std::isfinite(table_.columns[0][row.row]))
      out["value"] = table_.columns[0][row.row];
    const bool ready = row.score && row.score->ready;
    out["anomaly_score"] = ready ? json::value(row.score->score) : json::value();
    out["probability"] = ready ? json::value(row.score->probability) : json::value();
    out["flag"] = ready && row.score->flag;
    if (const auto state = state_of(row); !state.empty()) out["state"] = state;
    if (row.score && !row.score->ready) out["progress"] = row.score->progress;
    if (!single()) {
      json::array columns;
      for (const auto& c : row.columns) {
        columns.push_back(
            {{"column", table_.names[c.column]},
             {"share", c.share},
             {"usual", c.usual},
             {"value", std::isfinite(c.present) ? json::value(c.present) : json::value()}});
      }
      out["columns"] = std::move(columns);
    }
    if (rules_) out["alerts"] = json::value_from(row.alerts);
    const std::string text = (row.row == 0 ? "\n" : ",\n") + json::serialize(out);
    std::fwrite(text.data(), 1, text.size(), stdout);
  }

  const analyze::CsvTable& table_;
  const bool json_;
  const bool drawn_;
  const bool rules_;
};

bool load_rules(const std::vector<std::string>& files, analyze::ReplayOptions& options) {
  bool good = true;
  for (const auto& path : files) {
    auto file = analyze::load_rule_file(path);
    for (const auto& problem : file.problems) {
      fmt::print(stderr, "{}: {}{}\n", path, problem.places, problem.message);
      good = false;
    }
    for (auto& group : file.groups)
      options.rules.push_back(std::make_shared<const analyze::RuleGroup>(std::move(group)));
  }
  return good;
}

/// The columns, the first few where they are many, and what was flagged, on the column that made
/// it.
serve::Chart picture_of(const ReplayFlags& flags, const analyze::CsvTable& table,
                        const std::vector<Flagged>& flagged) {
  constexpr std::array kColours = {serve::ChartColour::kBlue, serve::ChartColour::kGreen,
                                   serve::ChartColour::kPurple, serve::ChartColour::kOrange,
                                   serve::ChartColour::kInk};
  serve::Chart chart;
  chart.title = flags.file;
  const auto seconds = [&](std::size_t row) {
    return static_cast<double>(table.times[row]) / 1000;
  };
  for (std::size_t c = 0; c < std::min(table.names.size(), kColours.size()); ++c) {
    serve::ChartLine line{table.names[c], kColours[c], false, {}};
    for (std::size_t row = 0; row < table.rows(); ++row)
      line.points.emplace_back(seconds(row), table.columns[c][row]);
    chart.lines.push_back(std::move(line));
  }
  if (table.names.size() > kColours.size()) chart.title += ", the first columns";
  serve::ChartLine marks{"flagged", serve::ChartColour::kRed, true, {}};
  for (const auto& [row, column] : flagged)
    marks.points.emplace_back(seconds(row), table.columns[column][row]);
  if (!flagged.empty()) chart.lines.push_back(std::move(marks));
  return chart;
}

/// The same for a terminal.
void print_graph(const analyze::CsvTable& table, const std::vector<Flagged>& flagged) {
  constexpr std::size_t kMost = kMaxGraphSeries - 1;
  const auto seconds = [&](std::size_t row) {
    return static_cast<double>(table.times[row]) / 1000;
  };
  std::vector<GraphSeries> all;
  for (std::size_t c = 0; c < std::min(table.names.size(), kMost); ++c) {
    GraphSeries line{table.names[c], {}, false};
    for (std::size_t row = 0; row < table.rows(); ++row)
      line.points.emplace_back(seconds(row), table.columns[c][row]);
    all.push_back(std::move(line));
  }
  GraphSeries marks{"flagged", {}, true};
  for (const auto& [row, column] : flagged)
    marks.points.emplace_back(seconds(row), table.columns[column][row]);
  all.push_back(std::move(marks));
  const auto [begin, end] = std::ranges::minmax(table.times);
  fmt::print("{}", draw(all, static_cast<double>(begin) / 1000, static_cast<double>(end) / 1000,
                        terminal_size()));
  if (table.names.size() > kMost)
    fmt::print("and {} columns more, which are not drawn\n", table.names.size() - kMost);
}

int replay(const ReplayFlags& flags) {
  analyze::CsvOptions csv;
  csv.columns = flags.columns;
  csv.time_column = flags.time_column;
  const auto table = analyze::read_csv(flags.file, csv);
  if (!table) {
    fmt::print(stderr, "{}\n", table.error().message());
    return kBad;
  }
  tell_problems(flags.file, *table);
  analyze::ReplayOptions options;
  options.together = flags.multivariate;
  options.alarms_a_day = flags.alarms_a_day;
  if (flags.forest) options.contamination = flags.contamination;
  if (!load_rules(flags.rules, options)) return kBad;
  const Printer printer(*table, flags);
  printer.begin();
  std::vector<Flagged> flagged;  // for the pictures
  const auto summary = analyze::replay(*table, options, [&](const analyze::ReplayRow& row) {
    printer.row(row);
    if (row.score && row.score->flag)
      flagged.emplace_back(row.row, row.columns.empty() ? 0 : row.columns.front().column);
  });
  printer.end();
  if (!summary) {
    fmt::print(stderr, "{}: {}\n", flags.file, summary.error().message());
    return kBad;
  }
  if (flags.output == "graph") print_graph(*table, flagged);
  if (const std::size_t line = table->first_not_later(); line > 0)
    fmt::print(stderr,
               "{}:{}: the first row that is not later than one before it; such rows are "
               "left out\n",
               flags.file, line);
  for (const auto& error : summary->rule_errors) fmt::print(stderr, "{}\n", error);
  fmt::print(stderr, "{} rows, {} scored, {} flagged, {} strange but known, {} left out\n",
             summary->rows, summary->scored, summary->flagged, summary->known, summary->left_out);
  const int code = table->problem_count == 0 ? 0 : 1;
  if (flags.png.empty()) return code;
  if (Status drawn = write_png(flags.png, picture_of(flags, *table, flagged)); !drawn) {
    fmt::print(stderr, "nexus-agent: {}\n", drawn.error().message());
    return kBad;
  }
  return code;
}

}  // namespace

void add_replay(CLI::App& app, CommandContext& context) {
  auto* command = app.add_subcommand(
      "replay", "A CSV of the past through the agent's anomaly detectors, row by row");
  auto flags = std::make_shared<ReplayFlags>();
  command->add_option("file", flags->file, "The CSV file, - for standard input")->required();
  command->add_option("--output,-o", flags->output, "csv, json, or graph: drawn here")
      ->check(CLI::IsMember({"csv", "json", "graph"}))
      ->capture_default_str();
  command->add_flag("--multivariate", flags->multivariate,
                    "Score all columns together: one score a row, and the columns that made it");
  auto* forest = command->add_flag(
      "--isolation-forest", flags->forest,
      "Isolation forests alone, as scikit-learn has them: of each column, or one over all with "
      "--multivariate");
  command
      ->add_option("--contamination", flags->contamination,
                   "The share of rows that an isolation forest flags; 0: those with a score above "
                   "0.5")
      ->needs(forest)
      ->check(within(0.0, 0.5))
      ->capture_default_str();
  command->add_option("--png", flags->png,
                      "Also draw the columns and what was flagged into this file");
  command->add_option("--rules", flags->rules,
                      "Prometheus rule files to evaluate at every row, over the columns' names");
  command->add_option("--column", flags->columns, "Only this column (may be repeated)");
  command->add_option("--time,--time-column", flags->time_column, "The column of times");
  command
      ->add_option("--alarms-per-day", flags->alarms_a_day,
                   "False alarms a day that are put up with, of the whole host")
      ->check(within(0.001, 1000.0))
      ->capture_default_str();
  command->callback([flags, &context] { context.code = replay(*flags); });
}

}  // namespace nexus::agent
