#include "nexus/base/log.hpp"

#include <fmt/format.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <string>

#include "nexus/base/clock.hpp"
#include "nexus/base/text.hpp"

namespace nexus::log {
namespace {

std::atomic<Level> g_level{Level::kInfo};
std::atomic<Format> g_format{Format::kText};

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::kDebug:
      return spdlog::level::debug;
    case Level::kInfo:
      return spdlog::level::info;
    case Level::kWarning:
      return spdlog::level::warn;
    case Level::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

std::string_view name_of(Level level) {
  switch (level) {
    case Level::kDebug:
      return "debug";
    case Level::kInfo:
      return "info";
    case Level::kWarning:
      return "warning";
    case Level::kError:
      return "error";
  }
  return "error";
}

// journald reads "<N>" at the front of a line as its priority (sd-daemon(3)).
std::string_view journal_prefix(Level level) {
  switch (level) {
    case Level::kDebug:
      return "<7>";
    case Level::kInfo:
      return "<6>";
    case Level::kWarning:
      return "<4>";
    case Level::kError:
      return "<3>";
  }
  return "<3>";
}

/// The code point of a control character or line separator at the front of valid UTF-8, with its
/// length; 0 for everything else.
struct Control {
  std::uint32_t code = 0;
  std::size_t length = 0;
};
Control control_at(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  if (byte(0) < 0x20 || byte(0) == 0x7F) return {byte(0), 1};
  if (byte(0) == 0xC2 && byte(1) < 0xA0) return {byte(1), 2};  // C1: terminals obey some of them
  if (text.starts_with("\xE2\x80\xA8")) return {0x2028, 3};    // line and paragraph separators
  if (text.starts_with("\xE2\x80\xA9")) return {0x2029, 3};
  return {};
}

/// Appends the text as valid UTF-8 on one line: what others wrote (names of units, requests, output
/// of commands) can neither forge an entry nor command a terminal.
template <typename Escape>
void append_clean(std::string& out, std::string_view dirty, Escape escape) {
  const std::string clean = base::sanitize_utf8(dirty);
  std::string_view text = clean;
  while (!text.empty()) {
    const auto control = control_at(text);
    if (control.length > 0 || text[0] == '"' || text[0] == '\\') {
      escape(control.length > 0 ? control.code : static_cast<unsigned char>(text[0]));
    } else {
      out += text[0];
    }
    text.remove_prefix(std::max<std::size_t>(control.length, 1));
  }
}

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  append_clean(out, text, [&](std::uint32_t code) {
    if (code == '"' || code == '\\') {
      out += '\\';
      out += static_cast<char>(code);
    } else {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", code);
    }
  });
  out += '"';
}

void append_text(std::string& out, std::string_view text) {
  append_clean(out, text, [&](std::uint32_t code) {
    if (code == '"' || code == '\\') {
      out += static_cast<char>(code);
    } else if (code == '\n') {
      out += ' ';  // of a list of problems
    } else if (code < 0x100) {
      fmt::format_to(std::back_inserter(out), "\\x{:02x}", code);
    } else {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", code);
    }
  });
}

/// Journald stamps the time itself, and reads the level off a prefix. JOURNAL_STREAM is inherited:
/// standard error goes there only if it is the device and inode that it names (sd-daemon(3)).
bool to_journal() {
  static const bool journal = [] {
    const char* stream = std::getenv("JOURNAL_STREAM");
    struct stat error{};
    return stream != nullptr && fstat(STDERR_FILENO, &error) == 0 &&
           fmt::format("{}:{}", error.st_dev, error.st_ino) == stream;
  }();
  return journal;
}

spdlog::logger& sink() {
  static const std::shared_ptr<spdlog::logger> logger = [] {
    auto made = std::make_shared<spdlog::logger>("nexus",
                                                 std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("%v");
    made->set_level(spdlog::level::debug);
    made->flush_on(spdlog::level::debug);
    return made;
  }();
  return *logger;
}

}  // namespace

Result<Level> parse_level(std::string_view name) {
  for (const Level level : {Level::kDebug, Level::kInfo, Level::kWarning, Level::kError}) {
    if (name == name_of(level)) return level;
  }
  return fail(Errc::kInvalidArgument,
              "\"{}\" is not a log level: expected debug, info, warning or error", name);
}

Result<Format> parse_format(std::string_view name) {
  if (name == "text") return Format::kText;
  if (name == "json") return Format::kJson;
  return fail(Errc::kInvalidArgument, "\"{}\" is not a log format: expected text or json", name);
}

void configure(Level level, Format format) {
  g_level = level;
  g_format = format;
}

bool enabled(Level level) noexcept {
  return level >= g_level.load(std::memory_order_relaxed);
}

std::string render(Format format, Level level, std::string_view component,
                   std::string_view message) {
  std::string line;
  if (format == Format::kJson) {
    line = "{\"level\":";
    append_json_string(line, name_of(level));
    line += ",\"component\":";
    append_json_string(line, component);
    line += ",\"message\":";
    append_json_string(line, message);
    line += '}';
    return line;
  }
  append_text(line, component);
  line += ": ";
  append_text(line, message);
  return line;
}

void write(Level level, std::string_view component, std::string_view message) {
  const Format format = g_format.load(std::memory_order_relaxed);
  std::string line = render(format, level, component, message);
  if (to_journal()) {
    line.insert(0, journal_prefix(level));
  } else if (const auto now = base::to_rfc3339(base::SystemClock().wall());
             format == Format::kJson) {
    line.insert(1, fmt::format("\"time\":\"{}\",", now));
  } else {
    line.insert(0, fmt::format("{} {} ", now, name_of(level)));
  }
  sink().log(to_spdlog(level), "{}", line);
}

}  // namespace nexus::log
