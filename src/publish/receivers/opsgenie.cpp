// opsgenie: the Alert API; one alert a group, made and closed under one alias.
#include <fmt/format.h>

#include <boost/json.hpp>

#include "nexus/base/text.hpp"
#include "publish/message.hpp"
#include "publish/receivers.hpp"

namespace nexus::publish {
namespace {

namespace json = boost::json;

std::string_view priority(config::Severity severity) {
  switch (severity) {
    case config::Severity::kInfo:
      return "P5";
    case config::Severity::kWarning:
      return "P3";
    case config::Severity::kCritical:
      return "P1";
  }
  return "P3";
}

class Opsgenie final : public Receiver {
 public:
  Opsgenie(config::ReceiverConfig config, const ReceiverContext& context)
      : config_(std::move(config)),
        clock_(context.clock),
        origin_(context.origin),
        wording_(config_, context),
        keys_(context) {}

  Delivery send(const Notification& notification, const std::function<bool()>& cancelled) override {
    const auto message = wording_.message(notification);
    const auto alias = keys_.of(notification.group_key);
    std::string url = config_.url.empty() ? "https://api.opsgenie.com" : config_.url.reveal();
    while (url.ends_with('/')) url.pop_back();
    url += "/v2/alerts";
    json::object body = {{"source", "nexus-agent on " + origin_.host}};
    if (message.resolved) {
      url += "/" + alias + "/close?identifierType=alias";
    } else {
      json::object details;
      for (const auto& [name, value] : notification.common_labels) details[name] = value;
      body["alias"] = alias;
      body["message"] = cut(message.title, 130);
      body["description"] = cut(to_text(message), 15'000);
      body["priority"] = priority(message.severity);
      body["entity"] = cut(notification.alerts.front()->subject, 512);
      body["details"] = std::move(details);
    }
    auto request = post_request(config_, std::move(url), json::serialize(body), cancelled);
    request.headers.emplace_back("Authorization", "GenieKey " + config_.token.reveal());
    // Noted before it is sent: an answer that is not waited for may have been a yes.
    if (!message.resolved) keys_.opened(notification.group_key, alias);
    auto sent = deliver(request, clock_);
    if (sent.result == Delivery::Result::kSent && message.resolved)
      keys_.closed(notification.group_key);
    return sent;
  }

 private:
  const config::ReceiverConfig config_;
  Clock& clock_;
  const Origin origin_;
  const Wording wording_;
  const IncidentKeys keys_;
};

constexpr SecretDescriptor kSecrets[] = {
    {"token", true, false, "the key of an API integration"},
    {"url", false, true, "another address than https://api.opsgenie.com, such as the European one"},
};

}  // namespace

const ReceiverDescriptor kOpsgenie = {
    .name = "opsgenie",
    .help = "Opsgenie's Alert API: an alert a group, made and closed",
    .options = {},
    .secrets = kSecrets,
    .digests = false,
    .make = make_receiver<Opsgenie>,
    .has_words = true,
};

}  // namespace nexus::publish
