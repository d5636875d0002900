// Every file-based collector over every recorded host tree (tests/hosts/README.md), compared with
// the exposition and the outcomes that stand beside the tree. UPDATE_GOLDEN=1 in the environment
// writes them anew: read the difference.
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cerrno>
#include <cstdlib>

#include "monitor/collectors/filesystem.hpp"
#include "monitor/host_tree.hpp"
#include "nexus/base/text.hpp"
#include "nexus/host/file.hpp"
#include "nexus/knowledge/exposition.hpp"
#include "nexus/monitor/scheduler.hpp"

using namespace nexus;
using namespace nexus::monitor;
using namespace nexus::monitor::testing;

namespace {

constexpr std::array<std::string_view, 6> kHosts = {"small-vm",   "numa",    "container",
                                                    "old-kernel", "hostile", "server"};

class ExposingSink final : public Sink {
 public:
  explicit ExposingSink(knowledge::SeriesRegistry& registry) : registry_(registry) {}
  using Sink::add;
  void add(FamilyId family, std::span<const LabelView> labels, double value) override {
    const auto id = registry_.intern(family, labels);
    REQUIRE(id.has_value());
    samples.push_back({*id, value});
  }
  std::vector<knowledge::ExposedSample> samples;

 private:
  knowledge::SeriesRegistry& registry_;
};

/// What a recorded host's filesystems answer: sizes made of the path, and one that does not answer
/// well.
StatfsFunction statfs_below(const std::string& tree) {
  return [tree](const std::string& path, FilesystemUsage& usage) {
    if (path == tree + "/srv/archive") return ESTALE;
    const auto unit = static_cast<double>(path.size() - tree.size()) * 4096;
    usage = {.size = 1000 * unit,
             .free = 300 * unit,
             .available = 250 * unit,
             .files = 5000,
             .files_free = 4000};
    return 0;
  };
}

struct Scrape {
  std::string exposition;
  std::string outcomes;  // a line for every collector: name, outcome, error
};

std::string without(std::string text, const std::string& part) {
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part))
    text.erase(at, part.size());
  return text;
}

std::string outcome_line(std::string_view name, const Status& done, const std::string& tree) {
  if (done) return fmt::format("{} ok\n", name);
  const bool absent = done.error().code() == Errc::kNotFound;
  return fmt::format("{} {} {}\n", name, absent ? "no_data" : "failed",
                     without(done.error().message(), tree + "/"));
}

