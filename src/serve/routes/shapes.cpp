#include "serve/routes/shapes.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value_from.hpp>
#include <cmath>
#include <utility>

#include "nexus/base/text.hpp"

namespace nexus::serve {
namespace {

/// Evidence is stored as JSON text; anything else is shown as the text it is.
json_ns::value embedded(const std::string& text) {
  if (text.empty()) return nullptr;
  boost::system::error_code ec;
  auto value = json_ns::parse(text, ec);
  return ec ? json_ns::value(text) : value;
}

void append(std::string& out, const json_ns::value& value);

void append(std::string& out, const json_ns::object& object) {
  out += '{';
  bool first = true;
  for (const auto& [key, member] : object) {
    if (!std::exchange(first, false)) out += ',';
    out += json_ns::serialize(json_ns::string(key));
    out += ':';
    append(out, member);
  }
  out += '}';
}

void append(std::string& out, const json_ns::array& array) {
  out += '[';
  bool first = true;
  for (const auto& item : array) {
    if (!std::exchange(first, false)) out += ',';
    append(out, item);
  }
  out += ']';
}

/// Boost.JSON writes 70 as 7E1; people read these answers, so doubles are the shortest decimal
/// here.
void append(std::string& out, const json_ns::value& value) {
  if (const auto* object = value.if_object()) {
    append(out, *object);
  } else if (const auto* array = value.if_array()) {
    append(out, *array);
  } else if (const auto* real = value.if_double()) {
    base::append_double(out, *real);
  } else {
    out += json_ns::serialize(value);
  }
}

json_ns::value text_or_null(const std::string& text) {
  return text.empty() ? json_ns::value(nullptr) : json_ns::value(text);
}

}  // namespace

json_ns::value parameter(const config::ParameterValue& value) {
  return std::visit([](const auto& held) -> json_ns::value { return json_ns::value_from(held); },
                    value);
}

Response to_response(const json_ns::value& value, unsigned status) {
  std::string body;
  append(body, value);
  body += '\n';
  return json(std::move(body), status);
}

json_ns::value number(double value) {
  return std::isfinite(value) ? json_ns::value(value) : json_ns::value(nullptr);
}
json_ns::value number(const std::optional<double>& value) {
  return value ? number(*value) : json_ns::value(nullptr);
}
json_ns::value time(const std::optional<WallTime>& when) {
  if (!when || *when == WallTime{}) return nullptr;
  return json_ns::value(base::to_rfc3339(*when));
}

json_ns::object labels(const knowledge::Labels& given) {
  json_ns::object out;
  for (const auto& label : given) {
    if (label.name != knowledge::kMetricName) out[label.name] = label.value;
  }
  return out;
}

json_ns::object labels(const config::StringMap& given) {
  json_ns::object out;
  for (const auto& [name, value] : given) out[name] = value;
  return out;
}

json_ns::object finding(const analyze::Finding& f) {
  return {{"fingerprint", f.fingerprint},
          {"kind", to_string(f.kind)},
          {"name", f.name},
          {"severity", config::to_string(f.severity)},
          {"state", to_string(f.state)},
          {"subject", f.subject},
          {"description", f.evidence.text},
          {"labels", labels(f.labels)},
          {"annotations", labels(f.annotations)},
          {"value", number(f.evidence.value)},
          {"threshold", number(f.evidence.threshold)},
          {"evidence", f.evidence.source},
          {"started", time(f.started)},
          {"fired", time(f.fired)},
          {"last_seen", time(f.last_seen)},
          {"resolved", time(f.resolved)},
          {"episodes", f.episodes}};
}

json_ns::array strings(const std::vector<std::string>& given) {
  json_ns::array out;
  for (const auto& one : given) out.push_back(json_ns::value(one));
  return out;
}

namespace {

json_ns::array rungs(const plan::Action& a, bool open) {
  json_ns::array out;
  for (const auto& rung : a.rungs) {
    json_ns::object parameters;
    if (open) {
      for (const auto& [name, value] : rung.parameters) parameters[name] = parameter(value);
    }
    out.push_back({{"action_type", rung.type},
                   {"target_component", rung.target},
                   {"parameters", std::move(parameters)},
                   {"action", text_or_null(rung.action_id)}});
  }
  return out;
}

}  // namespace

json_ns::object action(const plan::Action& a, const Caller& reader) {
  const bool trusted = reader.role >= config::Role::kOperator;
  const bool open = trusted || a.type != "run_command";  // what the command was told, is shown
  json_ns::object parameters;
  if (open) {
    for (const auto& [name, value] : a.parameters) parameters[name] = parameter(value);
  }
  return {{"id", a.id},
          {"action_type", a.type},
          {"target_component", a.target},
          {"parameters", std::move(parameters)},
          {"priority", a.priority},
          {"state", to_string(a.state)},
          {"dry_run", a.dry_run},
          {"remedy", text_or_null(a.remedy)},
          {"attempt", a.attempt},
          {"cause",
           {{"finding", text_or_null(a.cause.finding)},
            {"fingerprint", text_or_null(a.cause.fingerprint)},
            {"summary", a.cause.summary},
            {"requested_by", a.cause.requested_by},
            {"detected", time(a.cause.detected)}}},
          {"created", time(a.created)},
          {"approved", time(a.approved)},
          {"approved_by", text_or_null(a.approved_by)},
          {"approval_reason", text_or_null(a.approval_reason)},
          {"ladder", text_or_null(a.parent)},
          {"steps", rungs(a, trusted)},
          {"started", time(a.started)},
          {"finished", time(a.finished)},
          {"timeout_seconds", static_cast<double>(a.timeout.count()) / 1000.0},
          {"detection_to_start_seconds", number(a.detection_to_start_seconds)},
          {"outcome",
           {{"result", text_or_null(a.outcome.result)},
            {"output", trusted ? text_or_null(a.outcome.output) : json_ns::value(nullptr)},
            {"would_do", open ? text_or_null(a.outcome.would_do) : json_ns::value(nullptr)},
            {"verified",
             a.outcome.verified ? json_ns::value(*a.outcome.verified) : json_ns::value(nullptr)},
            {"before", open ? embedded(a.outcome.before) : json_ns::value(nullptr)},
            {"after", open ? embedded(a.outcome.after) : json_ns::value(nullptr)},
            {"undone", text_or_null(a.outcome.undone)},
            {"reason_code", text_or_null(a.outcome.reason_code)},
            {"fleet_lock", text_or_null(a.outcome.fleet)},
            {"experiment", embedded(a.outcome.experiment)},
            {"evidence", trusted ? embedded(a.outcome.evidence) : json_ns::value(nullptr)}}}};
}

json_ns::object decision(const plan::Decision& d) {
  return {{"id", d.id},
          {"time", time(d.time)},
          {"verdict", d.verdict},
          {"reason_code", d.reason_code},
          {"reason", d.reason},
          {"remedy", text_or_null(d.remedy)},
          {"finding", text_or_null(d.finding)},
          {"fingerprint", text_or_null(d.fingerprint)},
          {"action_type", d.action_type},
          {"target", d.target},
          {"action_id", text_or_null(d.action_id)}};
}

json_ns::object breaker(const plan::Breaker& b) {
  return {{"remedy", b.remedy},         {"target", b.target},
          {"state", b.state},           {"attempts", b.attempts},
          {"unanswered", b.unanswered}, {"cooldown_until", time(b.cooldown_until)},
          {"opened", time(b.opened)},   {"reason", text_or_null(b.reason)}};
}

Result<std::int64_t> integer_param(const Request& request, std::string_view name,
                                   std::int64_t fallback, std::int64_t low, std::int64_t high) {
  const auto text = request.param(name);
  if (!text) return fallback;
  const auto value = base::parse_int(*text);
  if (!value || *value < low || *value > high) {
    return fail(Errc::kInvalidArgument, "{}: expected a whole number from {} to {}, got \"{}\"",
                name, low, high, *text);
  }
  return *value;
}

}  // namespace nexus::serve
