#include "analyze/rules/test_file.hpp"

#include <fmt/format.h>

#include <limits>

#include "analyze/rules/yaml.hpp"
#include "nexus/base/text.hpp"
#include "nexus/knowledge/promql.hpp"
#include "nexus/knowledge/queryable.hpp"

namespace nexus::analyze {
namespace {

using yaml::Reader;

/// More would only be a slip of the pen: a hundred days of seconds.
constexpr std::size_t kMaxValues = 10'000'000;

void read_alert_case(Reader& reader, const YAML::Node& node, AlertCase& out) {
  reader.object(
      node, "main.alertTestCase",
      {{"eval_time", [&](const YAML::Node& value) { reader.duration(value, out.at); }},
       {"alertname", [&](const YAML::Node& value) { reader.text(value, out.name); }},
       {"exp_alerts", [&](const YAML::Node& alerts) {
          reader.list(alerts, "main.alert", [&](const YAML::Node& alert) {
            auto& expected = out.expected.emplace_back();
            reader.object(
                alert, "main.alert",
                {{"exp_labels", [&](const YAML::Node& map) { reader.map(map, expected.labels); }},
                 {"exp_annotations",
                  [&](const YAML::Node& map) { reader.map(map, expected.annotations); }}});
          });
        }}});
}

void read_expression_case(Reader& reader, const YAML::Node& node, ExpressionCase& out) {
  reader.object(
      node, "main.promqlTestCase",
      {{"expr", [&](const YAML::Node& value) { reader.text(value, out.expression); }},
       {"eval_time", [&](const YAML::Node& value) { reader.duration(value, out.at); }},
       {"exp_samples", [&](const YAML::Node& samples) {
          reader.list(samples, "main.sample", [&](const YAML::Node& sample) {
            auto& expected = out.expected.emplace_back();
            reader.object(
                sample, "main.sample",
                {{"labels", [&](const YAML::Node& text) { reader.text(text, expected.labels); }},
                 {"value", [&](const YAML::Node& value) { reader.number(value, expected.value); }},
                 {"histogram",
                  [&](const YAML::Node& text) { reader.text(text, expected.histogram); }}});
          });
        }}});
}

void read_test(Reader& reader, const YAML::Node& node, RuleTest& out) {
  const auto series = [&](const YAML::Node& one) {
    auto& input = out.input.emplace_back();
    reader.object(one, "main.series",
                  {{"series", [&](const YAML::Node& value) { reader.text(value, input.series); }},
                   {"values", [&](const YAML::Node& value) { reader.text(value, input.values); }}});
  };
  reader.object(
      node, "main.testGroup",
      {{"interval", [&](const YAML::Node& value) { reader.duration(value, out.interval); }},
       {"input_series", [&](const YAML::Node& all) { reader.list(all, "main.series", series); }},
       {"alert_rule_test",
        [&](const YAML::Node& all) {
          reader.list(all, "main.alertTestCase", [&](const YAML::Node& one) {
            read_alert_case(reader, one, out.alerts.emplace_back());
          });
        }},
       {"promql_expr_test",
        [&](const YAML::Node& all) {
          reader.list(all, "main.promqlTestCase", [&](const YAML::Node& one) {
            read_expression_case(reader, one, out.expressions.emplace_back());
          });
        }},
       {"external_labels",
        [&](const YAML::Node& value) { reader.map(value, out.external_labels); }},
       {"external_url", [&](const YAML::Node& value) { reader.text(value, out.external_url); }},
       {"start_timestamp",
        [&](const YAML::Node& value) {
          std::string text;
          reader.text(value, text);
          if (const auto time = base::parse_time(text)) {
            out.start = Millis(base::to_unix_millis(*time));
          } else {
            reader.refuse(value, fmt::format("invalid time format: {}", text));
          }
        }},
       {"name", [&](const YAML::Node& value) { reader.text(value, out.name); }}});
}

void read_test_file(Reader& reader, const YAML::Node& root, RuleTestFile& out) {
  reader.object(
      root, "main.unitTestFile",
      {{"rule_files", [&](const YAML::Node& value) { reader.texts(value, out.rule_files); }},
       {"evaluation_interval",
        [&](const YAML::Node& value) { reader.duration(value, out.evaluation_interval); }},
       {"fuzzy_compare",
        [&](const YAML::Node& value) { reader.boolean(value, out.fuzzy_compare); }},
       {"group_eval_order", [&](const YAML::Node& value) { reader.texts(value, out.group_order); }},
       {"tests", [&](const YAML::Node& all) {
          reader.list(all, "main.testGroup", [&](const YAML::Node& one) {
            read_test(reader, one, out.tests.emplace_back());
          });
        }}});
}

/// "7", "1+2x3", "4x5": a number, what each step adds, how many steps follow.
struct Progression {
  double first = 0;
  double step = 0;
  std::uint64_t steps = 0;
};

bool is_sign(char c) {
  return c == '+' || c == '-';
}

/// A number at the front; ends before a sign or an x that belong to what follows: 0x5 is six zeros.
std::optional<double> take_number(std::string_view& rest) {
  std::size_t length = !rest.empty() && is_sign(rest.front()) ? 1 : 0;
  for (; length < rest.size() && rest[length] != 'x'; ++length) {
    const bool exponent = length > 0 && (rest[length - 1] | 0x20) == 'e';
    if (is_sign(rest[length]) && !exponent) break;
  }
  const auto text = rest.substr(0, length);
  rest.remove_prefix(length);
  return base::parse_double(text.starts_with('+') ? text.substr(1) : text);
}

std::optional<Progression> parse_progression(std::string_view text) {
  Progression out;
  const auto first = take_number(text);
  if (!first) return std::nullopt;
  out.first = *first;
  if (text.empty()) return out;
  if (is_sign(text.front())) {
    const auto step = take_number(text);
    if (!step) return std::nullopt;
    out.step = *step;
  }
  if (!text.starts_with('x')) return std::nullopt;
  const auto steps = base::parse_uint(text.substr(1));
  if (!steps) return std::nullopt;
  out.steps = *steps;
  return out;
}

}  // namespace

Result<RuleTestFile> parse_test_file(const std::string& text, UnknownFields unknown) {
  RuleTestFile out;
  Reader reader(unknown == UnknownFields::kIgnored ? yaml::UnknownKeys::kIgnored
                                                   : yaml::UnknownKeys::kMistakes);
  const Status visited =
      yaml::visit(text, [&](const YAML::Node& root) { read_test_file(reader, root, out); });
  if (!visited) return std::unexpected(visited.error());
  if (!reader.ok()) return fail(Errc::kInvalidArgument, "{}", reader.message());
  return out;
}

Result<knowledge::Labels> parse_metric(std::string_view text) {
  if (base::trim(text).empty() || base::trim(text) == "{}") return knowledge::Labels();
  const auto matchers = knowledge::promql::parse_selector(text);
  if (!matchers) return std::unexpected(matchers.error());
  std::vector<knowledge::Label> labels;
  for (const auto& matcher : *matchers) {
    if (matcher.op() != knowledge::MatchOp::kEqual)
      return fail(Errc::kInvalidArgument,
                  "1:1: parse error: expected \"=\" after label {} of \"{}\"", matcher.name(),
                  text);
    labels.push_back({matcher.name(), matcher.value()});
  }
  return knowledge::Labels(std::move(labels));
}

Result<std::vector<std::optional<double>>> parse_series_values(std::string_view text) {
  std::vector<std::optional<double>> out;
  std::string_view rest = text;
  while (true) {
    const auto word = base::take_word(rest);
    if (word.empty()) return out;
    const auto column = static_cast<std::size_t>(word.data() - text.data()) + 1;
    std::optional<std::uint64_t> missing;
    if (word == "_") {
      missing = 1;
    } else if (word.starts_with("_x")) {
      missing = base::parse_uint(word.substr(2));
    }
    const auto progression = parse_progression(word);
    const std::uint64_t count = missing.value_or(progression ? progression->steps + 1 : 1);
    if (count > kMaxValues || out.size() + count > kMaxValues)
      return fail(Errc::kExhausted, "1:{}: parse error: more than {} values", column, kMaxValues);
    if (missing) {
      out.insert(out.end(), count, std::nullopt);
    } else if (word == "stale") {
      out.emplace_back(knowledge::stale_marker());
    } else if (word.starts_with("{{")) {
      return fail(Errc::kUnsupported, "1:{}: parse error: native histograms are not supported",
                  column);
    } else if (progression) {
      double value = progression->first;
      for (std::uint64_t i = 0; i < count; ++i, value += progression->step) out.emplace_back(value);
    } else {
      return fail(Errc::kInvalidArgument,
                  "1:{}: parse error: unexpected \"{}\" in series values, expected number or "
                  "\"stale\"",
                  column, word);
    }
  }
}

}  // namespace nexus::analyze
