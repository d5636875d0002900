// The file of promtool's unit tests of rules, as it is written. Thread safety: plain values.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "nexus/analyze/rule_file.hpp"
#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"
#include "nexus/config/values.hpp"
#include "nexus/knowledge/labels.hpp"

namespace nexus::analyze {

struct InputSeries {
  std::string series;
  std::string values;
};

struct ExpectedAlert {
  config::StringMap labels;
  config::StringMap annotations;
};
struct AlertCase {
  Millis at{0};
  std::string name;
  std::vector<ExpectedAlert> expected;
};

struct ExpectedSample {
  std::string labels;
  double value = 0;
  std::string histogram;  // a native one: refused when it is looked at
};
struct ExpressionCase {
  std::string expression;
  Millis at{0};
  std::vector<ExpectedSample> expected;
};

struct RuleTest {
  std::string name;
  Millis interval{0};
  std::vector<InputSeries> input;
  std::vector<AlertCase> alerts;
  std::vector<ExpressionCase> expressions;
  config::StringMap external_labels;
  std::string external_url;
  Millis start{0};  // Unix time of its first sample and evaluation
};

struct RuleTestFile {
  std::vector<std::string> rule_files;
  Millis evaluation_interval{0};
  std::vector<std::string> group_order;
  std::vector<RuleTest> tests;
  bool fuzzy_compare = false;  // numbers next to each other are equal
};

[[nodiscard]] Result<RuleTestFile> parse_test_file(
    const std::string& text, UnknownFields unknown = UnknownFields::kMistakes);

/// `up{job="a"}`, `{a="b"}`, `{}` or nothing.
[[nodiscard]] Result<knowledge::Labels> parse_metric(std::string_view text);
/// `1+1x3 -2x2 _ _x4 stale 7`: one entry an interval; nothing where a sample is left out.
[[nodiscard]] Result<std::vector<std::optional<double>>> parse_series_values(std::string_view text);

}  // namespace nexus::analyze
