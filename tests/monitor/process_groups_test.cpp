// The scan of processes and their groups: on written trees, and on real processes of this machine.
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <csignal>

#include "monitor/host_tree.hpp"
#include "monitor/process_groups.hpp"
#include "monitor/workload.hpp"
#include "nexus/monitor/observed.hpp"

using namespace nexus;
using namespace nexus::monitor;
using namespace nexus::monitor::testing;
using Catch::Matchers::Contains;

namespace {

struct Written {
  std::string name;
  char state = 'S';
  int user = 0;
  int system = 0;
  int minor = 0;
  int major = 0;
  int threads = 1;
  int start = 1000;
  int pages = 100;
  bool kernel = false;
};

std::string stat_line(int pid, const Written& p) {
  return fmt::format(
      "{} ({}) {} 1 1 1 0 -1 {} {} 0 {} 0 {} {} 0 0 20 0 {} 0 {} 1000000 {} 18446744073709551615 "
      "1 1 0 0 0 0\n",
      pid, p.name, p.state, p.kernel ? 0x00200000 : 4194560, p.minor, p.major, p.user, p.system,
      p.threads, p.start, p.pages);
}

class ProcTree {
 public:
  ProcTree() { tree.write("proc/stat", "cpu  1 2 3 4\nbtime 1700000000\n"); }
  void put(int pid, const Written& process) const {
    tree.write(fmt::format("proc/{}/stat", pid), stat_line(pid, process));
  }
  void file(int pid, std::string_view name, std::string_view text) const {
    tree.write(fmt::format("proc/{}/{}", pid, name), text);
  }
  void end(int pid) const { tree.remove(fmt::format("proc/{}", pid)); }
  TemporaryTree tree;
};

/// A child that sleeps until it is told to end; its name is `name`.
class Child {
 public:
  explicit Child(const char* name, bool spins = false) {
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::prctl(PR_SET_NAME, name);
      volatile unsigned long n = 0;
      for (;;) {
        if (!spins) ::pause();
        n = n + 1;
      }
    }
  }
  ~Child() { end(); }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  void end() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = 0;
};

}  // namespace

TEST_CASE("process groups: threads by name, when they are asked for") {
  const ProcTree proc;
  proc.put(10, {.name = "web", .user = 1, .start = 500});
  proc.put(11, {.name = "web", .user = 1, .start = 500});
  const auto thread = [&](int pid, int tid, const Written& what, int switches, int read) {
    proc.tree.write(fmt::format("proc/{}/task/{}/stat", pid, tid), stat_line(tid, what));
    proc.tree.write(
        fmt::format("proc/{}/task/{}/status", pid, tid),
        fmt::format("voluntary_ctxt_switches:\t{}\nnonvoluntary_ctxt_switches:\t2\n", switches));
    proc.tree.write(fmt::format("proc/{}/task/{}/io", pid, tid),
                    fmt::format("read_bytes: {}\nwrite_bytes: 1\n", read));
    proc.tree.write(fmt::format("proc/{}/task/{}/wchan", pid, tid), "futex_wait");
  };
  thread(10, 10, {.name = "web", .user = 100, .start = 500}, 7, 1000);
  thread(10, 12, {.name = "pool) 1", .user = 200, .minor = 3, .start = 501}, 7, 1000);
  thread(11, 13, {.name = "pool) 1", .system = 50, .start = 502}, 7, 1000);
  CollectorRig none("process_groups", proc.tree.roots());
  REQUIRE(none.run());
  CHECK_FALSE(none.sink.text().contains("namedprocess_namegroup_thread_"));
  CollectorRig rig("process_groups", proc.tree.roots(), {{"threads", true}});
  REQUIRE(rig.run());
  const std::string pool = R"(groupname="web",threadname="pool) 1")";
  const auto of_pool = [&](std::string_view metric, std::string_view before = "") {
    return rig.sink.value(
        fmt::format("namedprocess_namegroup_thread_{}{{{}{}}}", metric, before, pool));
  };
  CHECK(of_pool("count") == 2);
  CHECK(rig.sink.value(
            R"(namedprocess_namegroup_threads_wchan{groupname="web",wchan="futex_wait"})") == 3);
  CHECK(
      rig.sink.value(
          R"(namedprocess_namegroup_thread_cpu_seconds_total{groupname="web",mode="user",threadname="pool) 1"})") ==
      0);
  // One goes on, one ends, one is born: what they use from now on is counted, and stays.
  thread(10, 12, {.name = "pool) 1", .user = 300, .minor = 5, .major = 1, .start = 501}, 9, 1500);
  proc.tree.remove("proc/11/task/13");
  thread(11, 14, {.name = "pool) 1", .user = 10, .start = 900}, 1, 5);
  REQUIRE(rig.run());
  const auto ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
  CHECK(
      rig.sink.value(
          R"(namedprocess_namegroup_thread_cpu_seconds_total{groupname="web",mode="user",threadname="pool) 1"})") ==
      Approx(110 / ticks));
  CHECK(of_pool("minor_page_faults_total") == 2);
  CHECK(of_pool("major_page_faults_total") == 1);
  CHECK(
      rig.sink.value(
          R"(namedprocess_namegroup_thread_context_switches_total{ctxswitchtype="voluntary",groupname="web",threadname="pool) 1"})") ==
      3);
  CHECK(
      rig.sink.value(
          R"(namedprocess_namegroup_thread_io_bytes_total{groupname="web",iomode="read",threadname="pool) 1"})") ==
      505);
  CHECK(of_pool("count") == 2);
  // A number that somebody else has got is another thread.
  thread(10, 12, {.name = "pool) 1", .user = 1, .start = 2000}, 0, 0);
  proc.tree.remove("proc/11/task/14");
  REQUIRE(rig.run());
  CHECK(
      rig.sink.value(
          R"(namedprocess_namegroup_thread_cpu_seconds_total{groupname="web",mode="user",threadname="pool) 1"})") ==
      Approx(111 / ticks));
  CHECK(of_pool("count") == 1);
}

