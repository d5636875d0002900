#include "analyze/dpkg_log.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace nexus::analyze {
namespace {

constexpr std::size_t kNamed = 5;

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
  (void)word(line);
  (void)word(line);
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

}  // namespace

std::string packages_changed(std::string_view lines) {
  std::string out;
  std::set<std::string> told;  // remove and purge come twice
  while (!lines.empty()) {
    const std::size_t end = std::min(lines.find('\n'), lines.size());
    std::string change = change_of(lines.substr(0, end));
    lines.remove_prefix(std::min(end + 1, lines.size()));
    if (change.empty() || told.contains(change)) continue;
    if (told.size() < kNamed) out += (out.empty() ? "" : ", ") + change;
    told.insert(std::move(change));
  }
  if (told.size() > kNamed) out += fmt::format(", and {} more", told.size() - kNamed);
  return out;
}

}  // namespace nexus::analyze
