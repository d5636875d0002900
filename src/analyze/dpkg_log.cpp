#include "analyze/dpkg_log.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <optional>
#include <set>

#include "nexus/base/text.hpp"
#include "nexus/host/fd.hpp"

namespace nexus::analyze {
namespace {

constexpr std::size_t kNamed = 5;
constexpr std::int64_t kMostOfLog = 256 << 10;  // bytes a look

/// The next word of `rest`, which is cut from it.
std::string_view word(std::string_view& rest) {
  const std::size_t begin = std::min(rest.find_first_not_of(' '), rest.size());
  rest.remove_prefix(begin);
  const std::string_view out = rest.substr(0, rest.find(' '));
  rest.remove_prefix(out.size());
  return out;
}

/// "2026-11-26 01:02:03 upgrade nginx:amd64 1.22.1-9 1.22.1-10"; versions are <none> where there
/// is none.
std::string change_of(std::string_view line) {
  const std::string_view verb = word(line);
  if (verb != "install" && verb != "upgrade" && verb != "remove" && verb != "purge") return {};
  std::string_view package = word(line);
  package = package.substr(0, package.find(':'));
  const std::string_view before = word(line);
  const std::string_view after = word(line);
  if (package.empty() || after.empty()) return {};
  if (verb == "upgrade") return fmt::format("upgrade {} {} to {}", package, before, after);
  return fmt::format("{} {} {}", verb, package, verb == "install" ? after : before);
}

/// "2026-11-26" and "01:02:03" of the host's own clock.
std::optional<WallTime> time_of(std::string_view date, std::string_view clock) {
  if (date.size() != 10 || date[4] != '-' || date[7] != '-' || clock.size() != 8 ||
      clock[2] != ':' || clock[5] != ':')
    return std::nullopt;
  const auto part = [](std::string_view text) { return base::parse_int(text); };
  const auto year = part(date.substr(0, 4));
  const auto month = part(date.substr(5, 2));
  const auto day = part(date.substr(8, 2));
  const auto hour = part(clock.substr(0, 2));
  const auto minute = part(clock.substr(3, 2));
  const auto second = part(clock.substr(6, 2));
  if (!year || !month || !day || !hour || !minute || !second) return std::nullopt;
  std::tm local{};
  local.tm_year = static_cast<int>(*year) - 1900;
  local.tm_mon = static_cast<int>(*month) - 1;
  local.tm_mday = static_cast<int>(*day);
  local.tm_hour = static_cast<int>(*hour);
  local.tm_min = static_cast<int>(*minute);
  local.tm_sec = static_cast<int>(*second);
  local.tm_isdst = -1;
  const std::time_t seconds = std::mktime(&local);
  if (seconds == -1) return std::nullopt;
  return base::from_unix_millis(static_cast<std::int64_t>(seconds) * 1000);
}

/// One run while its lines are read.
struct OpenRun {
  WallTime time{};
  std::string text;
  std::set<std::string> told;  // remove and purge come twice

  void add(std::string change) {
    if (told.contains(change)) return;
    if (told.size() < kNamed) text += (text.empty() ? "" : ", ") + change;
    told.insert(std::move(change));
  }
  [[nodiscard]] PackageRun finish() const {
    const bool more = told.size() > kNamed;
    return {time, more ? fmt::format("{}, and {} more", text, told.size() - kNamed) : text};
  }
};

/// An open regular file and what it is now.
struct LogFile {
  host::Fd file;
  struct stat now{};

