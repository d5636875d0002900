// [[log]] over real files that are renamed, copied, truncated and filled with anything.
#include "monitor/logs/logs.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <thread>

#include "nexus/base/text.hpp"
#include "nexus/knowledge/queryable.hpp"
#include "support/self_metrics.hpp"
#include "support/server.hpp"

using namespace nexus;
using namespace nexus::monitor;
using namespace std::chrono_literals;

namespace {

/// The logs of an agent on a clock that is moved until what is waited for has happened. start()
/// and stop() are a restart.
class Rig {
 public:
  explicit Rig(std::string pattern, std::string from = "begin") {
    config_.name = "app";
    config_.files = {directory.file(pattern)};
    config_.from = std::move(from);
    config_.patterns = {
        {.metric = "errors_total", .regex = "error"},
        {.metric = "by_word_total", .regex = "word=(?P<word>\\S+)", .labels = {"word"}}};
    start();
  }
  ~Rig() { logs.reset(); }  // before what it uses
  void start() {
    outbox_ = std::make_unique<Outbox>(clock, ring_, self);
    context_ = std::make_unique<SourcesContext>(
        SourcesContext{clock, registry, history, rings_, self, state_.get()});
    logs = std::make_unique<Logs>(*context_, *outbox_);
    logs->configure({config_});
  }
  void stop() {
    logs->stop();
    logs.reset();
    drain();
  }
  /// Lets nothing be saved until release(): who ends meanwhile waits, as on a dead mount.
  void hold() {
    holder_ = std::thread([this] {
      static_cast<void>(state_->transaction([this]() -> Status {
        held_.set_value();
        released_.get_future().wait();
        return {};
      }));
    });
    held_.get_future().wait();
  }
  void release() {
    released_.set_value();
    holder_.join();
  }
  /// A reload with another configuration of the same log.
  void change() {
    config_.patterns.push_back({.metric = "warnings_total", .regex = "warning"});
    logs->configure({config_});
  }
  void write(const std::string& name, std::string_view text) const {
    std::ofstream(directory.file(name), std::ios::app | std::ios::binary) << text;
  }
  void move(const std::string& from, const std::string& to) const {
    std::filesystem::rename(directory.file(from), directory.file(to));
  }
  void copy(const std::string& from, const std::string& to) const {
    std::filesystem::copy_file(directory.file(from), directory.file(to));
  }
  void truncate(const std::string& name) const {
    std::filesystem::resize_file(directory.file(name), 0);
  }
  /// The newest value of a series; -1: none.
  double value(std::string_view series) {
    drain();
    for (const auto id : registry.select({})) {
      if (knowledge::to_string(registry.labels(id)) != series) continue;
      const auto sample = history.latest(id);
      return sample && !knowledge::is_stale_marker(sample->value) ? sample->value : -1;
    }
    return -1;
  }
  double errors() { return value("errors_total{log=\"app\"}"); }
  double lines() { return value("nexus_log_lines_total{log=\"app\"}"); }
  /// Lets the clock run until it is so.
  bool comes(const std::function<bool()>& so) {
    return test::eventually([&] {
      clock.advance(500ms);
      return so();
    });
  }
  /// What would be read late or twice is read, for samples came again and again.
  void pass(int samples = 5) {
    const auto last = [&] { return logs->status().front().last; };
    for (int i = 0; i < samples; ++i) {
      const auto before = last();
      REQUIRE(comes([&] { return last() != before; }));
    }
  }
  [[nodiscard]] Outbox& outbox() const { return *outbox_; }
  /// Series that had a sample the last time.
  [[nodiscard]] std::size_t live() const { return logs->status().front().samples; }
  /// Every one of these lines, and none twice, now and later.
  void has(int expected) {
    CHECK(comes([&] { return errors() >= expected; }));
    pass();
    CHECK(errors() == expected);
  }

