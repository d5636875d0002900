#include <fmt/format.h>

#include <set>

#include "analyze/templates/template.hpp"
#include "nexus/analyze/rules.hpp"
#include "nexus/config/config.hpp"
#include "nexus/config/text_place.hpp"
#include "nexus/knowledge/promql_parts.hpp"

namespace nexus::analyze {
namespace {

using knowledge::promql::Query;
using knowledge::promql::ValueType;

/// The parsed expression of a rule, or a problem at its place.
std::optional<Query> parse(std::string_view kind, std::string_view name,
                           const config::Expression& expression, const config::Where& rule,
                           std::vector<config::Problem>& problems, std::string_view key = "expr") {
  // Never written, or not a string: the reader of the configuration has complained.
  if (expression.text.empty() && expression.where.line == 0) return std::nullopt;
  const config::Where& where = expression.where.line > 0 ? expression.where : rule;
  auto query = Query::parse(expression.text);
  if (!query) {
    problems.push_back(
        {where, fmt::format("{} \"{}\": {}: {}", kind, name, key, query.error().message())});
    return std::nullopt;
  }
  if (query->type() != ValueType::kVector && query->type() != ValueType::kScalar) {
    problems.push_back(
        {where, fmt::format("{} \"{}\": {}: expected an instant vector or a scalar, this is a {}",
                            kind, name, key, to_string(query->type()))});
    return std::nullopt;
  }
  return std::move(*query);
}

using Context = std::shared_ptr<const TemplateContext>;

/// The templates of an [[alert]], or problems at their places.
std::shared_ptr<const Rule::Templates> parse_templates(const config::AlertConfig& alert,
                                                       const Context& context, std::string_view key,
                                                       const config::StringMap& texts,
                                                       std::vector<config::Problem>& problems) {
  auto out = std::make_shared<Rule::Templates>();
  for (const auto& [name, text] : texts) {
    auto parsed = Template::parse(text, name);
    if (parsed) {
      out->emplace_back(name, parsed->in(context));
    } else {
      const auto path = fmt::format("{}.{}", key, name);
      problems.push_back(
          {config::place_of_alert_text(alert.where, path),
           fmt::format("alert \"{}\": {}: {}", alert.name, path, parsed.error().message())});
    }
  }
  return out;
}

std::shared_ptr<const Rule::Templates> in(const Context& context,
                                          const std::shared_ptr<const Rule::Templates>& templates) {
  if (templates == nullptr) return nullptr;
  auto out = std::make_shared<Rule::Templates>();
  for (const auto& [name, text] : *templates) out->emplace_back(name, text.in(context));
  return out;
}

void load_groups(const config::Config& config, const Context& context, RuleSet& rules,
                 std::vector<config::Problem>& problems) {
  std::set<std::string> loaded;
  for (const auto& path : find_rule_files(config.rule_files)) {
    if (!loaded.insert(path).second) continue;  // two patterns name it
    RuleFile file = load_rule_file(path);
    rules.digests[path] = file.digest;
    for (auto& problem : file.problems)
      problems.push_back({{path, problem.line, problem.column}, std::move(problem.message)});
    for (auto& group : file.groups) {
      for (Rule& rule : group.rules) {
        rule.label_templates = in(context, rule.label_templates);
        rule.annotation_templates = in(context, rule.annotation_templates);
      }
      rules.groups.push_back(std::make_shared<const RuleGroup>(std::move(group)));
    }
  }
}

}  // namespace

std::shared_ptr<const RuleSet> RuleSet::compile(const config::Config& config,
                                                std::vector<config::Problem>& problems) {
  auto rules = std::make_shared<RuleSet>();
  auto definitions = std::make_shared<std::vector<config::VitalConfig>>();
  const auto context = std::make_shared<const TemplateContext>(
      TemplateContext{config.agent.external_labels, config.agent.external_url});
  for (const config::VitalConfig& vital : config.vitals) {
    if (!vital.enabled) continue;
    auto query = parse("vital", vital.name, vital.expr, vital.where, problems);
    if (!query) continue;
    rules->vitals.push_back({vital, std::move(*query)});
    definitions->push_back(vital);
  }
  for (const config::AlertConfig& alert : config.alerts) {
    auto query = parse("alert", alert.name, alert.expr, alert.where, problems);
    auto labels = parse_templates(alert, context, "labels", alert.labels, problems);
    auto annotations = parse_templates(alert, context, "annotations", alert.annotations, problems);
    std::optional<Query> clear;
    if (!alert.clear.text.empty() || alert.clear.where.line > 0)
      clear = parse("alert", alert.name, alert.clear, alert.where, problems, "clear");
    if (!query) continue;
    std::optional<Query> data;
    const bool asks = alert.on_missing != config::OnMissing::kResolve;
    if (asks || clear) {
      data = knowledge::promql::compared_vector(*query);
      if (!data && asks)
        problems.push_back(
            {alert.expr.where.line > 0 ? alert.expr.where : alert.where,
             fmt::format("alert \"{}\": expr: on_missing is \"{}\": expected a comparison of a "
                         "vector with a number, such as up < 1, to tell its data from its answer",
                         alert.name, config::to_string(alert.on_missing))});
    }
    rules->alerts.push_back({alert, std::move(*query), std::move(clear), std::move(data),
                             std::move(labels), std::move(annotations)});
  }
  load_groups(config, context, *rules, problems);
  rules->definitions = std::move(definitions);
  return rules;
}

}  // namespace nexus::analyze
