// What messages tell beyond a finding: what was done about it and why not, the trend of its values
// and a picture of them.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "agent/agent_impl.hpp"
#include "nexus/base/log.hpp"
#include "nexus/knowledge/promql_parts.hpp"
#include "nexus/serve/chart.hpp"

namespace nexus::agent {
namespace {

using knowledge::promql::Query;

constexpr Millis kLookedBack{3'600'000};
constexpr std::int64_t kPoints = 120;
constexpr std::size_t kDecisions = 8;
constexpr Millis kQueryTime{500};

using Points = std::vector<std::pair<double, double>>;  // Unix seconds, value

/// What a finding's values come from: the vital's own series, or what its alert compares.
std::optional<Query> query_of(const analyze::Finding& finding) {
  if (finding.kind == analyze::FindingKind::kVital) {
    auto query = Query::parse(finding.name);
    if (!query) return std::nullopt;
    return *std::move(query);
  }
  if (finding.kind != analyze::FindingKind::kAlert) return std::nullopt;
  const auto query = Query::parse(finding.evidence.source);
  return query ? knowledge::promql::compared_vector(*query) : std::nullopt;
}

bool is_of(const knowledge::Labels& labels, const analyze::Finding& finding) {
  return std::ranges::all_of(labels, [&](const knowledge::Label& label) {
    const auto found = finding.labels.find(label.name);
    return label.name == knowledge::kMetricName || found == finding.labels.end() ||
           found->second == label.value;
  });
}

Points points_of(const analyze::Finding& finding, const knowledge::Queryable& data,
                 const Clock& clock) {
  const auto query = query_of(finding);
  if (!query || query->type() != knowledge::promql::ValueType::kVector) return {};
  const SteadyTime begin = clock.steady();
  knowledge::promql::Limits limits;
  limits.max_samples = 2'000'000;
  limits.cancelled = [&] { return clock.steady() - begin > kQueryTime; };
  const auto end = base::to_unix_millis(clock.wall());
  const auto matrix =
      query->range(data, end - kLookedBack.count(), end, kLookedBack.count() / kPoints, limits);
  if (!matrix) return {};
  Points out;
  for (const auto& series : *matrix) {
    if (!is_of(series.labels, finding)) continue;
    for (std::size_t i = 0; i < series.samples.size(); ++i) {
      if (std::isfinite(series.samples.values[i]))
        out.emplace_back(static_cast<double>(series.samples.times[i]) / 1000,
                         series.samples.values[i]);
    }
    break;
  }
  return out;
}

/// Least squares: how much it changes in an hour.
double slope_of(const Points& points) {
  double mean_x = 0;
  double mean_y = 0;
  for (const auto& [x, y] : points) {
    mean_x += x / static_cast<double>(points.size());
    mean_y += y / static_cast<double>(points.size());
  }
  double above = 0;
  double below = 0;
  for (const auto& [x, y] : points) {
    above += (x - mean_x) * (y - mean_y);
    below += (x - mean_x) * (x - mean_x);
  }
  return below > 0 ? above / below * 3600 : 0;
}

std::string trend_of(const Points& points) {
  if (points.size() < 3) return {};
  const auto by_value = [](const auto& point) { return point.second; };
  const double least = std::ranges::min(points, {}, by_value).second;
  const double most = std::ranges::max(points, {}, by_value).second;
  const auto minutes = static_cast<int>((points.back().first - points.front().first) / 60 + 0.5);
  if (minutes < 1) return {};
  if (least == most) return fmt::format("unchanged for {} min", minutes);
  const double slope = slope_of(points);
  const bool steady = std::abs(slope) < 0.02 * std::max(std::abs(most), std::abs(least));
  return fmt::format("{} in {} min, between {:.4g} and {:.4g}{}",
                     steady      ? "no trend"
                     : slope > 0 ? "rising"
                                 : "falling",
                     minutes, least, most,
                     steady ? std::string() : fmt::format(", {:+.3g} an hour", slope));
}

}  // namespace

std::vector<publish::Deed> Agent::Impl::deeds_about(const analyze::Finding& finding) const {
  std::vector<publish::Deed> out;
  const auto decisions = planner->decisions_about(finding.fingerprint, kDecisions);
  if (!decisions) return out;
  const auto since = finding.fired.value_or(finding.started) - Millis(1000);
  std::vector<std::string> told;  // remedies: the newest of each
  for (const auto& decision : *decisions) {
    if (decision.time < since || std::ranges::find(told, decision.remedy) != told.end()) continue;
    told.push_back(decision.remedy);
    publish::Deed deed;
    const auto action = decision.action_id.empty() ? Result<plan::Action>(fail(Errc::kNotFound, ""))
                                                   : journal->get(decision.action_id);
    if (action) {
      using enum plan::ActionState;
      deed.action = action->id;
      deed.proposed = action->state == kProposed;
      deed.under_way =
          action->state == kQueued || action->state == kRunning || action->state == kVerifying;
      deed.expires = action->created + current()->operations.approval_timeout;
      deed.text =
          fmt::format("{} {}: {}{}{}", action->type, action->target, to_string(action->state),
                      action->outcome.result.empty() ? "" : ", ", action->outcome.result);
    } else {
      deed.text = fmt::format("{} {} (remedy {}): {}", decision.action_type, decision.target,
                              decision.remedy, decision.reason);
    }
    out.push_back(std::move(deed));
  }
  if (out.empty() && planner->answers_to(finding).empty())
    out.push_back({"nothing is done: no remedy answers this"});
  return out;
}

std::string Agent::Impl::picture_of(const publish::Alert& alert) const {
  const auto finding = book->find(alert.finding);
  if (!finding) return {};
  const auto points = points_of(*finding, queryable, clock);
  if (points.size() < 3) return {};
  serve::Chart chart;
  chart.title = finding->name + " " + finding->subject;
  chart.width = 480;
  chart.height = 200;
  chart.lines.push_back({"", serve::ChartColour::kBlue, false, points});
  if (alert.threshold)
    chart.levels.push_back({std::string(config::to_string(alert.severity)), *alert.threshold});
  return serve::to_png(chart);
}

publish::Surroundings Agent::Impl::message_facts() {
  return {.deeds = [this](const analyze::Finding& finding) { return deeds_about(finding); },
          .trend =
              [this](const analyze::Finding& finding) {
                return trend_of(points_of(finding, queryable, clock));
              },
          .chart = [this](const publish::Alert& alert) { return picture_of(alert); },
          .healthy =
              [this] {
                std::string why;
                return healthy(why);
              }};
}

/// Whether it puts another version of something in place.
bool Agent::Impl::deploys(const plan::Action& action) const {
  const auto is_rollout = [](std::string_view type) {
    return type == "rolling_update" || type == "rollback_deployment";
  };
  if (action.dry_run) return false;
  if (action.type != "undo_action") return is_rollout(action.type);
  const auto named = action.parameters.find("action");
  const auto* id =
      named != action.parameters.end() ? std::get_if<std::string>(&named->second) : nullptr;
  const auto undone =
      id != nullptr ? journal->get(*id) : Result<plan::Action>(fail(Errc::kNotFound, ""));
  return undone && is_rollout(undone->type);
}

/// What a rollout changes may break something from its first moment on, however it ends. The text
/// names the action, so that it does not explain the finding that it answers.
void Agent::Impl::note_start(const plan::Action& action) {
  // A rung ends with its ladder; only that stands beside the finding.
  if (action.parent.empty()) note_beside_finding(action);
  if (!deploys(action)) return;
  book->note({action.started.value_or(clock.wall()), "deploy", action.target,
              fmt::format("{} by this agent (action {})", action.type,
                          action.parent.empty() ? action.id : action.parent)});
}

void Agent::Impl::note_action(const plan::Action& action) {
  note_beside_finding(action);
  // That it went well changes nothing any more; else something was left half done, or undone.
  if (!deploys(action) || !action.started || action.state == plan::ActionState::kSucceeded) return;
  book->note({action.finished.value_or(clock.wall()), "deploy", action.target,
              fmt::format("{} by this agent (action {}): {}, {}{}{}", action.type, action.id,
                          to_string(action.state), action.outcome.result,
                          action.outcome.undone.empty() ? "" : "; ", action.outcome.undone)});
}

void Agent::Impl::note_beside_finding(const plan::Action& action) {
  if (action.cause.fingerprint.empty()) return;
  const auto since = action.started.value_or(clock.wall());
  book->note_action(action.cause.fingerprint, {.time = action.finished.value_or(since),
                                               .id = action.id,
                                               .type = action.type,
                                               .target = action.target,
                                               .state = std::string(to_string(action.state)),
                                               .result = action.outcome.result,
                                               .remedy = action.remedy});
}

/// The last end of the agent was none: a finding for a quarter of an hour.
void Agent::Impl::tell_of_life() {
  constexpr Millis kTold{15 * 60'000};
  if (auto noted = life->note(clock); !noted) log::warning("agent", "{}", noted.error().message());
  if (!life->unclean() || clock.steady() - started_steady < kTold || told_of_life) return;
  told_of_life = true;
  book->clear("agent", analyze::fingerprint(analyze::FindingKind::kAgent, "unclean_restart", {}));
}

}  // namespace nexus::agent