  test::TemporaryDirectory directory;
  base::ManualClock clock;
  knowledge::SelfMetrics self;
  knowledge::SeriesRegistry registry{20'000};
  knowledge::History history{registry, {}};
  std::unique_ptr<Logs> logs;

 private:
  void drain() {
    ring_->drain([this](const knowledge::BatchView& batch) { history.append(batch); });
  }

  config::LogConfig config_;
  knowledge::Rings rings_{1 << 12};
  std::shared_ptr<knowledge::SampleRing> ring_ = std::make_shared<knowledge::SampleRing>(1 << 16);
  std::unique_ptr<knowledge::StateDb> state_ = *knowledge::StateDb::open(":memory:");
  std::unique_ptr<Outbox> outbox_;
  std::unique_ptr<SourcesContext> context_;
  std::promise<void> held_;
  std::promise<void> released_;
  std::thread holder_;
};

std::string lines_of(int count, std::string_view text = "an error here\n") {
  std::string out;
  for (int i = 0; i < count; ++i) out += text;
  return out;
}

}  // namespace

TEST_CASE("logs: one whose configuration changes goes on where it was, and one that is gone ends") {
  Rig rig("app.log");
  rig.write("app.log", lines_of(10));
  rig.has(10);
  for (int i = 1; i <= 3; ++i) {
    rig.change();
    rig.write("app.log", lines_of(5));
    rig.has(10 + 5 * i);
  }
  rig.logs->configure({});
  CHECK(rig.comes([&] { return rig.errors() == -1; }));
  CHECK(rig.logs->status().empty());
}

TEST_CASE(
    "logs: the last of two reloads begins when all before it have ended, and counts no line "
    "twice") {
  Rig rig("app.log");
  rig.write("app.log", lines_of(10));
  rig.has(10);
  rig.hold();
  rig.write("app.log", lines_of(5));
  CHECK(rig.comes([&] { return rig.errors() == 15; }));  // read, and still to be saved
  rig.change();
  rig.change();
  const auto waits = [&] { return rig.logs->status().front().error.contains("has not ended yet"); };
  CHECK(rig.comes(waits));
  rig.write("app.log", lines_of(2));
  rig.clock.advance(60s);
  CHECK(rig.comes(waits));
  rig.release();
  rig.has(17);
  CHECK(rig.outbox().series().taken() == rig.live());
}

TEST_CASE("logs: their series come out of what all sources may hold") {
  Rig rig("app.log");
  rig.write("app.log", lines_of(1) + "word=a\nword=b\nword=c\n");
  rig.has(1);
  const std::size_t all = rig.live();
  CHECK(rig.outbox().series().taken() == all);
  rig.outbox().series().limit(all);
  rig.write("app.log", lines_of(1) + "word=d\n");
  rig.has(2);
  CHECK(rig.live() == all);
  CHECK(rig.logs->status().front().dropped > 0);
  rig.logs->configure({});
  CHECK(rig.comes([&] { return rig.outbox().series().taken() == 0; }));
}

TEST_CASE("logs: a rotated file whose new name matches too is not read twice") {
  Rig rig("app*.log");
  rig.write("app.log", lines_of(10));
  rig.has(10);
  rig.move("app.log", "app-1.log");
  rig.write("app-1.log", lines_of(2));  // whoever writes has not gone over yet
  rig.write("app.log", lines_of(3));
  rig.has(15);
  rig.move("app-1.log", "app-2.log");
  rig.move("app.log", "app-1.log");
  rig.write("app.log", lines_of(1));
  rig.has(16);
  rig.stop();
  rig.write("app.log", lines_of(4));
  rig.move("app-2.log", "app-3.log");
  rig.start();
  rig.has(20);
}

TEST_CASE("logs: a copy that copytruncate makes is not read twice, and has what came before") {
  Rig rig("app.log*");
  const auto text = [](int from, int to) {
    std::string out;
    for (int i = from; i < to; ++i) out += "error number " + std::to_string(i) + "\n";
    return out;
  };
  rig.write("app.log", text(0, 20));
  rig.has(20);
  rig.write("app.log", text(20, 25));
  rig.copy("app.log", "app.log.1");
  rig.truncate("app.log");
  rig.write("app.log", text(25, 28));
  rig.has(28);
  rig.write("app.log", text(28, 30));
  rig.has(30);
  // While the agent is down.
  rig.stop();
  rig.write("app.log", text(30, 40));
  rig.move("app.log.1", "app.log.2");
  rig.copy("app.log", "app.log.1");
  rig.truncate("app.log");
  rig.write("app.log", text(40, 41));
  rig.start();
  rig.has(41);
  rig.write("app.log.2.gz", "error, compressed\n");
  rig.has(41);
}

TEST_CASE("logs: a truncated file whose writer goes on where it was") {
  Rig rig("app.log");
  const int fd = ::open(rig.directory.file("app.log").c_str(), O_WRONLY | O_CREAT, 0644);
  REQUIRE(fd >= 0);
  const auto put = [&](std::string_view text) {
    REQUIRE(::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  };
  put(lines_of(10'000));
  rig.has(10'000);
  rig.truncate("app.log");
  put("an error behind the hole\nanother error\n");  // 140 kB of hole in front of it
  rig.has(10'002);
  REQUIRE(::lseek(fd, 1L << 40, SEEK_SET) > 0);  // a terabyte of it
  rig.truncate("app.log");
  put("an error far away\n");
  rig.has(10'003);
  CHECK(rig.value("nexus_log_long_lines_total{log=\"app\"}") == 0);
  put("not yet a line");
  rig.pass(2);
  REQUIRE(::lseek(fd, 1L << 30, SEEK_CUR) > 0);
  put("an error behind another hole\n");
  rig.has(10'004);
  ::close(fd);
}

TEST_CASE("logs: from the end, an empty file, a line without its end, bytes of all kinds") {
  Rig rig("app.log", "end");
  rig.write("app.log", "");
  CHECK(rig.comes([&] { return rig.errors() == 0; }));
  CHECK(rig.comes([&] { return rig.logs->status().front().health == "up"; }));
  rig.write("app.log", "an error with");
  rig.pass(2);
  CHECK(rig.errors() == 0);
  rig.write("app.log", "out an end, word=\"quoted\\\" and word=\xff\xfe\n");
  rig.write("app.log", std::string(3 << 20, 'x') + " error beyond 8 KiB\nword=" +
                           std::string(5000, 'w') + "\nword=caf\xc3\xa9\n\n\r\nlast error\r\n");
  rig.has(2);
  CHECK(rig.lines() == 7);
  CHECK(rig.value("nexus_log_long_lines_total{log=\"app\"}") == 1);
  CHECK(rig.value("by_word_total{log=\"app\",word=\"caf\xc3\xa9\"}") == 1);
  CHECK(rig.value("by_word_total{log=\"app\",word=\"\\\"quoted\\\\\\\"\"}") == 1);
  CHECK(rig.value("by_word_total{log=\"app\",word=\"" + std::string(128, 'w') + "\"}") == 1);
}

TEST_CASE("logs: more files than are followed are told of") {
  Rig rig("*.log");
  for (int i = 0; i < 300; ++i) rig.write(std::to_string(i) + ".log", "error\n");
  CHECK(rig.comes([&] { return rig.errors() == 256; }));
  CHECK(rig.comes(
      [&] { return rig.logs->status().front().error.contains("44 files are left out"); }));
}