TEST_CASE("process groups: what is counted, by name, with process-exporter's metrics") {
  const ProcTree proc;
  proc.put(10, {.name = "web", .user = 100, .system = 50, .threads = 3, .start = 500});
  proc.put(11, {.name = "web", .state = 'R', .user = 7, .start = 900});
  proc.put(12, {.name = "odd) (name", .state = 'D'});
  proc.put(13, {.name = "kworker/0:0", .kernel = true});
  proc.file(10, "status",
            "Name:\tweb\nUid:\t33\t33\t33\t33\nVmSwap:\t   12 kB\n"
            "voluntary_ctxt_switches:\t70\nnonvoluntary_ctxt_switches:\t5\n");
  proc.file(10, "io", "rchar: 1\nread_bytes: 4096\nwrite_bytes: 8192\n");
  proc.file(10, "limits", "Limit  Soft Limit  Hard Limit  Units\nMax open files  4  4096  files\n");
  proc.file(10, "fd/0", "");
  proc.file(10, "fd/1", "");
  CollectorRig rig("process_groups", proc.tree.roots());
  REQUIRE(rig.run());
  const auto& sink = rig.sink;
  CHECK(sink.value(R"(namedprocess_namegroup_num_procs{groupname="web"})") == 2);
  CHECK(sink.value(R"(namedprocess_namegroup_num_threads{groupname="web"})") == 4);
  CHECK(sink.value(R"(namedprocess_namegroup_states{groupname="web",state="Running"})") == 1);
  CHECK(sink.value(R"(namedprocess_namegroup_states{groupname="odd) (name",state="Waiting"})") ==
        1);
  CHECK(sink.value(R"(namedprocess_namegroup_open_filedesc{groupname="web"})") == 2);
  CHECK(sink.value(R"(namedprocess_namegroup_worst_fd_ratio{groupname="web"})") == 0.5);
  CHECK(sink.value(R"(namedprocess_namegroup_memory_bytes{groupname="web",memtype="swapped"})") ==
        12 * 1024);
  CHECK(sink.value(R"(namedprocess_namegroup_memory_bytes{groupname="web",memtype="resident"})") ==
        200.0 * static_cast<double>(::sysconf(_SC_PAGESIZE)));
  CHECK(sink.value(R"(namedprocess_namegroup_oldest_start_time_seconds{groupname="web"})") ==
        1700000005);
  // Nothing was used yet: what they count is from before.
  CHECK(sink.value(R"(namedprocess_namegroup_cpu_seconds_total{groupname="web",mode="user"})") ==
        0);
  CHECK_FALSE(sink.has(R"(namedprocess_namegroup_num_procs{groupname="kworker/0:0"})"));
}

