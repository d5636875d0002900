// [allow], [[cleanup]], [[sysctl]], [[request]], [[maintenance]]: what actions may touch, and when
// they may not. What is not listed here is refused, whoever asks.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nexus/config/sources.hpp"
#include "nexus/config/values.hpp"

namespace nexus::config {

/// Where files may be deleted or rotated, and how much one action may delete; which keys are a
/// cache.
struct AllowSection {
  std::vector<std::string> paths = {"/tmp",     "/var/tmp",   "/var/cache",
                                    "/var/log", "/var/crash", "/var/lib/systemd/coredump"};
  std::uint64_t max_bytes = 10ULL << 30;
  std::uint32_t max_files = 10'000;
  std::vector<std::string> redis_keys;  // patterns of keys that clear_cache may let expire
  bool operator==(const AllowSection&) const = default;
};

/// Files that cleanup_disk may delete besides those it knows by itself.
struct CleanupConfig {
  std::string name;
  std::string path;                // a directory below one of [allow] paths
  std::vector<std::string> match;  // globs over file names; none: all
  Millis older_than = 7 * 24h;     // neither changed nor read since
  std::uint32_t depth = 8;         // directories below `path` that are looked into
  int rank = 100;                  // 0 is deleted first; the shipped ones have 10 (packages) to 90
  Where where;
  bool operator==(const CleanupConfig& o) const {
    return name == o.name && path == o.path && match == o.match && older_than == o.older_than &&
           depth == o.depth && rank == o.rank;
  }
};

/// A kernel parameter that actions may set, within a range, besides the shipped ones.
struct SysctlConfig {
  std::string name;  // "net.core.somaxconn"
  std::int64_t min = 0;
  std::int64_t max = 0;
  Where where;
  bool operator==(const SysctlConfig& o) const {
    return name == o.name && min == o.min && max == o.max;
  }
};

/// The only requests that http_request may send.
struct RequestConfig {
  std::string name;
  std::string method = "POST";
  std::string url;
  StringMap headers;
  std::string body;
  std::vector<std::string> valid_status = {"2xx"};
  Millis timeout = 10s;
  CredentialConfig credentials;
  TlsClientConfig tls;
  Where where;
  bool operator==(const RequestConfig& o) const {
    return name == o.name && method == o.method && url == o.url && headers == o.headers &&
           body == o.body && valid_status == o.valid_status && timeout == o.timeout &&
           credentials == o.credentials && tls == o.tls;
  }
};

/// A time in which remedies do nothing: findings go on, and people may act.
struct MaintenanceConfig {
  std::string name;
  std::string schedule;  // five fields of cron: when it begins
  Millis duration{};
  std::string timezone = "UTC";              // a name of the tz database
  std::vector<std::string> targets = {"*"};  // globs
  Where where;
  Where schedule_place;
  Where timezone_place;
  bool operator==(const MaintenanceConfig& o) const {
    return name == o.name && schedule == o.schedule && duration == o.duration &&
           timezone == o.timezone && targets == o.targets;
  }
};

}  // namespace nexus::config
