// Logging: one line an event to standard error. Text: time, level, `component: message` (under
// systemd its level prefix instead of time and level). JSON: an object with time (not under
// systemd), level, component and message.
//
// Every line is valid UTF-8 without control characters, whatever the message holds: invalid bytes
// become U+FFFD, control characters are escaped, in text a line feed becomes a blank.
//
// Secrets are never passed here. Repeated errors are rate-limited by their owners, not by the
// logger. Thread safety: all functions may be called from any thread at any time.
#pragma once

#include <fmt/core.h>

#include <string>
#include <string_view>

#include "nexus/base/result.hpp"

namespace nexus::log {

enum class Level { kDebug, kInfo, kWarning, kError };
enum class Format { kText, kJson };

[[nodiscard]] Result<Level> parse_level(std::string_view name);    // debug, info, warning, error
[[nodiscard]] Result<Format> parse_format(std::string_view name);  // text, json

void configure(Level level, Format format);
[[nodiscard]] bool enabled(Level level) noexcept;
/// The line of an event, without the time and, in text, the level.
[[nodiscard]] std::string render(Format format, Level level, std::string_view component,
                                 std::string_view message);
void write(Level level, std::string_view component, std::string_view message);

template <typename... Args>
void debug(std::string_view component, fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::kDebug))
    write(Level::kDebug, component, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void info(std::string_view component, fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::kInfo))
    write(Level::kInfo, component, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void warning(std::string_view component, fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::kWarning))
    write(Level::kWarning, component, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void error(std::string_view component, fmt::format_string<Args...> format, Args&&... args) {
  write(Level::kError, component, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace nexus::log
