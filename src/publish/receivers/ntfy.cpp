// ntfy: a topic of ntfy.sh or of a server of one's own, published as JSON; the picture of the
// values behind it, as an attachment (PUT), where the server keeps any.
#include <boost/json.hpp>

#include "nexus/base/log.hpp"
#include "publish/courier.hpp"
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
      : config_(std::move(config)), context_(context), wording_(config_, context) {}

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
    if (!context_.origin.external_url.empty()) body["click"] = context_.origin.external_url;
    const auto sent = deliver(request_to("", json::serialize(body), cancelled), context_.clock);
    if (sent.result == Delivery::Result::kSent && !message.resolved)
      send_chart(notification, cancelled);
    return sent;
  }

 private:
  drivers::HttpRequest request_to(std::string_view path, std::string body,
                                  const std::function<bool()>& cancelled) const {
    std::string url = config_.url.empty() ? "https://ntfy.sh/" : config_.url.reveal();
    if (!path.empty()) url += (url.ends_with('/') ? "" : "/") + std::string(path);
    auto request = post_request(config_, std::move(url), std::move(body), cancelled);
    if (!config_.token.empty())
      request.headers.emplace_back("Authorization", "Bearer " + config_.token.reveal());
    return request;
  }

  /// Quietly: the words came before it. A server without room for files says so, and that is all.
  void send_chart(const Notification& notification, const std::function<bool()>& cancelled) {
    auto chart = chart_of(notification, context_);
    if (chart.empty() || told_of_charts_) return;
    auto request = request_to(text_option(config_, "topic"), std::move(chart), cancelled);
    request.method = "PUT";
    request.headers.front() = {"Content-Type", "image/png"};
    request.headers.emplace_back("Filename", "chart.png");
    request.headers.emplace_back("Priority", "1");
    const auto sent = deliver(request, context_.clock);
    if (sent.result == Delivery::Result::kSent) return;
    told_of_charts_ = true;
    log::warning("publish", "{} shows no pictures: {}", config_.name, scrub(sent.why, config_));
  }

  const config::ReceiverConfig config_;
  const ReceiverContext context_;
  const Wording wording_;
  bool told_of_charts_ = false;
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
