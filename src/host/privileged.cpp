#include "nexus/host/privileged.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "nexus/base/text.hpp"
#include "nexus/host/file.hpp"

namespace nexus::host {
namespace {

constexpr std::string_view kNoUnits = "there is no systemd here";

Status write_value(const std::string& path, std::string_view value) {
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return std::unexpected(Error::from_errno("open " + path));
  const auto written = ::write(fd.get(), value.data(), value.size());
  if (written < 0)
    return std::unexpected(Error::from_errno(fmt::format("write \"{}\" to {}", value, path)));
  if (static_cast<std::size_t>(written) != value.size())
    return fail(Errc::kIo, "write \"{}\" to {}: only {} bytes were taken", value, path, written);
  return {};
}

/// "net.ipv4.ip_forward" is net/ipv4/ip_forward; a dot in a name is written as "/" by sysctl(8).
Result<std::string> sysctl_path(std::string_view name) {
  std::string path(name);
  for (char& c : path) c = c == '.' ? '/' : c == '/' ? '.' : c;
  if (path.empty() || path.front() == '/' || path.contains("//") || path.contains(".."))
    return fail(Errc::kInvalidArgument, "\"{}\" is not the name of a kernel parameter", name);
  return "/proc/sys/" + path;
}

/// Blanks and tabs between numbers are the same to the kernel.
std::string in_words(std::string_view text) {
  std::string out;
  for (auto word = base::take_word(text); !word.empty(); word = base::take_word(text)) {
    if (!out.empty()) out += ' ';
    out += word;
  }
  return out;
}

/// Whether nobody but us has the file open. A write lease is given to the only one who has it open
/// (fcntl(2)), and whoever opens it from then on waits until it is released: no gap is left between
/// this look and the removal. Where there are no leases, all processes are looked into.
Result<bool> is_ours_alone(int fd) {
  // A broken lease is told by a signal; this one is ignored by default, SIGIO is not.
  ::fcntl(fd, F_SETSIG, SIGURG);
  if (::fcntl(fd, F_SETLEASE, F_WRLCK) == 0) return true;
  if (errno == EAGAIN || errno == EBUSY) return false;
  struct stat status{};
  if (::fstat(fd, &status) != 0) return std::unexpected(Error::from_errno("stat"));
  auto open = open_files();
  if (!open) return propagate(std::move(open));
  if (open->unreadable > 0) {
    return fail(Errc::kPermissionDenied,
                "whether it is open cannot be told: {} processes cannot be looked into",
                open->unreadable);
  }
  const auto times = open->files.find({status.st_dev, status.st_ino});
  return times == open->files.end() || times->second == 1;  // that one is ours
}

Result<Fd> hold(const ProcessId& process) {
  if (process.pid <= 1 || process.start == 0)
    return fail(Errc::kPermissionDenied, "process {} is never touched", to_string(process));
  if (process.pid == ::getpid())
    return fail(Errc::kPermissionDenied, "process {} is this agent", process.pid);
  Fd fd(static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0)));
  if (!fd) {
    if (errno == ESRCH) return fail(Errc::kNotFound, "process {} has ended", to_string(process));
    return std::unexpected(Error::from_errno(fmt::format("open process {}", process.pid)));
  }
  // The descriptor stands for one process for ever; now it is asked whether it is the right one.
  auto facts = process_facts(process);
  if (!facts) return propagate(std::move(facts));
  return fd;
}

bool has_ended(int pidfd, Millis wait) {
  pollfd poll{.fd = pidfd, .events = POLLIN, .revents = 0};
  while (true) {
    const int ready = ::poll(&poll, 1, static_cast<int>(wait.count()));
    if (ready < 0 && errno == EINTR) continue;
    return ready > 0;
  }
}

}  // namespace

