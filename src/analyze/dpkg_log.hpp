// What /var/log/dpkg.log says of packages: its lines as sentences, and what is new in it.
//
// Thread safety: functions without state; the time zone is the process's.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "nexus/base/clock.hpp"

namespace nexus::analyze {

/// What was done to packages without a pause of more than kOnePackageRun.
struct PackageRun {
  WallTime time{};   // of its last line; the epoch when no line of it has a time
  std::string text;  // "upgrade nginx 1.22.1-9 to 1.22.1-10, install libfoo 1.2, and 3 more"
};
inline constexpr Millis kOnePackageRun{300'000};
inline constexpr std::size_t kMostPackageRuns = 50;

/// In the order of the log, the newest kMostPackageRuns; none when no line says that a package was
/// installed, upgraded or removed. Lines that are not understood are passed over. dpkg writes local
/// time: an hour that comes twice when the clocks go back is taken for the one that `mktime` says.
[[nodiscard]] std::vector<PackageRun> packages_changed(std::string_view lines);

struct DpkgNews {
  std::vector<PackageRun> runs;
  std::string mark;  // inode and place, for the next look; empty: the log cannot be read
};
/// What came since the look that gave `mark` (empty: the first one, to which nothing is news). A
/// log that was rotated since is read to its end as FILE.1, then the new one from its beginning; of
/// very much the newest 256 KiB are read. No time is later than the file's own.
[[nodiscard]] DpkgNews dpkg_news(const std::string& path, std::string_view mark);

}  // namespace nexus::analyze
