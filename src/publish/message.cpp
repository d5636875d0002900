#include "publish/message.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "nexus/base/text.hpp"
#include "nexus/publish/matchers.hpp"

namespace nexus::publish {
namespace {

constexpr std::size_t kLongestTitle = 200;
constexpr std::size_t kLongestFact = 1000;

std::string shell_quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string matcher_text(std::string_view name, std::string_view value) {
  const auto made =
      knowledge::Matcher::make(std::string(name), knowledge::MatchOp::kEqual, std::string(value));
  return made ? knowledge::to_string(*made) : std::string(name);
}

constexpr std::size_t kChangesShown = 3;
constexpr std::size_t kDeedsShown = 4;

std::string value_text(const Alert& alert) {
  std::string out =
      alert.missing
          ? std::string("there is no value: its data is gone")
          : fmt::format(
                "value: {:.6g}{}", alert.value,
                alert.threshold ? fmt::format(" (threshold {:.6g})", *alert.threshold) : "");
  if (!alert.trend.empty()) out += "; " + one_line(alert.trend);
  return out;
}

}  // namespace

Wording::Wording(const config::ReceiverConfig& config, const ReceiverContext& context)
    : origin_(context.origin) {
  const auto parse = [](const std::string& text, std::optional<analyze::TextTemplate>& into) {
    if (text.empty()) return;
    if (auto made = analyze::TextTemplate::parse(text, "notify")) into = *std::move(made);
  };
  parse(config.title, title_);
  parse(config.text, text_);
  if (config.approval_links) link_ = context.approval_link;
}

void Wording::add_deeds(const Alert& alert, Lines& out) const {
  std::size_t shown = 0;
  for (const auto& deed : alert.deeds) {
    if (++shown > kDeedsShown) break;
    out.facts.push_back(cut("agent: " + one_line(deed.text), kLongestFact));
    if (!deed.proposed) continue;
    out.facts.push_back(
        fmt::format("to answer it by {}: nexus-agent actions approve {} (or cancel)",
                    base::to_rfc3339(deed.expires), deed.action));
    if (auto url = link_ ? link_(deed) : std::string(); !url.empty())
      out.answers.push_back({cut(one_line(deed.text), 200), std::move(url)});
  }
}

Lines Wording::lines_of(const Alert& alert) const {
  Lines out;
  const auto name = value_of(alert.labels, "alertname");
  const auto summary = value_of(alert.annotations, "summary");
  out.severity = alert.severity;
  out.resolved = alert.resolved();
  out.link = alert.generator_url;
  out.head = one_line(fmt::format(
      "{}{}{}: {}", alert.flapping ? "(flapping) " : "", alert.over_since ? "(over for now) " : "",
      alert.subject.empty() ? std::string(name) : fmt::format("{} {}", name, alert.subject),
      summary.empty() ? "no summary" : summary));
  const auto fact = [&](std::string text) { out.facts.push_back(cut(text, kLongestFact)); };
  if (text_) {
    fact(base::sanitize_utf8(
        text_->expand({alert.labels, origin_.external_labels, origin_.external_url, alert.value})));
    add_deeds(alert, out);
    return out;
  }
  if (const auto description = value_of(alert.annotations, "description"); !description.empty())
    fact(std::string(description));
  fact(fmt::format("severity: {}; host: {}", config::to_string(alert.severity), origin_.host));
  if (alert.ends) {
    fact(fmt::format("from {} to {}", base::to_rfc3339(alert.starts),
                     base::to_rfc3339(*alert.ends)));
  } else {
    fact(fmt::format("since {}", base::to_rfc3339(alert.starts)));
  }
  if (!alert.source.empty()) {
    fact(value_text(alert));
    fact("of: " + one_line(alert.source));
  }
  if (alert.over_since)
    fact(fmt::format("over since {}: that is told once it has lasted",
                     base::to_rfc3339(*alert.over_since)));
  if (alert.flapping && !alert.resolved())
    fact("it comes and goes; while it does, it is told again only every other day");
  if (!alert.cause.empty()) fact("explained by: " + one_line(alert.cause));
  for (std::size_t i = 0; i < alert.changes.size() && i < kChangesShown && !alert.resolved(); ++i)
    fact("changed before: " + one_line(alert.changes[i]));
  add_deeds(alert, out);
  std::string labels;
  for (const auto& [label, value] : alert.labels) {
    if (label == "alertname" || label == "severity" || label == "kind") continue;
    labels += fmt::format("{}{}={}", labels.empty() ? "" : ", ", label, one_line(value));
  }
  if (!labels.empty()) fact("labels: " + labels);
  if (const auto runbook = value_of(alert.annotations, "runbook_url"); !runbook.empty())
    fact(fmt::format("runbook: {}", one_line(runbook)));
  return out;
}

std::string Wording::title_of(const Notification& notification) const {
  const std::size_t firing = notification.firing();
  const auto state = firing > 0 ? fmt::format("FIRING:{}", firing) : std::string("RESOLVED");
  if (title_) {
    // Whether it begins or ends is told by its first word, whatever the template says.
    const auto text = title_->expand({notification.common_labels, origin_.external_labels,
                                      origin_.external_url, static_cast<double>(firing)});
    return cut(one_line(fmt::format("[{}] {}", state, text)), kLongestTitle);
  }
  std::string what;
  for (const auto& [name, value] : notification.group_labels)
    what += (what.empty() ? "" : " ") + value;
  if (notification.merged > 0) what = fmt::format("{} notifications in one", notification.merged);
  if (what.empty()) what = value_of(notification.common_labels, "alertname");
  if (what.empty()) what = fmt::format("{} alerts", notification.alerts.size());
  return cut(one_line(fmt::format("[{}] {} on {}", state, what, origin_.host)), kLongestTitle);
}

std::vector<std::string> Wording::footer_of(const Notification& notification) const {
  std::vector<std::string> out;
  if (!notification.is_resolved()) {
    std::string matchers;
    const auto& labels =
        notification.group_labels.empty() ? notification.common_labels : notification.group_labels;
    for (const auto& [name, value] : labels)
      matchers += " " + shell_quoted(one_line(matcher_text(name, value)));
    if (!matchers.empty())
      out.push_back("silence: nexus-agent silence add --duration 2h --comment WHY" + matchers);
  }
  if (notification.left_out > 0)
    out.push_back(
        fmt::format("{} more notifications before this one were suppressed: nexus-agent findings "
                    "shows what is so now",
                    notification.left_out));
  if (!origin_.external_url.empty()) out.push_back(origin_.external_url);
  return out;
}

Message Wording::message(const Notification& notification) const {
  Message out;
  out.title = title_of(notification);
  out.resolved = notification.is_resolved();
  for (const auto& alert : notification.alerts) {
    if (!alert->resolved()) out.severity = std::max(out.severity, alert->severity);
    if (out.alerts.size() < kMostShown) {
      out.alerts.push_back(lines_of(*alert));
    } else {
      ++out.more;
    }
  }
  out.footer = footer_of(notification);
  return out;
}

std::string one_line(std::string_view text) {
  std::string out = base::sanitize_utf8(text);
  for (char& c : out) c = static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  return out;
}

std::string cut(std::string_view text, std::size_t most) {
  if (text.size() <= most) return std::string(text);
  constexpr std::string_view kEllipsis = "…";
  std::size_t length = most - std::min(most, kEllipsis.size());
  while (length > 0 && (static_cast<unsigned char>(text[length]) & 0xc0) == 0x80) --length;
  return std::string(text.substr(0, length)) + std::string(kEllipsis);
}

std::string to_text(const Message& message) {
  std::string out = message.title + "\n";
  for (const auto& alert : message.alerts) {
    out += fmt::format("\n{} {}\n", alert.resolved ? "resolved:" : "firing:", alert.head);
    for (const auto& fact : alert.facts) out += "  " + fact + "\n";
    for (const auto& answer : alert.answers)
      out += fmt::format("  approve or reject ({}): {}\n", answer.text, answer.url);
    if (!alert.link.empty()) out += "  " + alert.link + "\n";
  }
  if (message.more > 0) out += fmt::format("\n... and {} more\n", message.more);
  if (!message.footer.empty()) out += "\n";
  for (const auto& line : message.footer) out += line + "\n";
  return out;
}

}  // namespace nexus::publish
