// rotate_logs under a writer that never stops: every line is there afterwards, once.
#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <zlib.h>
#include <zstd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <fstream>

#include "bench.hpp"
#include "nexus/base/text.hpp"
#include "nexus/host/privileged.hpp"

using namespace nexus;
using namespace nexus::execute;
using namespace nexus::execute::test;
using namespace std::chrono_literals;

namespace {

/// The real clock, on a day that the test moves on: rotated logs are named by it.
class ShiftedClock final : public Clock {
 public:
  [[nodiscard]] WallTime wall() const noexcept override { return real_.wall() + shift_.load(); }
  [[nodiscard]] SteadyTime steady() const noexcept override { return real_.steady(); }
  bool wait_until(std::unique_lock<std::mutex>& lock, std::condition_variable& condition,
                  SteadyTime deadline, const std::function<bool()>& done) override {
    return real_.wait_until(lock, condition, deadline, done);
  }
  void shift(Millis by) { shift_ = shift_.load() + by; }

 private:
  base::SystemClock real_;
  std::atomic<Millis> shift_{Millis(0)};
};

std::string slurp(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string gunzip(const std::string& path) {
  std::string out;
  std::vector<char> block(1 << 16);
  gzFile file = gzopen(path.c_str(), "rb");
  REQUIRE(file != nullptr);
  for (int got = 1; got > 0;) {
    got = gzread(file, block.data(), static_cast<unsigned>(block.size()));
    REQUIRE(got >= 0);
    out.append(block.data(), static_cast<std::size_t>(got));
  }
  gzclose(file);
  return out;
}

std::string unzstd(const std::string& path) {
  const auto packed = slurp(path);
  std::string out;
  std::vector<char> block(1 << 16);
  ZSTD_DCtx* context = ZSTD_createDCtx();
  ZSTD_inBuffer input{packed.data(), packed.size(), 0};
  while (input.pos < input.size) {
    ZSTD_outBuffer output{block.data(), block.size(), 0};
    REQUIRE(ZSTD_isError(ZSTD_decompressStream(context, &output, &input)) == 0);
    out.append(block.data(), output.pos);
  }
  ZSTD_freeDCtx(context);
  return out;
}

std::string content(const std::string& path) {
  if (path.ends_with(".gz")) return gunzip(path);
  return path.ends_with(".zst") ? unzstd(path) : slurp(path);
}

struct Room {
  Room() {
    bench.config.allow.paths = {directory};
    bench.configure();
    bench.executor->start();
  }
  Action rotate(config::Parameters parameters, Millis later = 1s) {
    clock.shift(later);
    auto out = bench.action(log);
    out.type = "rotate_logs";
    out.parameters = std::move(parameters);
    return out;
  }
  std::string invalid(const Action& action) {
    const auto ok = bench.executor->validate(action);
    return ok ? "" : ok.error().message();
  }
  /// Those put aside, oldest first.
  [[nodiscard]] std::vector<std::string> rotated() const {
    std::vector<std::string> out;
    for (const auto& entry : std::filesystem::directory_iterator(directory)) {
      if (entry.path().filename().string().starts_with("app.log-")) out.push_back(entry.path());
    }
    std::ranges::sort(out);
    return out;
  }

  ShiftedClock clock;
  TemporaryDirectory temporary;
  const std::string directory = std::filesystem::canonical(temporary.path());
  const std::string log = directory + "/app.log";
  Bench bench{clock};
};

/// Writes 0, 1, 2, ... a line each, as fast as it can, and opens its log anew when it gets SIGHUP.
class Writer {
 public:
  explicit Writer(const std::string& log) {
    const auto ready = log + ".ready";
    std::string script = fmt::format(
        "trap 'exec >>{0}' HUP; exec >>{0}; : > {1}; i=0; while :; do echo $i; i=$((i+1)); done",
        log, ready);
    std::array<char*, 4> argv{const_cast<char*>("sh"), const_cast<char*>("-c"), script.data(),
                              nullptr};
    REQUIRE(::posix_spawn(&pid_, "/bin/sh", nullptr, nullptr, argv.data(), environ) == 0);
    while (!std::filesystem::exists(ready)) std::this_thread::yield();
    id_ = host::process_facts({.pid = pid_}).value().id;
  }
  ~Writer() { end(); }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  void end() {
    if (pid_ == 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  [[nodiscard]] std::string target() const { return host::to_string(id_); }

 private:
  pid_t pid_ = 0;
  host::ProcessId id_;
};

std::string stamp(WallTime time) {
  const auto text = base::to_rfc3339(time);
  return text.substr(0, 4) + text.substr(5, 2) + text.substr(8, 2) + "-" + text.substr(11, 2) +
         text.substr(14, 2) + text.substr(17, 2);
}

void await_size(const std::string& path, std::uintmax_t bytes) {
  std::error_code ignored;
  while (std::filesystem::file_size(path, ignored) < bytes || ignored) std::this_thread::yield();
}

}  // namespace

TEST_CASE("no line is lost and none comes twice under a writer that never stops") {
  Room room;
  Writer writer(room.log);
  for (int round = 0; round < 6; ++round) {
    await_size(room.log, 1000);
    if (round == 3) {
      // As if the agent had been killed between the two: renamed, and the writer not told. The next
      // rotation finds an empty log, and an old one that is still written to.
      room.clock.shift(1s);
      const host::Fd fd(::open(room.log.c_str(), O_RDONLY | O_CLOEXEC));
      REQUIRE(room.bench.privileged.rotate(room.directory, "app.log",
                                           host::look_at(fd.get())->identity,
                                           "app.log-" + stamp(room.clock.wall())));
    }
    const auto how = std::string(round % 2 == 0 ? "zstd" : "gzip");
    const auto done = room.bench.run(room.rotate({{"process", writer.target()},
                                                  {"compress", how},
                                                  {"keep", std::int64_t{100}},
                                                  {"wait", std::string("5m")}}));
    INFO(done.outcome.result << done.outcome.output);
    REQUIRE(done.state == ActionState::kSucceeded);
  }
  await_size(room.log, 1000);
  writer.end();
  auto files = room.rotated();
  INFO(fmt::format("{}", files.size()));
  for (const auto& file : files) CHECK((file.ends_with(".zst") || file.ends_with(".gz")));
  std::uint64_t next = 0;
  files.push_back(room.log);
  for (const auto& file : files) {
    const auto text = content(file);
    for (std::string_view rest = text; rest.contains('\n');) {  // its last line may be cut off
      const auto line = base::take_until(rest, '\n');
      if (line != std::to_string(next))
        FAIL(file << ": " << line << " where " << next << " is due");
      ++next;
    }
  }
  CHECK(next > 1000);
}

TEST_CASE("a log that its writer does not let go of stays as it is until it does") {
  Room room;
  std::ofstream(room.log) << "first\n";
  ::chmod(room.log.c_str(), 0640);
  host::Fd held(::open(room.log.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  const config::Parameters parameters{{"command", std::string("true")},
                                      {"wait", std::string("0s")}};
  const auto done = room.bench.run(room.rotate(parameters));
  INFO(done.outcome.result);
  CHECK(done.state == ActionState::kSucceeded);
  CHECK_THAT(done.outcome.result, Catch::Contains("has not let go of it yet"));
  REQUIRE(room.rotated().size() == 1);
  CHECK(slurp(room.rotated().front()) == "first\n");
  CHECK(std::filesystem::file_size(room.log) == 0);
  struct stat made{};
  REQUIRE(::stat(room.log.c_str(), &made) == 0);
  CHECK((made.st_mode & 07777) == 0640);
  // What it goes on writing is in the old one, and nothing is lost when that is compressed at last.
  REQUIRE(::write(held.get(), "late\n", 5) == 5);
  std::ofstream(room.log) << "second\n";
  held.reset();
  CHECK(room.bench.run(room.rotate(parameters)).state == ActionState::kSucceeded);
  const auto files = room.rotated();
  REQUIRE(files.size() == 2);
  CHECK(content(files[0]) == "first\nlate\n");
  CHECK(files[0].ends_with(".zst"));
  CHECK(content(files[1]) == "second\n");
}

TEST_CASE("the newest are kept, small logs are left, and copytruncate has to be asked for") {
  Room room;
  const config::Parameters parameters{{"command", std::string("true")},
                                      {"keep", std::int64_t{2}},
                                      {"compress", std::string("none")}};
  for (int i = 0; i < 4; ++i) {
    std::ofstream(room.log) << i << "\n";
    CHECK(room.bench.run(room.rotate(parameters)).state == ActionState::kSucceeded);
  }
  REQUIRE(room.rotated().size() == 2);
  CHECK(slurp(room.rotated()[0]) == "2\n");
  CHECK(slurp(room.rotated()[1]) == "3\n");

  const auto small = room.bench.run(room.rotate(parameters));
  CHECK_THAT(small.outcome.result, Catch::Contains("was left as it is"));
  CHECK(room.rotated().size() == 2);

  std::ofstream(room.log) << "copied\n";
  const host::Fd held(::open(room.log.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  const auto copied = room.bench.run(room.rotate({{"copytruncate", true}}));
  CHECK(copied.state == ActionState::kSucceeded);
  CHECK(content(room.rotated().back()) == "copied\n");
  REQUIRE(::write(held.get(), "on\n", 3) == 3);
  CHECK(slurp(room.log) == "on\n");  // the same file, emptied: no hole of NULs before it

  CHECK_THAT(room.invalid(room.rotate({})), Catch::Contains("expected one of the parameters unit"));
  CHECK_THAT(room.invalid(room.rotate({{"command", std::string("nothing")}})),
             Catch::Contains("is not listed as a [[command]]"));
  auto outside = room.rotate(parameters);
  outside.target = "/etc/passwd";
  CHECK_THAT(room.invalid(outside), Catch::Contains("below one of [allow] paths"));
}

TEST_CASE("rotations of one second overwrite nothing") {
  Room room;
  constexpr int kRotations = 5;
  for (int i = 0; i < kRotations; ++i) {
    std::ofstream(room.log) << i << "\n";
    const auto done = room.bench.run(room.rotate(
        {{"command", std::string("true")}, {"keep", std::int64_t{2 * kRotations}}}, 0s));
    CHECK(done.state == ActionState::kSucceeded);
  }
  const auto files = room.rotated();
  REQUIRE(files.size() == kRotations);
  for (int i = 0; i < kRotations; ++i)
    CHECK(content(files[static_cast<std::size_t>(i)]) == std::to_string(i) + "\n");
}

TEST_CASE("a signal that would end the writer is not sent, and nothing is moved") {
  Room room;
  std::ofstream(room.log) << "line\n";
  pid_t pid = 0;
  std::array<char*, 3> argv{const_cast<char*>("sleep"), const_cast<char*>("1000"), nullptr};
  REQUIRE(::posix_spawn(&pid, "/bin/sleep", nullptr, nullptr, argv.data(), environ) == 0);
  const auto id = host::process_facts({.pid = pid}).value().id;
  const auto ended = room.bench.run(room.rotate({{"process", host::to_string(id)}}));
  CHECK(ended.state == ActionState::kFailed);
  CHECK_THAT(ended.outcome.result, Catch::Contains("does not handle the signal"));
  CHECK(room.rotated().empty());
  CHECK(::waitpid(pid, nullptr, WNOHANG) == 0);
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
}

TEST_CASE("what a killed rotation has left behind is swept, and counts for nothing") {
  Room room;
  std::ofstream(room.log) << "line\n";
  const auto half = room.directory + "/.app.log-20260101-000000.zst.0123abcd";
  const auto empty = room.directory + "/app.log-20260102-000000";
  const auto real = room.directory + "/app.log-20260101-000000.zst";
  std::ofstream(half) << "half";
  std::ofstream(empty).flush();
  std::ofstream(real) << "real";
  const auto done = room.bench.run(room.rotate(
      {{"copytruncate", true}, {"compress", std::string("zstd")}, {"keep", std::int64_t{2}}}));
  INFO(done.outcome.result << done.outcome.output);
  CHECK(done.state == ActionState::kSucceeded);
  CHECK_FALSE(std::filesystem::exists(half));
  CHECK_FALSE(std::filesystem::exists(empty));
  CHECK(std::filesystem::exists(real));
}

TEST_CASE("a compression that is ended leaves the log as it was, and nothing else") {
  Room room;
  std::ofstream(room.log) << std::string(1 << 20, 'x');
  auto& privileged = room.bench.privileged;
  for (const auto how : {host::Compression::kZstd, host::Compression::kGzip}) {
    int asked = 0;
    const auto ended =
        privileged.compress(room.directory, "app.log", how, [&] { return ++asked < 3; });
    REQUIRE_FALSE(ended);
    CHECK(ended.error().code() == Errc::kCancelled);
  }
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(room.directory)) {
    CHECK(entry.path() == room.log);
    ++files;
  }
  CHECK(files == 1);
  CHECK(std::filesystem::file_size(room.log) == 1 << 20);
}
