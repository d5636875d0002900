// heartbeat: a dead man's switch: an address that hears from the agent as long as it is well, so
// that somebody else notices when it is not.
#include "publish/receivers.hpp"

namespace nexus::publish {
namespace {

constexpr std::int64_t kEvery = 60;  // seconds

class Heartbeat final : public Receiver {
 public:
  Heartbeat(config::ReceiverConfig config, const ReceiverContext& context)
      : config_(std::move(config)), clock_(context.clock) {
    const auto found = config_.parameters.find("interval_seconds");
    const auto* given =
        found == config_.parameters.end() ? nullptr : std::get_if<std::int64_t>(&found->second);
    every_ = Millis((given == nullptr ? kEvery : *given) * 1000);
  }

  Delivery send(const Notification&, const std::function<bool()>&) override {
    return Delivery::sent();  // no route leads here
  }

  std::optional<Millis> beats() const override { return every_; }

  /// An agent that is not well is silent: that is what the other side waits for.
  Delivery beat(bool healthy, const std::function<bool()>& cancelled) override {
    if (!healthy) return Delivery::retry("the agent is not healthy, so it gives no sign of life");
    auto request = post_request(config_, config_.url.reveal(), "", cancelled);
    request.method = text_option(config_, "method", "POST");
    if (request.method != "POST") request.headers.erase(request.headers.begin());
    if (!config_.token.empty())
      request.headers.emplace_back("Authorization", "Bearer " + config_.token.reveal());
    return deliver(request, clock_);
  }

 private:
  const config::ReceiverConfig config_;
  Clock& clock_;
  Millis every_{};
};

constexpr OptionDescriptor kOptions[] = {
    {"interval_seconds", OptionType::kInteger, false, "60", "how often, from 5 to 86400"},
    {"method", OptionType::kString, false, "POST", "POST, GET or HEAD"},
};
constexpr SecretDescriptor kSecrets[] = {
    {"url", true, true, "the address that hears, such as one of healthchecks.io"},
    {"token", false, false, "a bearer token"},
};

void check(const config::ReceiverConfig& config, const config::Config&, const Complain& complain) {
  const auto method = text_option(config, "method", "POST");
  if (method != "POST" && method != "GET" && method != "HEAD")
    complain("method", "expected \"POST\", \"GET\" or \"HEAD\"");
  const auto found = config.parameters.find("interval_seconds");
  const auto* seconds =
      found == config.parameters.end() ? nullptr : std::get_if<std::int64_t>(&found->second);
  if (seconds != nullptr && (*seconds < 5 || *seconds > 86'400))
    complain("interval_seconds", "expected an integer from 5 to 86400");
}

}  // namespace

const ReceiverDescriptor kHeartbeat = {
    .name = "heartbeat",
    .help = "a dead man's switch: an address that hears from the agent while it is well",
    .options = kOptions,
    .secrets = kSecrets,
    .digests = false,
    .make = make_receiver<Heartbeat>,
    .check = check,
    .beats_only = true,
};

}  // namespace nexus::publish
