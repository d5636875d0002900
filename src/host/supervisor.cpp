#include "host/supervisor.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <ctime>
#include <iterator>
#include <span>
#include <utility>

namespace nexus::host {
namespace {

enum class Phase { kRunning, kTerminating, kKilling };

constexpr std::int64_t kKillRoundMillis = 50;  // how often the killing of what is left is repeated
constexpr int kQuickRounds = 100;
constexpr std::int64_t kSlowRoundMillis = 1000;  // of what does not end although killed
constexpr std::size_t kMaxTold =
    256;  // adopted orphans that get a SIGTERM of their own; all get the SIGKILL

std::int64_t monotonic_millis() noexcept {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
}

/// The agent is spared when memory runs out (OOMScoreAdjust= of its unit); what it runs is not.
void face_the_oom_killer() noexcept {
  const int file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (file < 0) return;
  [[maybe_unused]] const ssize_t ignored = write(file, "0", 1);
  close(file);
}

class Supervisor {
 public:
  explicit Supervisor(const Launch& launch) noexcept : launch_(launch) {}

  [[noreturn]] void run() noexcept {
    close_others();
    prctl(PR_SET_NAME, "nexus-command");
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    face_the_oom_killer();
    std::signal(SIGCHLD, SIG_DFL);
    sigset_t children{};
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    signals_ = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals_ < 0) fail_to_spawn(errno);
    if (const int error = posix_spawn(&main_, launch_.path, launch_.actions, launch_.attributes,
                                      launch_.argv, launch_.environment);
        error != 0) {
      fail_to_spawn(error);
    }
    close(launch_.output);
    tell(Report::Kind::kSpawned, main_);
    while (true) turn();
  }

 private:
  // The agent's sockets, files and locks must not live on in here.
  void close_others() const noexcept {
    std::array<int, 3> kept = {launch_.output, launch_.control, launch_.report};
    std::sort(kept.begin(), kept.end());
    unsigned from = 0;
    for (const int fd : kept) {
      const auto number = static_cast<unsigned>(fd);
      if (number > from) close_range(from, number - 1, 0);
      from = number + 1;
    }
    close_range(from, UINT_MAX, 0);
  }

  void tell(Report::Kind kind, int value) const noexcept {
    const Report report{kind, value};
    // When the agent is gone nobody wants to know.
    [[maybe_unused]] const auto written = write(launch_.report, &report, sizeof report);
  }

  [[noreturn]] void fail_to_spawn(int error) const noexcept {
    tell(Report::Kind::kSpawnFailed, error);
    _exit(0);
  }

  void turn() noexcept {
    std::array<pollfd, 2> fds = {pollfd{signals_, POLLIN, 0}, pollfd{launch_.control, POLLIN, 0}};
    // Once ending, the control pipe stays at its end and would wake us for ever.
    poll(fds.data(), phase_ == Phase::kRunning ? 2 : 1, timeout());
    signalfd_siginfo drained{};
    while (read(signals_, &drained, sizeof drained) > 0) {
    }
    if (phase_ == Phase::kRunning && fds[1].revents != 0) begin_to_end();
    reap();
    if (phase_ == Phase::kTerminating) {
      signal_children(SIGTERM);
      if (monotonic_millis() >= kill_at_) phase_ = Phase::kKilling;
    }
    if (phase_ != Phase::kKilling) return;
    kill_rounds_ = std::min(kill_rounds_ + 1, kQuickRounds);
    signal_children(SIGKILL);
  }

  [[nodiscard]] int timeout() const noexcept {
    if (phase_ == Phase::kRunning) return -1;
    if (phase_ == Phase::kKilling)
      return static_cast<int>(kill_rounds_ < kQuickRounds ? kKillRoundMillis : kSlowRoundMillis);
    return static_cast<int>(std::clamp<std::int64_t>(kill_at_ - monotonic_millis(), 0, INT_MAX));
  }

  void begin_to_end() noexcept {
    phase_ = Phase::kTerminating;
    kill_at_ = monotonic_millis() + launch_.grace.count();
    // While the command is not reaped (a zombie at least) no other group can have its number.
    kill(-main_, SIGTERM);
  }

  void reap() noexcept {
    while (true) {
      siginfo_t who{};
      if (waitid(P_ALL, 0, &who, WEXITED | WNOHANG | WNOWAIT) != 0) {
        if (errno == ECHILD) _exit(0);
        continue;
      }
      if (who.si_pid == 0) return;
      if (who.si_pid == main_ && phase_ == Phase::kRunning) begin_to_end();
      int status = 0;
      waitpid(who.si_pid, &status, 0);
      if (who.si_pid == main_) {
        main_reaped_ = true;
        tell(Report::Kind::kExited, status);
      }
    }
  }

  // Signals our own children: the command, and orphans that were adopted. What they leave behind is
  // adopted in turn.
  void signal_children(int signal_number) noexcept {
    const int list = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
    if (list < 0) {  // a kernel without CONFIG_PROC_CHILDREN: the group at least
      if (!main_reaped_) kill(-main_, signal_number);
      return;
    }
    std::array<char, 4096> text{};
    pid_t pid = 0;
    for (ssize_t size = 0; (size = read(list, text.data(), text.size())) > 0;) {
      for (const char digit : std::span(text.data(), static_cast<std::size_t>(size))) {
        if (digit >= '0' && digit <= '9') {
          pid = pid * 10 + (digit - '0');
        } else if (pid != 0) {
          signal_child(std::exchange(pid, 0), signal_number);
        }
      }
    }
    close(list);
  }

  void signal_child(pid_t pid, int signal_number) noexcept {
    if (signal_number == SIGTERM) {
      if (getpgid(pid) == main_)
        return;  // has it already, with the group; a second one is often taken as "at once"
      const auto told_end = told_.begin() + told_count_;
      if (told_count_ == std::ssize(told_) || std::find(told_.begin(), told_end, pid) != told_end)
        return;
      told_[static_cast<std::size_t>(told_count_++)] = pid;
    }
    kill(pid, signal_number);
  }

  const Launch& launch_;
  int signals_ = -1;
  pid_t main_ = -1;
  bool main_reaped_ = false;
  Phase phase_ = Phase::kRunning;
  std::int64_t kill_at_ = 0;
  int kill_rounds_ = 0;
  std::array<pid_t, kMaxTold> told_{};
  std::ptrdiff_t told_count_ = 0;
};

}  // namespace

void supervise(const Launch& launch) noexcept {
  Supervisor(launch).run();
}

}  // namespace nexus::host