Scrape scrape(const std::string& tree) {
  const host::Roots roots = roots_at(tree);
  base::ManualClock clock;
  knowledge::SeriesRegistry registry(100'000);
  knowledge::Rings rings(1024);
  knowledge::SelfMetrics self;
  const SchedulerContext context{
      .roots = roots, .clock = clock, .registry = registry, .rings = rings, .self = self};
  std::vector<std::string> names;
  for (const CollectorDescriptor* descriptor : collectors()) {
    if (is_file_based(descriptor->name) && descriptor->name != "filesystem")
      names.emplace_back(descriptor->name);
  }
  ExposingSink sink(registry);
  const auto once = collect_once(context, {}, names, sink);
  REQUIRE(once.has_value());

  Scrape result;
  for (const CollectorStatus& status : once->collectors) {
    result.outcomes += status.name + " " + status.outcome;
    if (!status.error.empty()) result.outcomes += " " + without(status.error, tree + "/");
    result.outcomes += "\n";
  }
  const config::Parameters defaults;
  const auto filesystem =
      make_filesystem({.roots = roots, .clock = clock, .registry = registry, .options = defaults},
                      statfs_below(tree));
  REQUIRE(filesystem.has_value());
  result.outcomes += outcome_line("filesystem", (*filesystem)->collect(sink), tree);
  knowledge::Exposition exposition(registry);
  result.exposition = without(exposition.render(sink.samples), tree + "/");
  return result;
}

bool updating() {
  const char* update = std::getenv("UPDATE_GOLDEN");
  return update != nullptr && std::string_view(update) == "1";
}

/// The first line that differs, which says more than two long texts.
std::string first_difference(std::string_view expected, std::string_view actual) {
  while (!expected.empty() || !actual.empty()) {
    const std::string_view left = base::take_until(expected, '\n');
    const std::string_view right = base::take_until(actual, '\n');
    if (left != right) return fmt::format("expected: {}\n  actual: {}", left, right);
  }
  return {};
}

void compare(const std::string& path, const std::string& actual) {
  if (updating()) {
    REQUIRE(host::write_file_atomically(path, actual, 0644));
    return;
  }
  const auto expected = host::read_file(path);
  INFO(path);
  REQUIRE(expected.has_value());
  CHECK(first_difference(*expected, actual).empty());
  INFO(first_difference(*expected, actual));
  CHECK((*expected == actual));
}

struct Lint {
  int status = 0;  // of promtool: 0 clean, 1 it cannot be parsed, 3 something of style
  std::string output;
};

/// `promtool check metrics < path`
Lint promtool(const std::string& path) {
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, path.c_str(), O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
  std::string program = "promtool";
  std::string check = "check";
  std::string metrics = "metrics";
  std::array<char*, 4> arguments = {program.data(), check.data(), metrics.data(), nullptr};
  pid_t child = 0;
  const int error =
      ::posix_spawnp(&child, "promtool", &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  INFO("promtool of the package prometheus is needed");
  REQUIRE(error == 0);

  Lint lint;
  std::array<char, 4096> bytes{};
  for (ssize_t n = 0; (n = ::read(ends[0], bytes.data(), bytes.size())) > 0;) {
    lint.output.append(bytes.data(), static_cast<std::size_t>(n));
  }
  ::close(ends[0]);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  lint.status = WEXITSTATUS(status);
  return lint;
}

}  // namespace

TEST_CASE("recorded hosts give the expected exposition and outcomes") {
  REQUIRE(::setenv("TZ", "UTC", 1) == 0);
  for (const std::string_view host : kHosts) {
    DYNAMIC_SECTION(host) {
      const std::string tree = host_path(host);
      const Scrape result = scrape(tree);
      compare(tree + "/expected.prom", result.exposition);
      compare(tree + "/expected.outcomes", result.outcomes);
    }
  }
}

TEST_CASE(
    "promtool parses every expected exposition and finds only what it finds in node_exporter's") {
  for (const std::string_view host : kHosts) {
    DYNAMIC_SECTION(host) {
      const Lint lint = promtool(host_path(host) + "/expected.prom");
      INFO(lint.output);
      CHECK((lint.status == 0 || lint.status == 3));
      std::string_view rest = lint.output;
      while (!rest.empty()) {
        const std::string_view line = base::take_until(rest, '\n');
        INFO(line);
        const bool is_camel =
            line.ends_with("not 'camelCase'") &&
            (line.starts_with("node_memory_") || line.starts_with("node_netstat_"));
        // Counters of cAdvisor and process-exporter are called so.
        const bool is_named_so = line.starts_with("node_entropy_") ||
                                 line.starts_with("container_memory_failcnt ") ||
                                 line.starts_with("namedprocess_scrape_");
        CHECK((is_camel || is_named_so));
      }
    }
  }
}

TEST_CASE("every series of a recorded host belongs to a metric that its collector describes") {
  for (const CollectorDescriptor* descriptor : collectors()) {
    if (!is_file_based(descriptor->name)) continue;
    for (const std::string_view host : {"server", "numa"}) {
      CollectorRig rig(descriptor->name, roots_at(host_path(host)));
      const Status done = rig.run();
      INFO((done ? "" : done.error().message()));
      if (!done && done.error().code() == Errc::kNotFound) continue;
      REQUIRE(done);
      for (FamilyId id = 0; id < rig.registry.families(); ++id) {
        const knowledge::Family& family = rig.registry.family(id);
        INFO(descriptor->name << " " << family.name);
        CHECK(std::ranges::any_of(descriptor->metrics, [&](const MetricDescriptor& metric) {
          const std::string_view name = metric.name;
          return name.ends_with('*') ? family.name.starts_with(name.substr(0, name.size() - 1))
                                     : family.name == name && family.type == metric.type;
        }));
      }
    }
  }
}
