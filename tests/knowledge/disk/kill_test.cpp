// kill -9 at any moment: a child of this program writes and says what was acknowledged; then the
// history is opened again and looked through. NEXUS_KILLS sets how often.
#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <cstdlib>
#include <random>

#include "knowledge/disk/history_fixture.hpp"
#include "nexus/host/fd.hpp"

namespace nexus::knowledge::disk {
namespace {

constexpr int kSeries = 20;
constexpr int kAckFd = 9;

HistoryDisk disk_of(const std::string& folder) {
  HistoryDisk disk{.directory = folder + "/history", .bytes = 6U << 20};  // files change often
  disk.tiers = {{Millis(60'000), Millis(30LL * 24 * 3'600'000)}};
  return disk;
}

double value_of(int series, std::int64_t time) {
  const auto row = static_cast<double>((time - kStart) / 1000);
  switch (series % 4) {
    case 0:
      return 42;
    case 1:
      return row * series;
    case 2:
      return std::sin(row) * series;
    default:
      return std::floor(row / 100) / 10;
  }
}

std::vector<SeriesId> series_of(Process& process) {
  std::vector<SeriesId> ids;
  for (int i = 0; i < kSeries; ++i) ids.push_back(process.series("s" + std::to_string(i)));
  return ids;
}

/// The newest time of which all series have a sample; kStart when there is none.
std::int64_t newest(Process& process) {
  const Column column = process.read(series_of(process)[0]);
  return column.size() == 0 ? kStart : column.times.back();
}

// Run by the test below as a process of its own; ends by SIGKILL only.
TEST_CASE("child: writes rows and says what is safe", "[.][kill_child]") {
  const char* folder = std::getenv("NEXUS_KILL_FOLDER");
  const char* seed = std::getenv("NEXUS_KILL_SEED");
  REQUIRE(folder != nullptr);
  REQUIRE(seed != nullptr);
  std::mt19937 random(static_cast<std::uint32_t>(std::atoi(seed)));
  const char* from = std::getenv("NEXUS_KILL_FROM");
  Process process(disk_of(folder), std::atoll(from), {.bytes = 1 << 20});
  must(process.opened);
  const std::vector<SeriesId> ids = series_of(process);
  std::vector<double> values(ids.size());
  for (std::int64_t time = newest(process) + 1000;;) {
    for (auto rows = 1 + random() % 300; rows > 0; --rows, time += 1000) {
      for (int i = 0; i < kSeries; ++i) values[static_cast<std::size_t>(i)] = value_of(i, time);
      process.append(1, time, ids, values);
    }
    process.history.maintain(time - 1000);
    must(process.history.checkpoint());
    const std::int64_t acknowledged = time - 1000;
    if (::write(kAckFd, &acknowledged, sizeof(acknowledged)) != sizeof(acknowledged)) return;
  }
}

struct Child {
  Child(const std::string& folder, std::int64_t from, int seed) {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    acks = host::Fd(ends[0]);
    const host::Fd writer(ends[1]);
    const std::string variables[] = {"NEXUS_KILL_FOLDER=" + folder,
                                     "NEXUS_KILL_FROM=" + std::to_string(from),
                                     "NEXUS_KILL_SEED=" + std::to_string(seed)};
    std::vector<char*> environment;
    for (const std::string& one : variables) environment.push_back(const_cast<char*>(one.c_str()));
    environment.push_back(nullptr);
    const std::string program = "/proc/self/exe";
    const char* arguments[] = {program.c_str(), "[kill_child]", nullptr};
    pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      const int null = ::open("/dev/null", O_RDWR);
      ::dup2(null, 1);
      ::dup2(null, 2);
      ::dup2(writer.get(), kAckFd);
      ::execve(program.c_str(), const_cast<char**>(arguments), environment.data());
      ::_exit(127);
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid > 0) kill_it();
  }
  /// Waits for an acknowledgement; nothing when there is none in that time.
  std::optional<std::int64_t> next(int millis) {
    pollfd poll_for{acks.get(), POLLIN, 0};
    std::int64_t time = 0;
    if (::poll(&poll_for, 1, millis) <= 0) return std::nullopt;
    return ::read(acks.get(), &time, sizeof(time)) == sizeof(time) ? std::optional(time)
                                                                   : std::nullopt;
  }
  void kill_it() {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    pid = -1;
  }

  host::Fd acks;
  pid_t pid = -1;
};

/// Every sample there is right, also of the older ones in minutes, and none of the last hours is
/// missing.
bool is_whole(Process& process, std::int64_t newest) {
  const std::vector<SeriesId> ids = series_of(process);
  const std::int64_t start = std::max(kStart, newest - 5 * 3'600'000);
  for (int i = 0; i < kSeries; i += 7) {
    const SeriesId id = ids[static_cast<std::size_t>(i)];
    for (const Column& column : {process.read(id), process.read(id, start, newest)}) {
      for (std::size_t r = 0; r < column.size(); ++r) {
        if (column.values[r] != value_of(i, column.times[r])) return false;
      }
    }
    if (process.read(id, start, newest).size() != static_cast<std::size_t>(newest - start) / 1000) {
      return false;
    }
  }
  return true;
}

TEST_CASE("kill -9 at any moment loses nothing that was acknowledged") {
  const char* given = std::getenv("NEXUS_KILLS");
  const int kills = given == nullptr ? 40 : std::atoi(given);
  const Quiet quiet;
  const test::TemporaryDirectory folder;
  std::mt19937 random(99);
  std::int64_t acknowledged = kStart;
  std::int64_t reached = kStart;
  for (int round = 0; round < kills; ++round) {
    {
      Child child(folder.path(), reached, round);
      const auto first = child.next(20'000);
      REQUIRE(first);  // it started
      acknowledged = std::max(acknowledged, *first);
      for (auto more = random() % 6; more > 0; --more) {
        if (const auto time = child.next(1000)) acknowledged = *time;
      }
      (void)::poll(nullptr, 0, static_cast<int>(random() % 12));  // any moment after it
      child.kill_it();
      while (const auto time = child.next(0)) acknowledged = *time;
    }
    Process process(disk_of(folder.path()), acknowledged);
    must(process.opened);
    reached = newest(process);
    INFO("round " << round);
    REQUIRE(reached >= acknowledged);
    REQUIRE(is_whole(process, reached));
    REQUIRE(process.history.stats().disk_damaged == 0);
  }
  WARN(kills << " kills, " << (reached - kStart) / 1000 << " rows");
}

}  // namespace
}  // namespace nexus::knowledge::disk
