#include "plan/remedies.hpp"

#include <algorithm>

#include "nexus/analyze/kinds.hpp"
#include "nexus/base/text.hpp"
#include "nexus/config/config.hpp"
#include "nexus/knowledge/promql.hpp"

namespace nexus::plan {
namespace {

using analyze::Finding;

/// Stands for any label value when an expression is checked. It is no expression, so that a label
/// outside a string literal is refused when the configuration is read.
constexpr std::string_view kAnyValue = "any value";

/// `value` as it may stand inside any PromQL string literal.
std::string escape_in_literal(std::string_view value) {
  std::string out;
  for (const char c : value) {
    switch (c) {
      case '\\':
        out += "\\\\";
        break;
      case '"':
        out += "\\x22";
        break;
      case '\'':
        out += "\\x27";
        break;
      case '`':
        out += "\\x60";
        break;
      case '\n':
        out += "\\n";
        break;
      default:
        out += c;
    }
  }
  return out;
}

Result<std::vector<knowledge::Matcher>> compile_on(const std::string& text) {
  const std::string name(base::trim(text));
  if (name.empty()) return fail(Errc::kInvalidArgument, "expected a finding's name or a selector");
  if (name.contains('{')) return knowledge::promql::parse_selector(name);
  auto matcher = knowledge::Matcher::make(std::string(knowledge::kMetricName),
                                          knowledge::MatchOp::kEqual, name);
  if (!matcher) return propagate(std::move(matcher));
  return std::vector{*std::move(matcher)};
}

Status check_parameters(const config::Parameters& parameters) {
  for (const auto& [name, value] : parameters) {
    Result<Template> parsed;
    if (const auto* text = std::get_if<std::string>(&value)) parsed = Template::parse(*text);
    if (const auto* list = std::get_if<std::vector<std::string>>(&value)) {
      for (const auto& text : *list) {
        if (parsed) parsed = Template::parse(text);
      }
    }
    if (!parsed) return propagate(std::move(parsed), "parameter {}", name);
  }
  return {};
}

/// An expression with "${label}" in its string literals.
Result<Template> compile_expression(const std::string& text) {
  auto parsed = Template::parse(text);
  if (!parsed) return parsed;
  if (auto query = knowledge::promql::Query::parse(parsed->with(kAnyValue)); !query)
    return propagate(std::move(query));
  return parsed;
}

/// FNV-1a over what the definition says about an action. What it is called, how urgent it is and
/// how often it may act may change without making a queued action another one.
std::string digest_of(const config::RemedyConfig& definition) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  const auto eat = [&](std::string_view text) {
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
    hash = (hash ^ 0x1fU) * 0x100000001b3U;
  };
  const auto eat_parameters = [&](const config::Parameters& parameters) {
    for (const auto& [name, value] : parameters) {
      eat(name);
      std::visit(
          [&](const auto& held) {
            using T = std::decay_t<decltype(held)>;
            if constexpr (std::is_same_v<T, std::vector<std::string>>) {
              for (const auto& item : held) eat(item);
            } else {
              eat(fmt::format("{}", held));
            }
          },
          value);
    }
  };
  const auto eat_verify = [&](const std::optional<config::VerifyConfig>& verify) {
    eat(verify ? fmt::format("{} {}", verify->expr.text, verify->within.count()) : "");
  };
  const auto eat_limit = [&](const std::optional<Millis>& limit) {
    eat(limit ? fmt::format("{}", limit->count()) : "");
  };
  eat(definition.on.text);
  eat(definition.action);
  eat(definition.target);
  eat_parameters(definition.parameters);
  eat_verify(definition.verify);
  eat_limit(definition.timeout);
  eat(definition.only_if ? definition.only_if->text : "");
  for (const auto& rung : definition.steps) {
    eat(rung.action);
    eat(rung.target);
    eat_parameters(rung.parameters);
    eat_verify(rung.verify);
    eat_limit(rung.timeout);
  }
  eat(definition.all_steps ? "all" : "");
  if (const auto& trial = definition.experiment) {
    eat(fmt::format("{} {} {} {} {} {}", trial->metric.text, trial->better, trial->before.count(),
                    trial->after.count(), trial->confidence, trial->min_effect));
  }
  return fmt::format("{:016x}", hash);
}

void compile_one(const config::RemedyConfig& definition, RemedySet::Impl& out,
                 std::vector<config::Problem>& problems) {
  Remedy remedy;
  remedy.definition = definition;
  const auto complain = [&](const config::Where& where, std::string_view key, const Error& error) {
    problems.push_back(
        {where, fmt::format("remedy \"{}\": {}: {}", definition.name, key, error.message())});
  };
  if (auto matchers = compile_on(definition.on.text)) {
    remedy.matchers = *std::move(matchers);
  } else if (!definition.on.text.empty() || definition.on.where.line > 0) {
    // One that was never written the reader of the configuration has complained of.
    complain(definition.on.where, "on", matchers.error());
  }
  if (auto target = Template::parse(definition.target)) {
    remedy.target = *std::move(target);
  } else {
    complain(definition.where, "target", target.error());
  }
  if (auto ok = check_parameters(definition.parameters); !ok) {
    complain(definition.where, "parameters", ok.error());
  }
  const auto expression = [&](const config::Expression& written, std::string_view key,
                              Template& to) {
    if (auto compiled = compile_expression(written.text)) {
      to = *std::move(compiled);
    } else {
      complain(written.where, key, compiled.error());
    }
  };
  if (definition.verify) expression(definition.verify->expr, "verify", remedy.verify);
  if (definition.only_if) expression(*definition.only_if, "only_if", remedy.only_if);
  if (definition.experiment)
    expression(definition.experiment->metric, "experiment.metric", remedy.metric);
  for (const auto& step : definition.steps) {
    RungTemplate rung;
    if (auto target = Template::parse(step.target)) {
      rung.target = *std::move(target);
    } else {
      complain(step.where, "steps: target", target.error());
    }
    if (auto ok = check_parameters(step.parameters); !ok)
      complain(step.where, "steps: parameters", ok.error());
    if (step.verify) expression(step.verify->expr, "steps: verify", rung.verify);
    remedy.rungs.push_back(std::move(rung));
  }
  remedy.digest = digest_of(definition);
  out.remedies.push_back(std::move(remedy));
}

void compile_window(const config::MaintenanceConfig& definition, RemedySet::Impl& out,
                    std::vector<config::Problem>& problems) {
  const auto complain = [&](const config::Where& where, std::string_view what) {
    problems.push_back({where.line > 0 ? where : definition.where,
                        fmt::format("maintenance \"{}\": {}", definition.name, what)});
  };
  if (!is_timezone(definition.timezone)) {
    complain(
        definition.timezone_place,
        fmt::format("timezone: expected a name such as \"Europe/Berlin\" that this host knows, "
                    "got \"{}\"",
                    definition.timezone));
    return;
  }
  if (auto window = Window::compile(definition)) {
    out.windows.push_back(*std::move(window));
  } else if (!definition.schedule.empty()) {
    complain(definition.schedule_place, "schedule: " + window.error().message());
  }
}

}  // namespace

