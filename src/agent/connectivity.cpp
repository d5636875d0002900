#include "agent/connectivity.hpp"

#include <fmt/format.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdint>

#include "nexus/base/text.hpp"
#include "nexus/host/file.hpp"

namespace nexus::agent {
namespace {

using serve::Component;

constexpr std::chrono::hours kCheckInterval{24};
// The journal and the state database need little; below this a burst of actions may not be kept.
constexpr std::uint64_t kLittleSpace = 100ULL << 20;

constexpr std::string_view kMigrations[] = {
    "CREATE TABLE agent_probe (one INTEGER PRIMARY KEY CHECK (one = 1),"
    "  time INTEGER NOT NULL) STRICT;"};

constexpr std::uint64_t kMebibyte = 1ULL << 20;

/// /proc/net/route: a destination of zeros, and the route is up. The flags are hexadecimal.
bool has_ipv4_default(std::string_view table) {
  constexpr unsigned kUp = 1;
  while (!table.empty()) {
    auto line = base::take_until(table, '\n');
    std::array<std::string_view, 4> columns;  // interface, destination, gateway, flags
    for (auto& column : columns) column = base::take_until(line, '\t');
    unsigned flags = 0;
    std::from_chars(columns[3].data(), columns[3].data() + columns[3].size(), flags, 16);
    if (columns[1] == "00000000" && (flags & kUp) != 0) return true;
  }
  return false;
}

/// /proc/net/ipv6_route: destination ::/0 on another interface than lo, which has a reject route of
/// that form where there is no other.
bool has_ipv6_default(std::string_view table) {
  constexpr std::string_view kAny = "00000000000000000000000000000000 00 ";
  while (!table.empty()) {
    const auto line = base::trim(base::take_until(table, '\n'));
    if (line.starts_with(kAny) && !line.ends_with(" lo")) return true;
  }
  return false;
}

std::string read_or_nothing(const std::string& path) {
  return host::read_file(path).value_or("");
}

}  // namespace

Status Connectivity::write_database() {
  if (!migrated_) {
    if (auto made = db_.migrate("agent", kMigrations); !made) return made;
    migrated_ = true;
  }
  const knowledge::SqlValue now{base::to_unix_millis(clock_.wall())};
  return db_.execute("INSERT OR REPLACE INTO agent_probe (one, time) VALUES (1, ?)", {&now, 1});
}

Component Connectivity::database() {
  if (auto written = write_database(); !written)
    return {"database", "failed",
            "the state database cannot be written: " + written.error().message()};
  if (const auto now = clock_.steady(); now >= next_check_) {
    next_check_ = now + kCheckInterval;
    const Status sound = db_.check();
    damage_ = sound ? std::string() : sound.error().message();
  }
  if (!damage_.empty()) return {"database", "failed", "the state database is damaged: " + damage_};
  return {"database", "healthy", "written at " + base::to_rfc3339(clock_.wall())};
}

Component Connectivity::filesystem() const {
  struct statvfs space{};
  if (::statvfs(data_dir_.c_str(), &space) != 0)
    return {"filesystem", "failed", Error::from_errno("statfs " + data_dir_).message()};
  if (::access(data_dir_.c_str(), W_OK) != 0)
    return {"filesystem", "failed", Error::from_errno("write to " + data_dir_).message()};
  const std::uint64_t available = static_cast<std::uint64_t>(space.f_bavail) * space.f_frsize;
  const auto message = fmt::format("{}: {} MiB free", data_dir_, available / kMebibyte);
  const auto* status = available == 0             ? "failed"
                       : available < kLittleSpace ? "degraded"
                                                  : "healthy";
  return {"filesystem", status, message};
}

Component Connectivity::network() const {
  const auto interfaces = host::list_directory(roots_.sys("class/net"));
  if (!interfaces) return {"network", "unknown", interfaces.error().message()};
  std::string up;
  for (const auto& name : *interfaces) {
    if (name == "lo") continue;
    const auto state = read_or_nothing(roots_.sys("class/net/" + name + "/operstate"));
    if (base::trim(state) == "up") up += (up.empty() ? "" : ", ") + name;
  }
  const bool routed = has_ipv4_default(read_or_nothing(roots_.proc("net/route"))) ||
                      has_ipv6_default(read_or_nothing(roots_.proc("net/ipv6_route")));
  const auto message =
      fmt::format("up: {}; {} default route", up.empty() ? "none" : up, routed ? "a" : "no");
  // A host without a default route may be meant to be alone: the message says so, the state does
  // not complain.
  if (up.empty() && !routed) return {"network", "not_configured", message};
  return {"network", up.empty() ? "degraded" : "healthy", message};
}

void Connectivity::look() {
  const auto now = clock_.steady();
  if (now < next_look_) return;
  next_look_ = now + kInterval;
  std::vector<Component> fresh = {database(), filesystem(), network()};
  const std::lock_guard guard(mutex_);
  seen_ = std::move(fresh);
}

std::vector<Component> Connectivity::components() const {
  std::vector<Component> out;
  {
    const std::lock_guard guard(mutex_);
    out = seen_;
  }
  if (out.empty()) {
    for (const auto* name : {"database", "filesystem", "network"})
      out.push_back({name, "unknown", "not looked at yet"});
  }
  return out;
}

}  // namespace nexus::agent
