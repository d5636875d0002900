// telegram: a chat, by a bot (sendMessage), in plain text: nothing in an alert is markup.
#include <boost/json.hpp>

#include "publish/message.hpp"
#include "publish/receivers.hpp"

namespace nexus::publish {
namespace {

namespace json = boost::json;

constexpr std::size_t kLongestText = 4000;  // 4096 characters

class Telegram final : public Receiver {
 public:
  Telegram(config::ReceiverConfig config, const ReceiverContext& context)
      : config_(std::move(config)), clock_(context.clock), origin_(context.origin) {}

  Delivery send(const Notification& notification, const std::function<bool()>& cancelled) override {
    const auto message = message_of(notification, origin_);
    std::string url = config_.url.empty() ? "https://api.telegram.org" : config_.url.reveal();
    while (url.ends_with('/')) url.pop_back();
    const json::object body = {{"chat_id", text_option(config_, "chat")},
                               {"text", cut(to_text(message), kLongestText)},
                               {"disable_web_page_preview", true},
                               {"disable_notification", message.resolved}};
    auto request = post_request(config_, url + "/bot" + config_.token.reveal() + "/sendMessage",
                                json::serialize(body), cancelled);
    request.shown = "the address of " + config_.name;  // the token is a part of it
    return deliver(request, clock_);
  }

 private:
  const config::ReceiverConfig config_;
  Clock& clock_;
  const Origin origin_;
};

constexpr OptionDescriptor kOptions[] = {
    {"chat", OptionType::kString, true, "", "the chat's id (\"-100123\"), or \"@channel\""},
};
constexpr SecretDescriptor kSecrets[] = {
    {"token", true, false, "the bot's token"},
    {"url", false, true, "another address than https://api.telegram.org"},
};

}  // namespace

const ReceiverDescriptor kTelegram = {
    .name = "telegram",
    .help = "a chat of Telegram, by a bot",
    .options = kOptions,
    .secrets = kSecrets,
    .digests = true,
    .make = make_receiver<Telegram>,
};

}  // namespace nexus::publish
