// log: the journal, one entry an alert with structured fields; where there is none, the agent's own
// log.
#include <fmt/format.h>

#include "nexus/base/log.hpp"
#include "nexus/base/text.hpp"
#include "nexus/drivers/journal_writer.hpp"
#include "nexus/publish/matchers.hpp"
#include "publish/message.hpp"
#include "publish/receivers.hpp"

namespace nexus::publish {
namespace {

/// syslog's: critical, error, warning, informational.
std::string_view priority(const Alert& alert) {
  if (alert.resolved()) return "6";
  switch (alert.severity) {
    case config::Severity::kInfo:
      return "6";
    case config::Severity::kWarning:
      return "4";
    case config::Severity::kCritical:
      return "2";
  }
  return "4";
}

drivers::JournalFields fields_of(const Alert& alert, const Notification& notification,
                                 const std::string& text) {
  drivers::JournalFields out{{"MESSAGE", text},
                             {"PRIORITY", std::string(priority(alert))},
                             {"SYSLOG_IDENTIFIER", "nexus-agent"},
                             {"NEXUS_STATUS", alert.resolved() ? "resolved" : "firing"},
                             {"NEXUS_SEVERITY", std::string(config::to_string(alert.severity))},
                             {"NEXUS_FINGERPRINT", to_hex(alert.fingerprint)},
                             {"NEXUS_FINDING", alert.finding},
                             {"NEXUS_SUBJECT", alert.subject},
                             {"NEXUS_STARTED", base::to_rfc3339(alert.starts)},
                             {"NEXUS_VALUE", base::format_double(alert.value)},
                             {"NEXUS_EXPRESSION", alert.source},
                             {"NEXUS_GROUP", notification.group_key},
                             {"NEXUS_NOTIFICATION", notification.id}};
  if (alert.ends) out.emplace_back("NEXUS_ENDED", base::to_rfc3339(*alert.ends));
  // A journal's field has an upper-case name of 64 bytes at most.
  for (const auto& [name, value] : alert.labels) {
    std::string field = "NEXUS_LABEL_";
    for (const char c : name) {
      const bool plain = (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
      field += plain ? c : c >= 'a' && c <= 'z' ? static_cast<char>(c - ('a' - 'A')) : '_';
    }
    if (field.size() <= 64) out.emplace_back(std::move(field), value);
  }
  return out;
}

class Log final : public Receiver {
 public:
  explicit Log(Origin origin) : origin_(std::move(origin)) {}

  Delivery send(const Notification& notification, const std::function<bool()>&) override {
    for (const auto& alert : notification.alerts) {
      const auto summary = alert->annotations.find("summary");
      const auto text = one_line(fmt::format(
          "{} {} {}{}{}",
          alert->resolved() ? "resolved:" : "firing:", value_of(alert->labels, "alertname"),
          alert->subject, summary == alert->annotations.end() ? "" : ": ",
          summary == alert->annotations.end() ? "" : summary->second));
      if (drivers::journal_send(fields_of(*alert, notification, text))) continue;
      if (alert->resolved() || alert->severity == config::Severity::kInfo) {
        log::info("notify", "{}", text);
      } else {
        log::warning("notify", "{}", text);
      }
    }
    return Delivery::sent();
  }

 private:
  const Origin origin_;
};

Result<std::unique_ptr<Receiver>> make(const config::ReceiverConfig&,
                                       const ReceiverContext& context) {
  return std::make_unique<Log>(context.origin);
}

}  // namespace

const ReceiverDescriptor kLog = {
    .name = "log",
    .help = "the systemd journal, an entry an alert with structured fields (NEXUS_*)",
    .options = {},
    .secrets = {},
    .digests = false,
    .make = make,
    .local = true,
};

}  // namespace nexus::publish
