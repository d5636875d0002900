#include "monitor/collectors/filesystem.hpp"

#include <malloc.h>
#include <sched.h>
#include <sys/mount.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <cerrno>
#include <condition_variable>
#include <filesystem>
#include <future>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "monitor/collectors.hpp"
#include "monitor/host_tree.hpp"
#include "monitor/mountinfo.hpp"
#include "nexus/base/text.hpp"
#include "nexus/host/file.hpp"

using namespace nexus;
using namespace nexus::monitor;
using namespace nexus::monitor::testing;
using namespace std::chrono_literals;
using Catch::Matchers::Contains;

namespace {

/// A statfs whose paths can be made to hang. Co-owned by the helpers that hang in it.
struct FakeDisks {
  std::mutex mutex;
  std::condition_variable changed;
  std::set<std::string> hanging;
  std::map<std::string, int> errors;
  bool readonly = false;
  std::map<std::string, int> calls;

  int ask(const std::string& path, FilesystemUsage& usage) {
    std::unique_lock lock(mutex);
    ++calls[path];
    changed.notify_all();
    changed.wait(lock, [&] { return !hanging.contains(path); });
    usage = {.size = 1000,
             .free = 500,
             .available = 400,
             .files = 100,
             .files_free = 50,
             .readonly = readonly};
    return errors[path];
  }
  void release_all() {
    const std::lock_guard guard(mutex);
    hanging.clear();
    changed.notify_all();
  }
  int count(const std::string& path) {
    const std::lock_guard guard(mutex);
    return calls[path];
  }
};

/// Of a kind that may wait for others, unless `rest` says otherwise.
std::string mount(int number, std::string_view point,
                  std::string_view rest = "rw - nfs4 /dev/x rw") {
  return fmt::format("{} 1 8:{} / {} {}\n", number, number, point, rest);
}

struct Rig {
  explicit Rig(host::Roots where, config::Parameters given = {})
      : roots(std::move(where)), options(std::move(given)) {
    auto made =
        make_filesystem({.roots = roots, .clock = clock, .registry = registry, .options = options},
                        [d = disks](const std::string& path, FilesystemUsage& usage) {
                          return d->ask(path, usage);
                        });
    REQUIRE(made.has_value());
    collector = std::move(*made);
  }
  ~Rig() { disks->release_all(); }

  /// Runs the collector while the clock moves on, so that what waits for a deadline reaches it.
  Status run() {
    sink.clear();
    auto done = std::async(std::launch::async, [this] { return collector->collect(sink); });
    while (done.wait_for(10ms) != std::future_status::ready) clock.advance(20ms);
    return done.get();
  }
  double error_of(std::string_view point, std::string_view type = "nfs4") const {
    const std::string_view head = R"(node_filesystem_device_error{device="/dev/x",)";
    const std::string place = fmt::format(R"(fstype="{}",mountpoint="{}"}})", type, point);
    if (const std::string good = std::string(head) + place; sink.has(good)) return sink.value(good);
    // One that fails says why in a label.
    const std::string all = sink.text();
    std::string_view rest = all;
    while (!rest.empty()) {
      const std::string_view line = base::take_until(rest, '\n');
      if (line.starts_with(std::string(head) + "device_error=") && line.contains(place))
        return base::parse_double(line.substr(line.rfind(' ') + 1)).value();
    }
    FAIL("no node_filesystem_device_error of " << point);
    return 0;
  }
  bool has_size(std::string_view point) const {
    return sink.has(fmt::format(
        R"(node_filesystem_size_bytes{{device="/dev/x",fstype="nfs4",mountpoint="{}"}})", point));
  }

