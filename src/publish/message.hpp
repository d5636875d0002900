// What people read: one wording of a notification for all receivers that show text.
//
// Everything is valid UTF-8; titles are one line without control characters. Thread safety: pure
// functions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "nexus/publish/alert.hpp"

namespace nexus::publish {

struct Lines {
  std::string head;                // "disk_usage_percent /var: 96 (critical from 95)"
  std::vector<std::string> facts;  // "since 2026-...", "expression: ..."
  std::string link;                // or empty
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

[[nodiscard]] Message message_of(const Notification& notification, const Origin& origin);
/// All of it as plain text.
[[nodiscard]] std::string to_text(const Message& message);
/// One line: control characters are blanks.
[[nodiscard]] std::string one_line(std::string_view text);
/// At most so many bytes, cut between characters, with an ellipsis.
[[nodiscard]] std::string cut(std::string_view text, std::size_t most);

}  // namespace nexus::publish
