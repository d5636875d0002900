// What changed on the host: kept, told once, and found in real files.
#include <fmt/format.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "analyze/change_log.hpp"
#include "analyze/dpkg_log.hpp"
#include "analyze/world.hpp"
#include "nexus/analyze/change_watch.hpp"
#include "nexus/base/text.hpp"
#include "support/temporary_directory.hpp"

using namespace nexus;
using namespace nexus::analyze;
using namespace nexus::analyze::test;

namespace {

/// A host's files that a test writes.
struct Host {
  Host() {
    std::filesystem::create_directories(dir.path() + "/proc/sys/kernel/random");
    std::filesystem::create_directories(dir.path() + "/root/var/log");
    boot("11111111-aaaa");
  }
  void boot(std::string_view id, std::string_view btime = "1700000000") const {
    std::ofstream(dir.path() + "/proc/sys/kernel/random/boot_id") << id << '\n';
    std::ofstream(dir.path() + "/proc/stat") << "cpu  1 2 3\nbtime " << btime << "\nprocesses 9\n";
  }
  void dpkg(std::string_view lines, bool fresh = false) const {
    const auto mode = fresh ? std::ios::trunc : std::ios::app;
    std::ofstream(dir.path() + "/root/var/log/dpkg.log", mode) << lines;
  }
  [[nodiscard]] host::Roots roots() const {
    return {dir.path() + "/proc", dir.path() + "/sys", dir.path() + "/root"};
  }
  nexus::test::TemporaryDirectory dir;
};

std::unique_ptr<ChangeWatch> watch_of(World& world, const Host& host) {
  auto made = ChangeWatch::open(world.clock, world.history, *world.book, *world.db, host.roots());
  REQUIRE(made);
  return std::move(*made);
}

void look(World& world, ChangeWatch& watch) {
  world.clock.advance(ChangeWatch::kEvery);
  REQUIRE(watch.tick());
}

std::vector<std::string> told(const World& world, std::string_view kind = {}) {
  std::vector<std::string> out;
  const auto changes = world.book->changes();
  for (const Change& change : *changes)
    if (kind.empty() || change.kind == kind) out.push_back(change.text);
  return out;
}

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE("lines of dpkg's log become a sentence a run") {
  const auto only = [](std::string_view lines) {
    const auto runs = packages_changed(lines);
    REQUIRE(runs.size() == 1);
    return runs.front().text;
  };
  CHECK(packages_changed("").empty());
  CHECK(packages_changed("2026-11-26 01:02:03 startup archives unpack\n"
                         "2026-11-26 01:02:03 status installed nginx:amd64 1.22.1-9\n"
                         "2026-11-26 01:02:03 trigproc man-db:amd64 2.11.2-2 <none>\n")
            .empty());
  CHECK(only("2026-11-26 01:02:03 install hello:amd64 <none> 2.10-3\n"
             "2026-11-26 01:02:03 upgrade nginx:amd64 1.22.1-9 1.22.1-10\n"
             "2026-11-26 01:02:04 remove sl:amd64 5.02-1 <none>\n"
             "2026-11-26 01:02:04 purge sl:amd64 5.02-1 <none>\n") ==
        "install hello 2.10-3, upgrade nginx 1.22.1-9 to 1.22.1-10, remove sl 5.02-1, purge sl "
        "5.02-1");
  std::string many;
  for (int i = 0; i < 9; ++i)
    many += "2026-11-26 01:02:03 install p" + std::to_string(i) + ":all <none> 1\n";
  CHECK(only(many) ==
        "install p0 1, install p1 1, install p2 1, install p3 1, install p4 1, and 4 more");
  // Cut lines and other text are passed over.
  CHECK(
      packages_changed("install\n\n\n2026-11-26 01:02:03 install\n2026-11-26 x upgrade a").empty());
  // Runs are told apart by a pause, each at the time of its last line.
  const auto runs = packages_changed(
      "2026-11-20 01:02:03 install a:all <none> 1\n"
      "2026-11-20 01:06:03 install b:all <none> 1\n"
      "2026-11-21 01:02:03 install c:all <none> 1\n"
      "no time at all install\n"
      "x y upgrade d:all 1 2\n");
  REQUIRE(runs.size() == 2);
  CHECK(runs[0].text == "install a 1, install b 1");
  CHECK(runs[1].text == "install c 1, upgrade d 1 to 2");
  CHECK(runs[1].time - runs[0].time == 24h - 4min);
  std::string days;
  for (std::size_t i = 0; i < kMostPackageRuns + 9; ++i)
    days += fmt::format("2026-{:02}-{:02} 12:00:00 install p{}:all <none> 1\n", 1 + i / 28,
                        1 + i % 28, i);
  CHECK(packages_changed(days).size() == kMostPackageRuns);
  CHECK(packages_changed(days).front().text == "install p9 1");
}

TEST_CASE("changes are kept over a restart, newest first, and the oldest make room") {
  World world;
  const WallTime start = world.clock.wall();
  for (std::size_t i = 0; i < ChangeLog::kMost + 20; ++i)
    world.book->note({start + std::chrono::minutes(i), i % 2 == 0 ? "configuration" : "packages",
                      "agent", "change " + std::to_string(i)});
  CHECK(world.book->changes()->size() == ChangeLog::kMost);
  CHECK(world.book->changes()->front().text == "change 519");
  CHECK(world.book->changes()->back().text == "change 20");
  CHECK(metric(world.self, "nexus_changes_total", "configuration") == 260);
  world.book->tick();
  world.book->note({start + std::chrono::minutes(600), "clock", "host", std::string(2000, 'x')});
  world.open_book();  // what was not ticked is written at the end
  const auto kept = world.book->changes();
  REQUIRE(kept->size() == ChangeLog::kMost);
  CHECK(kept->front().text == std::string(ChangeLog::kLongest, 'x') + "...");
  CHECK(kept->front().kind == "clock");
  CHECK((*kept)[1].text == "change 519");
  CHECK((*kept)[1].time == start + std::chrono::minutes(519));
  const auto rows = world.db->query("SELECT COUNT(*) FROM changes");
  REQUIRE(rows);
  CHECK(rows->front().integer(0) == static_cast<std::int64_t>(ChangeLog::kMost));
}

TEST_CASE("units that are started all day leave room for what is rare") {
  World world;
  const WallTime start = world.clock.wall();
  world.book->note({start, "packages", "host", "upgrade nginx"});
  world.book->note({start + 1s, "boot", "host", "the host was started"});
  world.book->tick();
  for (std::size_t i = 0; i < ChangeLog::kMost + 20; ++i)
    world.book->note({start + std::chrono::minutes(i + 1), "unit", "job" + std::to_string(i),
                      "a job was started"});
  for (const bool again : {false, true}) {
    if (again) world.open_book();
    const auto kept = world.book->changes();
    REQUIRE(kept->size() == ChangeLog::kMostOfKind + 2);
    CHECK(kept->front().time == start + std::chrono::minutes(ChangeLog::kMost + 20));
    CHECK((*kept)[kept->size() - 2].kind == "boot");
    CHECK(kept->back().kind == "packages");
  }
}

TEST_CASE("what people tell of is one kind, whatever they call it, and pushes out nothing rare") {
  World world;
  const WallTime start = world.clock.wall();
  world.book->note({start, "packages", "host", "upgrade nginx"});
  world.book->note({start + 1s, "boot", "host", "the host was started"});
  world.book->tick();
  for (std::size_t i = 0; i < ChangeLog::kMost; ++i) {
    const WallTime at = start + std::chrono::minutes(i + 1);
    world.book->note({at, "unit", "job" + std::to_string(i), "a job was started"});
    for (const char* kind : {"deploy", "lunch", "x-ray"})
      world.book->note({at, kind, "host", "told"});
    if (i % 50 == 0) world.book->tick();
  }
  world.book->tick();
  for (const bool again : {false, true}) {
    if (again) world.open_book();
    const auto kept = world.book->changes();
    REQUIRE(kept->size() == ChangeLog::kMost);
    CHECK(kept->back().text == "upgrade nginx");
    CHECK((*kept)[kept->size() - 2].kind == "boot");
    CHECK(told(world, "unit").size() == 249);
  }
}

TEST_CASE("a unit that is told twice is one change") {
  World world;
  const WallTime now = world.clock.wall();
  world.book->note({now, "unit", "web.service", "web.service was started again"});
  world.book->note({now + 1s, "unit", "web.service", "web.service was started"});
  world.book->note({now + 1s, "unit", "db.service", "db.service was started"});
  world.book->note({now + 5min, "unit", "web.service", "web.service was started again"});
  CHECK(world.book->changes()->size() == 3);
}

TEST_CASE("two deployments within a minute are two changes") {
  World world;
  world.book->note({world.clock.wall(), "deploy", "web", "web 1 was rolled out"});
  world.book->note({world.clock.wall() + 1s, "deploy", "web", "web 2 was rolled out"});
  CHECK(world.book->changes()->size() == 2);
}

TEST_CASE("a boot is told once, at its time, and the first look tells nothing") {
  World world;
  const Host host;
  {
    auto watch = watch_of(world, host);
    look(world, *watch);
    look(world, *watch);
    CHECK(told(world).empty());
  }
  host.boot("22222222-bbbb", "1700000123");
  auto watch = watch_of(world, host);
  look(world, *watch);
  look(world, *watch);
  CHECK(told(world) == Texts{"the host was started"});
  CHECK(world.book->changes()->front().time == base::from_unix_millis(1'700'000'123'000));
}

TEST_CASE("packages that dpkg changes are told, also those changed while nobody looked") {
  World world;
  const Host host;
  host.dpkg("2026-11-25 01:02:03 install old:all <none> 1\n");
  {
    auto watch = watch_of(world, host);
    look(world, *watch);
    CHECK(told(world).empty());
    host.dpkg("2026-11-26 01:02:03 install hello:amd64 <none> 2.10-3\n2026-11-26 01:02:03 upg");
    look(world, *watch);
    CHECK(told(world) == Texts{"install hello 2.10-3"});
    host.dpkg("rade nginx:amd64 1 2\n");  // the rest of the line
    look(world, *watch);
    look(world, *watch);
  }
  host.dpkg("2026-11-26 02:02:03 remove hello:amd64 2.10-3 <none>\n");
  auto watch = watch_of(world, host);
  look(world, *watch);
  const auto all = told(world, "packages");
  CHECK(all.size() == 3);
  CHECK(std::ranges::count(all, "upgrade nginx 1 to 2") == 1);
  CHECK(std::ranges::count(all, "remove hello 2.10-3") == 1);
}

TEST_CASE("what dpkg wrote around the rotation of its log is told, each run at its own time") {
  World world;
  const Host host;
  host.dpkg("2020-01-01 01:02:03 install old:all <none> 1\n");
  {
    auto watch = watch_of(world, host);
    look(world, *watch);
  }
  // Away: two days of changes, a rotation, another change.
  host.dpkg(
      "2020-02-01 12:00:00 install before:all <none> 1\n"
      "2020-02-02 12:00:00 upgrade before:all 1 2\n");
  const std::string log = host.dir.path() + "/root/var/log/dpkg.log";
  std::filesystem::rename(log, log + ".1");
  host.dpkg("2020-02-03 12:00:00 install new:all <none> 1\n");
  auto watch = watch_of(world, host);
  look(world, *watch);
  look(world, *watch);
  const auto changes = world.book->changes();
  REQUIRE(told(world) == Texts{"install new 1", "upgrade before 1 to 2", "install before 1"});
  CHECK((*changes)[0].time - (*changes)[1].time == 24h);
  CHECK((*changes)[1].time - (*changes)[2].time == 24h);
  // Rotated twice: the file that was being read is gone, the new one is read from its beginning.
  std::filesystem::rename(log, log + ".2");
  host.dpkg("2020-03-03 12:00:00 install newest:all <none> 1\n");
  look(world, *watch);
  CHECK(told(world).front() == "install newest 1");
  CHECK(told(world).size() == 4);
}

TEST_CASE("a log of dpkg that was not there is read from its beginning") {
  World world;
  const Host host;
  auto watch = watch_of(world, host);
  look(world, *watch);
  host.dpkg("2026-11-26 01:02:03 install hello:amd64 <none> 2.10-3\n");
  look(world, *watch);
  CHECK(told(world) == Texts{"install hello 2.10-3"});
}

TEST_CASE("a clock that was set is told, one that goes is not") {
  World world;
  const Host host;
  auto watch = watch_of(world, host);
  for (int i = 0; i < 5; ++i) look(world, *watch);
  CHECK(told(world).empty());
  world.clock.step_wall(1s);  // the size of what NTP corrects
  look(world, *watch);
  CHECK(told(world).empty());
  world.clock.step_wall(-1h);
  look(world, *watch);
  look(world, *watch);
  CHECK(told(world) == Texts{"the clock moved by -3600.0 s: it was set, or the machine slept"});
}

TEST_CASE("what a timer starts at equal distances is not told from the third start on") {
  World world;
  const Host host;
  auto watch = watch_of(world, host);
  double at = 1'700'000'000;
  const auto start = [&](double seconds) {
    at = seconds;
    world.sample(
        knowledge::Labels("node_systemd_unit_start_time_seconds", {{"name", "job.service"}}), at);
    world.ingest();
    look(world, *watch);
  };
  start(at);  // the first look
  start(at + 600);
  CHECK(told(world).size() == 1);
  for (int i = 0; i < 5; ++i) start(at + 600 + i);
  CHECK(told(world).size() == 1);
  start(at + 200);  // somebody did it
  CHECK(told(world).size() == 2);
}

TEST_CASE("services that are not watched any more make room for those that are") {
  World world;
  const Host host;
  auto watch = watch_of(world, host);
  knowledge::ServiceEvent event;
  event.state = "active";
  event.instance = "1";
  for (std::size_t i = 0; i < ChangeWatch::kMostUnits + 10; ++i) {
    event.service = "run-" + std::to_string(i) + ".service";
    watch->on_event(event);
    world.clock.advance(1s);
  }
  event.instance = "2";
  watch->on_event(event);
  CHECK(told(world) == Texts{event.service + " was started again"});
}

TEST_CASE("units that start again are told, by start time and by event") {
  World world;
  const Host host;
  auto watch = watch_of(world, host);
  const auto start_time = [&](const std::string& unit, double seconds) {
    world.sample(knowledge::Labels("node_systemd_unit_start_time_seconds", {{"name", unit}}),
                 seconds);
  };
  start_time("a.service", 1'699'999'000);
  start_time("b.service", 0);
  world.ingest();
  look(world, *watch);
  CHECK(told(world).empty());
  start_time("a.service", 1'700'000'015);
  start_time("b.service", 1'700'000'016);
  start_time("c.service", 1'700'000'017);
  world.ingest();
  look(world, *watch);
  CHECK(told(world, "unit") ==
        Texts{"c.service was started", "b.service was started", "a.service was started again"});

  knowledge::ServiceEvent event;
  event.service = "web.service";
  event.state = "active";
  event.instance = "i1";
  watch->on_event(event);
  CHECK(told(world, "unit").size() == 3);
  event.state = "reloading";
  watch->on_event(event);
  watch->on_event(event);
  CHECK(told(world, "unit").front() == "web.service was reloaded");
  world.clock.advance(5min);
  event.state = "active";
  event.instance = "i2";
  watch->on_event(event);
  CHECK(told(world, "unit").front() == "web.service was started again");
  CHECK(told(world, "unit").size() == 5);
}
