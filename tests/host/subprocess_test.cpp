#include "nexus/host/subprocess.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <iterator>
#include <thread>

#include "nexus/base/text.hpp"
#include "nexus/host/file.hpp"

using namespace nexus;
using namespace std::chrono_literals;

namespace {

host::Command shell(std::string script) {
  return {.argv = {"/bin/sh", "-c", std::move(script)}, .grace = 300ms};
}

Result<host::Exit> run(const host::Command& command) {
  base::SystemClock clock;
  return host::run(command, clock, clock.steady() + 60s);
}

// Whether a process runs: not gone and not a zombie.
bool alive(int pid) {
  // A process may vanish between open and read: that is ESRCH, and an answer.
  const std::string text = host::read_file("/proc/" + std::to_string(pid) + "/stat").value_or("");
  const auto name_end = text.rfind(')');
  return name_end != std::string::npos && text[name_end + 2] != 'Z' && text[name_end + 2] != 'X';
}

bool has_children() {
  siginfo_t who{};
  return waitid(P_ALL, 0, &who, WEXITED | WNOHANG | WNOWAIT) == 0 || errno != ECHILD;
}

// A file whose content is the pids that a script wrote into it, one a line.
class PidFile {
 public:
  PidFile() {
    const int fd = mkstemp(path_.data());
    REQUIRE(fd >= 0);
    close(fd);
  }
  ~PidFile() { unlink(path_.c_str()); }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::vector<int> pids() const {
    std::ifstream in(path_);
    return {std::istream_iterator<int>(in), {}};
  }

 private:
  std::string path_ = "/tmp/nexus-subprocess-XXXXXX";
};

}  // namespace

TEST_CASE("a command's exit code and interleaved output come back") {
  const auto exit = run(shell("echo one; echo two >&2; echo three; exit 7"));
  REQUIRE(exit);
  CHECK(exit->status == 7);
  CHECK_FALSE(exit->signal);
  CHECK(exit->output == "one\ntwo\nthree\n");
  CHECK_FALSE(exit->output_truncated);
  CHECK_FALSE(has_children());
}

TEST_CASE("a command that a signal ended says which") {
  const auto exit = run(shell("kill -SEGV $$"));
  REQUIRE(exit);
  CHECK(exit->signal == SIGSEGV);
  CHECK(exit->status == 128 + SIGSEGV);
}

TEST_CASE("arguments are passed as they are, no shell looks at them") {
  const auto exit = run({.argv = {"/bin/echo", "$HOME; `id` *", "", "a  b"}});
  REQUIRE(exit);
  CHECK(exit->output == "$HOME; `id` *  a  b\n");
}

TEST_CASE("the environment and the directory are the given ones, standard input is empty") {
  host::Command command = shell("pwd; env | sort; cat; echo end");
  command.environment = {"A=1", "PATH=/usr/bin:/bin"};
  command.working_directory = "/usr";
  const auto exit = run(command);
  REQUIRE(exit);
  CHECK(exit->output == "/usr\nA=1\nPATH=/usr/bin:/bin\nPWD=/usr\nend\n");
}

TEST_CASE("no descriptor is inherited") {
  const int extra = open("/dev/null", O_RDONLY);  // deliberately without O_CLOEXEC
  REQUIRE(extra > 2);
  const auto exit = run(shell("ls /proc/self/fd"));
  close(extra);
  REQUIRE(exit);
  CHECK(exit->output == "0\n1\n2\n3\n");  // 3 is the directory that ls reads
}

TEST_CASE("signals that the agent ignores or blocks are as in a fresh process") {
  std::signal(SIGPIPE, SIG_IGN);
  const auto exit = run(shell("grep SigBlk /proc/self/status; kill -PIPE $$"));
  std::signal(SIGPIPE, SIG_DFL);
  REQUIRE(exit);
  CHECK(exit->output == "SigBlk:\t0000000000000000\n");
  CHECK(exit->signal == SIGPIPE);
}