  [[nodiscard]] bool open(const std::string& path) {
    file = host::Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    return file && ::fstat(file.get(), &now) == 0 && S_ISREG(now.st_mode);
  }
  [[nodiscard]] std::int64_t inode() const { return static_cast<std::int64_t>(now.st_ino); }
  [[nodiscard]] std::int64_t size() const { return static_cast<std::int64_t>(now.st_size); }
  [[nodiscard]] WallTime written() const {
    return base::from_unix_millis(static_cast<std::int64_t>(now.st_mtim.tv_sec) * 1000);
  }
  /// Of very much the newest is read.
  [[nodiscard]] std::int64_t begin(std::int64_t from) const {
    return std::max(from, size() - kMostOfLog);
  }
};

/// Whole lines of an open log from `from` on: a line that is being written is for the next time.
/// Nothing when it cannot be read.
std::optional<std::string> lines_from(const LogFile& log, std::int64_t from) {
  std::string text(static_cast<std::size_t>(std::max<std::int64_t>(log.size() - from, 0)), '\0');
  const auto got = text.empty() ? 0 : ::pread(log.file.get(), text.data(), text.size(), from);
  if (got < 0) return std::nullopt;
  text.resize(static_cast<std::size_t>(got));
  const std::size_t end = text.rfind('\n');
  text.resize(end == std::string::npos ? 0 : end + 1);
  return text;
}

/// How far a log has been read.
struct LogMark {
  std::int64_t inode = 0;
  std::int64_t place = 0;

  static std::optional<LogMark> parse(std::string_view text) {
    const auto colon = text.find(':');
    if (colon == std::string_view::npos) return std::nullopt;
    const auto inode = base::parse_int(text.substr(0, colon));
    const auto place = base::parse_int(text.substr(colon + 1));
    if (!inode || !place) return std::nullopt;
    return LogMark{*inode, *place};
  }
};

void read_runs(std::string_view lines, const LogFile& log, std::vector<PackageRun>& out) {
  for (PackageRun& run : packages_changed(lines)) {
    // A time zone that was changed since must not make it the future.
    run.time = run.time == WallTime{} ? log.written() : std::min(run.time, log.written());
    out.push_back(std::move(run));
  }
}

}  // namespace

std::vector<PackageRun> packages_changed(std::string_view lines) {
  std::vector<PackageRun> out;
  OpenRun run;
  while (!lines.empty()) {
    const std::size_t end = std::min(lines.find('\n'), lines.size());
    std::string_view line = lines.substr(0, end);
    lines.remove_prefix(std::min(end + 1, lines.size()));
    const std::string_view date = word(line);
    const auto time = time_of(date, word(line));
    std::string change = change_of(line);
    if (change.empty()) continue;
    if (time && run.time != WallTime{} && *time - run.time > kOnePackageRun) {
      out.push_back(run.finish());
      run = {};
    }
    if (time) run.time = *time;
    run.add(std::move(change));
  }
  if (!run.text.empty()) out.push_back(run.finish());
  if (out.size() > kMostPackageRuns)
    out.erase(out.begin(), out.end() - static_cast<std::ptrdiff_t>(kMostPackageRuns));
  return out;
}

DpkgNews dpkg_news(const std::string& path, std::string_view mark) {
  DpkgNews out;
  LogFile log;
  if (!log.open(path)) {
    // Where there is no log yet, its first line will be news.
    if (errno == ENOENT && mark.empty()) out.mark = "0:0";
    return out;
  }
  std::int64_t from = log.size();  // the first look: what is there is no news
  if (!mark.empty()) {
    const auto last = LogMark::parse(mark).value_or(LogMark{});
    const bool same = last.inode == log.inode();
    from = same && last.place <= log.size() ? last.place : 0;
    // Rotated: what was written to the old one after the last look stands there still.
    LogFile old;
    if (!same && last.inode != 0 && old.open(path + ".1") && old.inode() == last.inode) {
      if (const auto rest = lines_from(old, old.begin(last.place))) read_runs(*rest, old, out.runs);
    }
  }
  from = log.begin(from);
  const auto text = lines_from(log, from);
  if (!text) return out;
  read_runs(*text, log, out.runs);
  out.mark = fmt::format("{}:{}", log.inode(), from + static_cast<std::int64_t>(text->size()));
  return out;
}

}  // namespace nexus::analyze
