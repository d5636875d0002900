#include "nexus/analyze/replay.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "analyze/anomaly/forest_detector.hpp"
#include "analyze/rules/group.hpp"
#include "analyze/rules/memory_store.hpp"

namespace nexus::analyze {
namespace {

using knowledge::Labels;

// A row below this probability is told what made it strange, flagged or not.
constexpr double kTold = 0.01;

std::string metric_name(const std::string& column) {
  std::string out = column;
  for (char& c : out) {
    const auto u = static_cast<unsigned char>(c);
    if (std::isalnum(u) == 0 && c != '_' && c != ':') c = '_';
  }
  if (out.empty() || std::isdigit(static_cast<unsigned char>(out.front())) != 0) out = "_" + out;
  return out;
}

/// The rule groups over the rows so far.
class RuleRun {
 public:
  RuleRun(const CsvTable& table, const ReplayOptions& options) : table_(table) {
    for (const auto& group : options.rules) groups_.push_back(std::make_unique<Group>(group));
    for (const auto& name : table.names) labels_.push_back(Labels(metric_name(name), {}));
    world_.query = [this](const knowledge::promql::Query& query, WallTime time) {
      return ask(query, time);
    };
    world_.append = [this](const Labels& labels, WallTime time, double value) {
      return store_.append(labels, base::to_unix_millis(time), value);
    };
  }

  std::vector<std::string> push(std::size_t row) {
    std::vector<std::string> out;
    if (groups_.empty()) return out;
    const std::int64_t time = table_.times[row];
    if (row > 0 && time <= last_) return out;
    last_ = time;
    for (std::size_t i = 0; i < table_.columns.size(); ++i) {
      const double value = table_.columns[i][row];
      if (std::isfinite(value)) (void)store_.append(labels_[i], time, value);
    }
    for (const auto& group : groups_) {
      group->evaluate(WallTime(Millis(time)), world_);
      for (std::size_t i = 0; i < group->size(); ++i) {
        const Rule& rule = group->definition().rules[i];
        if (!group->error(i).empty())
          errors_.try_emplace(rule.name, fmt::format("rule {}: {}", rule.name, group->error(i)));
        for (const RuleAlert& alert : group->alerts(i)) {
          if (alert.state == FindingState::kFiring) out.push_back(to_string(alert.labels));
        }
      }
    }
    return out;
  }

  [[nodiscard]] std::vector<std::string> errors() const {
    std::vector<std::string> out;
    for (const auto& [name, text] : errors_) out.push_back(text);
    return out;
  }

 private:
  Result<knowledge::promql::Vector> ask(const knowledge::promql::Query& query, WallTime time) {
    auto value = query.instant(store_, base::to_unix_millis(time), {});
    if (!value) return std::unexpected(value.error());
    if (auto* vector = std::get_if<knowledge::promql::Vector>(&*value)) return std::move(*vector);
    if (const auto* scalar = std::get_if<knowledge::promql::Scalar>(&*value))
      return knowledge::promql::Vector{{Labels(), scalar->time, scalar->value}};
    return fail(Errc::kInvalidArgument, "rule result is not a vector or scalar");
  }

  const CsvTable& table_;
  std::vector<Labels> labels_;
  MemoryStore store_;
  GroupWorld world_;
  std::vector<std::unique_ptr<Group>> groups_;
  std::map<std::string, std::string> errors_;
  std::int64_t last_ = 0;
};

/// Every column by itself; the strangest one speaks for the row.
class Apart {
 public:
  Apart(const CsvTable& table, const ReplayOptions& options) : table_(table) {
    // The budget is the host's, as live: a vital takes an eighth of it at most, many share it.
    const double share = std::max(1.0, static_cast<double>(table.columns.size()) * kVitalShare);
    for (std::size_t i = 0; i < table.columns.size(); ++i)
      detectors_.emplace_back(options.alarms_a_day / share);
  }

  void push(std::size_t row, ReplayRow& out) {
    bool flag = false;
    for (std::size_t i = 0; i < detectors_.size(); ++i) {
      VitalDetector& detector = detectors_[i];
      const double value = table_.columns[i][row];
      const double usual = detector.usual();
      const auto score = detector.push(table_.times[row], value);
      if (!score) continue;
      flag = flag || score->flag;
      if (out.score && !(stranger(*score, *out.score))) continue;
      out.score = score;
      out.columns = {{i, 1, usual, value}};
    }
    if (!out.score) return;
    out.score->flag = flag;
    if (detectors_.size() == 1 || out.score->probability > kTold) out.columns.clear();
  }

