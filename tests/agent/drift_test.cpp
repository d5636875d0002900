// What is in force and not what was configured, or set: findings that come and go by themselves.
#include "agent/drift.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <future>
#include <mutex>

#include "agent/configuration_watch.hpp"
#include "nexus/base/text.hpp"
#include "nexus/config/config.hpp"
#include "support/self_metrics.hpp"
#include "support/temporary_directory.hpp"

using namespace nexus;
using namespace nexus::agent;
using namespace std::chrono_literals;

namespace {

constexpr std::string_view kRules = "groups: [{name: g, rules: [{record: a:b, expr: up}]}]\n";

/// Files of a configuration, the watch over them, and a book.
struct World {
  World() {
    directory.write("agent.toml", "rule_files = [\"rules/*.yml\"]\n[collect]\ninterval = \"1s\"\n");
    directory.write("rules/a.yml", kRules);
    apply();
    open_book();
  }
  void open_book() {
    drift.reset();
    book.reset();
    book = *analyze::Book::open(clock, *db, self);
    drift = std::make_unique<Drift>(
        clock, *book, host::Roots{directory.file("proc"), "/sys", "/"},
        DriftQuestions{.configuration = [this] { return watch->look(clock.steady()); },
                       .needs_restart = [this] { return needs_restart; },
                       .watched_units = [] { return std::vector<std::string>{"web.service"}; },
                       .stale_units = [this](std::span<const std::string>) { return stale; },
                       .kept = [this] { return kept; }});
  }
  void apply() {
    const auto checked = check(options());
    REQUIRE(checked.problems.empty());
    watch = std::make_unique<ConfigurationWatch>(options());
    watch->applied(checked);
  }
  [[nodiscard]] config::LoadOptions options() const {
    config::LoadOptions out;
    out.file = directory.file(main);
    return out;
  }
  /// After so long a look, and the timers of the book.
  const analyze::Finding* look(std::string_view name, Millis after = Drift::kEvery) {
    clock.advance(after);
    drift->look();
    book->tick();
    latest = book->snapshot();
    for (const auto& one : *latest) {
      if (one.name == name && one.state != analyze::FindingState::kResolved) return &one;
    }
    return nullptr;
  }
  bool fires(std::string_view name, Millis after = Drift::kEvery) {
    const auto* one = look(name, after);
    return one != nullptr && one->state == analyze::FindingState::kFiring;
  }

  nexus::test::TemporaryDirectory directory;
  std::string main = "agent.toml";
  base::ManualClock clock;
  knowledge::SelfMetrics self;
  std::unique_ptr<knowledge::StateDb> db = *knowledge::StateDb::open(":memory:");
  std::unique_ptr<analyze::Book> book;
  std::unique_ptr<ConfigurationWatch> watch;
  std::vector<std::string> needs_restart;
  Result<std::vector<drivers::StaleUnit>> stale;
  Result<std::vector<execute::Kept>> kept;
  std::unique_ptr<Drift> drift;
  std::shared_ptr<const analyze::Findings> latest;
};

constexpr auto kFile = "configuration_drift";

execute::Kept somaxconn(WallTime set, const std::string& found) {
  execute::Kept out;
  out.action.id = "id-1";
  out.action.type = "network_optimization";
  out.action.target = "net.core.somaxconn";
  out.action.finished = set;
  const bool as_set = found == "8192";
  out.values = {{.parameter = "value",
                 .name = "net.core.somaxconn",
                 .wanted = "8192",
                 .found = found,
                 .wanted_number = 8192,
                 .found_number = base::parse_double(found),
                 .as_set = as_set}};
  return out;
}

}  // namespace