  std::shared_ptr<FakeDisks> disks = std::make_shared<FakeDisks>();
  base::ManualClock clock;
  host::Roots roots;
  config::Parameters options;
  knowledge::SeriesRegistry registry{10'000};
  RecordingSink sink{registry, RecordingSink::Keep::kLines};
  std::unique_ptr<Collector> collector;
};

host::Roots tree_with(const TemporaryTree& tree, std::string_view mounts) {
  tree.write("proc/1/mountinfo", mounts);
  host::Roots roots = tree.roots();
  roots.rootfs = "/";
  return roots;
}

}  // namespace

TEST_CASE("mountinfo: optional fields, escapes, and what makes a mount read-only") {
  const auto mount_of = [](std::string_view line) { return parse_mountinfo_line(line); };
  CHECK(mount_of("36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:7 - ext3 /dev/root "
                 "rw,errors=continue") == Mount{"/dev/root", "/mnt2", "ext3", false, "98", "0"});
  CHECK(mount_of("36 35 98:0 / /my\\040data\\134x rw - xfs /dev/a ro,attr2") ==
        Mount{"/dev/a", "/my data\\x", "xfs", true, "98", "0"});
  CHECK(mount_of("36 35 98:0 / /a ro - xfs /dev/a rw")->readonly);
  CHECK_FALSE(mount_of("36 35 98:0 / /a rw,errors=remount-ro - xfs /dev/a rw")->readonly);
  for (const char* bad : {"", "36", "36 35 98:0 / /a", "36 35 98:0 / /a rw",
                          "36 35 98:0 / /a rw shared:1 -", "36 35 98:0 / /a rw - ext4"}) {
    INFO(bad);
    CHECK_FALSE(mount_of(bad).has_value());
  }
  CHECK(unescape_octal("\\04") == "\\04");
  CHECK(unescape_octal("\\777") == "\\777");  // more than a byte
  CHECK(unescape_octal("a\\011b\\") == "a\tb\\");
}

TEST_CASE("filesystem: names, labels and values are node_exporter's") {
  const TemporaryTree tree;
  Rig rig(tree_with(tree, mount(1, "/data") + mount(2, "/iso", "ro - vfat /dev/x ro") +
                              mount(3, "/proc", "rw - proc proc rw") +
                              mount(4, "/dev/shm", "rw - tmpfs tmpfs rw") + mount(1, "/data")));
  REQUIRE(rig.run());
  CHECK(rig.sink.count() == 16);
  const std::string labels = R"({device="/dev/x",fstype="nfs4",mountpoint="/data"})";
  CHECK(rig.sink.value("node_filesystem_device_error" + labels) == 0);
  CHECK(rig.sink.value("node_filesystem_size_bytes" + labels) == 1000);
  CHECK(rig.sink.value("node_filesystem_free_bytes" + labels) == 500);
  CHECK(rig.sink.value("node_filesystem_avail_bytes" + labels) == 400);
  CHECK(rig.sink.value("node_filesystem_files" + labels) == 100);
  CHECK(rig.sink.value("node_filesystem_files_free" + labels) == 50);
  CHECK(rig.sink.value("node_filesystem_readonly" + labels) == 0);
  CHECK(rig.sink.value(
            R"(node_filesystem_readonly{device="/dev/x",fstype="vfat",mountpoint="/iso"})") == 1);
}

TEST_CASE("filesystem: two file systems mounted on one place are both answered") {
  const TemporaryTree tree;
  Rig rig(tree_with(tree, mount(1, "/mnt") + mount(2, "/mnt", "rw - xfs /dev/y rw")));
  for (int i = 0; i < 3; ++i) {
    REQUIRE(rig.run());
    CHECK(rig.error_of("/mnt") == 0);
    CHECK(rig.sink.value(
              R"(node_filesystem_device_error{device="/dev/y",fstype="xfs",mountpoint="/mnt"})") ==
          0);
  }
}

TEST_CASE("filesystem: a mount that hangs is reported, never asked twice, and holds up no other") {
  const TemporaryTree tree;
  Rig rig(tree_with(tree, mount(1, "/a") + mount(2, "/dead") + mount(3, "/b")));
  rig.disks->hanging = {"/dead"};
  for (int i = 0; i < 20; ++i) {
    REQUIRE(rig.run());
    CHECK(rig.error_of("/dead") == 1);
    CHECK_FALSE(rig.has_size("/dead"));
    CHECK(rig.has_size("/a"));
    CHECK(rig.has_size("/b"));
  }
  CHECK(rig.disks->count("/dead") == 1);
  CHECK(rig.disks->count("/a") == 20);

  rig.disks->release_all();
  for (int i = 0; i < 10'000 && rig.error_of("/dead") == 1; ++i) REQUIRE(rig.run());
  CHECK(rig.error_of("/dead") == 0);
  CHECK(rig.has_size("/dead"));
}

TEST_CASE("filesystem: a known dead mount costs no waiting") {
  const TemporaryTree tree;
  Rig rig(tree_with(tree, mount(1, "/dead") + mount(2, "/a")));
  rig.disks->hanging = {"/dead"};
  REQUIRE(rig.run());
  rig.sink.clear();
  const SteadyTime before = rig.clock.steady();
  REQUIRE(rig.collector->collect(
      rig.sink));  // the clock stands still: a wait for the deadline would never end
  CHECK(rig.clock.steady() == before);
  CHECK(rig.has_size("/a"));
}

TEST_CASE("filesystem: what answers from memory needs no helper, but where it may wait") {
  const TemporaryTree tree;
  constexpr std::string_view kExt4 = "rw - ext4 /dev/x rw";
  Rig sure(tree_with(tree, mount(1, "/", kExt4) + mount(2, "/a", kExt4) +
                               mount(3, "/a/b", "rw - tmpfs /dev/x rw")));
  const auto threads = [] { return host::list_directory("/proc/self/task")->size(); };
  const std::size_t before = threads();
  for (int i = 0; i < 3; ++i) REQUIRE(sure.collector->collect(sure.sink));
  CHECK(threads() <= before);  // one of an earlier case may be ending
  CHECK(sure.error_of("/a", "ext4") == 0);
  CHECK(sure.error_of("/a/b", "tmpfs") == 0);

  // Below one that may wait, where another one is on top of it, with quotas on the disk.
  Rig rig(tree_with(tree, mount(1, "/", kExt4) + mount(2, "/net") + mount(3, "/net/below", kExt4) +
                              mount(4, "/top", kExt4) + mount(5, "/top", "rw - fuse.x /dev/x rw") +
                              mount(6, "/quota", "rw - xfs /dev/x rw,prjquota") +
                              mount(7, "/network", kExt4) + mount(8, "/covered/x", kExt4) +
                              mount(9, "/covered", kExt4) +
                              mount(10, "/xfs", "rw - xfs /dev/x rw")));
  rig.disks->hanging = {"/net", "/net/below", "/top", "/quota", "/covered/x", "/xfs"};
  for (int i = 0; i < 3; ++i) {
    REQUIRE(rig.run());
    CHECK(rig.error_of("/", "ext4") == 0);
    CHECK(rig.error_of("/network", "ext4") == 0);
    CHECK(rig.error_of("/net") == 1);
    CHECK(rig.error_of("/net/below", "ext4") == 1);
    CHECK(rig.error_of("/top", "fuse.x") == 1);
    CHECK(rig.error_of("/quota", "xfs") == 1);
    CHECK(rig.error_of("/covered", "ext4") == 0);
    CHECK(rig.error_of("/covered/x", "ext4") == 1);
    CHECK(rig.error_of("/xfs", "xfs") == 1);
  }

  // What counts is what this process sees, and not process 1.
  Rig own(tree_with(tree, mount(1, "/", kExt4) + mount(2, "/a", kExt4)));
  tree.write("proc/self/mountinfo", mount(11, "/", kExt4) + mount(12, "/a"));
  own.disks->hanging = {"/a"};
  REQUIRE(own.run());
  CHECK(own.error_of("/", "ext4") == 0);
  CHECK(own.error_of("/a", "ext4") == 1);
}

TEST_CASE("filesystem: more dead mounts than helpers, and the number of threads stays bounded") {
  const TemporaryTree tree;
  std::string mounts;
  for (int i = 0; i < 40; ++i) mounts += mount(i, fmt::format("/dead{}", i));
  Rig rig(tree_with(tree, mounts));
  for (int i = 0; i < 40; ++i) rig.disks->hanging.insert(fmt::format("/dead{}", i));
  const auto threads = [] { return host::list_directory("/proc/self/task")->size(); };
  const std::size_t before = threads();
  for (int i = 0; i < 50; ++i) REQUIRE(rig.run());
  CHECK(threads() <= before + 16 + 1);  // the helpers, and std::async's own
  int calls = 0;
  for (int i = 0; i < 40; ++i) {
    CHECK(rig.error_of(fmt::format("/dead{}", i)) == 1);
    calls += rig.disks->count(fmt::format("/dead{}", i));
  }
  CHECK(calls == 16);
  rig.disks->release_all();
  for (int i = 0; i < 10'000 && rig.error_of("/dead39") == 1; ++i) REQUIRE(rig.run());
  CHECK(rig.error_of("/dead39") == 0);
}

TEST_CASE("filesystem: 10,000 cycles beside dead mounts, and nothing grows") {
  const TemporaryTree tree;
  std::string mounts = mount(100, "/a") + mount(101, "/b");
  for (int i = 0; i < 5; ++i) mounts += mount(i, fmt::format("/dead{}", i));
  Rig rig(tree_with(tree, mounts));
  for (int i = 0; i < 5; ++i) rig.disks->hanging.insert(fmt::format("/dead{}", i));
  const auto entries = [](const char* path) { return host::list_directory(path)->size(); };
  const auto cycles = [&](int count) {
    for (int i = 0; i < count; ++i) {
      // The dead ones are known: nothing waits for the clock, which stands still meanwhile.
      rig.sink.clear();
      REQUIRE(rig.collector->collect(rig.sink));
      rig.clock.advance(1s);
    }
  };
  REQUIRE(rig.run());
  cycles(100);
  const std::size_t threads = entries("/proc/self/task");
  const std::size_t descriptors = entries("/proc/self/fd");
  const std::size_t bytes = ::mallinfo2().uordblks;
  cycles(10'000);
  CHECK(entries("/proc/self/task") == threads);
  CHECK(entries("/proc/self/fd") == descriptors);
  CHECK(::mallinfo2().uordblks <= bytes + (64U << 10));
  for (int i = 0; i < 5; ++i) {
    CHECK(rig.error_of(fmt::format("/dead{}", i)) == 1);
    CHECK(rig.disks->count(fmt::format("/dead{}", i)) == 1);
  }
  CHECK(rig.has_size("/a"));
  CHECK(rig.disks->count("/a") == 10'101);
}

TEST_CASE("filesystem: an errno without words is a number, not the end of the agent") {
  const TemporaryTree tree;
  Rig rig(tree_with(tree, mount(1, "/a") + mount(2, "/odd", "rw - fuse.odd odd rw")));
  rig.disks->errors["/odd"] = 200;  // what a FUSE server may answer; the C library does not know it
  REQUIRE(rig.run());
  CHECK(rig.sink.has(R"(node_filesystem_device_error{device="odd",device_error="errno 200",)"
                     R"(fstype="fuse.odd",mountpoint="/odd"})"));
  CHECK(rig.has_size("/a"));
}

TEST_CASE("filesystem: one that an error made read-only is, whatever its options say") {
  const TemporaryTree tree;
  Rig rig(tree_with(tree, mount(1, "/a")));
  const std::string readonly =
      R"(node_filesystem_readonly{device="/dev/x",fstype="nfs4",mountpoint="/a"})";
  REQUIRE(rig.run());
  CHECK(rig.sink.value(readonly) == 0);
  rig.disks->readonly = true;
  REQUIRE(rig.run());
  CHECK(rig.sink.value(readonly) == 1);
}

TEST_CASE(
    "filesystem: what a unit's sandbox shows read-only is not, where process 1 can write (D5)") {
  const TemporaryTree tree;
  // As ProtectSystem=strict has it: the same file systems, all of them read-only here.
  Rig rig(tree_with(tree, mount(1, "/a") + mount(2, "/iso", "ro - nfs4 /dev/x ro")));
  tree.write("proc/self/mountinfo",
             mount(11, "/a", "ro - nfs4 /dev/x rw") + mount(12, "/iso", "ro - nfs4 /dev/x ro"));
  rig.disks->readonly = true;
  const auto readonly = [&](std::string_view point) {
    REQUIRE(rig.run());
    return rig.sink.value(fmt::format(
        R"(node_filesystem_readonly{{device="/dev/x",fstype="nfs4",mountpoint="{}"}})", point));
  };
  CHECK(readonly("/a") == 0);
  CHECK(readonly("/iso") == 1);
  // An error makes the file system itself read-only: that process 1's list tells, too.
  tree.write("proc/1/mountinfo", mount(1, "/a", "rw - nfs4 /dev/x ro"));
  CHECK(readonly("/a") == 1);
}

TEST_CASE("filesystem: a mount of the running machine is seen in the next run") {
  host::Roots roots;
  config::Parameters options{{"mount_points_include", std::string(".*nexus-mount.*")}};
  base::ManualClock clock;
  knowledge::SeriesRegistry registry(1000);
  RecordingSink sink(registry, RecordingSink::Keep::kLines);
  // A mount name space of this thread's own, so that the machine sees nothing of it.
  std::exception_ptr failed;
  std::thread alone([&] {
    try {
      REQUIRE(::unshare(CLONE_NEWNS) == 0);
      REQUIRE(::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
      const TemporaryTree tree;
      // Process 1's mounts are not these: below another procfs there is only this thread's.
      std::filesystem::create_directories(tree.path() + "/proc");
      std::filesystem::create_symlink("/proc/thread-self", tree.path() + "/proc/self");
      roots.procfs = tree.path() + "/proc";
      auto collector =
          find_collector("filesystem")
              ->make({.roots = roots, .clock = clock, .registry = registry, .options = options});
      REQUIRE(collector);
      REQUIRE((*collector)->collect(sink));
      CHECK(sink.count() == 0);
      const std::string point = tree.path() + "/nexus-mount";
      std::filesystem::create_directories(point);
      REQUIRE(::mount("nexus", point.c_str(), "tmpfs", 0, "size=1m") == 0);
      REQUIRE((*collector)->collect(sink));
      CHECK(sink.text().contains("nexus-mount"));
      CHECK(sink.count() == 8);
      sink.clear();
      REQUIRE((*collector)->collect(sink));
      CHECK(sink.count() == 8);
      REQUIRE(::umount(point.c_str()) == 0);
      sink.clear();
      REQUIRE((*collector)->collect(sink));
      CHECK(sink.count() == 0);
    } catch (...) {
      failed = std::current_exception();
    }
  });
  alone.join();
  if (failed) std::rethrow_exception(failed);
}

TEST_CASE("filesystem: a statfs that fails is a device error, the others are read") {
  const TemporaryTree tree;
  Rig rig(tree_with(tree, mount(1, "/a") + mount(2, "/secret")));
  rig.disks->errors["/secret"] = EACCES;
  REQUIRE(rig.run());
  CHECK(rig.error_of("/secret") == 1);
  CHECK(rig.error_of("/a") == 0);
  CHECK(rig.sink.count() == 10);
}

TEST_CASE(
    "filesystem: self is read when process 1 is hidden, and a damaged line costs only itself") {
  const TemporaryTree tree;
  tree.write("proc/self/mountinfo",
             mount(1, "/a") + "garbage\n" + mount(2, "/b") + "36 35 98:0 / /cut");
  host::Roots roots = tree.roots();
  roots.rootfs = "/";
  Rig rig(roots);
  for (int i = 0; i < 2; ++i) {
    const Status done = rig.run();
    REQUIRE_FALSE(done.has_value());
    CHECK_THAT(done.error().message(),
               Contains("self/mountinfo") && Contains("line 2") && Contains("garbage"));
    CHECK(rig.has_size("/a"));
    CHECK(rig.has_size("/b"));
  }
}

TEST_CASE("filesystem: no mountinfo at all is no data, an empty one is fine") {
  const TemporaryTree tree;
  Rig rig(tree.roots());
  CHECK(rig.run().error().code() == Errc::kNotFound);
  tree.write("proc/1/mountinfo", "");
  REQUIRE(rig.run());
  CHECK(rig.sink.count() == 0);
}

TEST_CASE("filesystem: mounts that come and go are followed, options choose, rootfs is stripped") {
  const TemporaryTree tree;
  tree.write("proc/1/mountinfo", mount(1, "/host") + mount(2, "/host/data") + mount(3, "/hostile"));
  host::Roots roots = tree.roots();
  roots.rootfs = "/host";
  Rig rig(roots, {{"mount_points_exclude", std::string("^/none$")}});
  REQUIRE(rig.run());
  CHECK(rig.has_size("/"));
  CHECK(rig.has_size("/data"));
  CHECK(rig.has_size("/hostile"));
  CHECK(rig.disks->count("/host/data") == 1);
  tree.write("proc/1/mountinfo", mount(1, "/host") + mount(2, "/host/none"));
  REQUIRE(rig.run());
  CHECK(rig.sink.count() == 8);
}

TEST_CASE("filesystem: a collector that is dropped while a mount hangs does not wait for it") {
  const TemporaryTree tree;
  auto rig = std::make_unique<Rig>(tree_with(tree, mount(1, "/dead")));
  const auto disks = rig->disks;
  disks->hanging = {"/dead"};
  REQUIRE(rig->run());
  rig->collector.reset();
  CHECK(disks->count("/dead") == 1);
}

TEST_CASE("filesystem: the root of this machine has a size") {
  FilesystemUsage usage;
  REQUIRE(system_statfs("/", usage) == 0);
  CHECK(usage.size > 0);
  CHECK(usage.free <= usage.size);
  CHECK(system_statfs("/nonexistent/mount", usage) == ENOENT);
}

TEST_CASE("options: wrong types, bad patterns and bad durations are problems") {
  const auto check = [](config::ParameterValue value, std::string name) {
    config::CollectSection collect;
    collect.collectors["filesystem"].options.emplace(std::move(name), std::move(value));
    const auto problems = check_collectors(collect);
    return problems.empty() ? std::string() : problems.front().message;
  };
  CHECK(check(std::string("5s"), "mount_timeout").empty());
  CHECK(check(std::int64_t{2}, "mount_timeout").empty());
  CHECK(check(0.5, "mount_timeout").empty());
  CHECK_THAT(check(std::string("soon"), "mount_timeout"),
             Contains("[collect.filesystem] mount_timeout") && Contains("soon"));
  CHECK_THAT(check(true, "mount_timeout"), Contains("expected a duration"));
  CHECK_THAT(check(std::string("("), "fs_types_exclude"),
             Contains("fs_types_exclude") && Contains("regular expression"));
  CHECK_THAT(check(std::int64_t{1}, "fs_types_exclude"), Contains("expected a regular expression"));
}
