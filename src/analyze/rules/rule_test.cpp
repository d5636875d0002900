#include "nexus/analyze/rule_test.hpp"

#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <set>

#include "analyze/rules/group.hpp"
#include "analyze/rules/memory_store.hpp"
#include "analyze/rules/test_file.hpp"
#include "analyze/rules/test_text.hpp"
#include "nexus/base/go_text.hpp"
#include "nexus/base/text.hpp"
#include "nexus/host/file.hpp"

namespace nexus::analyze {
namespace {

using knowledge::Labels;
using knowledge::promql::Query;
using knowledge::promql::Scalar;
using knowledge::promql::Value;
using knowledge::promql::Vector;

constexpr Millis kDefaultInterval{60'000};

/// Of numbers that fuzzy_compare takes for equal none lies between.
bool are_neighbours(double a, double b) {
  constexpr double kInf = std::numeric_limits<double>::infinity();
  return std::nextafter(a, kInf) == b || std::nextafter(a, -kInf) == b;
}

/// One test: its series, the groups over them, and what must come out.
class Run {
 public:
  using Debug = std::function<void(std::string_view line)>;

  Run(const RuleTest& test, Millis interval, bool fuzzy, const Debug& debug)
      : test_(test), interval_(interval), fuzzy_(fuzzy), debug_(debug) {
    world_.query = [this](const Query& query, WallTime time) { return ask(query, time); };
    world_.append = [this](const Labels& labels, WallTime time, double value) {
      return store_.append(labels, base::to_unix_millis(time), value);
    };
    world_.external_labels = test.external_labels;
    world_.external_url = test.external_url;
  }

  std::vector<std::string> run(const std::vector<std::shared_ptr<const RuleGroup>>& groups) {
    if (!load()) return std::move(failures_);
    for (const auto& group : groups) groups_.push_back(std::make_unique<Group>(group));
    if (!check_names()) return std::move(failures_);
    for (Millis time{0}; time <= last_time(); time += interval_) {
      feed(time);
      if (!evaluate(time)) return std::move(failures_);
      check_alerts(time);
    }
    for (const auto& one : test_.expressions) check_expression(one);
    if (debug_) dump();
    return std::move(failures_);
  }

 private:
  struct Input {
    Labels labels;
    std::vector<std::optional<double>> values;
    std::size_t fed = 0;
  };

  bool load() {
    for (const auto& series : test_.input) {
      auto labels = parse_metric(series.series);
      auto values =
          labels ? parse_series_values(series.values)
                 : Result<std::vector<std::optional<double>>>(std::unexpected(labels.error()));
      if (!values) {
        failures_.push_back(values.error().message());
        return false;
      }
      input_.push_back({std::move(*labels), std::move(*values)});
    }
    return true;
  }

  bool check_names() {
    for (const auto& one : test_.alerts) {
      if (!one.name.empty()) continue;
      const auto where = test_.name.empty() ? "" : fmt::format(" (in TestGroup {})", test_.name);
      failures_.push_back(fmt::format(
          "an item under alert_rule_test misses required attribute alertname at eval_time {}{}",
          base::format_duration(one.at), where));
      return false;
    }
    return true;
  }

  [[nodiscard]] Millis last_time() const {
    Millis last{0};
    for (const auto& one : test_.alerts) last = std::max(last, one.at);
    for (const auto& one : test_.expressions) last = std::max(last, one.at);
    return last;
  }

  /// Everything up to `time`.
  void feed(Millis time) {
    for (auto& input : input_) {
      for (; input.fed < input.values.size(); ++input.fed) {
        const auto when = test_.interval * static_cast<std::int64_t>(input.fed);
        if (when > time) break;
        const auto& value = input.values[input.fed];
        if (!value) continue;
        const auto time_of = test_.start + when;
        if (const auto done = store_.append(input.labels, time_of.count(), *value); !done)
          failures_.push_back(done.error().message());
      }
    }
  }

  bool evaluate(Millis time) {
    bool good = true;
    for (const auto& group : groups_) {
      group->evaluate(at(time), world_);
      for (std::size_t i = 0; i < group->size(); ++i) {
        if (group->error(i).empty()) continue;
        failures_.push_back(fmt::format("    rule: {}, time: {}, err: {}",
                                        group->definition().rules[i].name, go_duration(time),
                                        group->error(i)));
        good = false;
      }
    }
    return good;
  }

  /// Times in a test count from its start.
  [[nodiscard]] WallTime at(Millis time) const { return WallTime(test_.start + time); }

  Result<Vector> ask(const Query& query, WallTime time) {
    auto value = query.instant(store_, base::to_unix_millis(time), limits());
    if (!value) return std::unexpected(value.error());
    if (auto* vector = std::get_if<Vector>(&*value)) return std::move(*vector);
    if (const auto* scalar = std::get_if<Scalar>(&*value))
      return Vector{{Labels(), scalar->time, scalar->value}};
    return fail(Errc::kInvalidArgument, "rule result is not a vector or scalar");
  }

  [[nodiscard]] knowledge::promql::Limits limits() const {
    knowledge::promql::Limits out;
    out.subquery_step_ms = interval_.count();
    return out;
  }

  /// The alert tests whose time is in this evaluation's interval.
  void check_alerts(Millis time) {
    std::vector<const AlertCase*> due;
    for (const auto& one : test_.alerts) {
      if (one.at >= time && one.at < time + interval_) due.push_back(&one);
    }
    std::ranges::stable_sort(due, {}, &AlertCase::at);
    for (const auto* one : due) check_alert(*one);
  }

  [[nodiscard]] std::vector<ShownAlert> firing(const std::string& name) const {
    std::vector<ShownAlert> out;
    for (const auto& group : groups_) {
      for (std::size_t i = 0; i < group->size(); ++i) {
        const Rule& rule = group->definition().rules[i];
        if (rule.kind != Rule::Kind::kAlerting || rule.name != name) continue;
        for (const auto& alert : group->alerts(i)) {
          if (alert.state != FindingState::kFiring) continue;
          auto& one = out.emplace_back();
          for (const auto& label : alert.labels) one.labels.emplace(label.name, label.value);
          one.annotations = alert.annotations;
        }
      }
    }
    std::ranges::sort(out);
    return out;
  }

  void check_alert(const AlertCase& one) {
    std::vector<ShownAlert> expected;
    for (const auto& alert : one.expected) {
      expected.push_back({alert.labels, alert.annotations});
      expected.back().labels.insert_or_assign("alertname", one.name);
    }
    std::ranges::sort(expected);
    const auto got = firing(one.name);
    if (expected == got) return;
    const auto name = test_.name.empty() ? "" : fmt::format("    name: {},\n", test_.name);
    constexpr std::string_view kIndent = "            ";
    failures_.push_back(
        fmt::format("{}    alertname: {}, time: {}, \n        exp:{}, \n        got:{}", name,
                    one.name, base::format_duration(one.at), indented(shown(expected), kIndent),
                    indented(shown(got), kIndent)));
  }

  void check_expression(const ExpressionCase& one) {
    const auto complain = [&](std::string_view what) {
      failures_.push_back(fmt::format("    expr: {}, time: {},{}", base::go_quoted(one.expression),
                                      base::format_duration(one.at), what));
    };
    const auto query = Query::parse(one.expression);
    const auto result =
        query ? ask(*query, at(one.at)) : Result<Vector>(std::unexpected(query.error()));
    if (!result) return complain(fmt::format(" err: {}", result.error().message()));
    std::vector<ShownSample> got;
    for (const auto& element : *result) got.push_back({element.labels, element.value});
    std::vector<ShownSample> expected;
    for (const auto& sample : one.expected) {
      if (!sample.histogram.empty()) return complain(" err: native histograms are not supported");
      auto labels = parse_metric(sample.labels);
      if (!labels) {
        return complain(fmt::format(" err: labels {}: {}", base::go_quoted(sample.labels),
                                    labels.error().message()));
      }
      expected.push_back({std::move(*labels), sample.value});
    }
    std::ranges::stable_sort(got, {}, &ShownSample::labels);
    std::ranges::stable_sort(expected, {}, &ShownSample::labels);
    const bool same = std::ranges::equal(got, expected, [&](const auto& a, const auto& b) {
      if (a.labels != b.labels) return false;
      return a.value == b.value || (fuzzy_ && are_neighbours(a.value, b.value));
    });
    if (!same)
      complain(fmt::format("\n        exp: {}\n        got: {}", shown(expected), shown(got)));
  }

  /// All samples up to the end, those of rules too, as Prometheus prints a range vector.
  void dump() {
    constexpr Millis kSecond{1000};
    const Millis end = (last_time() / kSecond + 1) * kSecond;
    debug_(fmt::format("Dumping all data (input_series and rules) at {}:", go_duration(end)));
    const auto query =
        Query::parse(fmt::format(R"({{__name__=~".+"}}[{}])", base::format_duration(end)));
    if (!query) return;
    const auto value = query->instant(store_, base::to_unix_millis(at(end)), limits());
    const auto* matrix = value ? std::get_if<knowledge::promql::Matrix>(&*value) : nullptr;
    if (matrix == nullptr) return;
    for (const auto& series : *matrix) {
      debug_(to_string(series.labels) + " =>");
      for (std::size_t i = 0; i < series.samples.size(); ++i) {
        std::string line;
        base::append_go_fixed(line, series.samples.values[i]);
        debug_(fmt::format("{} @[{}]", line, series.samples.times[i]));
      }
    }
  }

  const RuleTest& test_;
  const Millis interval_;
  const bool fuzzy_;
  const Debug& debug_;
  MemoryStore store_;
  GroupWorld world_;
  std::vector<Input> input_;
  std::vector<std::unique_ptr<Group>> groups_;
  std::vector<std::string> failures_;
};

/// The rule files that a test file names, in order, as promtool finds them.
std::vector<std::string> find_files(const std::string& path, const RuleTestFile& file,
                                    std::vector<std::string>& warnings) {
  const auto directory = std::filesystem::path(path).parent_path();
  std::vector<std::string> out;
  for (const auto& pattern : file.rule_files) {
    const auto full = pattern.starts_with('/') ? pattern : (directory / pattern).string();
    const bool plain = full.find_first_of("*?[") == std::string::npos;
    std::error_code ec;
    auto found = find_rule_files({full});
    if (plain && !std::filesystem::exists(full, ec)) found.clear();
    if (found.empty()) warnings.push_back("no file match pattern " + full);
    std::ranges::move(found, std::back_inserter(out));
  }
  return out;
}

}  // namespace

RuleTestResult run_rule_tests(const std::string& path, const RuleTestOptions& options) {
  RuleTestResult out;
  const auto text = host::read_file(path);
  if (!text) return {{}, {text.error().message()}, {}};
  const auto file = parse_test_file(*text, options.unknown);
  if (!file) return {{}, {file.error().message()}, {}};
  const auto paths = find_files(path, *file, out.warnings);
  std::map<std::string, std::size_t> order;
  for (const auto& name : file->group_order) {
    if (order.try_emplace(name, order.size()).second) continue;
    out.failures.push_back("group name repeated in evaluation order: " + name);
    return out;
  }
  std::vector<std::shared_ptr<const RuleGroup>> groups;
  std::vector<std::string> problems;
  for (const auto& rule_path : paths) {
    auto rules = load_rule_file(rule_path, options.unknown);
    for (const auto& problem : rules.problems)
      problems.push_back(fmt::format("{}: {}{}", rule_path, problem.places, problem.message));
    for (auto& group : rules.groups)
      groups.push_back(std::make_shared<const RuleGroup>(std::move(group)));
  }
  // Groups that are not named come with the first that is, as in promtool.
  std::ranges::stable_sort(groups, {}, [&](const auto& group) {
    const auto place = order.find(group->name);
    return place == order.end() ? std::size_t{0} : place->second;
  });
  std::string wanted;
  for (const auto& name : options.names) wanted += (wanted.empty() ? "" : "|") + name;
  const re2::RE2 regex(wanted, re2::RE2::Quiet);
  if (!regex.ok()) return {{}, {fmt::format("--run: {}: {}", wanted, regex.error())}, {}};
  const auto interval =
      file->evaluation_interval.count() == 0 ? kDefaultInterval : file->evaluation_interval;
  for (std::size_t i = 0; i < file->tests.size(); ++i) {
    const auto& test = file->tests[i];
    if (!re2::RE2::PartialMatch(test.name, regex)) continue;
    RuleTestCase& one = out.cases.emplace_back();
    one.name = test.name.empty() ? fmt::format("unnamed#{}", i) : test.name;
    if (options.debug) options.debug("Starting test " + one.name);
    one.failures = problems.empty()
                       ? Run(test, interval, file->fuzzy_compare, options.debug).run(groups)
                       : problems;
    if (options.debug) options.debug(fmt::format("Test {} finished", one.name));
    out.failures.insert(out.failures.end(), one.failures.begin(), one.failures.end());
  }
  return out;
}

}  // namespace nexus::analyze
