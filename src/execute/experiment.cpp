// Tuning as an experiment: what a change has done to a metric is measured, and an effect that is
// not proven is none.
//
// The values of the window before the action began and of the one after it ended are compared by
// the Mann-Whitney U test (normal approximation with the correction for ties and for continuity),
// one side only, and by Cliff's delta, which is how much more often a value of the one window is
// beyond one of the other. The change is kept when the test is significant and the effect large
// enough. Both windows hold one value a step (metrics of several series are averaged); samples of
// one metric depend on each other: the steps are no closer than kStep, the test is widened by the
// dependence between neighbours, and a window of fewer than kFewest values proves nothing.
#include <algorithm>
#include <boost/json.hpp>
#include <cmath>

#include "execute/executor_impl.hpp"
#include "execute/mann_whitney.hpp"
#include "nexus/base/text.hpp"
#include "nexus/knowledge/promql.hpp"

namespace nexus::execute {
namespace {

namespace promql = knowledge::promql;
using plan::Action;

constexpr std::int64_t kMostValues = 300;
constexpr std::int64_t kStep = 1000;  // ms
constexpr std::size_t kFewest = 8;

Result<std::vector<double>> values_of(const promql::Query& query, const knowledge::Queryable& data,
                                      WallTime from, WallTime to) {
  const auto start = base::to_unix_millis(from);
  const auto end = base::to_unix_millis(to);
  const auto step = std::max(kStep, (end - start) / kMostValues);
  promql::Limits limits;
  limits.lookback_ms = std::max<std::int64_t>(2 * step, 5000);  // no value stands for many
  auto matrix = query.range(data, start + step, end, step, limits);
  if (!matrix) return propagate(std::move(matrix));
  std::map<std::int64_t, std::pair<double, int>> sums;
  for (const auto& series : *matrix) {
    for (std::size_t i = 0; i < series.samples.size(); ++i) {
      if (std::isnan(series.samples.values[i])) continue;
      auto& [sum, count] = sums[series.samples.times[i]];
      sum += series.samples.values[i];
      ++count;
    }
  }
  std::vector<double> out;
  for (const auto& [time, sum] : sums) out.push_back(sum.first / sum.second);
  return out;
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

/// The sentence, and whether it is kept.
bool decide(const config::ExperimentConfig& trial, const std::vector<double>& before,
            const std::vector<double>& after, boost::json::object& record) {
  record["values_before"] = before.size();
  record["values_after"] = after.size();
  if (before.size() < kFewest || after.size() < kFewest) {
    record["decision"] = "undo";
    record["why"] = fmt::format("{} and {} values are too few to tell anything (at least {})",
                                before.size(), after.size(), kFewest);
    return false;
  }
  const bool lower = trial.better == "lower";
  const double dependence = std::max(dependence_of(before), dependence_of(after));
  const auto test =
      lower ? mann_whitney(after, before, dependence) : mann_whitney(before, after, dependence);
  record["dependence"] = dependence;  // so many values stand for an independent one
  record["median_before"] = median(before);
  record["median_after"] = median(after);
  record["p_value"] = test.p_less;
  record["effect"] = test.delta;  // 1: every value is better than every one before
  const bool keep = test.p_less < 1 - trial.confidence && test.delta >= trial.min_effect;
  record["decision"] = keep ? "keep" : "undo";
  record["why"] = fmt::format(
      "{} went from {} to {} in the median (p = {}, effect {}, wanted: p below {}, effect at least "
      "{})",
      trial.metric.text, base::format_double(median(before)), base::format_double(median(after)),
      base::format_double(std::round(test.p_less * 1e6) / 1e6),
      base::format_double(std::round(test.delta * 1000) / 1000),
      base::format_double(std::round((1 - trial.confidence) * 1e6) / 1e6),
      base::format_double(trial.min_effect));
  return keep;
}

}  // namespace

std::optional<bool> Executor::Impl::has_improved(const Entry& entry, Action& action) {
  const auto& trial = *action.experiment;
  const auto ended = clock.wall();
  const auto deadline = clock.steady() + trial.after;
  {
    std::unique_lock lock(mutex);
    clock.wait_until(lock, changed, deadline, [&] { return entry.cancel || stopping; });
    if (entry.cancel || stopping) return std::nullopt;
  }
  const auto began = action.started.value_or(ended);
  boost::json::object record{{"metric", trial.metric.text},
                             {"better", trial.better},
                             {"before_from", base::to_rfc3339(began - trial.before)},
                             {"before_to", base::to_rfc3339(began)},
                             {"after_from", base::to_rfc3339(ended)},
                             {"after_to", base::to_rfc3339(ended + trial.after)}};
  bool keep = false;
  auto query = promql::Query::parse(trial.metric.text);
  auto before = query ? values_of(*query, data, began - trial.before, began)
                      : Result<std::vector<double>>(std::unexpected(query.error()));
  auto after = before ? values_of(*query, data, ended, ended + trial.after) : before;
  if (after) {
    keep = decide(trial, *before, *after, record);
  } else {
    record["decision"] = "undo";
    record["why"] = "it cannot be measured: " + after.error().message();
  }
  self.counter("nexus_experiments_total", "Actions whose effect was tested, by the decision.",
               {{"decision", keep ? "keep" : "undo"}})
      .add();
  action.outcome.result +=
      fmt::format("; {}: {}", keep ? "kept" : "not kept", std::string(record["why"].as_string()));
  action.outcome.experiment = boost::json::serialize(record);
  return keep;
}

}  // namespace nexus::execute