 private:
  static bool stranger(const RowScore& a, const RowScore& b) {
    return std::pair(a.ready, a.score) > std::pair(b.ready, b.score);
  }
  const CsvTable& table_;
  std::vector<VitalDetector> detectors_;
};

class Together {
 public:
  Together(const CsvTable& table, const ReplayOptions& options)
      : table_(table),
        detector_(table.columns.size(), options.alarms_a_day),
        most_(options.contributions),
        values_(table.columns.size()) {}

  void push(std::size_t row, ReplayRow& out) {
    for (std::size_t i = 0; i < values_.size(); ++i) values_[i] = table_.columns[i][row];
    out.score = detector_.push(table_.times[row], values_);
    if (!out.score || !out.score->ready) return;
    if (out.score->flag || out.score->probability <= kTold)
      out.columns = detector_.contributions(most_);
  }

 private:
  const CsvTable& table_;
  HostDetector detector_;
  std::size_t most_;
  std::vector<double> values_;
};

/// Isolation forests alone: one over all columns, or one each, of which the strangest speaks.
class Forests {
 public:
  Forests(const CsvTable& table, const ReplayOptions& options)
      : table_(table), most_(options.contributions), values_(table.columns.size()) {
    const std::size_t many = options.together ? 1 : values_.size();
    for (std::size_t i = 0; i < many; ++i)
      detectors_.emplace_back(values_.size() / many, *options.contamination);
  }

  void push(std::size_t row, ReplayRow& out) {
    for (std::size_t i = 0; i < values_.size(); ++i) values_[i] = table_.columns[i][row];
    const std::size_t each = values_.size() / detectors_.size();
    bool flag = false;
    std::size_t strangest = 0;
    for (std::size_t i = 0; i < detectors_.size(); ++i) {
      const auto score =
          detectors_[i].push(table_.times[row], std::span(values_).subspan(i * each, each));
      if (!score) continue;
      flag = flag || score->flag;
      if (out.score &&
          std::pair(score->ready, score->score) <= std::pair(out.score->ready, out.score->score))
        continue;
      out.score = score;
      strangest = i;
    }
    if (!out.score || !out.score->ready) return;
    out.score->flag = flag;
    if (values_.size() == 1 || !(flag || out.score->probability <= kTold)) return;
    out.columns = detectors_[strangest].contributions(most_);
    for (Contribution& one : out.columns) one.column += strangest * each;
  }

 private:
  const CsvTable& table_;
  std::size_t most_;
  std::vector<double> values_;
  std::vector<ForestDetector> detectors_;
};

}  // namespace

Result<ReplaySummary> replay(const CsvTable& table, const ReplayOptions& options,
                             const std::function<void(const ReplayRow&)>& row) {
  if (table.columns.empty()) return fail(Errc::kInvalidArgument, "no column of numbers to replay");
  ReplaySummary summary;
  RuleRun rules(table, options);
  Apart apart(table, options);
  std::optional<Together> together;
  std::optional<Forests> forests;
  if (options.contamination) {
    if (options.together && table.columns.size() > IsolationForest::kMaxDimensions)
      return fail(Errc::kInvalidArgument, "{} columns: an isolation forest takes {} at most",
                  table.columns.size(), IsolationForest::kMaxDimensions);
    forests.emplace(table, options);
  } else if (options.together) {
    together.emplace(table, options);
  }
  for (std::size_t i = 0; i < table.rows(); ++i) {
    ReplayRow out;
    out.row = i;
    if (forests) {
      forests->push(i, out);
    } else if (together) {
      together->push(i, out);
    } else {
      apart.push(i, out);
    }
    out.alerts = rules.push(i);
    ++summary.rows;
    summary.left_out += out.score ? 0 : 1;
    summary.scored += out.score && out.score->ready ? 1 : 0;
    summary.flagged += out.score && out.score->flag ? 1 : 0;
    summary.known += out.score && out.score->known ? 1 : 0;
    row(out);
  }
  summary.rule_errors = rules.errors();
  return summary;
}

}  // namespace nexus::analyze
