// teams: a workflow of Microsoft Teams ("when a webhook request is received"), with an adaptive
// card.
#include <boost/json.hpp>

#include "publish/message.hpp"
#include "publish/receivers.hpp"

namespace nexus::publish {
namespace {

namespace json = boost::json;

constexpr std::size_t kLongestBody = 20'000;  // of 28 KB that a card may have

std::string_view style(const Lines& alert) {
  if (alert.resolved) return "good";
  switch (alert.severity) {
    case config::Severity::kInfo:
      return "accent";
    case config::Severity::kWarning:
      return "warning";
    case config::Severity::kCritical:
      return "attention";
  }
  return "warning";
}

json::object text_block(std::string_view text) {
  return {{"type", "TextBlock"}, {"text", text}, {"wrap", true}};
}

class Teams final : public Receiver {
 public:
  Teams(config::ReceiverConfig config, const ReceiverContext& context)
      : config_(std::move(config)), clock_(context.clock), origin_(context.origin) {}

  Delivery send(const Notification& notification, const std::function<bool()>& cancelled) override {
    const auto message = message_of(notification, origin_);
    auto title = text_block(message.title);
    title["size"] = "Large";
    title["weight"] = "Bolder";
    json::array parts{std::move(title)};
    std::size_t bytes = message.title.size();
    std::size_t left_out = message.more;
    for (const auto& alert : message.alerts) {
      auto head = text_block(cut(alert.head, 1000));
      head["color"] = style(alert);
      head["weight"] = "Bolder";
      std::string facts;
      for (const auto& fact : alert.facts) facts += (facts.empty() ? "" : "\n\n") + fact;
      bytes += alert.head.size() + facts.size() + 200;
      if (bytes > kLongestBody) {
        ++left_out;
        continue;
      }
      parts.push_back(std::move(head));
      parts.push_back(text_block(facts));
    }
    if (left_out > 0) parts.push_back(text_block("... and " + std::to_string(left_out) + " more"));
    for (const auto& line : message.footer) parts.push_back(text_block(cut(line, 1000)));
    const json::object card = {{"$schema", "http://adaptivecards.io/schemas/adaptive-card.json"},
                               {"type", "AdaptiveCard"},
                               {"version", "1.4"},
                               {"body", std::move(parts)}};
    const json::object body = {
        {"type", "message"},
        {"attachments",
         json::array{json::object{{"contentType", "application/vnd.microsoft.card.adaptive"},
                                  {"content", card}}}}};
    return deliver(post_request(config_, config_.url.reveal(), json::serialize(body), cancelled),
                   clock_);
  }

 private:
  const config::ReceiverConfig config_;
  Clock& clock_;
  const Origin origin_;
};

constexpr SecretDescriptor kSecrets[] = {{"url", true, false, "the address of the workflow"}};

}  // namespace

const ReceiverDescriptor kTeams = {
    .name = "teams",
    .help = "Microsoft Teams, by a workflow's address, with an adaptive card",
    .options = {},
    .secrets = kSecrets,
    .digests = true,
    .make = make_receiver<Teams>,
};

}  // namespace nexus::publish
