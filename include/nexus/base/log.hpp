// Logging: one line an event, `component: message`, to standard error (journald's level prefixes or
// JSON).
//
// Secrets are never passed here. Repeated errors are rate-limited by their owners, not by the
// logger. Thread safety: all functions may be called from any thread at any time.
#pragma once

#include <fmt/core.h>

#include <string_view>

#include "nexus/base/result.hpp"

namespace nexus::log {

enum class Level { kDebug, kInfo, kWarning, kError };
enum class Format { kText, kJson };

[[nodiscard]] Result<Level> parse_level(std::string_view name);    // debug, info, warning, error
[[nodiscard]] Result<Format> parse_format(std::string_view name);  // text, json

void configure(Level level, Format format);
[[nodiscard]] bool enabled(Level level) noexcept;
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
