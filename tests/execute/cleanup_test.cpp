// cleanup_disk on file systems that are really full (tmpfs, which has a size, blocks and leases as
// any other).
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "bench.hpp"
#include "execute/cleanup_plan.hpp"
#include "nexus/base/text.hpp"
#include "nexus/host/fd.hpp"
#include "nexus/host/privileged.hpp"

using namespace nexus;
using namespace nexus::execute;
using namespace nexus::execute::test;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t kMiB = 1U << 20;

/// A small file system of its own.
class Disk {
 public:
  Disk() : path_(std::filesystem::canonical(directory_.path()).string() + "/disk") {
    std::filesystem::create_directory(path_);
    REQUIRE(::mount("tmpfs", path_.c_str(), "tmpfs", 0, "size=16m") == 0);
  }
  ~Disk() { ::umount2(path_.c_str(), MNT_DETACH); }
  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string outside() const { return directory_.path(); }
  std::string write(const std::string& name, std::size_t bytes, std::chrono::hours age) const {
    const auto file = path_ + "/" + name;
    std::filesystem::create_directories(std::filesystem::path(file).parent_path());
    std::ofstream(file) << std::string(bytes, 'x');
    REQUIRE(std::filesystem::file_size(file) == bytes);
    // Times of last use can be set back, that of the last change (ctime) cannot: tests move now on.
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(age).count();
    const std::array<timespec, 2> times{timespec{::time(nullptr) - seconds, 0},
                                        timespec{::time(nullptr) - seconds, 0}};
    REQUIRE(::utimensat(AT_FDCWD, file.c_str(), times.data(), 0) == 0);
    return file;
  }
  /// Until not one byte more fits.
  void fill(const std::string& name) const {
    const host::Fd fd(::open((path_ + "/" + name).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    const std::string block(4096, 'x');
    while (::write(fd.get(), block.data(), block.size()) > 0) {
    }
    REQUIRE(errno == ENOSPC);
  }
  [[nodiscard]] bool has(const std::string& name) const {
    return std::filesystem::exists(path_ + "/" + name);
  }

 private:
  TemporaryDirectory directory_;
  std::string path_;
};

config::CleanupConfig kind(std::string name, std::string path, int rank, Millis older = 0ms) {
  config::CleanupConfig out;
  out.name = std::move(name);
  out.path = std::move(path);
  out.rank = rank;
  out.older_than = older;
  return out;
}

struct Room {
  Room() {
    bench.config.allow.paths = {disk.path()};
    bench.config.cleanups = {kind("junk", disk.path() + "/junk", 100),
                             kind("cache", disk.path() + "/cache", 10)};
    bench.configure();
    bench.executor->start();
  }
  Action action(config::Parameters parameters) {
    auto out = bench.action(disk.path());
    out.type = "cleanup_disk";
    out.parameters = std::move(parameters);
    return out;
  }
  Action run(config::Parameters parameters) { return bench.run(action(std::move(parameters))); }
  Action try_out(config::Parameters parameters) {
    auto out = action(std::move(parameters));
    out.dry_run = true;
    return bench.run(out);
  }

  Disk disk;
  base::SystemClock clock;
  Bench bench{clock};
};

std::string invalid(Bench& bench, const Action& action) {
  const auto ok = bench.executor->validate(action);
  return ok ? "" : ok.error().message();
}

}  // namespace

TEST_CASE("a full disk gets room: the safest kind first, the longest unused first, and no more") {
  Room room;
  room.disk.write("junk/a", 4 * kMiB, 24h);
  room.disk.write("cache/young", 2 * kMiB, 1h);
  room.disk.write("cache/old", 2 * kMiB, 48h);
  room.disk.fill("data");
  const auto full = space_of(room.disk.path(), room.bench.config).value();
  REQUIRE(full.available == 0);

  // Two of the cache are not enough for 6 MiB, all three are.
  const auto listed = room.try_out({{"free", std::string("6MiB")}});
  INFO(listed.outcome.would_do);
  CHECK(listed.state == ActionState::kSucceeded);
  const auto& would = listed.outcome.would_do;
  CHECK_THAT(would,
             Catch::StartsWith("would delete 3 files to free 8.0 MiB of the 6.0 MiB wanted"));
  CHECK(would.find("cache/young") < would.find("junk/a"));
  CHECK(room.disk.has("cache/old"));

  const auto first = room.run({{"free", std::string("3MiB")}});
  INFO(first.outcome.result << first.outcome.output);
  CHECK(first.state == ActionState::kSucceeded);
  CHECK_FALSE(first.outcome.verified.has_value());  // it has counted, and looks at nothing
  CHECK_THAT(first.outcome.result, Catch::StartsWith("freed 4.0 MiB in 2 files"));
  CHECK_FALSE(room.disk.has("cache/old"));
  CHECK_FALSE(room.disk.has("cache/young"));
  CHECK(room.disk.has("junk/a"));
  CHECK(room.disk.has("data"));
  CHECK(space_of(room.disk.path(), room.bench.config)->available == 4 * kMiB);

  // 16 MiB with 4 free are 75 % full.
  const auto enough = room.run({{"used_percent", std::int64_t{80}}});
  CHECK(enough.state == ActionState::kSucceeded);
  CHECK(enough.outcome.verified == true);
  CHECK_THAT(enough.outcome.result, Catch::StartsWith("freed 0 B in 0 files"));
  CHECK(room.disk.has("junk/a"));
  const auto more = room.run({{"used_percent", 60.0}});
  CHECK(more.state == ActionState::kSucceeded);
  CHECK(more.outcome.verified == true);
  CHECK_FALSE(room.disk.has("junk/a"));
}

TEST_CASE("the dry run lists exactly what the action then deletes") {
  Room room;
  for (int i = 0; i < 9; ++i) room.disk.write(fmt::format("junk/{}", i), kMiB, 24h);
  room.disk.fill("data");
  const auto listed = room.try_out({{"free", std::string("4MiB")}});
  const auto done = room.run({{"free", std::string("4MiB")}});
  REQUIRE(done.state == ActionState::kSucceeded);
  std::string_view would = listed.outcome.would_do;
  std::ignore = base::take_until(would, '\n');
  const auto lines = [](std::string_view text) { return text.substr(0, text.find("left out")); };
  CHECK(lines(would) == lines(done.outcome.output));
  CHECK(std::ranges::count(lines(would), '\n') == 4);
}

TEST_CASE("what must not go stays: open, mapped, young, linked, on other file systems, beyond") {
  Room room;
  room.bench.config.cleanups = {kind("junk", room.disk.path() + "/junk", 100, 1h)};
  room.bench.configure();
  const auto open = room.disk.write("junk/open", kMiB, 24h);
  CHECK(room.disk.has("junk/open"));
  // Everything was changed just now (ctime): to the rule it is young.
  const auto young = room.run({{"free", std::string("1MiB")}});
  CHECK(young.state == ActionState::kFailed);
  CHECK_THAT(young.outcome.result, Catch::Contains("there is no more that may go"));
  CHECK_THAT(young.outcome.output,
             Catch::Contains("junk: 1 files were used or changed within the last 1h"));

  room.bench.config.cleanups = {kind("junk", room.disk.path() + "/junk", 100)};
  room.bench.configure();
  const host::Fd held(::open(open.c_str(), O_RDONLY | O_CLOEXEC));
  const auto mapped_path = room.disk.write("junk/mapped", kMiB, 24h);
  void* mapped = nullptr;
  {
    const host::Fd fd(::open(mapped_path.c_str(), O_RDONLY | O_CLOEXEC));
    mapped = ::mmap(nullptr, kMiB, PROT_READ, MAP_PRIVATE, fd.get(), 0);
    REQUIRE(mapped != MAP_FAILED);
  }
  room.disk.write("junk/twice", kMiB, 24h);
  std::filesystem::create_hard_link(room.disk.path() + "/junk/twice", room.disk.path() + "/name");
  const auto outside = room.disk.outside() + "/outside";
  std::filesystem::create_directory(outside);
  std::ofstream(outside + "/precious") << std::string(kMiB, 'x');
  std::filesystem::create_directory_symlink(outside, room.disk.path() + "/junk/link");
  std::filesystem::create_symlink(outside + "/precious", room.disk.path() + "/junk/file");
  const auto mount = room.disk.path() + "/junk/mount";
  std::filesystem::create_directory(mount);
  REQUIRE(::mount(outside.c_str(), mount.c_str(), nullptr, MS_BIND, nullptr) == 0);
  room.disk.write("junk/goes", kMiB, 24h);

  const auto done = room.run({{"free", std::string("10MiB")}});
  ::umount2(mount.c_str(), MNT_DETACH);
  INFO(done.outcome.result << "\n" << done.outcome.output);
  CHECK(done.state == ActionState::kFailed);  // 10 MiB were not there
  CHECK_THAT(done.outcome.result, Catch::StartsWith("freed 1.0 MiB in 1 files"));
  CHECK_FALSE(room.disk.has("junk/goes"));
  for (const auto* name : {"junk/open", "junk/mapped", "junk/twice", "junk/file", "name"}) {
    INFO(name);
    CHECK(room.disk.has(name));
  }
  CHECK(std::filesystem::exists(outside + "/precious"));
  CHECK_THAT(done.outcome.output, Catch::Contains("2 files are open"));
  ::munmap(mapped, kMiB);
}

TEST_CASE("the budget is never exceeded, and [allow] paths bound every kind") {
  Room room;
  for (int i = 0; i < 5; ++i) room.disk.write(fmt::format("junk/{}", i), kMiB, 24h);
  const auto done = room.run({{"free", std::string("5MiB")}, {"max_bytes", std::string("2MiB")}});
  CHECK(done.state == ActionState::kFailed);
  CHECK_THAT(done.outcome.result,
             Catch::StartsWith("freed 2.0 MiB in 2 files; 5.0 MiB were wanted"));
  room.bench.config.allow.max_files = 1;
  room.bench.configure();
  CHECK_THAT(room.run({{"free", std::string("5MiB")}}).outcome.result,
             Catch::StartsWith("freed 1.0 MiB in 1 files"));
  room.bench.config.allow.paths = {"/somewhere/else"};
  room.bench.configure();
  const auto refused = room.run({{"free", std::string("1MiB")}});
  CHECK_THAT(refused.outcome.output, Catch::Contains("is not below [allow] paths"));
  CHECK(room.disk.has("junk/4"));
}

TEST_CASE("mistakes in parameters are named before anything is touched") {
  Room room;
  CHECK_THAT(invalid(room.bench, room.action({{"free", std::string("much")}})),
             Catch::Contains("parameter \"free\""));
  CHECK_THAT(invalid(room.bench, room.action({{"used_percent", std::int64_t{100}}})),
             Catch::Contains("between 0 and 100"));
  CHECK_THAT(
      invalid(room.bench, room.action({{"kinds", std::vector<std::string>{"junk", "databases"}}})),
      Catch::Contains("there is no \"databases\", expected of packages, cache, journal"));
  auto relative = room.action({});
  relative.target = "var";
  CHECK_THAT(invalid(room.bench, relative), Catch::Contains("expected a mount point"));
  CHECK(invalid(room.bench, room.action({{"kinds", std::vector<std::string>{"junk"}}})).empty());
}

TEST_CASE("a file that was replaced, or whose directory became a link, is not removed") {
  const Disk disk;
  base::SystemClock clock;
  host::LocalPrivileged privileged(clock);
  disk.write("junk/deep/a", 10, 1h);
  const auto walk = host::files_below(
      disk.path(),
      {.depth = 8, .wanted = [](const auto&) { return true; }, .take = {}, .go_on = {}});
  REQUIRE(walk);
  REQUIRE(walk->files.size() == 1);
  const auto& found = walk->files.front();
  CHECK(found.path == "junk/deep/a");
  SECTION("another file under its name") {
    std::filesystem::remove(disk.path() + "/junk/deep/a");
    disk.write("junk/deep/a", 10, 2h);
    CHECK(privileged.remove(disk.path(), found.path, found.identity).error().code() ==
          Errc::kConflict);
    CHECK(disk.has("junk/deep/a"));
  }
  SECTION("a symbolic link in the place of its directory") {
    std::filesystem::rename(disk.path() + "/junk/deep", disk.path() + "/elsewhere");
    std::filesystem::create_directory_symlink(disk.path() + "/elsewhere",
                                              disk.path() + "/junk/deep");
    CHECK(privileged.remove(disk.path(), found.path, found.identity).error().code() ==
          Errc::kUnsupported);
    CHECK(disk.has("elsewhere/a"));
  }
  SECTION("a way out of the root") {
    CHECK_FALSE(privileged.remove(disk.path() + "/junk/deep", "../deep/a", found.identity));
    CHECK_FALSE(privileged.remove(disk.path(), "junk/deep/..", found.identity));
    CHECK(disk.has("junk/deep/a"));
  }
  SECTION("the same file") {
    CHECK(privileged.remove(disk.path(), found.path, found.identity));
    CHECK_FALSE(disk.has("junk/deep/a"));
    CHECK(privileged.remove(disk.path(), found.path, found.identity).error().code() ==
          Errc::kNotFound);
  }
}

TEST_CASE("what a host tells of itself stays a week, who logged in for ever") {
  const Disk disk;
  config::Config config;
  config.collect.rootfs = disk.path();
  config.allow.paths = {"/var/log", "/tmp"};
  disk.write("var/log/app/app.log.1", kMiB, 0h);
  disk.write("var/log/audit/audit.log.1", kMiB, 0h);
  disk.write("var/log/auth.log.2.gz", kMiB, 0h);
  disk.write("var/log/wtmp.1", kMiB, 0h);
  disk.write("tmp/upload", kMiB, 0h);
  disk.write("tmp/.X0-lock", 10, 0h);
  disk.write("tmp/systemd-private-1-web.service-x/tmp/upload", kMiB, 0h);
  const base::SystemClock clock;
  CleanupWish wish;
  wish.free = 10 * kMiB;
  wish.max_bytes = 10 * kMiB;
  const auto found = [&](std::chrono::hours later, std::uint32_t most = 100) {
    config.allow.max_files = most;
    const auto plan =
        plan_cleanup("/", wish, config, {.now = clock.wall() + later, .go_on = {}}).value();
    std::vector<std::string> out;
    for (const auto& file : plan.files) out.push_back(file.file.path);
    return out;
  };
  CHECK(found(6 * 24h).empty());
  CHECK(found(8 * 24h) == std::vector<std::string>{"app/app.log.1"});
  CHECK(found(11 * 24h) == std::vector<std::string>{"app/app.log.1", "upload"});
  CHECK(found(11 * 24h, 1) == std::vector<std::string>{"app/app.log.1"});
  const auto ended = plan_cleanup("/", wish, config,
                                  {.now = clock.wall() + 8 * 24h, .go_on = [] { return false; }})
                         .value();
  CHECK(ended.files.empty());
  CHECK(std::ranges::find(ended.notes, "/var/log: not all entries were looked at") !=
        ended.notes.end());
}

TEST_CASE("a file that cannot go uses up no budget: the next one's turn comes") {
  /// Files below a directory that nothing may be written to, as on a read-only mount.
  struct ReadOnly final : host::LocalPrivileged {
    using LocalPrivileged::LocalPrivileged;
    Status remove(const std::string& root, const std::string& path,
                  const host::FileIdentity& expected) override {
      if (path == "b" || path == "c")
        return fail(Errc::kUnavailable, "remove {}/{}: Read-only file system", root, path);
      return LocalPrivileged::remove(root, path, expected);
    }
  };
  Room room;
  for (const auto* name : {"a", "b", "c", "d", "e"})
    room.disk.write(fmt::format("junk/{}", name), kMiB, 24h);
  room.bench.config.allow.max_files = 3;
  room.bench.configure();
  ReadOnly privileged(room.bench.clock);
  auto action = room.bench.action(room.disk.path());
  action.type = "cleanup_disk";
  action.parameters = {{"free", std::string("3MiB")}};
  StepContext with{.clock = room.bench.clock,
                   .systemd = nullptr,
                   .config = std::make_shared<const config::Config>(room.bench.config),
                   .privileged = privileged};
  const StepRun run{.deadline = base::kForever,
                    .cancelled = [] { return false; },
                    .leaving = [] { return false; },
                    .begun = [] {}};
  const auto done = find_action("cleanup_disk")->make()->run(action, with, run);
  REQUIRE(done);
  INFO(done->output);
  CHECK(done->result == "freed 3.0 MiB in 3 files, 2 were left alone");
  CHECK_FALSE(done->failed);
}

TEST_CASE("of more files than may go those unused for the longest are chosen") {
  Room room;
  for (const auto* name : {"a", "b", "c", "d", "e"})
    room.disk.write(fmt::format("junk/{}", name), kMiB, 24h);
  room.bench.config.allow.max_files = 2;
  room.bench.configure();
  const auto would = room.try_out({{"free", std::string("5MiB")}}).outcome.would_do;
  CHECK_THAT(would, Catch::StartsWith("would delete 2 files"));
  CHECK_THAT(would, Catch::Contains("junk/a") && Catch::Contains("junk/b"));
}
