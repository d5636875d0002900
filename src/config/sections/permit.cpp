// [allow], [[cleanup]], [[sysctl]], [[request]] and [[maintenance]].
#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "config/sections/sources.hpp"
#include "config/shapes.hpp"
#include "nexus/base/text.hpp"
#include "nexus/config/config.hpp"

namespace nexus::config {
namespace {

constexpr std::int64_t kMost = 1'000'000;

/// Trees whose files the system or people live on: no configuration gives them free.
constexpr std::array<std::string_view, 13> kNeverBelow{
    "/bin",  "/boot", "/dev",  "/etc", "/lib", "/lib32",       "/lib64",
    "/proc", "/root", "/sbin", "/sys", "/usr", "/var/lib/dpkg"};
/// Directories that hold such trees, or everything.
constexpr std::array<std::string_view, 6> kNeverWhole{"/",    "/home", "/run",
                                                      "/var", "/srv",  "/var/lib"};

bool is_below(std::string_view path, std::string_view root) {
  return path == root || (path.starts_with(root) && path.size() > root.size() &&
                          (root.ends_with('/') || path[root.size()] == '/'));
}

/// Absolute, without "//", "." or "..", not ending in "/".
bool is_plain_path(std::string_view text) {
  if (!kAbsolutePath.accepts(text) || text.size() < 2) return false;
  const auto parts = base::split(text.substr(1), '/');
  return std::ranges::none_of(
      parts, [](std::string_view part) { return part.empty() || part == "." || part == ".."; });
}

bool may_be_allowed(std::string_view text) {
  return is_plain_path(text) && std::ranges::find(kNeverWhole, text) == kNeverWhole.end() &&
         std::ranges::none_of(kNeverBelow, [&](auto never) { return is_below(text, never); });
}
const Shape kAllowedPath{
    may_be_allowed,
    "an absolute path without \"..\" whose files may be deleted: not /, /home, /run, /srv, /var or "
    "/var/lib as a whole, and nothing below /bin, /boot, /dev, /etc, /lib, /proc, /root, /sbin, "
    "/sys, /usr or /var/lib/dpkg"};
const Shape kPlainPath{is_plain_path, "an absolute path without \"..\""};

/// Three characters before the first wildcard: what it means is to be told from everything else.
bool is_key_pattern(std::string_view text) {
  const auto plain = text.find_first_of("*?[\\");
  return text.size() >= 3 && text.size() <= 200 && (plain == std::string_view::npos || plain >= 3);
}
const Shape kKeyPattern{is_key_pattern,
                        "a pattern of keys such as \"session:*\", with three characters at least "
                        "before the first wildcard"};

bool is_sysctl(std::string_view text) {
  return text.contains('.') && !text.contains("..") && !text.starts_with('.') &&
         !text.ends_with('.') && text.size() <= 200 &&
         std::ranges::all_of(text, [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-';
         });
}
const Shape kSysctl{is_sysctl, "the name of a kernel parameter such as \"vm.swappiness\""};

bool is_web_url(std::string_view text) {
  return (text.starts_with("http://") && text.size() > 7) ||
         (text.starts_with("https://") && text.size() > 8);
}
const Shape kWebUrl{is_web_url, "a URL that begins with http:// or https://"};

void read_cleanup(Section& section, Reading& reading) {
  CleanupConfig out;
  out.where = section.where();
  section.require("path", kPlainPath.expected);
  read_name(section, reading, "cleanup", out.name);
  section.text("path", out.path, kPlainPath);
  section.texts("match", out.match);
  section.duration("older_than", out.older_than);
  section.integer("depth", out.depth, 0, 64);
  section.integer("rank", out.rank, 0, 1000);
  reading.config.cleanups.push_back(std::move(out));
}

void read_sysctl(Section& section, Reading& reading) {
  SysctlConfig out;
  out.where = section.where();
  constexpr std::string_view kBound = "a whole number";
  section.require("name", kSysctl.expected);
  section.require("min", kBound);
  section.require("max", kBound);
  if (section.text("name", out.name, kSysctl) != nullptr)
    reading.report.claim("sysctl", out.name, section.place_of({"name"}));
  constexpr auto kLimit = std::numeric_limits<std::int64_t>::max();
  section.integer("min", out.min, -kLimit, kLimit);
  section.integer("max", out.max, -kLimit, kLimit);
  if (out.min > out.max && section.has("min") && section.has("max"))
    section.complain("max", fmt::format("expected at least min ({})", out.min));
  reading.config.sysctls.push_back(std::move(out));
}

void read_request(Section& section, Reading& reading) {
  RequestConfig out;
  out.where = section.where();
  section.require("url", kWebUrl.expected);
  read_name(section, reading, "request", out.name);
  section.choice("method", out.method, {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"});
  section.text("url", out.url, kWebUrl);
  read_map(section, "headers", out.headers, Keys::kAny);
  section.text("body", out.body, kAnyText);
  section.texts("valid_status", out.valid_status, kStatus);
  section.duration("timeout", out.timeout, kSourceTimeout);
  read_credentials(section, reading, out.credentials);
  read_tls(section, out.tls);
  reading.config.requests.push_back(std::move(out));
}

void read_window(Section& section, Reading& reading) {
  MaintenanceConfig out;
  out.where = section.where();
  section.require("schedule", "five fields of cron such as \"0 2 * * sun\"");
  section.require("duration", "a duration such as \"2h\"");
  read_name(section, reading, "maintenance", out.name);
  section.text("schedule", out.schedule);
  out.schedule_place = section.place_of({"schedule"});
  section.duration("duration", out.duration, {1min, 31 * 24h});
  section.text("timezone", out.timezone);
  out.timezone_place = section.place_of({"timezone"});
  section.texts("targets", out.targets);
  reading.config.maintenance.push_back(std::move(out));
}

}  // namespace

void read_allow(Section& root, Reading& reading) {
  AllowSection& out = reading.config.allow;
  root.table("allow", [&](Section& allow) {
    allow.texts("paths", out.paths, kAllowedPath);
    allow.bytes("max_bytes", out.max_bytes, 1);
    allow.integer("max_files", out.max_files, 1, kMost);
    allow.texts("redis_keys", out.redis_keys, kKeyPattern);
  });
}

void read_cleanups(Section& root, Reading& reading) {
  root.tables("cleanup", [&](Section& section) { read_cleanup(section, reading); });
}

void read_sysctls(Section& root, Reading& reading) {
  root.tables("sysctl", [&](Section& section) { read_sysctl(section, reading); });
}

void read_requests(Section& root, Reading& reading) {
  root.tables("request", [&](Section& section) { read_request(section, reading); });
}

void read_maintenance(Section& root, Reading& reading) {
  root.tables("maintenance", [&](Section& section) { read_window(section, reading); });
}

void check_cleanups(Reading& reading) {
  const auto& allowed = reading.config.allow.paths;
  for (const auto& cleanup : reading.config.cleanups) {
    if (cleanup.path.empty() || std::ranges::any_of(allowed, [&](const auto& root) {
          return is_below(cleanup.path, root);
        }))
      continue;
    reading.report.add(
        cleanup.where,
        fmt::format("cleanup \"{}\": path: expected a directory below one of [allow] "
                    "paths, got \"{}\"",
                    cleanup.name, cleanup.path));
  }
}

}  // namespace nexus::config
