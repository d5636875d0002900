// email: SMTP with STARTTLS or TLS, AUTH, text and HTML, threads by group.
#include <cctz/time_zone.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "nexus/base/log.hpp"
#include "nexus/base/markup.hpp"
#include "nexus/base/text.hpp"
#include "nexus/drivers/mail.hpp"
#include "publish/message.hpp"
#include "publish/receivers.hpp"

namespace nexus::publish {
namespace {

using base::escape_markup;

std::string_view color(const Lines& alert) {
  if (alert.resolved) return "#2e7d32";
  switch (alert.severity) {
    case config::Severity::kInfo:
      return "#1565c0";
    case config::Severity::kWarning:
      return "#b26a00";
    case config::Severity::kCritical:
      return "#b71c1c";
  }
  return "#b26a00";
}

std::string html_of(const Message& message, bool has_chart) {
  std::string out = fmt::format(
      "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"></head>\n"
      "<body style=\"font-family:sans-serif\">\n<h2>{}</h2>\n",
      escape_markup(message.title));
  if (has_chart) out += "<p><img src=\"cid:chart\" alt=\"the values of late\"></p>\n";
  for (const auto& alert : message.alerts) {
    out += fmt::format(
        "<div style=\"border-left:4px solid {};padding-left:1em;margin:1em 0\"><p><b>{} {}</b></p>"
        "\n<ul>\n",
        color(alert), alert.resolved ? "resolved:" : "firing:", escape_markup(alert.head));
    for (const auto& fact : alert.facts) out += fmt::format("<li>{}</li>\n", escape_markup(fact));
    out += "</ul>\n";
    for (const auto& answer : alert.answers)
      out += fmt::format("<p><a href=\"{}\">Approve or reject</a>: {}</p>\n",
                         escape_markup(answer.url), escape_markup(answer.text));
    if (!alert.link.empty())
      out += fmt::format("<p><a href=\"{0}\">{0}</a></p>\n", escape_markup(alert.link));
    out += "</div>\n";
  }
  if (message.more > 0) out += fmt::format("<p>... and {} more</p>\n", message.more);
  for (const auto& line : message.footer) out += fmt::format("<p>{}</p>\n", escape_markup(line));
  return out + "</body></html>\n";
}

class Email final : public Receiver {
 public:
  Email(config::ReceiverConfig config, const ReceiverContext& context)
      : config_(std::move(config)),
        clock_(context.clock),
        origin_(context.origin),
        wording_(config_, context),
        context_(context) {}

  Delivery send(const Notification& notification, const std::function<bool()>& cancelled) override {
    const auto message = wording_.message(notification);
    drivers::Mail mail;
    mail.server = text_option(config_, "server");
    const auto encryption = text_option(config_, "encryption", "starttls");
    mail.security = encryption == "tls"    ? drivers::MailSecurity::kTls
                    : encryption == "none" ? drivers::MailSecurity::kNone
                                           : drivers::MailSecurity::kStartTls;
    mail.username = text_option(config_, "username");
    mail.password = config_.password.reveal();
    mail.from = text_option(config_, "from");
    mail.to = texts_option(config_, "to");
    mail.headers = headers(notification, message, mail);
    mail.text = to_text(message);
    mail.png = chart_of(notification, context_);
    mail.html = html_of(message, !mail.png.empty());
    mail.on_refused = [this](std::string_view recipient, std::string_view answer) {
      log::warning("publish", "{}: the mail server refuses {}: {}", config_.name,
                   one_line(recipient), one_line(answer));
    };
    mail.timeout = config_.timeout;
    mail.tls = {.ca_file = config_.ca_file,
                .cert_file = config_.cert_file,
                .key_file = config_.key_file,
                .verify = !config_.insecure_skip_verify};
    mail.proxy = config_.proxy;
    mail.cancelled = cancelled;
    const auto sent = drivers::send_mail(mail);
    if (sent) return Delivery::sent();
    const bool refused =
        sent.error().code() == Errc::kConflict || sent.error().code() == Errc::kInvalidArgument;
    return refused ? Delivery::refused(sent.error().message())
                   : Delivery::retry(sent.error().message());
  }

 private:
  /// Mails of one group refer to the same message, which never was: programs show them as a thread.
  std::vector<std::string> headers(const Notification& notification, const Message& message,
                                   const drivers::Mail& mail) const {
    const std::string domain = mail.from.substr(mail.from.find('@') + 1);
    const auto thread = fmt::format("<nexus-{:016x}@{}>",
                                    base::fnv1a(notification.group_key + origin_.identity), domain);
    return {"From: " + mail.from,
            fmt::format("To: {}", fmt::join(mail.to, ", ")),
            "Subject: " + drivers::encode_header(message.title),
            "Date: " +
                cctz::format("%a, %d %b %Y %H:%M:%S +0000", clock_.wall(), cctz::utc_time_zone()),
            fmt::format("Message-ID: <{}@{}>", notification.id, domain),
            "In-Reply-To: " + thread,
            "References: " + thread,
            "Auto-Submitted: auto-generated",
            fmt::format("X-Nexus-Status: {}", message.resolved ? "resolved" : "firing"),
            fmt::format("X-Nexus-Severity: {}", config::to_string(message.severity))};
  }

  const config::ReceiverConfig config_;
  Clock& clock_;
  const Origin origin_;
  const Wording wording_;
  const ReceiverContext context_;
};

constexpr OptionDescriptor kOptions[] = {
    {"server", OptionType::kString, true, "", "host:port of the mail server"},
    {"from", OptionType::kString, true, "", "the sender's address"},
    {"to", OptionType::kStrings, true, "", "addresses of those who get it"},
    {"username", OptionType::kString, false, "", "for AUTH; without it there is none"},
    {"encryption", OptionType::kString, false, "starttls",
     "starttls, tls (from the begin) or none; a password is never sent without"},
};
constexpr SecretDescriptor kSecrets[] = {{"password", false, false, "of the user, for AUTH"}};

/// Beyond types: what only this receiver knows.
void check(const config::ReceiverConfig& config, const config::Config&, const Complain& complain) {
  const auto encryption = text_option(config, "encryption", "starttls");
  if (encryption != "starttls" && encryption != "tls" && encryption != "none")
    complain("encryption", "expected \"starttls\", \"tls\" or \"none\"");
  if (encryption == "none" && !config.password.empty())
    complain("encryption",
             "a password would be sent in the clear; expected \"starttls\" or "
             "\"tls\"");
  if (!config.password.empty() && text_option(config, "username").empty())
    complain("username", "missing beside the password; expected a name");
  const auto is_address = [](std::string_view text) {
    return text.contains('@') && text.find_first_of(" \t\r\n<>,") == std::string_view::npos;
  };
  if (const auto from = text_option(config, "from"); !from.empty() && !is_address(from))
    complain("from", "expected an address such as \"agent@example.org\"");
  for (const auto& to : texts_option(config, "to")) {
    if (!is_address(to)) complain("to", "expected addresses such as \"oncall@example.org\"");
  }
  const auto server = text_option(config, "server");
  if (!server.empty() && (!server.contains(':') || server.contains('/')))
    complain("server", "expected host:port");
}

}  // namespace

const ReceiverDescriptor kEmail = {
    .name = "email",
    .help = "mail over SMTP with STARTTLS or TLS, text and HTML, a thread a group",
    .options = kOptions,
    .secrets = kSecrets,
    .digests = true,
    .make = make_receiver<Email>,
    .check = check,
    .has_words = true,
};

}  // namespace nexus::publish
