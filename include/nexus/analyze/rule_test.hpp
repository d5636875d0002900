// Unit tests of rules, in promtool's format: series as they would come in, and what alerts and
// expressions must give at which time.
//
// All of promtool's fields are known: rule_files (relative to the test file, with * ? [ ]),
// evaluation_interval, group_eval_order; of a test name, interval, input_series, alert_rule_test,
// promql_expr_test, external_labels, external_url. Rules are run by the same code as in the daemon.
// Thread safety: pure functions of the files.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/analyze/rule_file.hpp"

namespace nexus::analyze {

/// What became of one test of a file.
struct RuleTestCase {
  std::string name;  // "unnamed#1" when it has none
  std::vector<std::string> failures;
};

struct RuleTestResult {
  std::vector<std::string> warnings;
  std::vector<std::string> failures;  // worded as promtool does; empty: all is well
  std::vector<RuleTestCase> cases;    // those that were run; none when the file cannot be read
};

struct RuleTestOptions {
  /// Regular expressions; only tests whose name one of them is found in are run. None: all.
  std::vector<std::string> names;
  UnknownFields unknown = UnknownFields::kMistakes;  // of rule files and test files
  /// Told, line by line, which test runs and all samples that there are at its end. May be null.
  std::function<void(std::string_view line)> debug;
};

[[nodiscard]] RuleTestResult run_rule_tests(const std::string& path,
                                            const RuleTestOptions& options = {});

}  // namespace nexus::analyze
