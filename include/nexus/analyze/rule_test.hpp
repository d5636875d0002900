// Unit tests of rules, in promtool's format: series as they would come in, and what alerts and
// expressions must give at which time.
//
// All of promtool's fields are known: rule_files (relative to the test file, with * ? [ ]),
// evaluation_interval, group_eval_order; of a test name, interval, input_series, alert_rule_test,
// promql_expr_test, external_labels, external_url. Rules are run by the same code as in the daemon.
// Thread safety: pure functions of the files.
#pragma once

#include <string>
#include <vector>

namespace nexus::analyze {

struct RuleTestResult {
  std::vector<std::string> warnings;
  std::vector<std::string> failures;  // worded as promtool does; empty: all is well
};

/// `names`: regular expressions; only tests whose name one of them is found in are run. None: all.
[[nodiscard]] RuleTestResult run_rule_tests(const std::string& path,
                                            const std::vector<std::string>& names = {});

}  // namespace nexus::analyze
