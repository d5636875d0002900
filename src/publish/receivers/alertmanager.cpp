// alertmanager: alerts to one or several Alertmanagers by their API v2, as Prometheus sends them.
#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <map>

#include "publish/receivers.hpp"

namespace nexus::publish {
namespace {

namespace json = boost::json;

json::object from(const StringMap& map) {
  json::object out;
  for (const auto& [name, value] : map) out[name] = value;
  return out;
}

constexpr Millis kAgain{60'000};
constexpr Millis kEndsTold{15 * 60'000};
constexpr std::size_t kMostKept = 10'000;

class Alertmanager final : public Receiver {
 public:
  Alertmanager(config::ReceiverConfig config, const ReceiverContext& context)
      : config_(std::move(config)), clock_(context.clock) {}

  /// Sent when one of them has it. They do not tell each other of alerts: the others hear with the
  /// next beat, as does one that was started again.
  Delivery send(const Notification& notification, const std::function<bool()>& cancelled) override {
    for (const auto& alert : notification.alerts) {
      if (present_.size() >= kMostKept && !present_.contains(alert->fingerprint)) continue;
      present_.insert_or_assign(alert->fingerprint, alert);
    }
    return tell(json::serialize(alerts_of(notification.alerts)), cancelled);
  }

  std::optional<Millis> beats() const override { return kAgain; }

  /// What fires, and what has ended lately, once more: as Prometheus does it.
  Delivery beat(bool, const std::function<bool()>& cancelled) override {
    const WallTime now = clock_.wall();
    std::erase_if(present_, [&](const auto& one) {
      return one.second->ends && now - *one.second->ends > kEndsTold;
    });
    if (present_.empty()) return Delivery::sent();
    std::vector<AlertPtr> alerts;
    for (const auto& [print, alert] : present_) alerts.push_back(alert);
    return tell(json::serialize(alerts_of(alerts)), cancelled);
  }

 private:
  Delivery tell(const std::string& body, const std::function<bool()>& cancelled) const {
    Delivery last = Delivery::retry("no address");
    bool sent = false;
    for (auto url : texts_option(config_, "urls")) {
      while (url.ends_with('/')) url.pop_back();
      auto request = post_request(config_, url + "/api/v2/alerts", body, cancelled);
      request.shown = without_user(url);
      // All of them together have the time of one attempt.
      request.timeout =
          config_.timeout / std::max<std::int64_t>(
                                1, static_cast<std::int64_t>(texts_option(config_, "urls").size()));
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

  /// Alertmanager forgets an alert at its endsAt: that of one that fires is to come after the next
  /// repetition, so that one whose agent is gone ends by itself.
  json::array alerts_of(const std::vector<AlertPtr>& alerts) const {
    std::int64_t seconds = 5 * 3600;
    const auto found = config_.parameters.find("valid_seconds");
    if (found != config_.parameters.end()) seconds = std::get<std::int64_t>(found->second);
    const WallTime until = clock_.wall() + Millis(seconds * 1000);
    json::array out;
    for (const auto& alert : alerts) {
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
  std::map<std::uint64_t, AlertPtr> present_;  // what was told, by fingerprint
};

constexpr OptionDescriptor kOptions[] = {
    {"urls", OptionType::kStrings, true, "", "addresses such as http://127.0.0.1:9093"},
    {"valid_seconds", OptionType::kInteger, false, "18000",
     "for how long an alert fires there without being told again; more than the repeat_interval of "
     "its routes"},
};
constexpr SecretDescriptor kSecrets[] = {{"token", false, false, "a bearer token"}};

void check(const config::ReceiverConfig& config, const config::Config&, const Complain& complain) {
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
    .groups = true,
};

}  // namespace nexus::publish