std::string_view label_of(const Finding& finding, std::string_view name) {
  if (const auto it = finding.labels.find(name); it != finding.labels.end()) return it->second;
  if (name == "severity") return config::to_string(finding.severity);
  if (name == "kind") return analyze::to_string(finding.kind);
  if (name == "subject") return finding.subject;
  if (name == knowledge::kMetricName) return finding.name;
  return {};
}

Result<Template> Template::parse(std::string_view text) {
  Template made;
  while (!text.empty()) {
    const auto open = text.find("${");
    if (open != 0) made.pieces_.push_back({false, std::string(text.substr(0, open))});
    if (open == std::string_view::npos) break;
    const auto close = text.find('}', open);
    if (close == std::string_view::npos) {
      return fail(Errc::kInvalidArgument, "\"{}\": \"${{\" without \"}}\"", text);
    }
    const auto label = text.substr(open + 2, close - open - 2);
    if (label.empty()) return fail(Errc::kInvalidArgument, "\"${{}}\" names no label");
    made.pieces_.push_back({true, std::string(label)});
    text.remove_prefix(close + 1);
  }
  return made;
}

Result<std::string> Template::render(const Finding& finding, Filter filter) const {
  std::string out;
  for (const auto& piece : pieces_) {
    if (!piece.is_label) {
      out += piece.text;
      continue;
    }
    const auto value = label_of(finding, piece.text);
    if (value.empty()) {
      return fail(Errc::kNotFound, "finding {} has no label \"{}\"", finding.name, piece.text);
    }
    out += filter != nullptr ? filter(value) : std::string(value);
  }
  return out;
}

std::string Template::with(std::string_view value) const {
  std::string out;
  for (const auto& piece : pieces_) out += piece.is_label ? std::string(value) : piece.text;
  return out;
}

bool Remedy::matches(const Finding& finding) const {
  // A selector that happens to fit what is no trouble, such as {service="web"}, does not mean it.
  if (!analyze::is_trouble(finding.kind) && std::ranges::none_of(matchers, analyze::is_asking))
    return false;
  return definition.enabled && !matchers.empty() &&
         std::ranges::all_of(matchers, [&](const knowledge::Matcher& matcher) {
           return matcher.matches(label_of(finding, matcher.name()));
         });
}

