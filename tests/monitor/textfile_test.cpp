// textfile: what node_exporter takes, and what it does not: a maximum age, an error a file.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "monitor/host_tree.hpp"
#include "monitor/run_sink.hpp"

using namespace nexus;
using namespace nexus::monitor;
using namespace nexus::monitor::testing;
using Catch::Matchers::Contains;

namespace {

constexpr std::int64_t kNowSeconds = 1'700'000'000;  // of the rig's clock

struct Folder {
  Folder() { std::filesystem::create_directories(tree.path() + "/metrics"); }
  void put(const std::string& name, std::string_view text, std::int64_t age = 10) const {
    tree.write("metrics/" + name, text);
    const std::array<timespec, 2> times = {timespec{kNowSeconds - age, 0},
                                           timespec{kNowSeconds - age, 0}};
    REQUIRE(::utimensat(AT_FDCWD, path(name).c_str(), times.data(), 0) == 0);
  }
  [[nodiscard]] std::string path(const std::string& name) const {
    return tree.path() + "/metrics/" + name;
  }
  [[nodiscard]] std::string of(std::string_view metric, const std::string& name) const {
    return fmt::format("{}{{file=\"{}\"}}", metric, path(name));
  }
  [[nodiscard]] config::Parameters options(std::string max_age = "30m") const {
    return {{"directory", std::string("/metrics")}, {"max_age", std::move(max_age)}};
  }
  TemporaryTree tree;
};

}  // namespace

TEST_CASE("textfile: samples with types and help, the time of every file") {
  const Folder folder;
  folder.put("a.prom",
             "# HELP job_ok Whether the job succeeded.\n# TYPE job_ok gauge\n"
             "job_ok{name=\"x\\\"y\\n\"} 1\nplain 2.5\n");
  folder.put("ignored.txt", "no 1\n");
  CollectorRig rig("textfile", folder.tree.roots(), folder.options());
  REQUIRE(base::to_unix_millis(rig.clock.wall()) == kNowSeconds * 1000);
  REQUIRE(rig.run());
  CHECK(rig.sink.value(R"(job_ok{name="x\"y\n"})") == 1);
  CHECK(rig.sink.value("plain") == 2.5);
  CHECK(rig.sink.value(folder.of("node_textfile_mtime_seconds", "a.prom")) == kNowSeconds - 10);
  CHECK(rig.sink.value("node_textfile_scrape_error") == 0);
  CHECK_FALSE(rig.sink.has("no"));
  const auto family = rig.registry.family("job_ok", MetricType::kUntyped, "");
  CHECK(rig.registry.family(family).type == MetricType::kGauge);
  CHECK(rig.registry.family(family).help == "Whether the job succeeded.");
  const auto untyped = rig.registry.family("plain", MetricType::kUntyped, "");
  CHECK_THAT(rig.registry.family(untyped).help, Contains("Metric read from"));
}

TEST_CASE("textfile: a file that was touched an hour ago disappears (D4)") {
  const Folder folder;
  folder.put("alive.prom", "alive 1\n");
  folder.put("dead.prom", "dead 1\n", 3600);
  CollectorRig rig("textfile", folder.tree.roots(), folder.options("30m"));
  REQUIRE(rig.run());
  CHECK(rig.sink.has("alive"));
  CHECK_FALSE(rig.sink.has("dead"));
  CHECK(rig.sink.value(folder.of("nexus_textfile_stale", "dead.prom")) == 1);
  CHECK(rig.sink.value(folder.of("node_textfile_mtime_seconds", "dead.prom")) ==
        kNowSeconds - 3600);
  CHECK(rig.sink.value("node_textfile_scrape_error") == 0);
  // The writer of the other one dies, too.
  rig.clock.advance(std::chrono::minutes(31));
  REQUIRE(rig.run());
  CHECK_FALSE(rig.sink.has("alive"));
  CollectorRig forever("textfile", folder.tree.roots(), folder.options("0s"));
  REQUIRE(forever.run());
  CHECK(forever.sink.has("dead"));
}

TEST_CASE("textfile: more directories, a file once, the ones that are there") {
  const Folder folder;
  folder.put("first.prom", "first 1\n");
  folder.tree.write("other/second.prom", "second 2\n");
  auto options = folder.options();
  options["more_directories"] = std::vector<std::string>{"/oth*", "/other", "/other//", "/nowhere"};
  CollectorRig rig("textfile", folder.tree.roots(), options);
  REQUIRE(rig.run());
  CHECK(rig.sink.value("first") == 1);
  CHECK(rig.sink.value("second") == 2);
  CHECK(rig.sink.count() == 2 + 3 * 2 + 2);  // the files' own, of either three, of both two
  options["more_directories"] = std::vector<std::string>{"/nowhere"};
  options["directory"] = std::string("/neither");
  CollectorRig nothing("textfile", folder.tree.roots(), options);
  CHECK_THAT(nothing.failure(), Contains("/neither") && Contains("/nowhere: no such directory"));
}

