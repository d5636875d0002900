// Rule files: Prometheus's YAML of recording and alerting rules, loaded as Prometheus loads them.
//
// Everything is checked when it is loaded: YAML, fields, names, expressions, templates. Complaints
// are worded as promtool's `check rules` does, with file, line and column of what they are about.
// Names are checked by the rules that /metrics can carry (letters, digits, _ and :).
//
// Thread safety: pure functions; RuleGroup and what is in it are immutable once loaded.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/config/values.hpp"
#include "nexus/knowledge/promql.hpp"

namespace nexus::analyze {

class Template;

struct Rule {
  enum class Kind { kRecording, kAlerting };
  using Templates = std::vector<std::pair<std::string, Template>>;  // by name, ascending

  Kind kind = Kind::kRecording;
  std::string name;
  std::string expression;
  config::Where where;  // of the expression
  Millis pending{0};    // `for`
  Millis keep_firing_for{0};
  config::StringMap labels;       // as written
  config::StringMap annotations;  // as written
  std::shared_ptr<const knowledge::promql::Query> query;
  std::shared_ptr<const Templates> label_templates;       // of an alerting rule
  std::shared_ptr<const Templates> annotation_templates;  // of an alerting rule
};

struct RuleGroup {
  std::string file;
  std::string name;
  std::optional<Millis> interval;
  std::optional<Millis> query_offset;
  std::size_t limit = 0;     // of series or alerts of one rule; 0: none
  config::StringMap labels;  // of every rule
  std::vector<Rule> rules;
};

/// A complaint. promtool prints "FILE: ", the places and the message.
struct RuleProblem {
  int line = 0;  // 0: it has no place of its own
  int column = 0;
  std::string message;
  std::string places;  // "4:13: " or "4:13: 5:12: " or nothing
};

struct RuleFile {
  std::vector<RuleGroup> groups;
  std::vector<RuleProblem> problems;  // anything here and nothing of the file may be used
  std::uint64_t digest = 0;           // of its text, where it was read from the disk
};

/// Fields that nobody knows are mistakes, unless they are of a later Prometheus and to be ignored.
enum class UnknownFields { kMistakes, kIgnored };

[[nodiscard]] RuleFile parse_rule_file(const std::string& text, const std::string& name,
                                       UnknownFields unknown = UnknownFields::kMistakes);
/// From the disk; a file that cannot be read or is larger than host::kMaxFile is a problem.
[[nodiscard]] RuleFile load_rule_file(const std::string& path,
                                      UnknownFields unknown = UnknownFields::kMistakes);

/// The files that patterns name, in order; a pattern without * ? [ names a file whether it is there
/// or not.
[[nodiscard]] std::vector<std::string> find_rule_files(const std::vector<std::string>& patterns);

/// Rules that give the same series twice: name and labels of those that are there more than once.
struct DuplicateRule {
  std::string metric;
  config::StringMap labels;
};
[[nodiscard]] std::vector<DuplicateRule> find_duplicates(const std::vector<RuleGroup>& groups);

}  // namespace nexus::analyze