Result<std::string> Remedy::target_for(const Finding& finding) const {
  auto text =
      definition.target.empty() ? Result<std::string>(finding.subject) : target.render(finding);
  if (!text) return propagate(std::move(text), "target");
  if (text->empty())
    return fail(Errc::kNotFound, "target: finding {} has no subject", finding.name);
  return canonical_target(naming_type(definition), *text);
}

namespace {

Result<config::Parameters> filled(config::Parameters out, const Finding& finding) {
  const auto fill = [&](std::string& text) -> Status {
    auto parsed = Template::parse(text);
    if (!parsed) return propagate(std::move(parsed));
    auto rendered = parsed->render(finding);
    if (!rendered) return propagate(std::move(rendered));
    text = *std::move(rendered);
    return {};
  };
  for (auto& [name, value] : out) {
    Status done;
    if (auto* text = std::get_if<std::string>(&value)) done = fill(*text);
    if (auto* list = std::get_if<std::vector<std::string>>(&value)) {
      for (auto& text : *list) {
        if (done) done = fill(text);
      }
    }
    if (!done) return propagate(std::move(done), "parameter {}", name);
  }
  return out;
}

}  // namespace

Result<config::Parameters> Remedy::parameters_for(const Finding& finding) const {
  return filled(definition.parameters, finding);
}

Result<std::string> Remedy::only_if_for(const Finding& finding) const {
  if (!definition.only_if) return std::string();
  auto text = only_if.render(finding, &escape_in_literal);
  if (!text) return propagate(std::move(text), "only_if");
  return text;
}

Result<std::optional<config::ExperimentConfig>> Remedy::experiment_for(
    const Finding& finding) const {
  if (!definition.experiment) return std::nullopt;
  auto text = metric.render(finding, &escape_in_literal);
  if (!text) return propagate(std::move(text), "experiment.metric");
  auto out = *definition.experiment;
  out.metric.text = *std::move(text);
  return out;
}

Result<std::vector<Rung>> Remedy::rungs_for(const Finding& finding, const Action& action) const {
  std::vector<Rung> out;
  for (std::size_t i = 0; i < definition.steps.size(); ++i) {
    const auto& step = definition.steps[i];
    Rung rung{.type = step.action,
              .target = action.target,
              .parameters = {},
              .verify = action.verify,
              .timeout = step.timeout.value_or(action.timeout),
              .action_id = {}};
    if (!step.target.empty()) {
      auto name = rungs[i].target.render(finding);
      if (!name) return propagate(std::move(name), "step {}: target", i + 1);
      rung.target = canonical_target(step.action, *name);
    }
    auto parameters = filled(step.parameters, finding);
    if (!parameters) return propagate(std::move(parameters), "step {}", i + 1);
    rung.parameters = *std::move(parameters);
    if (step.verify) {
      auto text = rungs[i].verify.render(finding, &escape_in_literal);
      if (!text) return propagate(std::move(text), "step {}: verify", i + 1);
      rung.verify = config::VerifyConfig{.expr = {*std::move(text), step.verify->expr.where},
                                         .within = step.verify->within};
    }
    out.push_back(std::move(rung));
  }
  return out;
}

std::string_view naming_type(const Action& action) {
  return action.rungs.empty() ? std::string_view(action.type) : action.rungs.front().type;
}

std::string_view naming_type(const config::RemedyConfig& remedy) {
  return remedy.steps.empty() ? std::string_view(remedy.action) : remedy.steps.front().action;
}

Result<std::optional<config::VerifyConfig>> Remedy::verify_for(const Finding& finding) const {
  if (!definition.verify) return std::nullopt;
  auto text = verify.render(finding, &escape_in_literal);
  if (!text) return propagate(std::move(text), "verify");
  auto out = *definition.verify;
  out.expr.text = *std::move(text);
  return out;
}

const Remedy* RemedySet::Impl::find(std::string_view name) const {
  const auto it = std::ranges::find(
      remedies, name, [](const Remedy& r) { return std::string_view(r.definition.name); });
  return it == remedies.end() ? nullptr : &*it;
}

RemedySet::RemedySet(std::unique_ptr<const Impl> made) : impl(std::move(made)) {}
RemedySet::~RemedySet() = default;

std::shared_ptr<const RemedySet> RemedySet::compile(const config::Config& config,
                                                    std::vector<config::Problem>& problems) {
  auto made = std::make_unique<Impl>();
  for (const auto& definition : config.remedies) compile_one(definition, *made, problems);
  for (const auto& window : config.maintenance) compile_window(window, *made, problems);
  return std::make_shared<const RemedySet>(std::move(made));
}

}  // namespace nexus::plan
