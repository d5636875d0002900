#include <fmt/format.h>

#include "nexus/analyze/rules.hpp"

namespace nexus::analyze {
namespace {

using knowledge::promql::Query;
using knowledge::promql::ValueType;

/// The parsed expression of a rule, or a problem at its place.
std::optional<Query> parse(std::string_view kind, std::string_view name,
                           const config::Expression& expression, const config::Where& rule,
                           std::vector<config::Problem>& problems) {
  // Never written, or not a string: the reader of the configuration has complained.
  if (expression.text.empty() && expression.where.line == 0) return std::nullopt;
  const config::Where& where = expression.where.line > 0 ? expression.where : rule;
  auto query = Query::parse(expression.text);
  if (!query) {
    problems.push_back(
        {where, fmt::format("{} \"{}\": expr: {}", kind, name, query.error().message())});
    return std::nullopt;
  }
  if (query->type() != ValueType::kVector && query->type() != ValueType::kScalar) {
    problems.push_back(
        {where, fmt::format("{} \"{}\": expr: expected an instant vector or a scalar, this is a {}",
                            kind, name, to_string(query->type()))});
    return std::nullopt;
  }
  return std::move(*query);
}

}  // namespace

std::shared_ptr<const RuleSet> RuleSet::compile(const config::Config& config,
                                                std::vector<config::Problem>& problems) {
  auto rules = std::make_shared<RuleSet>();
  auto definitions = std::make_shared<std::vector<config::VitalConfig>>();
  for (const config::VitalConfig& vital : config.vitals) {
    if (!vital.enabled) continue;
    auto query = parse("vital", vital.name, vital.expr, vital.where, problems);
    if (!query) continue;
    rules->vitals.push_back({vital, std::move(*query)});
    definitions->push_back(vital);
  }
  for (const config::AlertConfig& alert : config.alerts) {
    auto query = parse("alert", alert.name, alert.expr, alert.where, problems);
    if (query) rules->alerts.push_back({alert, std::move(*query)});
  }
  rules->definitions = std::move(definitions);
  return rules;
}

}  // namespace nexus::analyze
