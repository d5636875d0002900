// webhook: Alertmanager's JSON, version 4, to any address; signed with HMAC-SHA-256 when a secret
// is given.
#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>
#include <boost/json.hpp>

#include "publish/receivers.hpp"

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

std::string signature(const std::string& key, const std::string& body) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned length = 0;
  ::HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
         reinterpret_cast<const unsigned char*>(body.data()), body.size(), digest.data(), &length);
  std::string out = "sha256=";
  for (unsigned i = 0; i < length; ++i)
    fmt::format_to(std::back_inserter(out), "{:02x}", digest[i]);
  return out;
}

class Webhook final : public Receiver {
 public:
  Webhook(config::ReceiverConfig config, const ReceiverContext& context)
      : config_(std::move(config)), clock_(context.clock), origin_(context.origin) {}

  Delivery send(const Notification& notification, const std::function<bool()>& cancelled) override {
    json::array alerts;
    for (const auto& alert : notification.alerts) alerts.push_back(from(*alert));
    const json::object body = {{"version", "4"},
                               {"groupKey", notification.group_key},
                               {"truncatedAlerts", 0},
                               {"status", notification.is_resolved() ? "resolved" : "firing"},
                               {"receiver", notification.receiver},
                               {"groupLabels", from(notification.group_labels)},
                               {"commonLabels", from(notification.common_labels)},
                               {"commonAnnotations", from(notification.common_annotations)},
                               {"externalURL", origin_.external_url},
                               {"alerts", std::move(alerts)}};
    auto request = post_request(config_, config_.url.reveal(), json::serialize(body), cancelled);
    // The same for every attempt: who has seen it already may throw it away.
    request.headers.emplace_back("X-Nexus-Notification", notification.id);
    if (notification.left_out > 0)
      request.headers.emplace_back("X-Nexus-Suppressed", fmt::to_string(notification.left_out));
    if (!config_.secret.empty())
      request.headers.emplace_back("X-Nexus-Signature",
                                   signature(config_.secret.reveal(), request.body));
    if (!config_.token.empty())
      request.headers.emplace_back("Authorization", "Bearer " + config_.token.reveal());
    return deliver(request, clock_);
  }

 private:
  const config::ReceiverConfig config_;
  Clock& clock_;
  const Origin origin_;
};

constexpr SecretDescriptor kSecrets[] = {
    {"url", true, true, "the address, http:// or https://"},
    {"secret", false, false,
     "signs the body: X-Nexus-Signature is sha256= and its HMAC in hexadecimal"},
    {"token", false, false, "a bearer token"},
};

}  // namespace

const ReceiverDescriptor kWebhook = {
    .name = "webhook",
    .help = "Alertmanager's webhook: JSON of version 4 by POST, signed if you like",
    .options = {},
    .secrets = kSecrets,
    .digests = false,
    .make = make_receiver<Webhook>,
};

}  // namespace nexus::publish
