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
      : config_(std::move(config)),
        clock_(context.clock),
        origin_(context.origin),
        wording_(config_, context),
        context_(context) {}

  Delivery send(const Notification& notification, const std::function<bool()>& cancelled) override {
    const auto message = wording_.message(notification);
    std::string url = config_.url.empty() ? "https://api.telegram.org" : config_.url.reveal();
    while (url.ends_with('/')) url.pop_back();
    const json::object body = {{"chat_id", text_option(config_, "chat")},
                               {"text", cut(to_text(message), kLongestText)},
                               {"disable_web_page_preview", true},
                               {"disable_notification", message.resolved}};
    const auto bot = url + "/bot" + config_.token.reveal();
    auto request = post_request(config_, bot + "/sendMessage", json::serialize(body), cancelled);
    request.shown = "the address of " + config_.name;  // the token is a part of it
    const auto sent = deliver(request, clock_);
    // The picture comes behind the words, whose room beside a picture is too small; without it the
    // message is told all the same.
    if (sent.result == Delivery::Result::kSent && !message.resolved)
      send_chart(notification, bot, cancelled);
    return sent;
  }

 private:
  void send_chart(const Notification& notification, const std::string& bot,
                  const std::function<bool()>& cancelled) const {
    const auto chart = chart_of(notification, context_);
    if (chart.empty()) return;
    const std::pair<std::string, std::string> fields[] = {{"chat_id", text_option(config_, "chat")},
                                                          {"disable_notification", "true"}};
    auto form = form_of(fields, "photo", chart);
    auto request = post_request(config_, bot + "/sendPhoto", std::move(form.body), cancelled);
    request.headers.front() = {"Content-Type", std::move(form.content_type)};
    request.shown = "the address of " + config_.name;
    (void)deliver(request, clock_);
  }

  const config::ReceiverConfig config_;
  Clock& clock_;
  const Origin origin_;
  const Wording wording_;
  const ReceiverContext context_;
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
    .has_words = true,
};

}  // namespace nexus::publish
