// pagerduty: Events API v2; one incident a group, triggered and resolved under one key.
#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "nexus/base/text.hpp"
#include "nexus/publish/matchers.hpp"
#include "publish/message.hpp"
#include "publish/receivers.hpp"

namespace nexus::publish {
namespace {

namespace json = boost::json;

constexpr std::size_t kLongestSummary = 1024;

std::string_view severity_of(config::Severity severity) {
  switch (severity) {
    case config::Severity::kInfo:
      return "info";
    case config::Severity::kWarning:
      return "warning";
    case config::Severity::kCritical:
      return "critical";
  }
  return "error";
}

class PagerDuty final : public Receiver {
 public:
  PagerDuty(config::ReceiverConfig config, const ReceiverContext& context)
      : config_(std::move(config)),
        clock_(context.clock),
        origin_(context.origin),
        wording_(config_, context),
        keys_(context) {}

  Delivery send(const Notification& notification, const std::function<bool()>& cancelled) override {
    const auto message = wording_.message(notification);
    const auto key = keys_.of(notification.group_key);
    json::object body = {{"routing_key", config_.token.reveal()},
                         {"event_action", message.resolved ? "resolve" : "trigger"},
                         {"dedup_key", key}};
    if (!message.resolved) {
      json::object labels;
      for (const auto& [name, value] : notification.common_labels) labels[name] = value;
      json::object payload = {
          {"summary", cut(message.title, kLongestSummary)},
          {"source", origin_.host},
          {"severity", severity_of(message.severity)},
          {"timestamp", base::to_rfc3339(notification.alerts.front()->starts)},
          {"component", notification.alerts.front()->subject},
          {"group", cut(notification.group_key, 255)},
          {"class", std::string(value_of(notification.common_labels, "alertname"))},
          {"custom_details",
           {{"labels", std::move(labels)},
            {"text", cut(to_text(message), 32'768)},
            {"firing", notification.firing()}}}};
      body["payload"] = std::move(payload);
      body["client"] = "nexus-agent on " + origin_.host;
      if (!origin_.external_url.empty()) {
        body["client_url"] = origin_.external_url;
        body["links"] =
            json::array{json::object{{"href", origin_.external_url}, {"text", "nexus-agent"}}};
      }
    }
    auto request = post_request(
        config_,
        config_.url.empty() ? "https://events.pagerduty.com/v2/enqueue" : config_.url.reveal(),
        json::serialize(body), cancelled);
    // Noted before it is sent: an answer that is not waited for may have been a yes.
    if (!message.resolved) keys_.opened(notification.group_key, key);
    const auto sent = deliver(request, clock_);
    if (sent.result == Delivery::Result::kSent && message.resolved) {
      keys_.closed(notification.group_key);
    }
    if (sent.result != Delivery::Result::kSent || message.resolved || !is_acted_on(notification) ||
        !bool_option(config_, "acknowledge", true))
      return sent;
    // Somebody is at it already: the agent. When that fails too, the trigger has been told.
    request.body = json::serialize(json::object{{"routing_key", config_.token.reveal()},
                                                {"event_action", "acknowledge"},
                                                {"dedup_key", key}});
    (void)deliver(request, clock_);
    return sent;
  }

 private:
  /// Whether the agent is just doing something about all that fires.
  static bool is_acted_on(const Notification& notification) {
    return std::ranges::all_of(notification.alerts, [](const AlertPtr& alert) {
      return alert->resolved() || std::ranges::any_of(alert->deeds, &Deed::under_way);
    });
  }

  const config::ReceiverConfig config_;
  Clock& clock_;
  const Origin origin_;
  const Wording wording_;
  const IncidentKeys keys_;
};

constexpr OptionDescriptor kOptions[] = {
    {"acknowledge", OptionType::kBool, false, "true",
     "an incident is acknowledged while the agent itself does something about all of it"},
};
constexpr SecretDescriptor kSecrets[] = {
    {"token", true, false, "the integration key (routing key) of the service"},
    {"url", false, true, "another address than https://events.pagerduty.com/v2/enqueue"},
};

}  // namespace

const ReceiverDescriptor kPagerDuty = {
    .name = "pagerduty",
    .help = "PagerDuty's Events API v2: an incident a group, triggered, acknowledged and resolved",
    .options = kOptions,
    .secrets = kSecrets,
    .digests = false,
    .make = make_receiver<PagerDuty>,
    .has_words = true,
};

}  // namespace nexus::publish
