// What people read: one wording of a notification for all receivers that show text.
//
// Everything is valid UTF-8; titles are one line without control characters. Thread safety: pure
// functions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "nexus/analyze/text_template.hpp"
#include "nexus/publish/alert.hpp"
#include "nexus/publish/receiver.hpp"

namespace nexus::publish {

/// Where a proposal is approved or rejected.
struct Answer {
  std::string text;  // "restart_service web.service"
  std::string url;
};

struct Lines {
  std::string head;                // "disk_usage_percent /var: 96 (critical from 95)"
  std::vector<std::string> facts;  // "since 2026-...", "expression: ..."
  std::string link;                // or empty
  std::vector<Answer> answers;     // to proposals of the agent
  config::Severity severity = config::Severity::kWarning;
  bool resolved = false;
};

struct Message {
  std::string title;                // "[FIRING:2] disk_usage_percent on web1"
  std::vector<Lines> alerts;        // at most kMostShown
  std::size_t more = 0;             // alerts that are not shown
  std::vector<std::string> footer;  // how to silence; how many notifications are missing
  config::Severity severity = config::Severity::kInfo;  // the worst of what fires
  bool resolved = false;
};

inline constexpr std::size_t kMostShown = 20;

/// The words of one receiver: the agent's own, or its templates. Thread safety: immutable.
class Wording {
 public:
  explicit Wording(Origin origin) : origin_(std::move(origin)) {}
  /// Templates were checked before; one that is wrong all the same is not used.
  Wording(const config::ReceiverConfig& config, const ReceiverContext& context);

  [[nodiscard]] Message message(const Notification& notification) const;

 private:
  [[nodiscard]] Lines lines_of(const Alert& alert) const;
  [[nodiscard]] std::string title_of(const Notification& notification) const;
  void add_deeds(const Alert& alert, Lines& out) const;
  [[nodiscard]] std::vector<std::string> footer_of(const Notification& notification) const;

  Origin origin_;
  std::optional<analyze::TextTemplate> title_;
  std::optional<analyze::TextTemplate> text_;
  std::function<std::string(const Deed&)> link_;
};

[[nodiscard]] inline Message message_of(const Notification& notification, const Origin& origin) {
  return Wording(origin).message(notification);
}
/// All of it as plain text.
[[nodiscard]] std::string to_text(const Message& message);
/// One line: control characters are blanks.
[[nodiscard]] std::string one_line(std::string_view text);
/// At most so many bytes, cut between characters, with an ellipsis.
[[nodiscard]] std::string cut(std::string_view text, std::size_t most);

}  // namespace nexus::publish
