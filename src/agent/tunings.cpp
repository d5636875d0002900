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
constexpr std::string_view kUndo = "undo_action";
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

/// "value 10". What a command is told, operators alone may see.
std::string parameters_of(const plan::Action& action) {
  std::string out;
  if (action.type == "run_command") return out;
  for (const auto& [name, value] : action.parameters)
    out += fmt::format("{}{} {}", out.empty() ? "" : ", ", name, shown(value));
  return out;
}

/// "performance_tuning vm.swappiness (value 10)"
std::string what_is_done(const plan::Action& action) {
  const auto with = parameters_of(action);
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

std::string what_is_undone(const plan::Action& undo) {
  const auto given = undo.parameters.find("action");
  const auto* id =
      given == undo.parameters.end() ? nullptr : std::get_if<std::string>(&given->second);
  return id == nullptr ? std::string() : *id;
}

bool tunes(const plan::Action& action) {
  const auto* descriptor = execute::find_action(action.type);
  return action.experiment || (descriptor != nullptr && descriptor->sets_values);
}

Observation proposal(const plan::Action& action) {
  auto seen = observe("tuning_proposed", action);
  // Two of one type and target, of two persons, are two.
  if (auto with = parameters_of(action); !with.empty())
    seen.labels.emplace("parameters", std::move(with));
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
  {
    const std::lock_guard guard(mutex_);
    if (action.type == kUndo) undone_.insert(what_is_undone(action));
    if (!action.outcome.experiment.empty()) ended_.push_back(action);
    if (ended_.size() > kMost) ended_.erase(ended_.begin());
  }
  due_ = true;  // after it is there: a look in between has not seen it
}

/// Once: what ended while another agent ran, in the order in which it ended.
Status Tunings::read_journal() {
  constexpr std::size_t kAtOnce = 1000;
  execute::ActionFilter filter{
      .ended_since = clock_.wall() - kTold, .ended = true, .limit = kAtOnce};
  std::vector<plan::Action> before;
  while (true) {
    auto some = journal_.list(filter);
    if (!some) return std::unexpected(some.error());
    const bool all = some->size() < kAtOnce;
    if (!all) filter.before = some->back().id;
    for (auto& action : *some) {
      if (!action.dry_run && !action.outcome.experiment.empty())
        before.push_back(std::move(action));
    }
    if (all) break;
  }
  std::ranges::sort(before, {}, [](const plan::Action& one) {
    return std::tuple(one.finished.value_or(one.created), one.id);
  });
  if (before.size() > kMost)
    before.erase(before.begin(), before.end() - static_cast<std::ptrdiff_t>(kMost));
  const std::lock_guard guard(mutex_);
  // What has ended since the start is known, and newer.
  std::erase_if(before, [&](const plan::Action& one) {
    return std::ranges::find(ended_, one.id, &plan::Action::id) != ended_.end();
  });
  ended_.insert(ended_.begin(), std::make_move_iterator(before.begin()),
                std::make_move_iterator(before.end()));
  read_ = true;
  return {};
}

/// Those that stand.
std::vector<plan::Action> Tunings::results() {
  const WallTime now = clock_.wall();
  std::set<std::string> again;
  {
    const std::lock_guard guard(mutex_);
    std::erase_if(ended_, [&](const plan::Action& one) {
      return one.finished.value_or(one.created) + kTold < now;
    });
    again = std::exchange(undone_, {});
  }
  for (const auto& id : again) {
    const auto present = journal_.get(id);
    const std::lock_guard guard(mutex_);
    const auto known = std::ranges::find(ended_, id, &plan::Action::id);
    if (present && known != ended_.end()) *known = *present;
    if (!present && present.error().code() != Errc::kNotFound) undone_.insert(id);  // next time
  }
  const std::lock_guard guard(mutex_);
  return ended_;
}

void Tunings::look() {
  if (!due_.exchange(false) && clock_.steady() < next_) return;
  next_ = clock_.steady() + kEvery;
  if (!read_) {
    if (auto read = read_journal(); !read) {
      if (!std::exchange(read_failed_, true))
        log::warning("agent", "what was tuned cannot be told: {}", read.error().message());
      return book_.doubt(kSource);
    }
  }
  std::vector<Observation> seen;
  std::set<std::tuple<std::string, std::string, std::string>> newer;
  const auto all = results();
  for (auto one = all.rbegin(); one != all.rend(); ++one) {
    if (!newer.emplace(one->type, one->target, one->remedy).second) continue;
    const bool was_kept = one->state == plan::ActionState::kSucceeded;
    if (was_kept && execute::is_undone(one->outcome)) continue;  // somebody has rolled it back
    seen.push_back(result(*one));
  }
  for (const auto& action : executor_.activity()->proposed) {
    if (!action.dry_run && tunes(action)) seen.push_back(proposal(action));
  }
  book_.observe(kSource, seen);
  if (std::exchange(told_, true)) return;
  // What an earlier agent has told of is known to be over: it needs no samples.
  for (const auto& finding : book_.of(kSource)) {
    if (!finding.seen_now) book_.clear(kSource, finding.fingerprint);
  }
}

}  // namespace nexus::agent
