#include "analyze/rules/evaluator.hpp"

#include <array>
#include <variant>

namespace nexus::analyze {
namespace {

using knowledge::promql::Scalar;
using knowledge::promql::Value;
using knowledge::promql::Vector;

constexpr Millis kTimeLimit{1000};  // of one expression: a slow rule must not stop the others
constexpr std::uint64_t kMaxSamples = 5'000'000;

/// The most telling label first.
constexpr std::array<std::string_view, 10> kSubjects = {
    "mountpoint", "service", "unit", "device", "interface",
    "container",  "process", "name", "sensor", "cpu"};

}  // namespace

Evaluator::Evaluator(Clock& clock, const knowledge::Queryable& data, knowledge::SelfMetrics& self,
                     std::string_view kind)
    : clock_(clock),
      data_(data),
      evaluations_(
          self.counter("nexus_rule_evaluations_total", "Evaluations of rules", {{"kind", kind}})),
      failures_(self.counter("nexus_rule_evaluation_failures_total",
                             "Evaluations of rules that failed, wholly or in part",
                             {{"kind", kind}})),
      seconds_(self.counter("nexus_rule_evaluation_seconds_total", "Time spent in evaluating rules",
                            {{"kind", kind}})) {}

Result<Vector> Evaluator::run(const knowledge::promql::Query& query, WallTime at,
                              RuleStatus& status) {
  const SteadyTime begin = clock_.steady();
  knowledge::promql::Limits limits;
  limits.max_samples = kMaxSamples;
  limits.cancelled = [this, begin] { return clock_.steady() - begin > kTimeLimit; };
  auto value = query.instant(data_, base::to_unix_millis(at), limits);
  status.evaluated = at;
  status.duration_seconds = std::chrono::duration<double>(clock_.steady() - begin).count();
  status.error.clear();
  evaluations_.add();
  seconds_.add(status.duration_seconds);
  if (!value) {
    complain(status, value.error().message());
    return propagate(std::move(value));
  }
  if (auto* vector = std::get_if<Vector>(&*value)) return std::move(*vector);
  if (const auto* scalar = std::get_if<Scalar>(&*value)) {
    Vector one(1);
    one[0].time = scalar->time;
    one[0].value = scalar->value;
    return one;
  }
  return fail(Errc::kInternal, "neither a vector nor a scalar");  // compile() lets nothing else in
}

void Evaluator::complain(RuleStatus& status, std::string error) {
  status.error = std::move(error);
  failures_.add();
}

StringMap to_map(const knowledge::Labels& labels) {
  StringMap map;
  for (const knowledge::Label& label : labels) {
    if (label.name != knowledge::kMetricName) map.emplace(label.name, label.value);
  }
  return map;
}

std::string subject_of(const StringMap& labels) {
  for (const std::string_view name : kSubjects) {
    if (const auto found = labels.find(name); found != labels.end()) return found->second;
  }
  return "host";
}

std::string subject_of(const knowledge::Labels& labels) {
  for (const std::string_view name : kSubjects) {
    if (const std::string_view value = labels.get(name); !value.empty()) return std::string(value);
  }
  return "host";
}

}  // namespace nexus::analyze
