// teams: a workflow of Microsoft Teams ("when a webhook request is received"), with an adaptive
// card.
#include <boost/json.hpp>

#include "publish/message.hpp"
#include "publish/receivers.hpp"

namespace nexus::publish {
namespace {

namespace json = boost::json;

constexpr std::size_t kLongestBody = 14'000;  // of 28 KB that a card may have
constexpr std::size_t kLargestChart = 6'000;  // bytes, a third more as text

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
  return {{"type", "TextBlock"}, {"text", plain_markdown(text)}, {"wrap", true}};
}

class Teams final : public Receiver {
 public:
  Teams(config::ReceiverConfig config, const ReceiverContext& context)
      : config_(std::move(config)),
        clock_(context.clock),
        origin_(context.origin),
        wording_(config_, context),
        context_(context) {}

  Delivery send(const Notification& notification, const std::function<bool()>& cancelled) override {
    const auto message = wording_.message(notification);
    auto title = text_block(message.title);
    title["size"] = "Large";
    title["weight"] = "Bolder";
    json::array parts{std::move(title)};
    json::array actions;
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
      for (const auto& answer : alert.answers) {
        actions.push_back(json::object{{"type", "Action.OpenUrl"},
                                       {"title", cut("Approve or reject: " + answer.text, 100)},
                                       {"url", answer.url}});
      }
    }
    if (left_out > 0) parts.push_back(text_block("... and " + std::to_string(left_out) + " more"));
    for (const auto& line : message.footer) parts.push_back(text_block(cut(line, 1000)));
    const auto chart = chart_of(notification, context_);
    // In the card itself, for no address of the agent need be reachable from there.
    if (!chart.empty() && chart.size() <= kLargestChart) {
      parts.push_back(json::object{{"type", "Image"},
                                   {"altText", "the values of late"},
                                   {"url", "data:image/png;base64," + base64(chart)}});
    }
    json::object card = {{"$schema", "http://adaptivecards.io/schemas/adaptive-card.json"},
                         {"type", "AdaptiveCard"},
                         {"version", "1.4"},
                         {"body", std::move(parts)}};
    if (!actions.empty()) card["actions"] = std::move(actions);
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
  const Wording wording_;
  const ReceiverContext context_;
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
    .has_words = true,
};

}  // namespace nexus::publish
