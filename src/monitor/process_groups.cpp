#include "monitor/process_groups.hpp"

#include <sys/stat.h>

#include <algorithm>

#include "nexus/base/text.hpp"

namespace nexus::monitor {
namespace {

constexpr std::size_t kTruncated = 15;  // bytes of a name in /proc/PID/stat
constexpr std::size_t kShortId = 12;    // of a container, as docker ps shows it
constexpr std::size_t kMaxName = 200;   // bytes of a group's name
constexpr std::size_t kMaxUsers = 65'536;

ProcessGroup::State state_of(char state) {
  switch (state) {
    case 'R':
      return ProcessGroup::kRunning;
    case 'S':
      return ProcessGroup::kSleeping;
    case 'D':
      return ProcessGroup::kWaiting;
    case 'Z':
      return ProcessGroup::kZombie;
    default:
      return ProcessGroup::kOther;
  }
}

void note_top(ProcessGroup& group, SteadyTime now) {
  group.was_top = true;
  group.last_top = now;
}

}  // namespace

Result<std::vector<GroupBy>> parse_group_by(std::string_view text) {
  std::vector<GroupBy> out;
  for (std::string_view word : base::split(text, ',')) {
    word = base::trim(word);
    if (word == "executable") {
      out.push_back(GroupBy::kExecutable);
    } else if (word == "unit") {
      out.push_back(GroupBy::kUnit);
    } else if (word == "container") {
      out.push_back(GroupBy::kContainer);
    } else if (word == "pod") {
      out.push_back(GroupBy::kPod);
    } else if (word == "user") {
      out.push_back(GroupBy::kUser);
    } else {
      return fail(Errc::kInvalidArgument,
                  "by: expected executable, unit, container, pod or user, not \"{}\"", word);
    }
  }
  return out;
}

Result<GroupPattern> parse_group_pattern(std::string_view text) {
  std::string_view rest = text;
  const std::string_view name = base::trim(base::take_until(rest, '='));
  if (name.empty() || rest.empty())
    return fail(Errc::kInvalidArgument, "patterns: expected NAME=REGEX, not \"{}\"", text);
  re2::RE2::Options options;
  options.set_log_errors(false);
  auto regex = std::make_shared<const re2::RE2>(rest, options);
  if (!regex->ok())
    return fail(Errc::kInvalidArgument, "patterns: \"{}\": {}", rest, regex->error());
  std::string why;
  if (!regex->CheckRewriteString(std::string(name), &why))
    return fail(Errc::kInvalidArgument, "patterns: \"{}\": {}", name, why);
  return GroupPattern{std::string(name), std::move(regex)};
}

ProcessGroups::ProcessGroups(const host::Roots& roots, ProcessScan& scan, Options options)
    : passwd_(roots.root("/etc/passwd")), scan_(scan), options_(std::move(options)) {
  other_.name = "(other)";
  other_.in_use = other_.shown = true;
}

void ProcessGroups::start_pass() {
  const auto clear = [](ProcessGroup& group) {
    group.recent = {};
    group.processes = 0;
    group.threads = group.open_files = 0;
    group.worst_files = 0;
    group.virtual_bytes = group.resident = group.swapped = 0;
    group.proportional = group.proportional_swap = 0;
    group.oldest = 0;
    group.oldest_start = 0;
    group.states = {};
  };
  clear(other_);
  for (ProcessGroup& group : groups_) clear(group);
}

void ProcessGroups::identify(ProcessRecord& process) {
  if (process.kernel && !options_.kernel_threads) return;
  bool pinned = false;
  name_of(process, pinned);
  if (process.group != ProcessRecord::kNoGroup && groups_[process.group].name == name_) return;
  process.group = group_named(name_, pinned);
}

void ProcessGroups::name_of(const ProcessRecord& process, bool& pinned) {
  name_.clear();
  if (!options_.patterns.empty()) {
    const std::string_view line = scan_.command_line(process);
    const std::string_view subject = line.empty() ? process.name() : line;
    for (const GroupPattern& pattern : options_.patterns) {
      if (!re2::RE2::Extract(subject, *pattern.regex, pattern.name, &extracted_)) continue;
      name_ = base::sanitize_utf8(std::string_view(extracted_).substr(0, kMaxName));
      pinned = true;
      return;
    }
  }
  for (const GroupBy by : options_.by) {
    if (!name_.empty()) name_ += '/';
    append(by, process);
  }
}

void ProcessGroups::append(GroupBy by, const ProcessRecord& process) {
  static const Workload kNone;
  const Workload& workload = process.workload ? *process.workload : kNone;
  const auto or_none = [](std::string_view text) { return text.empty() ? "(none)" : text; };
  switch (by) {
    case GroupBy::kExecutable: {
      const std::string_view name = process.name();
      // The kernel cuts names; the file's name is longer.
      const std::string_view file =
          name.size() == kTruncated && !process.kernel ? scan_.executable(process) : "";
      const std::string_view chosen = file.starts_with(name) ? file : name;
      name_ += base::sanitize_utf8(or_none(chosen.substr(0, kMaxName)));
      return;
    }
    case GroupBy::kUnit:
      name_ += or_none(workload.unit);
      return;
    case GroupBy::kContainer:
      name_ += or_none(std::string_view(workload.container).substr(0, kShortId));
      return;
    case GroupBy::kPod:
      name_ += or_none(workload.pod_uid);
      return;
    case GroupBy::kUser:
      append_user(process.uid);
      return;
  }
}

void ProcessGroups::append_user(std::uint32_t uid) {
  if (!users_.contains(uid)) read_users();
  const auto found = users_.find(uid);
  name_ += found != users_.end() ? found->second : std::to_string(uid);
}

void ProcessGroups::read_users() {
  struct stat status{};
  if (::stat(passwd_.c_str(), &status) != 0) return;
  const auto stamp = static_cast<std::uint64_t>(status.st_mtim.tv_sec) * 1'000'000'000 +
                     static_cast<std::uint64_t>(status.st_mtim.tv_nsec) + 1;
  if (std::exchange(users_stamp_, stamp) == stamp) return;
  users_.clear();
  const auto text = host::read_file(passwd_);
  if (!text) return;
  std::string_view rest = *text;
  while (!rest.empty() && users_.size() < kMaxUsers) {
    std::string_view line = base::take_until(rest, '\n');
    const std::string_view name = base::take_until(line, ':');
    static_cast<void>(base::take_until(line, ':'));
    const auto uid = base::parse_uint(base::take_until(line, ':'));
    if (uid && !name.empty())
      users_.emplace(static_cast<std::uint32_t>(*uid), base::sanitize_utf8(name.substr(0, 64)));
  }
}

std::uint32_t ProcessGroups::group_named(const std::string& name, bool pinned) {
  const auto found = index_.find(name);
  if (found != index_.end()) return found->second;
  if (index_.size() >= kMaxGroups) {
    ++refused_;
    return ProcessRecord::kNoGroup;
  }
  std::uint32_t place = static_cast<std::uint32_t>(groups_.size());
  if (free_.empty()) {
    groups_.emplace_back();
  } else {
    place = free_.back();
    free_.pop_back();
  }
  ProcessGroup& group = groups_[place];
  group = {};
  group.name = name;
  group.in_use = true;
  group.pinned = pinned;
  index_.emplace(name, place);
  return place;
}

void ProcessGroups::add_use(const ProcessRecord& process, const Usage& use) {
  if (process.kernel && !options_.kernel_threads) return;
  if (process.group == ProcessRecord::kNoGroup) {
    other_.total += use;
    other_.recent += use;
    return;
  }
  ProcessGroup& group = groups_[process.group];
  group.total += use;
  group.recent += use;
  if (!group.shown) {
    other_.total += use;
    other_.recent += use;
  }
}

void ProcessGroups::add_up(const ProcessRecord& process, ProcessGroup& group) const {
  ++group.processes;
  ++group.states[state_of(process.state)];
  group.threads += process.threads;
  group.open_files += process.open_files;
  if (process.file_limit > 0) {
    group.worst_files = std::max(group.worst_files, static_cast<double>(process.open_files) /
                                                        static_cast<double>(process.file_limit));
  }
  group.virtual_bytes += process.virtual_bytes;
  group.resident += process.resident;
  group.swapped += process.swapped;
  group.proportional += process.proportional;
  group.proportional_swap += process.proportional_swap;
  if (group.oldest == 0 || process.start < group.oldest) {
    group.oldest = process.start;
    group.oldest_start = scan_.started(process);
  }
}

void ProcessGroups::finish_pass(SteadyTime now) {
  const auto is_counted = [&](const ProcessRecord& process) {
    return !process.kernel || options_.kernel_threads;
  };
  for (const ProcessRecord& process : scan_.processes()) {
    if (!is_counted(process) || process.group == ProcessRecord::kNoGroup) continue;
    ProcessGroup& group = groups_[process.group];
    add_up(process, group);
    group.last_alive = now;
  }
  forget_old(now);
  choose(now);
  for (const ProcessRecord& process : scan_.processes()) {
    if (!is_counted(process)) continue;
    if (process.group == ProcessRecord::kNoGroup || !groups_[process.group].shown)
      add_up(process, other_);
  }
}

void ProcessGroups::forget_old(SteadyTime now) {
  for (std::uint32_t place = 0; place < groups_.size(); ++place) {
    ProcessGroup& group = groups_[place];
    if (!group.in_use || group.processes > 0 || now - group.last_alive < kKeep) continue;
    index_.erase(group.name);
    group = {};
    free_.push_back(place);
  }
}

template <typename Score>
void ProcessGroups::mark_first(SteadyTime now, Score&& score) {
  scores_.clear();
  for (std::uint32_t place = 0; place < groups_.size(); ++place) {
    const ProcessGroup& group = groups_[place];
    const double value = group.in_use ? static_cast<double>(score(group)) : 0;
    if (value > 0) scores_.emplace_back(value, place);
  }
  const auto first = static_cast<std::ptrdiff_t>(std::min(options_.top, scores_.size()));
  std::partial_sort(scores_.begin(), scores_.begin() + first, scores_.end(), std::greater<>());
  for (std::ptrdiff_t i = 0; i < first; ++i)
    note_top(groups_[scores_[static_cast<std::size_t>(i)].second], now);
}

void ProcessGroups::choose(SteadyTime now) {
  mark_first(now, [](const ProcessGroup& g) { return g.recent.user + g.recent.system; });
  mark_first(now, [](const ProcessGroup& g) { return g.resident; });
  mark_first(now, [](const ProcessGroup& g) { return g.recent.read_bytes + g.recent.write_bytes; });
  scores_.clear();
  for (std::uint32_t place = 0; place < groups_.size(); ++place) {
    ProcessGroup& group = groups_[place];
    if (!group.in_use) continue;
    if (group.pinned) note_top(group, now);
    const bool wanted = group.was_top && now - group.last_top < kKeep;
    if (!wanted) group.shown = false;
    // The longest shown yield last among those that were first at the same time.
    if (wanted)
      scores_.emplace_back(
          std::chrono::duration<double>(group.last_top.time_since_epoch()).count() +
              (group.pinned ? 2e-3 : 0) + (group.shown ? 1e-3 : 0),
          place);
  }
  const auto kept = static_cast<std::ptrdiff_t>(std::min(options_.max_groups, scores_.size()));
  std::partial_sort(scores_.begin(), scores_.begin() + kept, scores_.end(), std::greater<>());
  for (std::size_t i = 0; i < scores_.size(); ++i)
    groups_[scores_[i].second].shown = i < static_cast<std::size_t>(kept);
}

}  // namespace nexus::monitor
