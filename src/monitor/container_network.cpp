#include "monitor/container_network.hpp"

#include <sys/stat.h>

#include <algorithm>

#include "monitor/parse.hpp"
#include "nexus/base/text.hpp"

namespace nexus::monitor {
namespace {

constexpr std::string_view kHost = "1";

/// As cAdvisor: what is the other end of a container's own interface, or a loop, says nothing new.
bool is_ignored(std::string_view name) {
  return std::ranges::any_of(std::array<std::string_view, 3>{"lo", "veth", "docker"},
                             [&](std::string_view prefix) { return name.starts_with(prefix); });
}

}  // namespace

ContainerNetwork::ContainerNetwork(const host::Roots& roots) : procfs_(roots.procfs) {}

void ContainerNetwork::for_host(Visit visit) {
  read(kHost, visit);
}

void ContainerNetwork::for_process(std::int32_t pid, Visit visit) {
  const std::string process = std::to_string(pid);
  struct stat own{};
  struct stat hosts{};
  const auto look = [this](std::string_view of, struct stat& info) {
    path_.assign(procfs_).append("/").append(of).append("/ns/net");
    return ::stat(path_.c_str(), &info) == 0;
  };
  if (!look(process, own) || !look(kHost, hosts)) return;
  if (own.st_ino == hosts.st_ino && own.st_dev == hosts.st_dev) return;
  read(process, visit);
}

void ContainerNetwork::read(std::string_view process, Visit visit) {
  path_.assign(procfs_).append("/").append(process).append("/net/dev");
  const auto text = buffer_.read(path_);
  if (!text) return;  // it ended meanwhile
  std::size_t taken = 0;
  std::string_view rest = *text;
  while (!rest.empty() && taken < kMost) {
    std::string_view line = base::take_until(rest, '\n');
    if (!line.contains(':')) continue;  // the two lines of headings
    const std::string_view name = base::trim(base::take_until(line, ':'));
    if (is_ignored(name)) continue;
    // Sixteen numbers, eight a direction; bytes, packets, errors and drops are the first of each.
    InterfaceCounts counts;
    std::size_t column = 0;
    for (std::string_view word = next_word(line); !word.empty(); word = next_word(line), ++column) {
      const auto value = base::parse_uint(word);
      if (!value) break;
      const std::size_t which = column % 8;
      if (which >= InterfaceCounts::kCounts) continue;
      (column < 8 ? counts.received : counts.sent)[which] = static_cast<double>(*value);
    }
    if (column < 16) continue;
    ++taken;
    visit(name, counts);
  }
}

}  // namespace nexus::monitor
