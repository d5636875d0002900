// discord: a channel's webhook, with embeds.
#include <boost/json.hpp>

#include "publish/message.hpp"
#include "publish/receivers.hpp"

namespace nexus::publish {
namespace {

namespace json = boost::json;

int color(const Message& message) {
  if (message.resolved) return 0x2eb67d;
  switch (message.severity) {
    case config::Severity::kInfo:
      return 0x36a2eb;
    case config::Severity::kWarning:
      return 0xecb22e;
    case config::Severity::kCritical:
      return 0xe01e5a;
  }
  return 0xecb22e;
}

class Discord final : public Receiver {
 public:
  Discord(config::ReceiverConfig config, const ReceiverContext& context)
      : config_(std::move(config)),
        clock_(context.clock),
        origin_(context.origin),
        wording_(config_, context),
        context_(context) {}

  Delivery send(const Notification& notification, const std::function<bool()>& cancelled) override {
    const auto message = wording_.message(notification);
    auto text = to_text(message);
    text.erase(0, message.title.size() + 1);
    json::object embed = {{"title", cut(plain_markdown(message.title), 250)},
                          {"description", cut(plain_markdown(text), 3500)},
                          {"color", color(message)},
                          {"timestamp", base::to_rfc3339(notification.time)}};
    if (!origin_.external_url.empty()) embed["url"] = origin_.external_url;
    // No text of an alert calls anybody: @everyone in a label stays text.
    const auto chart = chart_of(notification, context_);
    if (!chart.empty()) embed["image"] = json::object{{"url", "attachment://chart.png"}};
    const json::object body = {{"content", ""},
                               {"embeds", json::array{std::move(embed)}},
                               {"allowed_mentions", json::object{{"parse", json::array{}}}}};
    auto request = post_request(config_, config_.url.reveal(), json::serialize(body), cancelled);
    if (!chart.empty()) {
      const std::pair<std::string, std::string> fields[] = {{"payload_json", request.body}};
      auto form = form_of(fields, "files[0]", chart);
      request.body = std::move(form.body);
      request.headers.front() = {"Content-Type", std::move(form.content_type)};
    }
    return deliver(request, clock_);
  }

 private:
  const config::ReceiverConfig config_;
  Clock& clock_;
  const Origin origin_;
  const Wording wording_;
  const ReceiverContext context_;
};

constexpr SecretDescriptor kSecrets[] = {{"url", true, false, "the address of a webhook"}};

}  // namespace

const ReceiverDescriptor kDiscord = {
    .name = "discord",
    .help = "a channel of Discord, by its webhook",
    .options = {},
    .secrets = kSecrets,
    .digests = true,
    .make = make_receiver<Discord>,
    .has_words = true,
};

}  // namespace nexus::publish
