// webhook: Alertmanager's JSON, version 4, to any address; signed with HMAC-SHA-256 when a secret
// is given.
#include <fmt/format.h>

#include <boost/json.hpp>
#include <cmath>

#include "nexus/publish/matchers.hpp"
#include "publish/receivers.hpp"
#include "publish/signature.hpp"

namespace nexus::publish {
namespace {

namespace json = boost::json;

json::object from(const StringMap& map) {
  json::object out;
  for (const auto& [name, value] : map) out[name] = value;
  return out;
}

json::object from(const Alert& alert) {
  return {{"status", alert.resolved() ? "resolved" : "firing"},
          {"labels", from(alert.labels)},
          {"annotations", from(alert.annotations)},
          {"startsAt", base::to_rfc3339(alert.starts)},
          {"endsAt", alert.ends ? base::to_rfc3339(*alert.ends) : "0001-01-01T00:00:00Z"},
          {"generatorURL", alert.generator_url},
          {"fingerprint", to_hex(alert.fingerprint)}};
}

json::value time_or_null(const std::optional<WallTime>& time) {
  return time ? json::value(base::to_rfc3339(*time)) : json::value(nullptr);
}

json::value number(double value) {
  return std::isfinite(value) ? json::value(value) : json::value(nullptr);
}

json::object native_from(const Alert& alert) {
  json::array changes;
  for (const auto& change : alert.changes) changes.push_back(json::value(change));
  json::array deeds;
  for (const auto& deed : alert.deeds) {
    deeds.push_back(json::object{
        {"text", deed.text},
        {"action", deed.action.empty() ? json::value(nullptr) : json::value(deed.action)},
        {"proposed", deed.proposed},
        {"under_way", deed.under_way}});
  }
  return {{"finding", alert.finding},
          {"name", value_of(alert.labels, "alertname")},
          {"kind", value_of(alert.labels, "kind")},
          {"state", alert.resolved() ? "resolved" : "firing"},
          {"severity", config::to_string(alert.severity)},
          {"subject", alert.subject},
          {"labels", from(alert.labels)},
          {"annotations", from(alert.annotations)},
          {"text", alert.text},
          {"expression", alert.source},
          {"value", number(alert.value)},
          {"threshold", alert.threshold ? number(*alert.threshold) : json::value(nullptr)},
          {"trend", alert.trend},
          {"flapping", alert.flapping},
          {"over_since", time_or_null(alert.over_since)},
          {"missing", alert.missing},
          {"cause", alert.cause},
          {"changes", std::move(changes)},
          {"agent", std::move(deeds)},
          {"started", base::to_rfc3339(alert.starts)},
          {"ended", time_or_null(alert.ends)},
          {"url", alert.generator_url}};
}

json::object native_from(const Notification& notification, const Origin& origin) {
  json::array findings;
  for (const auto& alert : notification.alerts) findings.push_back(native_from(*alert));
  return {{"schema", "nexus-agent/1"},
          {"id", notification.id},
          {"host", origin.host},
          {"receiver", notification.receiver},
          {"status", notification.is_resolved() ? "resolved" : "firing"},
          {"group", notification.group_key},
          {"group_labels", from(notification.group_labels)},
          {"time", base::to_rfc3339(notification.time)},
          {"merged", notification.merged},
          {"suppressed", notification.left_out},
          {"findings", std::move(findings)}};
}

class Webhook final : public Receiver {
 public:
  Webhook(config::ReceiverConfig config, const ReceiverContext& context)
      : config_(std::move(config)), clock_(context.clock), origin_(context.origin) {}

  Delivery send(const Notification& notification, const std::function<bool()>& cancelled) override {
    const bool native = text_option(config_, "format", "alertmanager") == "native";
    const json::object body =
        native ? native_from(notification, origin_) : alertmanager_from(notification);
    auto request = post_request(config_, config_.url.reveal(), json::serialize(body), cancelled);
    // The same for every attempt: who has seen it already may throw it away.
    request.headers.emplace_back("X-Nexus-Notification", notification.id);
    if (notification.left_out > 0)
      request.headers.emplace_back("X-Nexus-Suppressed", fmt::to_string(notification.left_out));
    if (!config_.secret.empty())
      request.headers.emplace_back("X-Nexus-Signature",
                                   "sha256=" + hmac_sha256(config_.secret.reveal(), request.body));
    if (!config_.token.empty())
      request.headers.emplace_back("Authorization", "Bearer " + config_.token.reveal());
    return deliver(request, clock_);
  }

 private:
  json::object alertmanager_from(const Notification& notification) const {
    json::array alerts;
    for (const auto& alert : notification.alerts) alerts.push_back(from(*alert));
    return {{"version", "4"},
            {"groupKey", notification.group_key},
            {"truncatedAlerts", 0},
            {"status", notification.is_resolved() ? "resolved" : "firing"},
            {"receiver", notification.receiver},
            {"groupLabels", from(notification.group_labels)},
            {"commonLabels", from(notification.common_labels)},
            {"commonAnnotations", from(notification.common_annotations)},
            {"externalURL", origin_.external_url},
            {"alerts", std::move(alerts)}};
  }

  const config::ReceiverConfig config_;
  Clock& clock_;
  const Origin origin_;
};

constexpr OptionDescriptor kOptions[] = {
    {"format", OptionType::kString, false, "alertmanager",
     "alertmanager (its JSON, version 4) or native, with everything that the agent knows"},
};

void check(const config::ReceiverConfig& config, const config::Config&, const Complain& complain) {
  const auto format = text_option(config, "format", "alertmanager");
  if (format != "alertmanager" && format != "native")
    complain("format", "expected \"alertmanager\" or \"native\"");
}

constexpr SecretDescriptor kSecrets[] = {
    {"url", true, true, "the address, http:// or https://"},
    {"secret", false, false,
     "signs the body: X-Nexus-Signature is sha256= and its HMAC in hexadecimal"},
    {"token", false, false, "a bearer token"},
};

}  // namespace

const ReceiverDescriptor kWebhook = {
    .name = "webhook",
    .help =
        "JSON by POST, as Alertmanager's webhook or with all that the agent knows, signed if you "
        "like",
    .options = kOptions,
    .secrets = kSecrets,
    .digests = false,
    .make = make_receiver<Webhook>,
    .check = check,
};

}  // namespace nexus::publish