Status LocalPrivileged::remove(const std::string& root, const std::string& path,
                               const FileIdentity& expected) {
  const auto slash = path.rfind('/');
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  if (name.empty() || name == "." || name == "..")
    return fail(Errc::kInvalidArgument, "remove \"{}\": it names no file", path);
  auto top = open_root(root);
  if (!top) return propagate(std::move(top));
  auto directory = slash == std::string::npos
                       ? std::move(top)
                       : open_below(top->get(), path.substr(0, slash), O_RDONLY | O_DIRECTORY);
  if (!directory) return propagate(std::move(directory), "{}", root);
  // The lease below has to be the only one that has it open: so it is not looked into before.
  auto file = open_below(directory->get(), name, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (!file) return propagate(std::move(file), "{}", root);
  auto alone = is_ours_alone(file->get());
  if (!alone) return propagate(std::move(alone), "{}/{}", root, path);
  if (!*alone) return fail(Errc::kConflict, "{}/{} is open", root, path);
  auto now = look_at(file->get());
  if (!now) return propagate(std::move(now), "{}/{}", root, path);
  struct stat named{};
  if (::fstatat(directory->get(), name.c_str(), &named, AT_SYMLINK_NOFOLLOW) != 0)
    return std::unexpected(Error::from_errno(fmt::format("stat {}/{}", root, path)));
  if (now->identity != expected || named.st_ino != expected.inode ||
      named.st_dev != expected.device)
    return fail(Errc::kConflict, "{}/{} is not the file any more that was looked at", root, path);
  if (::unlinkat(directory->get(), name.c_str(), 0) != 0)
    return std::unexpected(Error::from_errno(fmt::format("remove {}/{}", root, path)));
  return {};
}

Result<bool> LocalPrivileged::signal(const ProcessId& process, int number, Millis wait) {
  auto held = hold(process);
  if (!held) return propagate(std::move(held));
  if (::syscall(SYS_pidfd_send_signal, held->get(), number, nullptr, 0) != 0) {
    if (errno == ESRCH) return fail(Errc::kNotFound, "process {} has ended", to_string(process));
    return std::unexpected(
        Error::from_errno(fmt::format("send signal {} to process {}", number, to_string(process))));
  }
  return has_ended(held->get(), wait);
}

Status LocalPrivileged::set_nice(const ProcessId& process, int nice) {
  auto held = hold(process);
  if (!held) return propagate(std::move(held));
  auto threads = list_directory(fmt::format("/proc/{}/task", process.pid));
  if (!threads) return propagate(std::move(threads));
  std::vector<std::pair<id_t, int>> before;  // of the threads that were changed
  for (const auto& thread : *threads) {
    const auto number = base::parse_uint(thread);
    if (!number) continue;
    const auto id = static_cast<id_t>(*number);
    errno = 0;
    const int old = ::getpriority(PRIO_PROCESS, id);
    if (errno == 0 && ::setpriority(PRIO_PROCESS, id, nice) == 0) {
      before.emplace_back(id, old);
      continue;
    }
    if (errno == ESRCH) continue;  // a thread that has ended needs none
    auto error = Error::from_errno(
        fmt::format("set the priority of thread {} of process {}", thread, process.pid));
    std::size_t stay = 0;
    for (const auto& [changed, value] : before)
      stay += ::setpriority(PRIO_PROCESS, changed, value) != 0 && errno != ESRCH ? 1 : 0;
    return std::unexpected(
        stay == 0 ? std::move(error)
                  : std::move(error).with_context(fmt::format("{} other threads have it", stay)));
  }
  // While the process is held and lives, its threads' numbers were nobody else's.
  if (has_ended(held->get(), Millis(0)))
    return fail(Errc::kNotFound, "process {} has ended", to_string(process));
  return {};
}

Status LocalPrivileged::set_sysctl(std::string_view name, std::string_view value) {
  auto path = sysctl_path(name);
  if (!path) return propagate(std::move(path));
  if (auto ok = write_value(*path, value); !ok) return ok;
  auto now = sysctl(name);
  if (!now) return propagate(std::move(now));
  if (in_words(*now) == in_words(value)) return {};
  return fail(Errc::kConflict, "{} was set to \"{}\" and reads \"{}\"", name, value, *now);
}

Status LocalPrivileged::drop_caches(int what, bool sync, const SpawnWait& wait) {
  if (what < 1 || what > 3)
    return fail(Errc::kInvalidArgument, "drop caches: expected 1, 2 or 3, got {}", what);
  // Before what is dirty is written, which may take minutes.
  if (wait.started) wait.started();
  if (sync) {
    auto written = run({.argv = {"/usr/bin/sync"}}, clock_, wait.deadline, wait.cancelled);
    if (!written) return propagate(std::move(written), "write what is dirty");
    if (written->status != 0)
      return fail(Errc::kIo, "write what is dirty: sync ended with exit status {}: {}",
                  written->status, written->output);
  }
  return write_value("/proc/sys/vm/drop_caches", fmt::format("{}", what));
}

void LocalPrivileged::list_commands(std::vector<ListedCommand> commands) {
  auto fresh = std::make_shared<const Commands>(std::move(commands));
  const std::lock_guard guard(mutex_);
  commands_ = std::move(fresh);
}

Result<Exit> LocalPrivileged::run_listed(const ListedCommand& command,
                                         std::optional<std::int64_t> fencing_token,
                                         const SpawnWait& wait) {
  std::shared_ptr<const Commands> listed;
  {
    const std::lock_guard guard(mutex_);
    listed = commands_;
  }
  const auto known = std::ranges::find(*listed, command.name, &ListedCommand::name);
  if (known == listed->end())
    return fail(Errc::kPermissionDenied, "\"{}\" is not listed as a [[command]]", command.name);
  if (*known != command)
    return fail(Errc::kConflict, "command \"{}\" is listed otherwise by now", command.name);
  Command child{.argv = known->argv};
  if (fencing_token)
    child.environment.push_back(fmt::format("NEXUS_FENCING_TOKEN={}", *fencing_token));
  auto exit = run(child, clock_, wait.deadline, wait.cancelled, [&](int) {
    if (wait.started) wait.started();
  });
  if (!exit) return propagate(std::move(exit), "command \"{}\"", command.name);
  return exit;
}

Result<JobOutcome> LocalPrivileged::unit_job(UnitJob job, std::string_view unit, const JobWait&) {
  return fail(Errc::kUnavailable, "{} {}: {}", to_string(job), unit, kNoUnits);
}
Status LocalPrivileged::reset_unit(std::string_view unit) {
  return fail(Errc::kUnavailable, "reset {}: {}", unit, kNoUnits);
}
Status LocalPrivileged::set_unit_properties(std::string_view unit,
                                            std::span<const NumberProperty>) {
  return fail(Errc::kUnavailable, "set properties of {}: {}", unit, kNoUnits);
}
Status LocalPrivileged::set_unit_enabled(std::string_view unit, bool enabled) {
  return fail(Errc::kUnavailable, "{} {}: {}", enabled ? "enable" : "disable", unit, kNoUnits);
}

std::string_view to_string(UnitJob job) noexcept {
  switch (job) {
    case UnitJob::kStart:
      return "start";
    case UnitJob::kStop:
      return "stop";
    case UnitJob::kRestart:
      return "restart";
    case UnitJob::kReload:
      return "reload";
    case UnitJob::kTryRestart:
      return "try-restart";
  }
  return "";
}

Result<std::string> sysctl(std::string_view name) {
  auto path = sysctl_path(name);
  if (!path) return propagate(std::move(path));
  auto text = read_file(*path);
  if (!text) return text;
  return std::string(base::trim(*text));
}

}  // namespace nexus::host
