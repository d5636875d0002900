// alertmanager: alerts to one or several Alertmanagers by their API v2, as Prometheus sends them.
#include <fmt/format.h>

#include <algorithm>
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

class Alertmanager final : public Receiver {
 public:
  Alertmanager(config::ReceiverConfig config, const ReceiverContext& context)
      : config_(std::move(config)), clock_(context.clock) {}

  /// Sent when one of them has it: they tell each other, or are looked at together.
  Delivery send(const Notification& notification, const std::function<bool()>& cancelled) override {
    const auto body = json::serialize(alerts_of(notification));
    Delivery last = Delivery::retry("no address");
    bool sent = false;
    for (auto url : texts_option(config_, "urls")) {
      while (url.ends_with('/')) url.pop_back();
      auto request = post_request(config_, url + "/api/v2/alerts", body, cancelled);
      request.shown = url;
      if (!config_.token.empty())
        request.headers.emplace_back("Authorization", "Bearer " + config_.token.reveal());
      auto one = deliver(request, clock_);
      if (one.result == Delivery::Result::kSent) {
        sent = true;
      } else {
        last = std::move(one);
      }
    }
    return sent ? Delivery::sent() : last;
  }

 private:
  /// Alertmanager forgets an alert at its endsAt: that of one that fires is to come after the next
  /// repetition, so that one whose agent is gone ends by itself.
  json::array alerts_of(const Notification& notification) const {
    std::int64_t seconds = 5 * 3600;
    const auto found = config_.parameters.find("valid_seconds");
    if (found != config_.parameters.end()) seconds = std::get<std::int64_t>(found->second);
    const WallTime until = clock_.wall() + Millis(seconds * 1000);
    json::array out;
    for (const auto& alert : notification.alerts) {
      out.push_back(json::object{{"labels", from(alert->labels)},
                                 {"annotations", from(alert->annotations)},
                                 {"startsAt", base::to_rfc3339(alert->starts)},
                                 {"endsAt", base::to_rfc3339(alert->ends.value_or(until))},
                                 {"generatorURL", alert->generator_url}});
    }
    return out;
  }

  const config::ReceiverConfig config_;
  Clock& clock_;
};

constexpr OptionDescriptor kOptions[] = {
    {"urls", OptionType::kStrings, true, "", "addresses such as http://127.0.0.1:9093"},
    {"valid_seconds", OptionType::kInteger, false, "18000",
     "for how long an alert fires there without being told again; more than the repeat_interval of "
     "its routes"},
};
constexpr SecretDescriptor kSecrets[] = {{"token", false, false, "a bearer token"}};

void check(const config::ReceiverConfig& config, const Complain& complain) {
  for (const auto& url : texts_option(config, "urls")) {
    if (!url.starts_with("http://") && !url.starts_with("https://"))
      complain("urls", "expected addresses that begin with http:// or https://");
  }
  const auto found = config.parameters.find("valid_seconds");
  const auto* seconds =
      found == config.parameters.end() ? nullptr : std::get_if<std::int64_t>(&found->second);
  if (seconds != nullptr && (*seconds < 1 || *seconds > 365 * 86'400))
    complain("valid_seconds", "expected an integer from 1 to 31536000");
}

}  // namespace

const ReceiverDescriptor kAlertmanager = {
    .name = "alertmanager",
    .help = "one or several Alertmanagers, by their API v2, as Prometheus sends alerts",
    .options = kOptions,
    .secrets = kSecrets,
    .digests = true,
    .make = make_receiver<Alertmanager>,
    .check = check,
};

}  // namespace nexus::publish
