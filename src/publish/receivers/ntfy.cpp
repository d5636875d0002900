// ntfy: a topic of ntfy.sh or of a server of one's own, published as JSON.
#include <boost/json.hpp>

#include "publish/message.hpp"
#include "publish/receivers.hpp"

namespace nexus::publish {
namespace {

namespace json = boost::json;

constexpr std::size_t kLongestMessage = 4000;  // 4096 are a message, more an attachment

int priority(const Message& message) {
  if (message.resolved) return 3;
  switch (message.severity) {
    case config::Severity::kInfo:
      return 2;
    case config::Severity::kWarning:
      return 4;
    case config::Severity::kCritical:
      return 5;
  }
  return 3;
}

class Ntfy final : public Receiver {
 public:
  Ntfy(config::ReceiverConfig config, const ReceiverContext& context)
      : config_(std::move(config)),
        clock_(context.clock),
        origin_(context.origin),
        wording_(config_, context) {}

  Delivery send(const Notification& notification, const std::function<bool()>& cancelled) override {
    const auto message = wording_.message(notification);
    auto text = to_text(message);
    text.erase(0, message.title.size() + 1);  // the title stands above it
    json::object body = {
        {"topic", text_option(config_, "topic")},
        {"title", message.title},
        {"message", cut(text, kLongestMessage)},
        {"priority", priority(message)},
        {"tags", json::array{message.resolved ? "white_check_mark" : "rotating_light",
                             config::to_string(message.severity)}}};
    if (!origin_.external_url.empty()) body["click"] = origin_.external_url;
    auto request =
        post_request(config_, config_.url.empty() ? "https://ntfy.sh/" : config_.url.reveal(),
                     json::serialize(body), cancelled);
    if (!config_.token.empty())
      request.headers.emplace_back("Authorization", "Bearer " + config_.token.reveal());
    return deliver(request, clock_);
  }

 private:
  const config::ReceiverConfig config_;
  Clock& clock_;
  const Origin origin_;
  const Wording wording_;
};

constexpr OptionDescriptor kOptions[] = {
    {"topic", OptionType::kString, true, "", "the topic's name"},
};
constexpr SecretDescriptor kSecrets[] = {
    {"url", false, true, "the root of the server; without it https://ntfy.sh/"},
    {"token", false, false, "an access token"},
};

}  // namespace

const ReceiverDescriptor kNtfy = {
    .name = "ntfy",
    .help = "a topic of ntfy.sh or of a server of one's own",
    .options = kOptions,
    .secrets = kSecrets,
    .digests = true,
    .make = make_receiver<Ntfy>,
    .has_words = true,
};

}  // namespace nexus::publish