TEST_CASE("output beyond the limit is read, thrown away and said so") {
  host::Command command = shell("head -c 3000000 /dev/zero | tr '\\0' x; exit 3");
  command.max_output = 1000;
  const auto exit = run(command);
  REQUIRE(exit);
  CHECK(exit->status == 3);
  CHECK(exit->output == std::string(1000, 'x'));
  CHECK(exit->output_truncated);
}

TEST_CASE("output that is not UTF-8 is made so") {
  const auto exit = run(shell("printf 'a\\377b'"));
  REQUIRE(exit);
  CHECK(base::is_valid_utf8(exit->output));
  CHECK(exit->output ==
        "a\xEF\xBF\xBD"
        "b");
}

TEST_CASE("what cannot run is an error that names it") {
  CHECK(run({.argv = {}}).error().code() == Errc::kInvalidArgument);
  CHECK(run({.argv = {"sh"}}).error().code() == Errc::kInvalidArgument);
  CHECK(run({.argv = {"/bin/echo", std::string("a\0b", 3)}}).error().code() ==
        Errc::kInvalidArgument);
  const auto missing = run({.argv = {"/no/such/program"}});
  CHECK(missing.error().code() == Errc::kNotFound);
  CHECK_THAT(missing.error().message(), Catch::Contains("/no/such/program"));
  CHECK(run({.argv = {"/etc/passwd"}}).error().code() == Errc::kPermissionDenied);
  CHECK(run({.argv = {"/bin/true"}, .working_directory = "/no/such/place"}).error().code() ==
        Errc::kNotFound);
  CHECK_FALSE(has_children());
}

TEST_CASE("at the deadline the command is ended, and the error holds its last output") {
  base::SystemClock clock;
  // Long enough for a busy machine to have said so.
  const auto exit = host::run(shell("echo working on it; sleep 1000"), clock, clock.steady() + 3s);
  REQUIRE_FALSE(exit);
  CHECK(exit.error().code() == Errc::kTimeout);
  CHECK_THAT(exit.error().message(),
             Catch::Contains("/bin/sh") && Catch::Contains("working on it"));
  CHECK_FALSE(has_children());
}

TEST_CASE("a deadline that has passed starts nothing") {
  base::ManualClock clock;
  bool started = false;
  const auto exit =
      host::run(shell("true"), clock, clock.steady(), {}, [&](int) { started = true; });
  CHECK(exit.error().code() == Errc::kTimeout);
  CHECK_FALSE(started);
}

TEST_CASE("the deadline is the injected clock's") {
  base::ManualClock clock;
  const auto exit = host::run(shell("sleep 1000"), clock, clock.steady() + 24h, {},
                              [&](int) { clock.advance(25h); });
  CHECK(exit.error().code() == Errc::kTimeout);
}

TEST_CASE("a command that ignores SIGTERM is killed after the grace time") {
  base::ManualClock clock;
  PidFile file;
  const auto exit = host::run(shell("trap '' TERM; echo $$ > " + file.path() +
                                    "; echo stubborn; while :; do sleep 1; done"),
                              clock, base::kForever, [&] { return !file.pids().empty(); });
  CHECK(exit.error().code() == Errc::kCancelled);
  REQUIRE(file.pids().size() == 1);
  CHECK_FALSE(alive(file.pids()[0]));
}

TEST_CASE("a command that ends itself on SIGTERM has the grace time for it") {
  base::ManualClock clock;
  PidFile ready;
  PidFile ended;
  host::Command command = shell("trap 'echo 1 > " + ended.path() + "; exit 0' TERM; echo 1 > " +
                                ready.path() + "; while :; do sleep 0.05; done");
  command.grace = 60s;
  const auto exit =
      host::run(command, clock, base::kForever, [&] { return !ready.pids().empty(); });
  CHECK(exit.error().code() == Errc::kCancelled);
  CHECK(ended.pids() == std::vector<int>{1});
}

