#include "monitor/socket_owners.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <tuple>
#include <utility>

#include "monitor/directory.hpp"
#include "monitor/workload.hpp"
#include "nexus/base/text.hpp"
#include "nexus/host/file.hpp"

namespace nexus::monitor {

void SocketOwners::start_run() {
  ++run_;
  links_ = 0;
  missing_.clear();
}

void SocketOwners::want(std::uint32_t inode, bool urgent) {
  if (inode == 0) return;
  const auto found = known_.find(inode);
  if (found == known_.end()) {
    missing_.push_back({inode, urgent});
    return;
  }
  found->second.run = run_;
}

void SocketOwners::find(SteadyTime now, const ProcessTable* table) {
  forget_absent();
  // A socket that moves in the kernel's table while it is listed is listed twice.
  std::ranges::sort(missing_, [](const Missing& a, const Missing& b) {
    return std::tuple(a.inode, b.urgent) < std::tuple(b.inode, a.urgent);
  });
  const auto twice = std::ranges::unique(missing_, {}, &Missing::inode);
  missing_.erase(twice.begin(), twice.end());
  left_ = missing_.size();
  for (const std::int32_t pid : holders_) {
    if (left_ == 0) break;
    look_into(pid);
  }
  const bool urgent =
      std::ranges::any_of(missing_, [](const Missing& m) { return m.urgent && !m.found; });
  const bool is_time = !ever_full_ || now - last_full_ >= kFullScan;
  if (left_ > 0 && (urgent || is_time)) {
    last_full_ = now;
    ever_full_ = true;
    for (const std::int32_t pid : all_pids()) {
      if (left_ == 0 || links_ >= kMaxLinks) break;
      if (!std::ranges::binary_search(holders_, pid)) look_into(pid);
    }
    // What nobody holds is not looked for again.
    for (const Missing& one : missing_) known_.emplace(one.inode, Known{0, run_});
  }
  const bool is_old = now - described_at_ >= kFullScan;
  if (is_old) described_at_ = now;
  for (const auto& [inode, entry] : known_) {
    if (entry.pid == 0) continue;
    Description& description = described_[entry.pid];
    if (std::exchange(description.run, run_) == run_) continue;
    // Without a table files are read, and a process rarely becomes another.
    const bool is_new = std::exchange(description.owner.pid, entry.pid) == 0;
    if (is_new || is_old || table != nullptr) describe(description.owner, table);
  }
  std::erase_if(described_, [this](const auto& entry) { return entry.second.run != run_; });
}

const SocketOwner& SocketOwners::owner(std::uint32_t inode) const {
  static const SocketOwner kNobody;
  const auto entry = known_.find(inode);
  if (entry == known_.end() || entry->second.pid == 0) return kNobody;
  const auto found = described_.find(entry->second.pid);
  return found == described_.end() ? kNobody : found->second.owner;
}

void SocketOwners::forget_absent() {
  std::erase_if(known_, [this](const auto& entry) { return entry.second.run != run_; });
  holders_.clear();
  for (const auto& [inode, entry] : known_) {
    if (entry.pid != 0) holders_.push_back(entry.pid);
  }
  std::ranges::sort(holders_);
  const auto doubled = std::ranges::unique(holders_);
  holders_.erase(doubled.begin(), doubled.end());
}

void SocketOwners::look_into(std::int32_t pid) {
  path_.clear();
  fmt::format_to(std::back_inserter(path_), "{}/{}/fd", procfs_, pid);
  const auto directory = Directory::open_at(AT_FDCWD, path_.c_str());
  if (!directory) return;
  constexpr std::string_view kSocket = "socket:[";
  static_cast<void>(directory->for_each([&](const char* name) {
    if (name[0] == '.' || ++links_ > kMaxLinks || left_ == 0) return;
    std::array<char, 64> target{};
    const ssize_t size = ::readlinkat(directory->fd(), name, target.data(), target.size());
    std::string_view text(target.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
    if (!text.starts_with(kSocket) || !text.ends_with(']')) return;
    text = text.substr(kSocket.size(), text.size() - kSocket.size() - 1);
    const auto inode = base::parse_uint(text);
    if (!inode) return;
    const auto wanted = std::ranges::lower_bound(missing_, *inode, {}, &Missing::inode);
    if (wanted == missing_.end() || wanted->inode != *inode || std::exchange(wanted->found, true))
      return;
    known_[wanted->inode] = {pid, run_};
    --left_;
  }));
}

std::vector<std::int32_t> SocketOwners::all_pids() const {
  std::vector<std::int32_t> pids;
  const auto directory = Directory::open_at(AT_FDCWD, procfs_.c_str());
  if (!directory) return pids;
  static_cast<void>(directory->for_each([&](const char* name) {
    const auto pid = base::parse_uint(name);
    if (pid && *pid > 0 && *pid < (1U << 30)) pids.push_back(static_cast<std::int32_t>(*pid));
  }));
  return pids;
}

/// Fills in all but the pid; strings that are there are written over.
void SocketOwners::describe(SocketOwner& owner, const ProcessTable* table) const {
  owner.name.clear();
  owner.unit.clear();
  owner.container.clear();
  const ObservedProcess* const process = table != nullptr ? table->find(owner.pid) : nullptr;
  if (process != nullptr) {
    owner.name = base::sanitize_utf8(process->name());
    if (process->workload) {
      owner.unit = process->workload->unit;
      owner.container = process->workload->container;
    }
    return;
  }
  if (const auto comm = host::read_file(fmt::format("{}/{}/comm", procfs_, owner.pid)))
    owner.name = base::sanitize_utf8(base::trim(*comm));
  if (const auto text = host::read_file(fmt::format("{}/{}/cgroup", procfs_, owner.pid))) {
    Workload workload = workload_of(best_cgroup(*text));
    owner.unit = std::move(workload.unit);
    owner.container = std::move(workload.container);
  }
}

}  // namespace nexus::monitor
