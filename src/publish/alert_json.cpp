// Notifications as the state database keeps them.
#include <boost/json.hpp>
#include <cmath>
#include <stdexcept>

#include "nexus/publish/alert.hpp"
#include "nexus/publish/matchers.hpp"

namespace nexus::publish {
namespace {

namespace json = boost::json;

json::object from(const StringMap& map) {
  json::object out;
  for (const auto& [name, value] : map) out[name] = value;
  return out;
}

json::value from(double value) {
  return std::isfinite(value) ? json::value(value) : json::value(nullptr);
}

json::array from(const std::vector<std::string>& texts) {
  json::array out;
  for (const auto& text : texts) out.push_back(json::value(text));
  return out;
}

json::array from(const std::vector<Deed>& deeds) {
  json::array out;
  for (const auto& deed : deeds) {
    out.push_back(json::object{{"text", deed.text},
                               {"action", deed.action},
                               {"proposed", deed.proposed},
                               {"under_way", deed.under_way},
                               {"expires", base::to_unix_millis(deed.expires)}});
  }
  return out;
}

json::object from(const Alert& alert) {
  return {{"labels", from(alert.labels)},
          {"annotations", from(alert.annotations)},
          {"starts", base::to_unix_millis(alert.starts)},
          {"ends", alert.ends ? json::value(base::to_unix_millis(*alert.ends)) : nullptr},
          {"over_since",
           alert.over_since ? json::value(base::to_unix_millis(*alert.over_since)) : nullptr},
          {"url", alert.generator_url},
          {"severity", static_cast<int>(alert.severity)},
          {"finding", alert.finding},
          {"subject", alert.subject},
          {"source", alert.source},
          {"text", alert.text},
          {"value", from(alert.value)},
          {"threshold", alert.threshold ? from(*alert.threshold) : nullptr},
          {"flapping", alert.flapping},
          {"missing", alert.missing},
          {"only_where_asked", alert.only_where_asked},
          {"trend", alert.trend},
          {"cause", alert.cause},
          {"changes", from(alert.changes)},
          {"deeds", from(alert.deeds)}};
}

json::array from(const std::vector<AlertPtr>& alerts) {
  json::array out;
  for (const auto& alert : alerts) out.push_back(from(*alert));
  return out;
}

StringMap to_map(const json::value& value) {
  StringMap out;
  for (const auto& entry : value.as_object())
    out.emplace(std::string(entry.key()), std::string(entry.value().as_string()));
  return out;
}

std::string to_text(const json::object& object, std::string_view key) {
  return std::string(object.at(key).as_string());
}

Alert to_alert(const json::value& value) {
  const json::object& object = value.as_object();
  Alert alert;
  alert.labels = to_map(object.at("labels"));
  alert.annotations = to_map(object.at("annotations"));
  alert.fingerprint = fingerprint_of(alert.labels);
  alert.starts = base::from_unix_millis(object.at("starts").as_int64());
  if (!object.at("ends").is_null())
    alert.ends = base::from_unix_millis(object.at("ends").as_int64());
  alert.generator_url = to_text(object, "url");
  const auto severity = object.at("severity").as_int64();
  alert.severity = severity >= 2   ? config::Severity::kCritical
                   : severity == 1 ? config::Severity::kWarning
                                   : config::Severity::kInfo;
  alert.finding = to_text(object, "finding");
  alert.subject = to_text(object, "subject");
  alert.source = to_text(object, "source");
  alert.text = to_text(object, "text");
  alert.value =
      object.at("value").is_null() ? std::nan("") : object.at("value").to_number<double>();
  if (!object.at("threshold").is_null())
    alert.threshold = object.at("threshold").to_number<double>();
  alert.flapping = object.at("flapping").as_bool();
  if (value_of(alert.labels, "alertname").empty()) throw std::runtime_error("no alertname");
  if (const auto* over = object.if_contains("over_since"); over != nullptr && !over->is_null())
    alert.over_since = base::from_unix_millis(over->as_int64());
  if (const auto* asked = object.if_contains("only_where_asked"); asked != nullptr)
    alert.only_where_asked = asked->as_bool();
  if (!object.contains("deeds")) return alert;  // of an agent that knew less
  alert.missing = object.at("missing").as_bool();
  alert.trend = to_text(object, "trend");
  alert.cause = to_text(object, "cause");
  for (const auto& one : object.at("changes").as_array())
    alert.changes.emplace_back(one.as_string());
  for (const auto& one : object.at("deeds").as_array()) {
    const json::object& deed = one.as_object();
    alert.deeds.push_back({to_text(deed, "text"), to_text(deed, "action"),
                           deed.at("proposed").as_bool(), deed.at("under_way").as_bool(),
                           base::from_unix_millis(deed.at("expires").as_int64())});
  }
  return alert;
}

std::vector<AlertPtr> to_alerts(const json::value& value) {
  std::vector<AlertPtr> out;
  for (const auto& one : value.as_array())
    out.push_back(std::make_shared<const Alert>(to_alert(one)));
  return out;
}

/// Boost.JSON throws where a member is absent or of another type.
template <typename T, typename Read>
Result<T> reading(const std::string& text, Read read) {
  try {
    return read(json::parse(text));
  } catch (const std::exception& error) {
    return fail(Errc::kCorrupt, "a saved notification: {}", error.what());
  }
}

}  // namespace

std::string to_json(const Notification& notification) {
  return json::serialize(json::object{{"id", notification.id},
                                      {"receiver", notification.receiver},
                                      {"group_key", notification.group_key},
                                      {"group_labels", from(notification.group_labels)},
                                      {"alerts", from(notification.alerts)},
                                      {"time", base::to_unix_millis(notification.time)}});
}

Result<Notification> notification_from_json(const std::string& text) {
  return reading<Notification>(text, [](const json::value& value) {
    const json::object& object = value.as_object();
    Notification out;
    out.id = to_text(object, "id");
    out.receiver = to_text(object, "receiver");
    out.group_key = to_text(object, "group_key");
    out.group_labels = to_map(object.at("group_labels"));
    out.alerts = to_alerts(object.at("alerts"));
    out.time = base::from_unix_millis(object.at("time").as_int64());
    if (out.alerts.empty()) throw std::runtime_error("no alerts");
    complete(out);
    return out;
  });
}

std::string alerts_to_json(const std::vector<AlertPtr>& alerts) {
  return json::serialize(from(alerts));
}

Result<std::vector<AlertPtr>> alerts_from_json(const std::string& text) {
  return reading<std::vector<AlertPtr>>(text,
                                        [](const json::value& value) { return to_alerts(value); });
}

}  // namespace nexus::publish
