#include "execute/journal_json.hpp"

#include <boost/json.hpp>

#include "nexus/base/text.hpp"

namespace nexus::execute {
namespace {

namespace json = boost::json;
using plan::Action;

json::value to_json(const config::ParameterValue& value) {
  return std::visit([](const auto& v) { return json::value_from(v); }, value);
}

std::optional<config::ParameterValue> parameter_from(const json::value& value) {
  if (value.is_bool()) return value.get_bool();
  if (value.is_int64()) return value.get_int64();
  if (value.is_double()) return value.get_double();
  if (value.is_string()) return std::string(value.get_string());
  if (!value.is_array()) return std::nullopt;
  std::vector<std::string> list;
  for (const auto& item : value.get_array()) {
    if (!item.is_string()) return std::nullopt;
    list.emplace_back(item.get_string());
  }
  return list;
}

json::value parameters_to_json(const config::Parameters& parameters) {
  json::object out;
  for (const auto& [name, value] : parameters) out.emplace(name, to_json(value));
  return out;
}

json::value verify_to_json(const std::optional<config::VerifyConfig>& verify) {
  if (!verify) return nullptr;
  return {{"expr", verify->expr.text}, {"within_ms", verify->within.count()}};
}

/// Most actions have none of it.
void add_text(json::object& to, std::string_view name, const std::string& text) {
  if (!text.empty()) to.emplace(name, text);
}

json::value outcome_to_json(const plan::Outcome& outcome) {
  json::object out{{"result", outcome.result},     {"output", base::sanitize_utf8(outcome.output)},
                   {"would_do", outcome.would_do}, {"before", outcome.before},
                   {"after", outcome.after},       {"undone", outcome.undone}};
  add_text(out, "reason_code", outcome.reason_code);
  add_text(out, "evidence", outcome.evidence);
  add_text(out, "experiment", outcome.experiment);
  add_text(out, "fleet", outcome.fleet);
  if (outcome.verified) out.emplace("verified", *outcome.verified);
  return out;
}

std::string text_at(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

std::int64_t integer_at(const json::object& object, std::string_view name, std::int64_t otherwise) {
  const auto* value = object.if_contains(name);
  return value != nullptr && value->is_int64() ? value->get_int64() : otherwise;
}

void read_cause(const json::object& object, plan::Cause& cause) {
  cause.finding = text_at(object, "finding");
  cause.fingerprint = text_at(object, "fingerprint");
  cause.summary = text_at(object, "summary");
  cause.requested_by = text_at(object, "requested_by");
  cause.detected = base::from_unix_millis(integer_at(object, "detected_ms", 0));
}

void read_outcome(const json::object& object, plan::Outcome& outcome) {
  outcome.result = text_at(object, "result");
  outcome.output = text_at(object, "output");
  outcome.would_do = text_at(object, "would_do");
  outcome.before = text_at(object, "before");
  outcome.after = text_at(object, "after");
  outcome.undone = text_at(object, "undone");
  outcome.reason_code = text_at(object, "reason_code");
  outcome.evidence = text_at(object, "evidence");
  outcome.experiment = text_at(object, "experiment");
  outcome.fleet = text_at(object, "fleet");
  const auto* verified = object.if_contains("verified");
  if (verified != nullptr && verified->is_bool()) outcome.verified = verified->get_bool();
}

void read_parameters(const json::object& object, config::Parameters& out) {
  const auto* values = object.if_contains("parameters");
  if (values == nullptr || !values->is_object()) return;
  for (const auto& [name, value] : values->get_object()) {
    if (auto parameter = parameter_from(value)) out.emplace(name, *std::move(parameter));
  }
}

std::optional<config::VerifyConfig> verify_from(const json::object& object) {
  const auto* verify = object.if_contains("verify");
  if (verify == nullptr || !verify->is_object()) return std::nullopt;
  return config::VerifyConfig{
      .expr = {text_at(verify->get_object(), "expr"), {}},
      .within = Millis(integer_at(verify->get_object(), "within_ms", 30'000))};
}

double number_at(const json::object& object, std::string_view name, double otherwise) {
  const auto* value = object.if_contains(name);
  if (value == nullptr) return otherwise;
  if (value->is_double()) return value->get_double();
  return value->is_int64() ? static_cast<double>(value->get_int64()) : otherwise;
}

json::array rungs_to_json(const std::vector<plan::Rung>& rungs) {
  json::array out;
  for (const auto& rung : rungs) {
    out.push_back({{"type", rung.type},
                   {"target", rung.target},
                   {"parameters", parameters_to_json(rung.parameters)},
                   {"verify", verify_to_json(rung.verify)},
                   {"timeout_ms", rung.timeout.count()},
                   {"action_id", rung.action_id}});
  }
  return out;
}

void read_rungs(const json::object& object, Action& action) {
  const auto* rungs = object.if_contains("rungs");
  if (rungs == nullptr || !rungs->is_array()) return;
  for (const auto& item : rungs->get_array()) {
    if (!item.is_object()) continue;
    const auto& from = item.get_object();
    plan::Rung rung{.type = text_at(from, "type"),
                    .target = text_at(from, "target"),
                    .parameters = {},
                    .verify = verify_from(from),
                    .timeout = Millis(integer_at(from, "timeout_ms", 300'000)),
                    .action_id = text_at(from, "action_id")};
    read_parameters(from, rung.parameters);
    action.rungs.push_back(std::move(rung));
  }
}

json::value experiment_to_json(const config::ExperimentConfig& experiment) {
  return {{"metric", experiment.metric.text},       {"better", experiment.better},
          {"before_ms", experiment.before.count()}, {"after_ms", experiment.after.count()},
          {"confidence", experiment.confidence},    {"min_effect", experiment.min_effect}};
}

void read_experiment(const json::object& object, Action& action) {
  const auto* found = object.if_contains("experiment");
  if (found == nullptr || !found->is_object()) return;
  const auto& from = found->get_object();
  config::ExperimentConfig out;
  out.metric.text = text_at(from, "metric");
  out.better = text_at(from, "better");
  out.before = Millis(integer_at(from, "before_ms", out.before.count()));
  out.after = Millis(integer_at(from, "after_ms", out.after.count()));
  out.confidence = number_at(from, "confidence", out.confidence);
  out.min_effect = number_at(from, "min_effect", out.min_effect);
  action.experiment = std::move(out);
}

void read_object(const json::object& object, Action& action) {
  read_parameters(object, action.parameters);
  read_rungs(object, action);
  read_experiment(object, action);
  action.definition = text_at(object, "definition");
  action.parent = text_at(object, "parent");
  action.only_if = text_at(object, "only_if");
  action.identity = text_at(object, "identity");
  action.account = text_at(object, "account");
  action.approval_reason = text_at(object, "approval_reason");
  if (const auto* all = object.if_contains("all_rungs"); all != nullptr && all->is_bool())
    action.all_rungs = all->get_bool();
  if (const auto* cause = object.if_contains("cause"); cause != nullptr && cause->is_object()) {
    read_cause(cause->get_object(), action.cause);
  }
  if (const auto* outcome = object.if_contains("outcome");
      outcome != nullptr && outcome->is_object()) {
    read_outcome(outcome->get_object(), action.outcome);
  }
  action.verify = verify_from(object);
  action.remedy = text_at(object, "remedy");
  action.approved_by = text_at(object, "approved_by");
  action.timeout = Millis(integer_at(object, "timeout_ms", 300'000));
  action.attempt = static_cast<std::uint32_t>(integer_at(object, "attempt", 1));
  if (const auto* dry = object.if_contains("dry_run"); dry != nullptr && dry->is_bool()) {
    action.dry_run = dry->get_bool();
  }
  if (const auto approved = integer_at(object, "approved_ms", 0); approved > 0) {
    action.approved = base::from_unix_millis(approved);
  }
  const auto* seconds = object.if_contains("detection_to_start_seconds");
  if (seconds != nullptr && seconds->is_double())
    action.detection_to_start_seconds = seconds->get_double();
}

std::optional<json::object> parse_object(std::string_view text) {
  json::error_code error;
  auto value = json::parse(text, error);
  if (error || !value.is_object()) return std::nullopt;
  return std::move(value.get_object());
}

}  // namespace

std::string details_of(const Action& action) {
  json::object out{
      {"parameters", parameters_to_json(action.parameters)},
      {"cause",
       {{"finding", action.cause.finding},
        {"fingerprint", action.cause.fingerprint},
        {"summary", base::sanitize_utf8(action.cause.summary)},
        {"requested_by", action.cause.requested_by},
        {"detected_ms", base::to_unix_millis(action.cause.detected)}}},
      {"outcome", outcome_to_json(action.outcome)},
      {"verify", verify_to_json(action.verify)},
      {"remedy", action.remedy},
      {"approved_by", action.approved_by},
      {"timeout_ms", action.timeout.count()},
      {"attempt", static_cast<std::int64_t>(action.attempt)},
      {"dry_run", action.dry_run},
  };
  add_text(out, "definition", action.definition);
  add_text(out, "parent", action.parent);
  add_text(out, "only_if", action.only_if);
  add_text(out, "identity", action.identity);
  add_text(out, "account", action.account);
  add_text(out, "approval_reason", base::sanitize_utf8(action.approval_reason));
  if (!action.rungs.empty()) out.emplace("rungs", rungs_to_json(action.rungs));
  if (action.all_rungs) out.emplace("all_rungs", true);
  if (action.experiment) out.emplace("experiment", experiment_to_json(*action.experiment));
  if (action.approved) out.emplace("approved_ms", base::to_unix_millis(*action.approved));
  if (action.detection_to_start_seconds) {
    out.emplace("detection_to_start_seconds", *action.detection_to_start_seconds);
  }
  return json::serialize(out);
}

Status read_details(std::string_view text, Action& action) {
  const auto object = parse_object(text);
  if (!object) return fail(Errc::kCorrupt, "action {}: its details are not JSON", action.id);
  read_object(*object, action);
  return {};
}

std::string with_member(std::string_view object, std::string_view name, std::string_view value) {
  auto parsed = parse_object(object);
  if (!parsed) {
    parsed.emplace();
    if (!object.empty()) parsed->emplace("state", object);
  }
  (*parsed)[name] = value;
  return json::serialize(*parsed);
}

std::string member_of(std::string_view object, std::string_view name) {
  const auto parsed = parse_object(object);
  return parsed ? text_at(*parsed, name) : std::string();
}

}  // namespace nexus::execute
