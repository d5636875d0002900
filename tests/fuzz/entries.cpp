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
#include "nexus/knowledge/open_metrics.hpp"
#include "nexus/knowledge/promql.hpp"
#include "nexus/monitor/collector.hpp"
#include "nexus/plan/planner.hpp"
#include "promise.hpp"
#include "serve/routes/requests.hpp"
#include "serve/target.hpp"

namespace nexus::fuzz {
namespace {

/// Three series, a sample every 15 s for five minutes.
class Samples final : public knowledge::Queryable {
 public:
  std::vector<knowledge::SeriesId> select(std::span<const knowledge::Matcher> matchers,
                                          std::int64_t, std::int64_t) const override {
    std::vector<knowledge::SeriesId> out;
    for (knowledge::SeriesId id = 0; id < series_.size(); ++id) {
      if (std::ranges::all_of(matchers, [&](const auto& m) { return m.matches(series_[id]); }))
        out.push_back(id);
    }
    return out;
  }
  const knowledge::Labels& labels(knowledge::SeriesId id) const override { return series_[id]; }
  void read(knowledge::SeriesId id, std::int64_t start, std::int64_t end,
            knowledge::Column& out) const override {
    for (std::int64_t time = 0; time <= kEnd; time += kStep) {
      if (time <= start || time > end) continue;
      out.times.push_back(time);
      out.values.push_back(static_cast<double>(time / kStep % 7 + id));
    }
  }
  static constexpr std::int64_t kEnd = 300'000;
  static constexpr std::int64_t kStep = 15'000;

 private:
  std::vector<knowledge::Labels> series_ = {knowledge::Labels("a", {{"x", "1"}}),
                                            knowledge::Labels("a", {{"x", "2"}, {"y", "z"}}),
                                            knowledge::Labels("b", {{"x", "1"}})};
};

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

void promql(std::string_view text) {
  namespace pql = knowledge::promql;
  static_cast<void>(pql::parse_selector(text));
  const auto query = pql::Query::parse(text);
  if (!query) return promise(!query.error().message().empty(), "an error says why");
  const auto printed = query->to_string();
  const auto again = pql::Query::parse(printed);
  promise(again.has_value(), "what was printed can be parsed");
  promise(again->to_string() == printed, "what was printed is printed the same again");
  static const Samples samples;
  const pql::Limits limits{.max_samples = 10'000};
  static_cast<void>(query->instant(samples, Samples::kEnd, limits));
  static_cast<void>(query->range(samples, 0, Samples::kEnd, 60'000, limits));
}

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

void openmetrics(std::string_view text) {
  const auto read = [&](std::size_t cut) {
    std::string out;
    knowledge::OpenMetricsReader reader(
        [&](const knowledge::Labels& labels, bool, std::int64_t time, double) -> Status {
          out += fmt::format("{} {}\n", knowledge::to_string(labels), time);
          return {};
        },
        [&](std::uint64_t line, const std::string& message) {
          out += fmt::format("{}: {}\n", line, message);
        });
    for (auto rest = text; !rest.empty(); rest.remove_prefix(std::min(cut, rest.size())))
      reader.feed(rest.substr(0, cut));
    reader.finish();
    return out;
  };
  promise(read(7) == read(text.size() + 1), "lines are read the same wherever the text is cut");
}

}  // namespace nexus::fuzz