TEST_CASE(
    "an edited file that nobody applies is told after a while, and not when it says the same") {
  World world;
  CHECK(world.look(kFile) == nullptr);
  world.directory.write(
      "agent.toml", "# a comment\nrule_files = [\"rules/*.yml\"]\n[collect]\ninterval = \"1s\"\n");
  CHECK(world.look(kFile) == nullptr);
  world.directory.write("conf.d/web.toml", "[collect]\ninterval = \"2s\"\n");
  const auto* one = world.look(kFile);
  REQUIRE(one != nullptr);
  CHECK(one->state == analyze::FindingState::kPending);
  CHECK(one->kind == analyze::FindingKind::kDrift);
  CHECK(one->evidence.text.contains("conf.d/web.toml"));
  CHECK_FALSE(one->evidence.text.contains("rules"));
  CHECK(one->annotations.at("sections").contains("collect"));
  CHECK(world.fires(kFile, ConfigurationWatch::kEditing));
  world.apply();
  CHECK(world.look(kFile) == nullptr);
  // A rule file, one that is taken away, and back.
  world.directory.write("rules/a.yml", std::string(kRules) + "# more\n");
  REQUIRE(world.look(kFile) != nullptr);
  CHECK(world.look(kFile)->annotations.at("sections") == "rule_files");
  world.directory.write("rules/a.yml", kRules);
  CHECK(world.look(kFile) == nullptr);
  std::filesystem::remove(world.directory.file("conf.d/web.toml"));
  REQUIRE(world.look(kFile) != nullptr);
  CHECK(world.look(kFile)->evidence.text.contains("conf.d/web.toml"));
}

TEST_CASE(
    "a refused reload is told at once, with its problem, until the file is mended or applied") {
  World world;
  world.directory.write("conf.d/web.toml", "[collect]\nintervall = 2\n");
  REQUIRE(world.look(kFile) != nullptr);
  CHECK(world.look(kFile)->state == analyze::FindingState::kPending);
  CHECK(world.look(kFile)->evidence.text.contains("would be refused"));
  world.watch->refused("web.toml:2:1: no such key", ConfigurationWatch::Why::kFiles);
  world.drift->soon();
  CHECK(world.fires(kFile, 1ms));
  CHECK(world.look(kFile)->evidence.text.contains("web.toml:2:"));
  CHECK(world.look(kFile)->evidence.text.contains("a reload was refused"));
  // The firing finding outlives the agent's restart; what is not so any more ends after it.
  world.open_book();
  CHECK(world.fires(kFile));
  // Mended and not applied: what it was refused for is not so any more.
  world.directory.write("conf.d/web.toml", "[collect]\ninterval = \"2s\"\n");
  REQUIRE(world.fires(kFile));
  CHECK_FALSE(world.look(kFile)->evidence.text.contains("refused"));
  CHECK(world.look(kFile)->evidence.text.contains("was edited and is not applied"));
  std::filesystem::remove(world.directory.file("conf.d/web.toml"));
  CHECK(world.look(kFile) == nullptr);
  // What is edited afterwards was not refused.
  world.directory.write("conf.d/web.toml", "[collect]\ninterval = \"2s\"\n");
  REQUIRE(world.look(kFile) != nullptr);
  CHECK(world.look(kFile)->state == analyze::FindingState::kPending);
}

TEST_CASE("what the host has refused is told until the files say what is applied") {
  World world;
  world.directory.write("conf.d/web.toml", "[collect]\ninterval = \"2s\"\n");
  world.watch->refused("collectors: no memory", ConfigurationWatch::Why::kHost);
  REQUIRE(world.fires(kFile));
  CHECK(world.look(kFile)->evidence.text.contains("no memory"));
  std::filesystem::remove(world.directory.file("conf.d/web.toml"));
  CHECK(world.look(kFile) == nullptr);
}

TEST_CASE("a configuration of another name is no rule file") {
  World world;
  world.main = "agent.conf";
  world.directory.write("agent.conf", "[collect]\ninterval = \"1s\"\n");
  world.apply();
  world.open_book();
  CHECK(world.look(kFile) == nullptr);
  world.directory.write("agent.conf", "# a comment\n[collect]\ninterval = \"1s\"\n");
  CHECK(world.look(kFile) == nullptr);
}

TEST_CASE("a secret in a file of its own is compared too, now and then") {
  World world;
  const auto secret = world.directory.file("hook");
  world.directory.write("hook", "https://example.org/one\n", 0600);
  world.directory.write("conf.d/n.toml",
                        "[notify.hook]\ntype = \"slack\"\nurl_file = \"" + secret + "\"\n");
  world.apply();
  CHECK(world.look(kFile) == nullptr);
  world.directory.write("hook", "https://example.org/two\n", 0600);
  const auto* one = world.look(kFile, ConfigurationWatch::kAnyway);
  REQUIRE(one != nullptr);
  CHECK(one->evidence.text.contains("a secret"));
  CHECK_FALSE(one->evidence.text.contains("example.org"));
}

