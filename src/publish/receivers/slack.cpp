// slack: an incoming webhook; or, with a bot's token, chat.postMessage with a thread for each
// group, kept over restarts, and a picture of the values in it (files.getUploadURLExternal, the
// upload, files.completeUploadExternal; the scope files:write). A webhook takes no file.
#include <fmt/format.h>

#include <boost/json.hpp>
#include <expected>
#include <set>

#include "nexus/base/log.hpp"
#include "nexus/base/markup.hpp"
#include "publish/courier.hpp"
#include "publish/message.hpp"
#include "publish/receivers.hpp"

namespace nexus::publish {
namespace {

namespace json = boost::json;

constexpr std::size_t kLongestHeader = 150;
constexpr std::size_t kLongestSection = 2900;  // 3000 with what is put around
constexpr std::string_view kPost = "chat.postMessage";
constexpr std::size_t kMostSections = 10;  // of 50 blocks

/// Of Slack's markup only these three are special, and only as entities.
std::string escape(std::string_view text) {
  return base::escape_markup(text, "&<>");
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
      : config_(std::move(config)), context_(context), wording_(config_, context) {}

  Delivery send(const Notification& notification, const std::function<bool()>& cancelled) override {
    const auto message = wording_.message(notification);
    json::object body = {
        {"text", escape(message.title)},
        {"attachments",
         json::array{json::object{{"color", color(message)}, {"blocks", blocks_of(message)}}}}};
    if (config_.token.empty()) {
      return deliver(post_request(config_, config_.url.reveal(), json::serialize(body), cancelled),
                     context_.clock);
    }
    return post_message(notification, std::move(body), cancelled);
  }

 private:
  Delivery post_message(const Notification& notification, json::object body,
                        const std::function<bool()>& cancelled) {
    const auto channel = text_option(config_, "channel");
    body["channel"] = channel;
    // What another channel has is no thread of this one.
    const auto key = channel + " " + notification.group_key;
    const auto thread = context_.memory ? context_.memory->recall(key) : std::nullopt;
    if (thread) {
      body["thread_ts"] = *thread;
      // The end is for everybody who saw the begin.
      if (notification.is_resolved()) body["reply_broadcast"] = true;
    }
    auto said = call(kPost, json::serialize(body), "application/json", cancelled);
    if (!said) {
      // It may be the thread that is not liked (locked, of another workspace): the next attempt
      // begins one.
      if (thread && said.error().suspect) context_.memory->forget(key);
      return said.error();
    }
    if (notification.is_resolved()) {
      if (context_.memory) context_.memory->forget(key);
      return Delivery::sent();
    }
    const auto ts = thread.value_or(text_of(*said, "ts"));
    if (ts.empty()) return Delivery::sent();
    // A digest is a group of its own, once.
    if (!thread && context_.memory && notification.merged == 0) context_.memory->note(key, ts);
    show_chart(notification, text_of(*said, "channel"), ts, cancelled);
    return Delivery::sent();
  }

  /// The picture comes behind the words: without it the message is told all the same. One that was
  /// refused is the last until a reload, so that it holds up no further message.
  void show_chart(const Notification& notification, const std::string& channel,
                  const std::string& thread, const std::function<bool()>& cancelled) {
    const auto chart = channel.empty() ? std::string() : chart_of(notification, context_);
    if (chart.empty() || told_of_charts_) return;
    const auto shown = upload(chart, channel, thread, cancelled);
    if (shown.result == Delivery::Result::kSent) return;
    told_of_charts_ = true;
    log::warning("publish", "{} shows no pictures: {}", config_.name, scrub(shown.why, config_));
  }

  Delivery upload(const std::string& chart, const std::string& channel, const std::string& thread,
                  const std::function<bool()>& cancelled) const {
    const auto place = call("files.getUploadURLExternal",
                            fmt::format("filename=chart.png&length={}", chart.size()),
                            "application/x-www-form-urlencoded", cancelled);
    if (!place) return place.error();
    auto request = post_request(config_, text_of(*place, "upload_url"), chart, cancelled);
    request.shown = fmt::format("where {} takes files", config_.name);
    request.headers.front() = {"Content-Type", "image/png"};
    if (auto sent = deliver(request, context_.clock); sent.result != Delivery::Result::kSent)
      return sent;
    const json::object body = {
        {"files",
         json::array{json::object{{"id", text_of(*place, "file_id")}, {"title", "chart"}}}},
        {"channel_id", channel},
        {"thread_ts", thread}};
    const auto done =
        call("files.completeUploadExternal", json::serialize(body), "application/json", cancelled);
    return done ? Delivery::sent() : done.error();
  }

  /// One method of Slack's API; its answer, once it says that it is well.
  std::expected<json::object, Delivery> call(std::string_view method, std::string body,
                                             std::string_view type,
                                             const std::function<bool()>& cancelled) const {
    std::string url = config_.url.empty() ? "https://slack.com/api/chat.postMessage"
                                          : std::string(config_.url.reveal());
    if (url.ends_with(kPost)) url.replace(url.size() - kPost.size(), kPost.size(), method);
    auto request = post_request(config_, std::move(url), std::move(body), cancelled);
    request.headers.front().second = fmt::format("{}; charset=utf-8", type);
    request.headers.emplace_back("Authorization", "Bearer " + config_.token.reveal());
    const auto answer = drivers::http_request(request);
    if (!answer) return std::unexpected(Delivery::retry(answer.error().message()));
    if (auto judged = judge(*answer, context_.clock); judged.result != Delivery::Result::kSent)
      return std::unexpected(std::move(judged));
    boost::system::error_code ec;
    auto said = json::parse(answer->body, ec);
    if (ec || !said.is_object())
      return std::unexpected(Delivery::retry("Slack's answer is no JSON object"));
    const auto* ok = said.as_object().if_contains("ok");
    if (ok == nullptr || !ok->is_bool() || !ok->as_bool())
      return std::unexpected(failed(said.as_object()));
    return std::move(said.as_object());
  }

  static std::string text_of(const json::object& object, std::string_view key) {
    const auto* value = object.if_contains(key);
    return value != nullptr && value->is_string() ? std::string(value->as_string()) : "";
  }

  static Delivery failed(const json::object& answer) {
    // What is wrong with the message is wrong the next time too; everything else can be mended.
    static const std::set<std::string, std::less<>> kRefused = {
        "invalid_blocks", "invalid_attachments",  "msg_too_long",
        "no_text",        "too_many_attachments", "invalid_arguments"};
    const auto why = text_of(answer, "error");
    auto told = "Slack refuses: " + (why.empty() ? "unknown" : cut(one_line(why), 100));
    return kRefused.contains(why) ? Delivery::refused(std::move(told))
                                  : Delivery::disliked(std::move(told));
  }

  const config::ReceiverConfig config_;
  const ReceiverContext context_;
  const Wording wording_;
  bool told_of_charts_ = false;
};

constexpr OptionDescriptor kOptions[] = {
    {"channel", OptionType::kString, false, "", "with a token: the channel's name or id"},
};
constexpr SecretDescriptor kSecrets[] = {
    {"url", false, false, "the address of an incoming webhook"},
    {"token", false, false,
     "of a bot (xoxb-...; chat:write, and files:write for pictures): a thread for each group"},
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
    .help =
        "Slack, by an incoming webhook, or a bot that keeps a thread for each group and shows "
        "charts",
    .options = kOptions,
    .secrets = kSecrets,
    .digests = true,
    .make = make_receiver<Slack>,
    .check = check,
    .has_words = true,
};

}  // namespace nexus::publish
