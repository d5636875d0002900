#include "agent/tunings.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <boost/json/parse.hpp>
#include <set>
#include <tuple>
#include <utility>

#include "nexus/base/log.hpp"
#include "nexus/base/text.hpp"
#include "nexus/execute/undone.hpp"

namespace nexus::agent {
namespace {

namespace json = boost::json;
using analyze::Observation;

constexpr std::string_view kSource = "tunings";
constexpr std::size_t kMost = 200;  // experiments of kTold that are known

/// The record of an experiment (execute/experiment.cpp); empty when it cannot be read.
json::object record_of(const plan::Action& action) {
  boost::system::error_code error;
  auto value = json::parse(action.outcome.experiment, error);
  return !error && value.is_object() ? std::move(value.get_object()) : json::object();
}

std::string text_in(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

std::optional<double> number_in(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  if (value == nullptr || !value->is_number()) return std::nullopt;
  return value->to_number<double>();
}

Observation observe(std::string_view name, const plan::Action& action) {
  Observation seen;
  seen.kind = analyze::FindingKind::kOptimization;
  seen.name = name;
  seen.severity = config::Severity::kInfo;
  seen.subject = action.target;
  seen.labels = {{"action_type", action.type}, {"target", action.target}};
  if (!action.remedy.empty()) seen.labels.emplace("remedy", action.remedy);
  seen.annotations = {{"action", action.id}};
  return seen;
}

void say(Observation& seen, std::string text) {
  seen.annotations["summary"] = text;
  seen.evidence.text = std::move(text);
}

std::string shown(const config::ParameterValue& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  if (const auto* list = std::get_if<std::vector<std::string>>(&value))
    return fmt::format("{}", fmt::join(*list, " "));
  if (const auto* truth = std::get_if<bool>(&value)) return *truth ? "true" : "false";
  if (const auto* whole = std::get_if<std::int64_t>(&value)) return fmt::format("{}", *whole);
  return base::format_double(std::get<double>(value));
}

/// "performance_tuning vm.swappiness (value 10)"
std::string what_is_done(const plan::Action& action) {
  std::string with;
  // What a command is told, operators alone may see.
  const auto& parameters = action.type == "run_command" ? config::Parameters() : action.parameters;
  for (const auto& [name, value] : parameters)
    with += fmt::format("{}{} {}", with.empty() ? "" : ", ", name, shown(value));
  return fmt::format("{} {}{}", action.type, action.target, with.empty() ? "" : " (" + with + ")");
}

Observation result(const plan::Action& action) {
  const auto record = record_of(action);
  const bool kept = text_in(record, "decision") == "keep";
  auto seen = observe(kept ? "tuning_kept" : "tuning_undone", action);
  std::string text = fmt::format("{} was {}: {}", what_is_done(action), kept ? "kept" : "not kept",
                                 text_in(record, "why"));
  if (!kept && !action.outcome.undone.empty()) text += "; " + action.outcome.undone;
  if (!kept && !execute::is_undone(action.outcome)) seen.severity = config::Severity::kWarning;
  say(seen, std::move(text));
  seen.evidence.source = text_in(record, "metric");
  seen.evidence.value = number_in(record, "median_after").value_or(0);
  seen.annotations["metric"] = seen.evidence.source;
  for (const auto& [name, member] :
       {std::pair("before", "median_before"), std::pair("after", "median_after"),
        std::pair("p_value", "p_value"), std::pair("effect", "effect")}) {
    if (const auto number = number_in(record, member))
      seen.annotations[name] = base::format_double(*number);
  }
  return seen;
}

bool tunes(const plan::Action& action) {
  const auto* descriptor = execute::find_action(action.type);
  return action.experiment || (descriptor != nullptr && descriptor->sets_values);
}

Observation proposal(const plan::Action& action) {
  auto seen = observe("tuning_proposed", action);
  std::string text = what_is_done(action) + " is proposed";
  if (!action.cause.summary.empty())
    text += fmt::format(", because of {}: {}", action.cause.finding, action.cause.summary);
  if (action.experiment)
    text += fmt::format("; it would be kept when {} is {} after it", action.experiment->metric.text,
                        action.experiment->better);
  text += fmt::format("; `nexus-agent actions approve {}` lets it run", action.id);
  say(seen, std::move(text));
  seen.evidence.source = action.experiment ? action.experiment->metric.text : action.type;
  return seen;
}

}  // namespace

void Tunings::note(const plan::Action& action) {
  if (action.dry_run) return;
  due_ = true;
  const std::lock_guard guard(mutex_);
  if (action.type == "undo_action") undone_ = true;
  if (action.outcome.experiment.empty()) return;
  ended_.push_back(action);
  if (ended_.size() > kMost) ended_.erase(ended_.begin());
}

/// Once: what ended while another agent ran.
void Tunings::read_journal() {
  auto known = journal_.list({.since = clock_.wall() - 2 * kTold, .ended = true, .limit = 1000});
  if (!known) return log::warning("agent", "what was tuned: {}", known.error().message());
  read_ = true;
  std::vector<plan::Action> before;
  for (auto& action : *known) {
    if (!action.dry_run && !action.outcome.experiment.empty() && before.size() < kMost)
      before.insert(before.begin(), std::move(action));
  }
  const std::lock_guard guard(mutex_);
  std::erase_if(before, [&](const plan::Action& one) {
    return std::ranges::find(ended_, one.id, &plan::Action::id) != ended_.end();
  });
  ended_.insert(ended_.begin(), before.begin(), before.end());
}

/// Those that stand.
std::vector<plan::Action> Tunings::results() {
  const WallTime now = clock_.wall();
  bool again = false;
  std::vector<plan::Action> all;
  {
    const std::lock_guard guard(mutex_);
    std::erase_if(ended_, [&](const plan::Action& one) {
      return one.finished.value_or(one.created) + kTold < now;
    });
    again = std::exchange(undone_, false);
    all = ended_;
  }
  if (!again) return all;
  for (auto& one : all) {
    if (auto present = journal_.get(one.id)) one = *std::move(present);
  }
  const std::lock_guard guard(mutex_);
  for (const auto& one : all) {
    const auto known = std::ranges::find(ended_, one.id, &plan::Action::id);
    if (known != ended_.end()) *known = one;
  }
  return all;
}

void Tunings::look() {
  if (!due_.exchange(false) && clock_.steady() < next_) return;
  next_ = clock_.steady() + kEvery;
  if (!read_) read_journal();
  std::vector<Observation> seen;
  std::set<std::tuple<std::string, std::string, std::string>> newer;
  const auto all = results();
  for (auto one = all.rbegin(); one != all.rend(); ++one) {
    if (!newer.emplace(one->type, one->target, one->remedy).second) continue;
    const bool was_kept = one->state == plan::ActionState::kSucceeded;
    if (was_kept && !one->outcome.undone.empty()) continue;  // somebody has rolled it back
    seen.push_back(result(*one));
  }
  for (const auto& action : executor_.activity()->proposed) {
    if (!action.dry_run && tunes(action)) seen.push_back(proposal(action));
  }
  book_.observe(kSource, seen);
}

}  // namespace nexus::agent