TEST_CASE("process groups: counters only grow, whoever ends, is born or executes") {
  const ProcTree proc;
  proc.put(10, {.name = "web", .user = 1000});
  CollectorRig rig("process_groups", proc.tree.roots());
  const auto user = [&](std::string_view group) {
    return rig.sink.value(fmt::format(
        R"(namedprocess_namegroup_cpu_seconds_total{{groupname="{}",mode="user"}})", group));
  };
  REQUIRE(rig.run());
  proc.put(10, {.name = "web", .user = 1300});
  proc.put(11, {.name = "web", .user = 200, .start = 5000});  // born since: all of it counts
  REQUIRE(rig.run());
  CHECK(user("web") == 5);
  proc.end(10);
  REQUIRE(rig.run());
  CHECK(user("web") == 5);
  proc.put(11, {.name = "web", .user = 90, .start = 9000});  // another process of that number
  REQUIRE(rig.run());
  CHECK(user("web") == Approx(5.9));
  proc.put(11, {.name = "job", .user = 190, .start = 9000});  // executed another program
  REQUIRE(rig.run());
  CHECK(user("web") == Approx(5.9));
  CHECK(user("job") == Approx(1));
  proc.put(11, {.name = "job", .user = 100, .start = 9000});  // the kernel corrected itself
  REQUIRE(rig.run());
  CHECK(user("job") == Approx(1));
  CHECK(rig.sink.value(R"(namedprocess_namegroup_num_procs{groupname="web"})") == 0);
  rig.clock.advance(std::chrono::minutes(11));
  REQUIRE(rig.run());
  CHECK_FALSE(rig.sink.has(R"(namedprocess_namegroup_num_procs{groupname="web"})"));
}

TEST_CASE("process groups: only the first are shown, all others are one group that loses nothing") {
  const ProcTree proc;
  for (int i = 0; i < 60; ++i)
    proc.put(100 + i, {.name = fmt::format("p{}", i), .user = 10, .pages = 10 + i});
  CollectorRig rig("process_groups", proc.tree.roots(), {{"top", std::int64_t{5}}});
  REQUIRE(rig.run());
  CHECK(rig.sink.has(R"(namedprocess_namegroup_num_procs{groupname="p59"})"));
  CHECK_FALSE(rig.sink.has(R"(namedprocess_namegroup_num_procs{groupname="p54"})"));
  CHECK(rig.sink.value(R"x(namedprocess_namegroup_num_procs{groupname="(other)"})x") == 55);
  CHECK(rig.sink.value("nexus_process_groups") == 60);
  for (int i = 0; i < 60; ++i)
    proc.put(100 + i, {.name = fmt::format("p{}", i), .user = 110 + i, .pages = 10 + i});
  REQUIRE(rig.run());
  double sum = 0;
  for (int i = 0; i < 60; ++i) {
    const auto series = fmt::format(
        R"(namedprocess_namegroup_cpu_seconds_total{{groupname="p{}",mode="user"}})", i);
    if (rig.sink.has(series)) sum += rig.sink.value(series);
  }
  sum += rig.sink.value(
      R"x(namedprocess_namegroup_cpu_seconds_total{groupname="(other)",mode="user"})x");
  CHECK(sum == Approx((60 * 100 + 59 * 60 / 2) / 100.0));

  CollectorRig few("process_groups", proc.tree.roots(),
                   {{"top", std::int64_t{50}}, {"max_groups", std::int64_t{7}}});
  REQUIRE(few.run());
  std::size_t shown = 0;
  for (int i = 0; i < 60; ++i)
    shown += few.sink.has(fmt::format(R"(namedprocess_namegroup_num_procs{{groupname="p{}"}})", i))
                 ? 1U
                 : 0U;
  CHECK(shown == 7);
}