TEST_CASE("what the next start only puts in force is told until then") {
  World world;
  world.needs_restart = {"http.listen: the sockets are bound at start"};
  REQUIRE(world.fires("configuration_needs_restart"));
  CHECK(world.look("configuration_needs_restart")->evidence.text.contains("http.listen"));
  CHECK(world.look("configuration_needs_restart")->severity == config::Severity::kInfo);
  world.needs_restart.clear();
  CHECK(world.look("configuration_needs_restart") == nullptr);
  // The start that it was told to wait for: the first look ends it.
  world.needs_restart = {"http.listen: the sockets are bound at start"};
  REQUIRE(world.fires("configuration_needs_restart"));
  world.book->tick();
  world.open_book();
  REQUIRE(world.book->snapshot()->size() == 1);
  world.needs_restart.clear();
  CHECK(world.look("configuration_needs_restart", 1ms) == nullptr);
}

TEST_CASE("a look that hangs holds up nobody but who waits for its end") {
  World world;
  std::promise<void> asked;
  std::once_flag once;
  std::promise<void> release;
  const auto released = release.get_future().share();
  world.drift = std::make_unique<Drift>(
      world.clock, *world.book, host::Roots{world.directory.file("proc"), "/sys", "/"},
      DriftQuestions{.configuration = {},
                     .needs_restart =
                         [&] {
                           // Twice, when the look that soon() wants begins before the stop.
                           std::call_once(once, [&] { asked.set_value(); });
                           released.wait();
                           return std::vector<std::string>{"http.listen"};
                         },
                     .watched_units = {},
                     .stale_units = {},
                     .kept = {}});
  world.drift->start();
  asked.get_future().wait();
  // What a turn of the plan loop does with it and with the book.
  world.drift->soon();
  analyze::Observation other;
  other.name = "other";
  other.pending = 1s;
  world.book->report("other", other);
  world.clock.advance(1s);
  world.book->tick();
  REQUIRE(world.book->snapshot()->size() == 1);
  CHECK(world.book->snapshot()->front().state == analyze::FindingState::kFiring);
  CHECK_FALSE(world.drift->hangs());
  world.clock.advance(Drift::kPatience);
  CHECK(world.drift->hangs());
  release.set_value();
  world.drift->stop();
  CHECK(world.book->snapshot()->size() == 2);
}

TEST_CASE("files of a watched unit that systemd has not loaded") {
  World world;
  world.stale = std::vector<drivers::StaleUnit>{
      {"web.service", {"/etc/systemd/system/web.service", "/run/web.conf"}}};
  REQUIRE(world.look("unit_file_drift") != nullptr);
  CHECK(world.look("unit_file_drift")->evidence.text.contains("/run/web.conf"));
  CHECK(world.fires("unit_file_drift", Drift::kUnitPending));
  world.stale = fail(Errc::kTimeout, "systemd is away");
  CHECK(world.fires("unit_file_drift"));
  CHECK_FALSE(world.look("unit_file_drift")->seen_now);
  world.stale = std::vector<drivers::StaleUnit>();
  CHECK(world.look("unit_file_drift") == nullptr);
}

TEST_CASE("a parameter that was set and kept, and is something else now") {
  World world;
  constexpr auto kName = "setting_drift";
  const auto set = world.clock.wall();
  world.kept = std::vector{somaxconn(set, "8192")};
  CHECK(world.look(kName) == nullptr);
  world.kept = std::vector{somaxconn(set, "4096")};
  CHECK(world.look(kName)->state == analyze::FindingState::kPending);
  REQUIRE(world.fires(kName, Drift::kSettingPending));
  CHECK(world.look(kName)->evidence.value == 4096);
  CHECK(world.look(kName)->evidence.threshold == 8192);
  CHECK(world.look(kName)->evidence.text.contains("somebody else has changed it"));
  CHECK(world.look(kName)->annotations.at("action") == "id-1");
  world.directory.write("proc/stat",
                        fmt::format("cpu 1\nbtime {}\n", base::to_unix_millis(set + 60s) / 1000));
  CHECK(world.look(kName)->evidence.text.contains("the host was booted since"));
  // What is not limited is no number, and not 0.
  world.kept->front().values.front().found_number.reset();
  CHECK(std::isnan(world.look(kName)->evidence.value));
  world.kept->front().values.clear();
  world.kept->front().unknown = "systemd is away";
  CHECK(world.fires(kName));
  world.open_book();
  world.kept = std::vector{somaxconn(set, "4096")};
  CHECK(world.fires(kName));
  world.kept = std::vector{somaxconn(set, "8192")};
  CHECK(world.look(kName) == nullptr);
}
