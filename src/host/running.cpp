#include "host/running.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <mutex>
#include <vector>

#include "host/supervisor.hpp"

namespace nexus::host {
namespace {

constexpr std::size_t kTailBytes = 1024;  // of the output, in the message of an error

struct Pipe {
  Descriptor read;
  Descriptor write;
};

Result<Pipe> make_pipe() {
  std::array<int, 2> fds{};
  if (pipe2(fds.data(), O_CLOEXEC) != 0) return std::unexpected(Error::from_errno("pipe"));
  Pipe made{Descriptor(fds[0]), Descriptor(fds[1])};
  // Standard descriptors of the command are made from these: they must not be 0, 1 or 2 themselves.
  for (Descriptor* end : {&made.read, &made.write}) {
    if (end->get() > STDERR_FILENO) continue;
    *end = Descriptor(fcntl(end->get(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
    if (end->get() < 0) return std::unexpected(Error::from_errno("pipe"));
  }
  return made;
}

std::vector<char*> c_strings(const std::vector<std::string>& strings) {
  std::vector<char*> out;
  out.reserve(strings.size() + 1);
  for (const std::string& text : strings) out.push_back(const_cast<char*>(text.c_str()));
  out.push_back(nullptr);
  return out;
}

// What posix_spawn(3) does in the command's process before it executes.
class SpawnPlan {
 public:
  SpawnPlan(const std::string& working_directory, int output) {
    posix_spawn_file_actions_init(&actions_);
    posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions_, output, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions_, output, STDERR_FILENO);
    posix_spawn_file_actions_addclosefrom_np(&actions_, STDERR_FILENO + 1);
    posix_spawn_file_actions_addchdir_np(&actions_, working_directory.c_str());
    posix_spawnattr_init(&attributes_);
    sigset_t none{};
    sigset_t all{};
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &all);
    posix_spawnattr_setflags(&attributes_,
                             POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  ~SpawnPlan() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }

  [[nodiscard]] const posix_spawn_file_actions_t* actions() const noexcept { return &actions_; }
  [[nodiscard]] const posix_spawnattr_t* attributes() const noexcept { return &attributes_; }

 private:
  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
};

// Supervisors of commands that do not end, to be reaped when they have.
class LeftBehind {
 public:
  static LeftBehind& all() {
    static LeftBehind only;
    return only;
  }
  void add(pid_t supervisor) {
    const std::lock_guard guard(mutex_);
    supervisors_.push_back(supervisor);
  }
  std::size_t reap() {
    const std::lock_guard guard(mutex_);
    std::erase_if(supervisors_, [](pid_t pid) { return waitpid(pid, nullptr, WNOHANG) != 0; });
    return supervisors_.size();
  }

 private:
  std::mutex mutex_;
  std::vector<pid_t> supervisors_;
};

pid_t fork_supervisor(const Launch& launch) {
  sigset_t all{};
  sigset_t before{};
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t pid = fork();
  if (pid == 0) supervise(launch);
  const int error = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = error;
  return pid;
}

}  // namespace

Result<std::unique_ptr<Running>> Running::start(const Command& command) {
  auto output = make_pipe();
  auto control = make_pipe();
  auto report = make_pipe();
  for (auto* made : {&output, &control, &report}) {
    if (!*made) return propagate(std::move(*made), "run {}", command.argv[0]);
  }
  const SpawnPlan plan(command.working_directory, output->write.get());
  const std::vector<char*> argv = c_strings(command.argv);
  const std::vector<char*> environment = c_strings(command.environment);
  const Launch launch{command.argv[0].c_str(), argv.data(),         environment.data(),
                      plan.actions(),          plan.attributes(),   output->write.get(),
                      control->read.get(),     report->write.get(), command.grace};
  const pid_t supervisor = fork_supervisor(launch);
  if (supervisor < 0)
    return std::unexpected(Error::from_errno("run " + command.argv[0] + ": fork"));
  fcntl(output->read.get(), F_SETFL, O_NONBLOCK);
  return std::make_unique<Running>(supervisor, std::move(output->read), std::move(control->write),
                                   std::move(report->read));
}

Running::Running(pid_t supervisor, Descriptor output, Descriptor control, Descriptor report)
    : supervisor_(supervisor),
      output_(std::move(output)),
      control_(std::move(control)),
      report_(std::move(report)) {}
Running::~Running() {
  end();
  // A writer that is held up by a full pipe could not end: nobody reads it any more.
  output_.reset();
  if (left_behind_) {
    LeftBehind::all().add(supervisor_);
    return;
  }
  while (waitpid(supervisor_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void Running::wait(Millis limit, std::size_t max_output, Exit& exit) {
  std::array<pollfd, 2> fds = {pollfd{report_.get(), POLLIN, 0}, pollfd{output_.get(), POLLIN, 0}};
  poll(fds.data(), fds.size(), static_cast<int>(limit.count()));
  if (fds[1].revents != 0) drain(max_output, exit);
  if (fds[0].revents != 0) read_report();
}

void Running::drain(std::size_t max_output, Exit& exit) {
  std::array<char, 16384> bytes{};
  // A command that writes without pause must not keep us from looking at the clock.
  for (int round = 0; round < 16; ++round) {
    const ssize_t size = ::read(output_.get(), bytes.data(), bytes.size());
    if (size == 0) output_.reset();  // poll(2) ignores it from here on
    if (size <= 0) return;
    const std::string_view text(bytes.data(), static_cast<std::size_t>(size));
    const std::size_t room = max_output - std::min(max_output, exit.output.size());
    exit.output += text.substr(0, room);
    exit.output_truncated |= text.size() > room;
    tail_ += text;
    if (tail_.size() > kTailBytes) tail_.erase(0, tail_.size() - kTailBytes);
  }
}

void Running::read_report() {
  Report report{};
  if (::read(report_.get(), &report, sizeof report) != static_cast<ssize_t>(sizeof report)) {
    gone_ = true;
    return;
  }
  switch (report.kind) {
    case Report::Kind::kSpawned:
      pid_ = report.value;
      break;
    case Report::Kind::kSpawnFailed:
      spawn_error_ = report.value;
      break;
    case Report::Kind::kExited:
      wait_status_ = report.value;
      break;
  }
}

std::size_t commands_left_behind() {
  return LeftBehind::all().reap();
}

}  // namespace nexus::host
