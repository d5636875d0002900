#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <limits>

#include "nexus/host/file.hpp"
#include "nexus/knowledge/exposition.hpp"

using namespace nexus;
using namespace nexus::knowledge;

namespace {

class Page {
 public:
  FamilyId family(std::string_view name, MetricType type, std::string_view help) {
    return registry.family(name, type, help);
  }
  void add(FamilyId family, std::initializer_list<LabelView> labels, double value,
           std::string_view metric = {}) {
    samples.push_back(
        {registry.intern(family, std::span(labels.begin(), labels.size()), metric).value(), value});
  }
  const std::string& render() { return exposition.render(samples); }

  SeriesRegistry registry{1000};
  std::vector<ExposedSample> samples;
  Exposition exposition{registry};
};

/// What promtool prints about a page, and its exit code: 0 without remarks, 3 with lint remarks, 1
/// when it cannot parse.
struct Check {
  int status;
  std::string output;
};

Check promtool_check(const std::string& page) {
  std::string directory = (std::filesystem::temp_directory_path() / "nexus-page-XXXXXX").string();
  REQUIRE(::mkdtemp(directory.data()) != nullptr);
  const std::string in = directory + "/in";
  const std::string out = directory + "/out";
  REQUIRE(host::write_file_atomically(in, page, 0600).has_value());
  posix_spawn_file_actions_t files;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawn_file_actions_addopen(&files, STDIN_FILENO, in.c_str(), O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, out.c_str(), O_WRONLY | O_CREAT, 0600);
  ::posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO);
  std::string program = "promtool";
  std::string check = "check";
  std::string metrics = "metrics";
  char* arguments[] = {program.data(), check.data(), metrics.data(), nullptr};
  pid_t pid = 0;
  const int spawned = ::posix_spawnp(&pid, "promtool", &files, nullptr, arguments, environ);
  ::posix_spawn_file_actions_destroy(&files);
  INFO("promtool comes with the package prometheus");
  REQUIRE(spawned == 0);
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  Check result{WEXITSTATUS(status), host::read_file(out).value()};
  std::filesystem::remove_all(directory);
  return result;
}

}  // namespace

TEST_CASE("families are sorted by name and series by their labels, each family with one head") {
  Page page;
  const auto b = page.family("b_total", MetricType::kCounter, "The b.");
  const auto a = page.family("a", MetricType::kGauge, "The a.");
  page.add(b, {{"x", "2"}}, 2);
  page.add(a, {}, 1.5);
  page.add(b, {{"x", "10"}}, 3);
  CHECK(page.render() ==
        "# HELP a The a.\n# TYPE a gauge\na 1.5\n"
        "# HELP b_total The b.\n# TYPE b_total counter\nb_total{x=\"10\"} 3\nb_total{x=\"2\"} 2\n");
}

TEST_CASE("a family whose type changes has one head, the new one, for old lines and new ones") {
  Page page;
  const auto jobs = page.family("jobs", MetricType::kUntyped, "");
  const auto work = page.family("work", MetricType::kGauge, "Work.");
  page.add(jobs, {{"q", "a"}}, 1);
  page.add(work, {}, 2);
  page.render();
  CHECK(page.family("jobs", MetricType::kCounter, "Jobs.") == jobs);
  CHECK(page.family("work", MetricType::kUntyped, "") == work);  // asks, and changes nothing
  page.add(jobs, {{"q", "b"}}, 3);
  CHECK(page.render() ==
        "# HELP jobs Jobs.\n# TYPE jobs counter\njobs{q=\"a\"} 1\njobs{q=\"b\"} 3\n"
        "# HELP work Work.\n# TYPE work gauge\nwork 2\n");
  CHECK(page.registry.families() == 2);
  // Two that disagree for ever cost a bounded number of versions.
  for (int i = 0; i < 1000; ++i)
    page.family("work", i % 2 == 0 ? MetricType::kCounter : MetricType::kGauge, "");
  CHECK(page.registry.family(work).type == MetricType::kCounter);
  CHECK(page.registry.family(work).help == "Work.");
}