TEST_CASE("process groups: by unit, container and user, and by patterns over the command line") {
  const ProcTree proc;
  const std::string id(64, 'a');
  proc.tree.write("etc/passwd", "root:x:0:0::/:\nwww-data:x:33:33::/:\n");
  proc.put(10, {.name = "nginx"});
  proc.file(10, "cgroup", "0::/system.slice/nginx.service\n");
  proc.file(10, "status", "Uid:\t33\t33\t33\t33\n");
  proc.put(11, {.name = "java"});
  proc.file(11, "cgroup", "1:name=systemd:/docker/" + id + "\n0::/\n");
  proc.file(11, "cmdline", std::string_view("java\0-jar\0/srv/shop.jar\0", 24));
  CollectorRig rig("process_groups", proc.tree.roots(), {{"by", std::string("unit,user")}});
  REQUIRE(rig.run());
  CHECK(rig.sink.has(R"(namedprocess_namegroup_num_procs{groupname="nginx.service/www-data"})"));
  CHECK(rig.sink.has(R"x(namedprocess_namegroup_num_procs{groupname="(none)/root"})x"));
  CollectorRig containers("process_groups", proc.tree.roots(), {{"by", std::string("container")}});
  REQUIRE(containers.run());
  CHECK(containers.sink.has(R"(namedprocess_namegroup_num_procs{groupname="aaaaaaaaaaaa"})"));
  CollectorRig patterns(
      "process_groups", proc.tree.roots(),
      {{"patterns", std::vector<std::string>{R"(app:\1=-jar /srv/([a-z]+)\.jar)"}},
       {"top", std::int64_t{0}}});
  REQUIRE(patterns.run());
  CHECK(patterns.sink.has(R"(namedprocess_namegroup_num_procs{groupname="app:shop"})"));
  CHECK(patterns.sink.value(R"x(namedprocess_namegroup_num_procs{groupname="(other)"})x") == 1);
}

TEST_CASE("process groups: options that mean nothing are refused with what was expected") {
  CHECK_THAT(parse_group_by("unit,colour").error().message(), Contains("\"colour\""));
  CHECK_THAT(parse_group_pattern("no regex").error().message(), Contains("NAME=REGEX"));
  CHECK_THAT(parse_group_pattern("a=(").error().message(), Contains("missing"));
  CHECK_THAT(parse_group_pattern(R"(a\1=b)").error().message(), Contains("\\1"));
}

TEST_CASE("process groups: a damaged process costs only itself and is named") {
  const ProcTree proc;
  proc.put(10, {.name = "web"});
  proc.file(11, "stat", "11 (bad) S one two\n");
  proc.file(12, "stat", "");
  CollectorRig rig("process_groups", proc.tree.roots());
  CHECK_THAT(rig.failure(),
             Contains("proc/11/stat: line 1: expected PID (NAME)") && Contains("(and 1 more)"));
  CHECK(rig.sink.value(R"(namedprocess_namegroup_num_procs{groupname="web"})") == 1);
}

TEST_CASE("process groups: real processes, born, working and ended") {
  const host::Roots roots;
  Child sleeper("nexus-sleeper");
  CollectorRig rig("process_groups", roots,
                   {{"patterns", std::vector<std::string>{"own=^nexus-|monitor_test"}}});
  REQUIRE(rig.run());
  Child spinner("nexus-spinner", true);
  const base::SystemClock real;
  const SteadyTime until = real.steady() + std::chrono::seconds(30);
  const std::string user =
      R"(namedprocess_namegroup_cpu_seconds_total{groupname="own",mode="user"})";
  double seen = 0;
  while (seen < 0.05 && real.steady() < until) {
    REQUIRE(rig.run());
    seen = rig.sink.value(user);
  }
  CHECK(seen >= 0.05);
  CHECK(rig.sink.value(R"(namedprocess_namegroup_num_procs{groupname="own"})") >= 3);
  spinner.end();
  REQUIRE(rig.run());
  CHECK(rig.sink.value(user) >= seen);
}

