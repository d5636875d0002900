// slack: an incoming webhook; or, with a bot's token, chat.postMessage with a thread for each
// group.
#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <map>
#include <set>

#include "publish/message.hpp"
#include "publish/receivers.hpp"

namespace nexus::publish {
namespace {

namespace json = boost::json;

constexpr std::size_t kLongestHeader = 150;
constexpr std::size_t kLongestSection = 2900;  // 3000 with what is put around
constexpr std::size_t kMostThreads = 1000;
constexpr std::size_t kMostSections = 10;  // of 50 blocks

/// Of Slack's markup only these three are special, and only as entities.
std::string escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else {
      out += c;
    }
  }
  return out;
}

std::string_view color(const Message& message) {
  if (message.resolved) return "#2eb67d";
  switch (message.severity) {
    case config::Severity::kInfo:
      return "#36a2eb";
    case config::Severity::kWarning:
      return "#ecb22e";
    case config::Severity::kCritical:
      return "#e01e5a";
  }
  return "#ecb22e";
}

/// Cut before it is escaped, so that no entity is cut in two.
json::object section(std::string_view text, std::string_view before = {},
                     std::string_view after = {}) {
  std::string escaped = escape(text);
  for (std::size_t most = kLongestSection; escaped.size() > kLongestSection; most -= 100)
    escaped = escape(cut(text, most));
  return {
      {"type", "section"},
      {"text", {{"type", "mrkdwn"}, {"text", std::string(before) + escaped + std::string(after)}}}};
}

/// Buttons that lead to a page of the agent: nothing is done before somebody says so there.
json::object buttons(const Answer& answer) {
  json::array out;
  for (const auto& [text, style] :
       {std::pair("Approve", "primary"), std::pair("Reject", "danger")}) {
    out.push_back(json::object{
        {"type", "button"},
        {"text", {{"type", "plain_text"}, {"text", text}}},
        {"style", style},
        {"url", answer.url + (style == std::string_view("primary") ? "?choice=approve"
                                                                   : "?choice=reject")}});
  }
  return {{"type", "actions"}, {"elements", std::move(out)}};
}

json::array blocks_of(const Message& message) {
  json::array out;
  out.push_back(json::object{
      {"type", "header"},
      {"text", {{"type", "plain_text"}, {"text", cut(message.title, kLongestHeader)}}}});
  std::size_t left_out = message.more;
  for (const auto& alert : message.alerts) {
    if (out.size() > kMostSections) {
      ++left_out;
      continue;
    }
    std::string text = alert.head;
    for (const auto& fact : alert.facts) text += "\n" + fact;
    if (!alert.link.empty()) text += "\n" + alert.link;
    out.push_back(section(text, alert.resolved ? ":white_check_mark: " : ":rotating_light: "));
    for (const auto& answer : alert.answers) out.push_back(buttons(answer));
  }
  if (left_out > 0) out.push_back(section(fmt::format("... and {} more", left_out)));
  for (const auto& line : message.footer) out.push_back(section(line));
  return out;
}

class Slack final : public Receiver {
 public:
  Slack(config::ReceiverConfig config, const ReceiverContext& context)
      : config_(std::move(config)),
        clock_(context.clock),
        origin_(context.origin),
        wording_(config_, context) {}

  Delivery send(const Notification& notification, const std::function<bool()>& cancelled) override {
    const auto message = wording_.message(notification);
    json::object body = {
        {"text", escape(message.title)},
        {"attachments",
         json::array{json::object{{"color", color(message)}, {"blocks", blocks_of(message)}}}}};
    if (config_.token.empty()) {
      return deliver(post_request(config_, config_.url.reveal(), json::serialize(body), cancelled),
                     clock_);
    }
    return post_message(notification, std::move(body), cancelled);
  }

 private:
  Delivery post_message(const Notification& notification, json::object body,
                        const std::function<bool()>& cancelled) {
    body["channel"] = text_option(config_, "channel");
    const auto thread = threads_.find(notification.group_key);
    if (thread != threads_.end()) {
      body["thread_ts"] = thread->second;
      // The end is for everybody who saw the begin.
      if (notification.is_resolved()) body["reply_broadcast"] = true;
    }
    auto request = post_request(
        config_,
        config_.url.empty() ? "https://slack.com/api/chat.postMessage" : config_.url.reveal(),
        json::serialize(body), cancelled);
    request.headers.emplace_back("Authorization", "Bearer " + config_.token.reveal());
    const auto answer = drivers::http_request(request);
    if (!answer) return Delivery::retry(answer.error().message());
    if (auto judged = judge(*answer, clock_); judged.result != Delivery::Result::kSent)
      return judged;
    boost::system::error_code ec;
    const auto said = json::parse(answer->body, ec);
    if (ec || !said.is_object()) return Delivery::retry("Slack's answer is no JSON object");
    const auto& object = said.as_object();
    const auto* ok = object.if_contains("ok");
    if (ok == nullptr || !ok->is_bool() || !ok->as_bool()) return failed(object);
    note_thread(notification, object);
    return Delivery::sent();
  }

  static Delivery failed(const json::object& answer) {
    // What is wrong with the message is wrong the next time too; everything else can be mended.
    static const std::set<std::string, std::less<>> kRefused = {
        "invalid_blocks", "invalid_attachments",  "msg_too_long",
        "no_text",        "too_many_attachments", "invalid_arguments"};
    const auto* error = answer.if_contains("error");
    const std::string why =
        error != nullptr && error->is_string() ? std::string(error->as_string()) : "unknown";
    auto told = "Slack refuses: " + cut(one_line(why), 100);
    return kRefused.contains(why) ? Delivery::refused(std::move(told))
                                  : Delivery::disliked(std::move(told));
  }

  void note_thread(const Notification& notification, const json::object& answer) {
    if (notification.is_resolved()) {
      threads_.erase(notification.group_key);
      return;
    }
    const auto* ts = answer.if_contains("ts");
    if (ts == nullptr || !ts->is_string()) return;
    // The thread that began first is the one that is missed least.
    if (threads_.size() >= kMostThreads)
      threads_.erase(
          std::ranges::min_element(threads_, {}, [](const auto& one) { return one.second; }));
    threads_.try_emplace(notification.group_key, std::string(ts->as_string()));
  }

  const config::ReceiverConfig config_;
  Clock& clock_;
  const Origin origin_;
  const Wording wording_;
  std::map<std::string, std::string> threads_;  // by group: the message that began it
};

constexpr OptionDescriptor kOptions[] = {
    {"channel", OptionType::kString, false, "", "with a token: the channel's name or id"},
};
constexpr SecretDescriptor kSecrets[] = {
    {"url", false, false, "the address of an incoming webhook"},
    {"token", false, false, "of a bot (xoxb-...), which keeps a thread for each group"},
};

void check(const config::ReceiverConfig& config, const config::Config&, const Complain& complain) {
  if (config.url.empty() && config.token.empty())
    complain("url",
             "missing; expected the address of an incoming webhook, as url_file, url_env or "
             "url_credential, or a bot's token and a channel");
  if (!config.token.empty() && text_option(config, "channel").empty())
    complain("channel", "missing beside the token; expected a channel's name or id");
}

}  // namespace

const ReceiverDescriptor kSlack = {
    .name = "slack",
    .help = "Slack, by an incoming webhook or a bot that keeps a thread for each group",
    .options = kOptions,
    .secrets = kSecrets,
    .digests = true,
    .make = make_receiver<Slack>,
    .check = check,
    .has_words = true,
};

}  // namespace nexus::publish