TEST_CASE("help and label values are escaped, and promtool reads them") {
  Page page;
  const auto family = page.family("odd", MetricType::kGauge, "A \\ and\na \"quote\".");
  page.add(family, {{"path", "C:\\dir\n\"x\""}, {"city", "Z\xC3\xBCrich"}}, 1);
  CHECK(page.render() ==
        "# HELP odd A \\\\ and\\na \"quote\".\n# TYPE odd gauge\n"
        "odd{city=\"Z\xC3\xBCrich\",path=\"C:\\\\dir\\n\\\"x\\\"\"} 1\n");
  const Check check = promtool_check(page.render());
  INFO(check.output);
  CHECK(check.status == 0);
}

TEST_CASE("values read back as the same double") {
  Page page;
  const auto family = page.family("value", MetricType::kGauge, "A value.");
  page.add(family, {{"n", "1"}}, 0.1 + 0.2);
  page.add(family, {{"n", "2"}}, 9007199254740993.0);
  page.add(family, {{"n", "3"}}, -0.0);
  page.add(family, {{"n", "4"}}, std::numeric_limits<double>::infinity());
  page.add(family, {{"n", "5"}}, std::numeric_limits<double>::quiet_NaN());
  page.add(family, {{"n", "6"}}, std::numeric_limits<double>::denorm_min());
  CHECK(page.render() ==
        "# HELP value A value.\n# TYPE value gauge\n"
        "value{n=\"1\"} 0.30000000000000004\nvalue{n=\"2\"} 9007199254740992\nvalue{n=\"3\"} -0\n"
        "value{n=\"4\"} +Inf\nvalue{n=\"5\"} NaN\nvalue{n=\"6\"} 5e-324\n");
}

TEST_CASE("a page holds what was given this time, whatever was on the page before") {
  Page page;
  const auto family = page.family("x", MetricType::kGauge, "X.");
  page.add(family, {{"n", "2"}}, 2);
  page.add(family, {{"n", "3"}}, 3);
  static_cast<void>(page.render());
  page.samples.clear();
  page.add(family, {{"n", "1"}}, 1);
  page.add(family, {{"n", "3"}}, 33);
  CHECK(page.render() == "# HELP x X.\n# TYPE x gauge\nx{n=\"1\"} 1\nx{n=\"3\"} 33\n");
  page.samples.clear();
  CHECK(page.render().empty());
}

TEST_CASE("a histogram's lines stand together, buckets by their bounds") {
  Page page;
  const auto family = page.family("h", MetricType::kHistogram, "H.");
  for (const char* route : {"b", "a"}) {
    page.add(family, {{"route", route}}, 6, "h_count");
    page.add(family, {{"route", route}, {"le", "+Inf"}}, 6, "h_bucket");
    page.add(family, {{"route", route}, {"le", "10"}}, 5, "h_bucket");
    page.add(family, {{"route", route}}, 42, "h_sum");
    page.add(family, {{"route", route}, {"le", "2.5"}}, 4, "h_bucket");
  }
  std::string expected = "# HELP h H.\n# TYPE h histogram\n";
  for (const std::string route : {"a", "b"}) {
    const std::string label = "route=\"" + route + "\"";
    expected += "h_bucket{le=\"2.5\"," + label + "} 4\nh_bucket{le=\"10\"," + label +
                "} 5\nh_bucket{le=\"+Inf\"," + label + "} 6\nh_sum{" + label + "} 42\nh_count{" +
                label + "} 6\n";
  }
  CHECK(page.render() == expected);
  const Check check = promtool_check(page.render());
  INFO(check.output);
  CHECK(check.status == 0);
}

TEST_CASE("a family without help or type is still readable") {
  Page page;
  const auto id = page.registry.intern(Labels("business_orders", {{"shop", "north"}}));
  page.samples.push_back({id.value(), 4});
  CHECK(page.render() ==
        "# HELP business_orders \n# TYPE business_orders untyped\nbusiness_orders{shop=\"north\"} "
        "4\n");
  const Check check = promtool_check(page.render());
  INFO(check.output);
  CHECK(check.output.find("error while") == std::string::npos);
  CHECK(check.status != 1);
  CHECK(promtool_check("broken{ 1\n").status == 1);  // so that the line above can fail
}