TEST_CASE("processes are published for other rooms, by pid, with their workload") {
  const ProcTree proc;
  proc.put(20, {.name = "b", .threads = 2});
  proc.put(3, {.name = "a"});
  proc.file(3, "cgroup", "0::/system.slice/a.service\n");
  knowledge::SeriesRegistry registry(10'000);
  base::ManualClock clock;
  Observed observed;
  const config::Parameters options;
  const host::Roots roots = proc.tree.roots();
  const auto made = find_collector("process_groups")
                        ->make({.roots = roots,
                                .clock = clock,
                                .registry = registry,
                                .options = options,
                                .observed = &observed});
  REQUIRE(made.has_value());
  RecordingSink sink(registry, RecordingSink::Keep::kCountOnly);
  CHECK(observed.processes() == nullptr);
  REQUIRE((*made)->collect(sink));
  const auto table = observed.processes();
  REQUIRE(table != nullptr);
  REQUIRE(table->processes.size() == 2);
  CHECK(table->find(4) == nullptr);
  REQUIRE(table->find(3) != nullptr);
  CHECK(table->find(3)->workload->unit == "a.service");
  CHECK(table->find(20)->threads == 2);
}

TEST_CASE("what a control group is, told from its path") {
  const std::string id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
  CHECK(workload_of("/") == Workload{});
  CHECK(workload_of("/system.slice/web.service").unit == "web.service");
  const Workload instance = workload_of("/system.slice/system-getty.slice/getty@tty1.service");
  CHECK(instance.unit == "getty@tty1.service");
  CHECK(instance.slice == "system-getty.slice");
  const Workload user =
      workload_of("/user.slice/user-1000.slice/user@1000.service/app.slice/editor.service");
  CHECK(user.unit == "user@1000.service");
  CHECK(user.user_unit == "editor.service");
  for (const auto& [path, runtime] : std::initializer_list<std::pair<std::string, std::string>>{
           {"/docker/" + id, "docker"},
           {"/system.slice/docker-" + id + ".scope", "docker"},
           {"/machine.slice/libpod-" + id + ".scope/container", "podman"},
           {"/libpod_parent/libpod-" + id, "podman"},
           {"/system.slice/nerdctl-" + id + ".scope", "containerd"}}) {
    INFO(path);
    CHECK(workload_of(path).container == id);
    CHECK(workload_of(path).runtime == runtime);
  }
  CHECK(workload_of("/machine.slice/libpod-conmon-" + id + ".scope").container.empty());
  CHECK(workload_of("/machine.slice/machine-debian.scope").container == "debian");
  const std::string uid = "2c48913c-b29f-11e7-9350-020968147796";
  const std::string underscored = "2c48913c_b29f_11e7_9350_020968147796";
  for (const std::string& path :
       {"/kubepods/burstable/pod" + uid + "/" + id,
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + underscored +
            ".slice/cri-containerd-" + id + ".scope",
        "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/"
        "kubelet-kubepods-burstable-pod" +
            underscored + ".slice/crio-" + id + ".scope"}) {
    INFO(path);
    const Workload pod = workload_of(path);
    CHECK(pod.pod_uid == uid);
    CHECK(pod.qos == "burstable");
    CHECK(pod.container == id);
  }
  CHECK(workload_of("/kubepods/pod" + uid + "/" + id).qos == "guaranteed");
  CHECK(workload_of("/init.scope").unit == "init.scope");
  CHECK(workload_of("/foo\xff/x").cgroup == "/foo\xef\xbf\xbd/x");
}

TEST_CASE("the control group that says most about a process") {
  CHECK(best_cgroup("0::/system.slice/a.service\n") == "/system.slice/a.service");
  CHECK(best_cgroup("5:memory:/docker/x\n1:name=systemd:/init.scope\n0::/\n") == "/init.scope");
  CHECK(best_cgroup("3:pids:/p\n4:cpu,cpuacct:/c\n9:freezer:/f\n0::/\n") == "/c");
  CHECK(best_cgroup("0::/\n") == "/");
  CHECK(best_cgroup("nonsense\n::\n") == "/");
}
