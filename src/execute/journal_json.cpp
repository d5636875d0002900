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

json::value outcome_to_json(const plan::Outcome& outcome) {
  json::object out{{"result", outcome.result},     {"output", base::sanitize_utf8(outcome.output)},
                   {"would_do", outcome.would_do}, {"before", outcome.before},
                   {"after", outcome.after},       {"undone", outcome.undone}};
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
  const auto* verified = object.if_contains("verified");
  if (verified != nullptr && verified->is_bool()) outcome.verified = verified->get_bool();
}

void read_object(const json::object& object, Action& action) {
  if (const auto* values = object.if_contains("parameters");
      values != nullptr && values->is_object()) {
    for (const auto& [name, value] : values->get_object()) {
      if (auto parameter = parameter_from(value))
        action.parameters.emplace(name, *std::move(parameter));
    }
  }
  if (const auto* cause = object.if_contains("cause"); cause != nullptr && cause->is_object()) {
    read_cause(cause->get_object(), action.cause);
  }
  if (const auto* outcome = object.if_contains("outcome");
      outcome != nullptr && outcome->is_object()) {
    read_outcome(outcome->get_object(), action.outcome);
  }
  if (const auto* verify = object.if_contains("verify"); verify != nullptr && verify->is_object()) {
    action.verify = config::VerifyConfig{
        .expr = {text_at(verify->get_object(), "expr"), {}},
        .within = Millis(integer_at(verify->get_object(), "within_ms", 30'000))};
  }
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