TEST_CASE("descendants that left the group or the session are ended with the command") {
  // Each $sleeper writes its pid and sleeps; each script starts two of them and then does not end
  // by itself.
  const std::string script =
      GENERATE(as<std::string>{}, R"(setsid sh -c "$sleeper" & setsid sh -c "$sleeper" & wait)",
               R"((setsid sh -c "$sleeper" &); (setsid setsid sh -c "$sleeper" &); sleep 1000)",
               R"(setsid sh -c "trap '' TERM; $sleeper" & sh -c "trap '' TERM; $sleeper")",
               R"(export sleeper; setsid sh -c 'trap "" TERM; setsid sh -c "$sleeper" &
                                           sh -c "$sleeper"' & wait)");
  base::ManualClock clock;
  PidFile file;
  const std::string sleeper = "sleeper='echo $$ >> " + file.path() + "; exec sleep 1000'; ";
  const auto exit = host::run(shell(sleeper + script), clock, base::kForever,
                              [&] { return file.pids().size() == 2; });
  INFO(script);
  REQUIRE_FALSE(exit);
  CHECK(exit.error().code() == Errc::kCancelled);
  REQUIRE(file.pids().size() == 2);
  for (const int pid : file.pids()) CHECK_FALSE(alive(pid));
  CHECK_FALSE(has_children());
}

TEST_CASE("a daemon that the command leaves behind does not hold run() up and does not stay") {
  PidFile file;
  const auto exit =
      run(shell("setsid sh -c 'echo $$ > " + file.path() + "; exec sleep 1000' & while ! [ -s " +
                file.path() + " ]; do :; done; echo done; exit 5"));
  REQUIRE(exit);
  CHECK(exit->status == 5);
  CHECK(exit->output == "done\n");
  REQUIRE(file.pids().size() == 1);
  CHECK_FALSE(alive(file.pids()[0]));
  CHECK_FALSE(has_children());
}

TEST_CASE("when the agent dies, what it started is ended") {
  PidFile file;
  const pid_t agent = fork();
  if (agent == 0) {
    base::SystemClock clock;
    const auto exit =
        host::run(shell("setsid sh -c 'echo $$ > " + file.path() + "; exec sleep 1000' & wait"),
                  clock, base::kForever);
    _exit(exit ? 0 : 1);
  }
  REQUIRE(agent > 0);
  while (file.pids().empty()) std::this_thread::yield();
  const int orphan = file.pids()[0];
  CHECK(alive(orphan));
  kill(agent, SIGKILL);
  waitpid(agent, nullptr, 0);
  while (alive(orphan)) std::this_thread::yield();
  CHECK_FALSE(has_children());
}

TEST_CASE("several threads run commands at once without taking each other's") {
  std::atomic<int> right{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 5; ++round) {
        const auto exit = run(shell("(setsid sleep 1000 &); echo " + std::to_string(i) + "; exit " +
                                    std::to_string(i)));
        if (exit && exit->status == i && exit->output == std::to_string(i) + "\n") ++right;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(right == 40);
  CHECK_FALSE(has_children());
}

TEST_CASE("a command that does not end although killed is left behind, and reaped when it ends") {
  auto command = shell("echo begun; sleep 1000");
  command.grace = 50ms;
  command.give_up = 200ms;
  base::SystemClock clock;
  int held = 0;
  // A traced process is not its parent's to reap before its tracer has seen it end: as one in
  // uninterruptible sleep, it is killed and does not go.
  const auto hold = [&](int pid) {
    held = pid;
    REQUIRE(ptrace(PTRACE_SEIZE, pid, nullptr, nullptr) == 0);
  };
  const auto exit = host::run(command, clock, clock.steady() + 3s, {}, hold);
  REQUIRE_FALSE(exit);
  CHECK(exit.error().code() == Errc::kTimeout);
  CHECK_THAT(exit.error().message(),
             Catch::Contains("does not end: left behind") && Catch::Contains("begun"));
  CHECK(host::commands_left_behind() == 1);
  int status = 0;
  while (waitpid(held, &status, __WALL) == held && !WIFSIGNALED(status)) {
  }
  CHECK(WIFSIGNALED(status));
  while (host::commands_left_behind() != 0) std::this_thread::yield();
  CHECK_FALSE(has_children());
}