TEST_CASE("textfile: a bad file is refused whole, named with its line, and costs no other") {
  const Folder folder;
  folder.put("bad.prom", "good_line 1\nbad_line one\n");
  folder.put("fine.prom", "fine 1\n");
  folder.put("stamped.prom", "stamped 1 1700000000000\n");
  folder.put("zero.prom", std::string_view("x 1\0\n", 5));
  CollectorRig rig("textfile", folder.tree.roots(), folder.options());
  const std::string error = rig.failure();
  CHECK_THAT(error, Contains("bad.prom: line 2") && Contains("(and 2 more)"));
  CHECK(rig.sink.value("fine") == 1);
  CHECK_FALSE(rig.sink.has("good_line"));
  CHECK_FALSE(rig.sink.has("stamped"));
  CHECK(rig.sink.value("node_textfile_scrape_error") == 1);
  CHECK(rig.sink.value(folder.of("nexus_textfile_error", "bad.prom")) == 1);
  CHECK(rig.sink.value(folder.of("nexus_textfile_error", "fine.prom")) == 0);
  CHECK(rig.sink.value(folder.of("node_textfile_mtime_seconds", "stamped.prom")) > 0);
}

TEST_CASE("textfile: help texts that differ are told, the samples are taken") {
  const Folder folder;
  folder.put("1.prom", "# HELP m One.\nm{f=\"1\"} 1\n");
  folder.put("2.prom", "# HELP m Other.\nm{f=\"2\"} 2\n");
  CollectorRig rig("textfile", folder.tree.roots(), folder.options());
  CHECK_THAT(rig.failure(), Contains("2.prom: m: another help text"));
  CHECK(rig.sink.value(R"(m{f="1"})") == 1);
  CHECK(rig.sink.value(R"(m{f="2"})") == 2);
  CHECK(rig.sink.value("node_textfile_scrape_error") == 1);
}

TEST_CASE("textfile: histograms keep their parts") {
  const Folder folder;
  folder.put(
      "h.prom",
      "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n");
  CollectorRig rig("textfile", folder.tree.roots(), folder.options());
  RunSink sink(rig.registry, 100);
  for (int run = 0; run < 2; ++run) {
    sink.begin();
    REQUIRE(rig.collector->collect(sink));
    CHECK(sink.finish() == (run == 0));
    CHECK(sink.dropped() == 0);
  }
  const auto buckets = rig.registry.select(std::vector{
      knowledge::Matcher::make("__name__", knowledge::MatchOp::kEqual, "h_bucket").value()});
  REQUIRE(buckets.size() == 2);
  CHECK(rig.registry.family(rig.registry.family_of(buckets[0])).name == "h");
}

TEST_CASE("textfile: no directory is no data, several of them by a pattern, files are bounded") {
  const Folder folder;
  CollectorRig none("textfile", folder.tree.roots(), {{"directory", std::string("/nowhere")}});
  const Status absent = none.run();
  REQUIRE_FALSE(absent);
  CHECK(absent.error().code() == Errc::kNotFound);
  folder.tree.write("more1/x.prom", "x 1\n");
  folder.tree.write("more2/y.prom", "y 1\n");
  CollectorRig several("textfile", folder.tree.roots(),
                       {{"directory", std::string("/more*")}, {"max_age", std::string("0s")}});
  REQUIRE(several.run());
  CHECK(several.sink.has("x"));
  CHECK(several.sink.has("y"));
  for (int i = 0; i < 20; ++i) folder.put(fmt::format("{:02}.prom", i), "z 1\n");
  auto options = folder.options();
  options["max_files"] = std::int64_t{5};
  CollectorRig few("textfile", folder.tree.roots(), options);
  REQUIRE(few.run());
  CHECK(few.sink.value("nexus_textfile_left_out_files") == 15);
}

TEST_CASE("textfile: links are followed for whom may read what they lead to, only") {
  constexpr uid_t kSomebody = 65534;
  const Folder folder;
  folder.tree.write("secret", "root:$6$hash 1\n");
  folder.tree.write("theirs", "theirs 1\n");
  REQUIRE(::chmod((folder.tree.path() + "/secret").c_str(), 0600) == 0);
  REQUIRE(::chown((folder.tree.path() + "/theirs").c_str(), kSomebody, kSomebody) == 0);
  const auto link = [&](const std::string& target, const std::string& name, uid_t owner) {
    REQUIRE(::symlink(target.c_str(), folder.path(name).c_str()) == 0);
    REQUIRE(::lchown(folder.path(name).c_str(), owner, owner) == 0);
  };
  link("../theirs", "own.prom", kSomebody);
  link("../secret", "trap.prom", kSomebody);
  CollectorRig rig("textfile", folder.tree.roots(), folder.options("0s"));
  const auto status = rig.run();
  CHECK(rig.sink.value("theirs") == 1);
  REQUIRE_FALSE(status);
  CHECK_THAT(status.error().message(), Contains("trap.prom: a symbolic link of user 65534"));
  CHECK(rig.sink.value(folder.of("nexus_textfile_error", "trap.prom")) == 1);
  CHECK(rig.sink.value(folder.of("nexus_textfile_error", "own.prom")) == 0);
  // root's own link is followed; what others may not read is not quoted.
  std::filesystem::remove(folder.path("trap.prom"));
  link("../secret", "root.prom", 0);
  const auto quoted = rig.run();
  REQUIRE_FALSE(quoted);
  CHECK_THAT(quoted.error().message(), Contains("line 1"));
  CHECK_THAT(quoted.error().message(), !Contains("hash"));
}
