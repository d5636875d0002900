#include "entries.hpp"

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "analyze/rules/test_file.hpp"
#include "analyze/templates/template.hpp"
#include "monitor/mountinfo.hpp"
#include "nexus/analyze/rule_file.hpp"
#include "nexus/analyze/rules.hpp"
#include "nexus/base/text.hpp"
#include "nexus/config/load.hpp"
#include "nexus/execute/step.hpp"
#include "nexus/knowledge/promql.hpp"
#include "nexus/monitor/collector.hpp"
#include "nexus/plan/planner.hpp"
#include "promise.hpp"
#include "serve/routes/requests.hpp"
#include "serve/target.hpp"

namespace nexus::fuzz {
namespace {

class NullSink final : public monitor::Sink {
 public:
  using Sink::add;
  void add(knowledge::FamilyId, std::span<const knowledge::LabelView>, double) override {}
};

/// A directory for one process's files; removed when it ends well.
class Tree {
 public:
  Tree()
      : root_(std::filesystem::temp_directory_path() / ("nexus-fuzz-" + std::to_string(getpid()))) {
  }
  ~Tree() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;

  void write(std::string_view path, std::string_view content) const {
    const auto file = root_ / path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << content;
  }
  [[nodiscard]] host::Roots roots() const {
    return {.procfs = root_.string() + "/proc",
            .sysfs = root_.string() + "/sys",
            .rootfs = root_.string()};
  }

 private:
  std::filesystem::path root_;
};

struct ProcFile {
  std::string_view collector;
  std::string_view path;
};
constexpr auto kProcFiles = std::to_array<ProcFile>({{"cpu", "proc/stat"},
                                                     {"stat", "proc/stat"},
                                                     {"meminfo", "proc/meminfo"},
                                                     {"vmstat", "proc/vmstat"},
                                                     {"loadavg", "proc/loadavg"},
                                                     {"diskstats", "proc/diskstats"},
                                                     {"netdev", "proc/net/dev"},
                                                     {"sockstat", "proc/net/sockstat"},
                                                     {"filefd", "proc/sys/fs/file-nr"},
                                                     {"pressure", "proc/pressure/cpu"},
                                                     {"processes", "proc/1/stat"}});

}  // namespace

void config(std::string_view text) {
  auto loaded = config::load_text(text, "fuzz.toml");
  auto& problems = loaded.problems;
  static_cast<void>(analyze::RuleSet::compile(loaded.config, problems));
  static_cast<void>(plan::RemedySet::compile(loaded.config, problems));
  std::ranges::move(monitor::check_collectors(loaded.config.collect), std::back_inserter(problems));
  std::ranges::move(execute::check_remedies(loaded.config), std::back_inserter(problems));
  for (const auto& problem : problems) {
    promise(!problem.message.empty(), "a problem says what it is");
    promise(!problem.where.file.empty(), "a problem says where it is");
  }
}

void action(std::string_view text) {
  serve::Request request;
  request.method = serve::Method::kPost;
  request.path = "/operations/actions";
  request.content_type = "application/json";
  request.body = text;
  const auto wanted = serve::parse_action_request(request);
  if (!wanted) return promise(!wanted.error().message().empty(), "an error says why");
  promise(base::is_valid_utf8(wanted->target), "a target is valid UTF-8");
}

void target(std::string_view text) {
  const auto parsed = serve::parse_target(text);
  if (parsed) promise(base::is_valid_utf8(parsed->path), "a path is valid UTF-8");
  const auto form = serve::parse_form(text);
  if (form) promise(form->size() <= serve::kMaxParameters, "parameters are bounded");
}

void proc(std::string_view text) {
  if (text.empty()) return;
  static const Tree tree;
  const auto index = static_cast<unsigned char>(text[0] - 'a');
  text.remove_prefix(1);
  if (index >= kProcFiles.size()) {
    const auto mount = monitor::parse_mountinfo_line(text);
    if (mount) promise(!mount->mountpoint.empty(), "a mount has a place");
    return;
  }
  const auto& file = kProcFiles[index];
  tree.write(file.path, text);
  const auto roots = tree.roots();
  base::ManualClock clock;
  knowledge::SeriesRegistry registry(10'000);
  const config::Parameters options;
  auto collector =
      monitor::find_collector(file.collector)
          ->make({.roots = roots, .clock = clock, .registry = registry, .options = options});
  promise(collector.has_value(), "a collector can be made");
  NullSink sink;
  for (int run = 0; run < 2; ++run) {
    const auto done = (*collector)->collect(sink);
    if (!done) promise(base::is_valid_utf8(done.error().message()), "an error is valid UTF-8");
  }
}

void rules(std::string_view text) {
  const std::string owned(text);
  const auto file = analyze::parse_rule_file(owned, "rules.yml");
  for (const auto& group : file.groups) {
    for (const auto& rule : group.rules)
      promise(!file.problems.empty() || rule.query != nullptr, "a rule that was taken has a query");
  }
  (void)analyze::find_duplicates(file.groups);
  (void)analyze::parse_test_file(owned);
  (void)analyze::parse_metric(text);
  (void)analyze::parse_series_values(text);
}

void templates(std::string_view text) {
  const auto parsed = analyze::Template::parse(text, "fuzz");
  if (!parsed) return;
  analyze::TemplateData data;
  data.labels = {{"a", "b"}, {"i", "x"}};
  data.value = 3;
  data.query = [](std::string_view) -> Result<knowledge::promql::Vector> {
    return knowledge::promql::Vector{{knowledge::Labels("v", {{"i", "b"}}), 1, 3}};
  };
  const auto out = parsed->expand(data);
  promise(!out || out->size() <= analyze::Template::kMaxOutput, "a template's output is bounded");
}

}  // namespace nexus::fuzz
