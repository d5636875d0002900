#include "nexus/analyze/rule_file.hpp"

#include <fmt/format.h>
#include <glob.h>

#include <algorithm>
#include <map>
#include <set>

#include "analyze/rules/yaml.hpp"
#include "analyze/templates/template.hpp"
#include "nexus/base/text.hpp"
#include "nexus/host/file.hpp"

namespace nexus::analyze {
namespace {

using yaml::Place;
using yaml::Reader;

/// Prometheus 3: any UTF-8 is a name.
bool is_name(std::string_view text) {
  return !text.empty() && base::is_valid_utf8(text);
}

/// A rule as written, with the places that complaints name.
struct Draft {
  std::string record;
  std::string alert;
  Rule rule;
  Place record_place;
  Place alert_place;
  Place expression_place;
  std::map<std::string, Place> text_places;  // of "annotation summary"
};

/// Whether Prometheus names the place of a problem too: promtool's words are the same then.
enum class Named { kByPrometheus, kByUs };

class RuleReader {
 public:
  RuleReader(const std::string& file, UnknownFields unknown)
      : file_(file),
        reader_(unknown == UnknownFields::kIgnored ? yaml::UnknownKeys::kIgnored
                                                   : yaml::UnknownKeys::kMistakes) {}

  RuleFile read(const std::string& text) {
    Reader again;
    const Status visited = yaml::visit(text, [&](const YAML::Node& root) {
      read_groups(root);
      // Prometheus reads a file twice, once for the places, and complains twice about this.
      if (const auto groups = root.IsMap() ? root["groups"] : YAML::Node(); groups.IsDefined())
        again.list(groups, "yaml.Node", [](const YAML::Node&) {});
    });
    if (!visited) return refuse(0, visited.error().message());
    if (reader_.ok()) return std::move(out_);
    RuleFile bad = refuse(reader_.line(), reader_.message());
    if (!again.ok()) bad.problems.push_back({again.line(), 0, again.message(), {}});
    return bad;
  }

 private:
  RuleFile refuse(int line, std::string message) {
    RuleFile bad;
    bad.problems.push_back({line, 0, std::move(message), {}});
    return bad;
  }

  void read_groups(const YAML::Node& root) {
    reader_.object(root, "rulefmt.RuleGroups",
                   {{"groups", [&](const YAML::Node& groups) {
                       reader_.list(groups, "rulefmt.RuleGroup",
                                    [&](const YAML::Node& group) { read_group(group); });
                     }}});
  }

  void read_group(const YAML::Node& node) {
    RuleGroup group;
    group.file = file_;
    std::vector<Draft> drafts;
    std::int64_t limit = 0;
    const auto optional_duration = [&](std::optional<Millis>& out) {
      return [this, &out](const YAML::Node& value) { reader_.duration(value, out.emplace(0)); };
    };
    reader_.object(node, "rulefmt.RuleGroup",
                   {{"name", [&](const YAML::Node& value) { reader_.text(value, group.name); }},
                    {"interval", optional_duration(group.interval)},
                    {"query_offset", optional_duration(group.query_offset)},
                    {"limit", [&](const YAML::Node& value) { reader_.integer(value, limit); }},
                    {"labels", [&](const YAML::Node& value) { reader_.map(value, group.labels); }},
                    {"rules", [&](const YAML::Node& rules) {
                       reader_.list(rules, "rulefmt.RuleNode", [&](const YAML::Node& rule) {
                         read_rule(rule, drafts.emplace_back());
                       });
                     }}});
    group.limit = static_cast<std::size_t>(std::max<std::int64_t>(limit, 0));
    if (group.interval == Millis(0)) group.interval.reset();
    check_group(group, yaml::place_of(node));
    for (std::size_t i = 0; i < drafts.size(); ++i) {
      check_rule(group, i + 1, drafts[i]);
      group.rules.push_back(std::move(drafts[i].rule));
    }
    out_.groups.push_back(std::move(group));
  }

  void read_rule(const YAML::Node& node, Draft& draft) {
    const auto scalar = [](std::string& out, Place& place) {
      return [&](const YAML::Node& value) {
        place = yaml::place_of(value);
        if (value.IsScalar()) out = value.Scalar();
      };
    };
    Rule& rule = draft.rule;
    reader_.object(
        node, "rulefmt.RuleNode",
        {{"record", scalar(draft.record, draft.record_place)},
         {"alert", scalar(draft.alert, draft.alert_place)},
         {"expr", scalar(rule.expression, draft.expression_place)},
         {"for", [&](const YAML::Node& value) { reader_.duration(value, rule.pending); }},
         {"keep_firing_for",
          [&](const YAML::Node& value) { reader_.duration(value, rule.keep_firing_for); }},
         {"labels",
          [&](const YAML::Node& value) {
            reader_.map(value, rule.labels);
            note_places("label", value, draft);
          }},
         {"annotations", [&](const YAML::Node& value) {
            reader_.map(value, rule.annotations);
            note_places("annotation", value, draft);
          }}});
  }

  static void note_places(std::string_view kind, const YAML::Node& texts, Draft& draft) {
    if (!texts.IsMap()) return;
    for (const auto& text : texts) {
      if (text.first.IsScalar())
        draft.text_places.insert_or_assign(fmt::format("{} {}", kind, text.first.Scalar()),
                                           yaml::place_of(text.second));
    }
  }

  static std::optional<Place> place_of_text(std::string_view kind, std::string_view name,
                                            const Draft& draft) {
    const auto found = draft.text_places.find(fmt::format("{} {}", kind, name));
    if (found == draft.text_places.end()) return std::nullopt;
    return found->second;
  }

  void complain(std::optional<Place> place, std::string message,
                Named named = Named::kByPrometheus) {
    RuleProblem problem;
    problem.message = std::move(message);
    if (place) {
      problem.line = place->line;
      problem.column = place->column;
    }
    if (place && named == Named::kByPrometheus) {
      problem.places = fmt::format("{}:{}: ", place->line, place->column);
    }
    out_.problems.push_back(std::move(problem));
  }

  void check_group(const RuleGroup& group, Place place) {
    if (group.name.empty()) complain(place, "Groupname must not be empty");
    if (!names_.insert(group.name).second) {
      complain(place, fmt::format("groupname: \"{}\" is repeated in the same file", group.name));
    }
    for (const auto& [name, value] : group.labels) {
      if (!is_name(name) || name == knowledge::kMetricName)
        complain(std::nullopt, fmt::format("invalid label name: {}", name));
    }
  }

  /// All that is wrong with one rule, in the order of Prometheus.
  void check_rule(const RuleGroup& group, std::size_t number, Draft& draft) {
    Rule& rule = draft.rule;
    rule.kind = draft.alert.empty() ? Rule::Kind::kRecording : Rule::Kind::kAlerting;
    rule.name = draft.alert.empty() ? draft.record : draft.alert;
    rule.where = {file_, draft.expression_place.line, draft.expression_place.column};
    const auto say = [&](std::optional<Place> place, std::string_view what,
                         Named named = Named::kByPrometheus) {
      complain(
          place,
          fmt::format("group \"{}\", rule {}, \"{}\": {}", group.name, number, rule.name, what),
          named);
    };
    if (!draft.record.empty() && !draft.alert.empty()) {
      say(draft.record_place, "only one of 'record' and 'alert' must be set");
      out_.problems.back().places +=
          fmt::format("{}:{}: ", draft.alert_place.line, draft.alert_place.column);
    }
    if (rule.name.empty()) say(draft.record_place, "one of 'record' or 'alert' must be set");
    if (rule.expression.empty()) {
      say(draft.expression_place, "field 'expr' must be set in rule");
    } else if (auto query = knowledge::promql::Query::parse(rule.expression); !query) {
      say(draft.expression_place,
          fmt::format("could not parse expression: {}", query.error().message()));
    } else {
      rule.query = std::make_shared<const knowledge::promql::Query>(std::move(*query));
    }
    if (!draft.record.empty()) check_recording(draft, say);
    check_names(draft, say);
    if (!draft.alert.empty()) {
      rule.label_templates = parse_templates(draft, rule.labels, "label", say);
      rule.annotation_templates = parse_templates(draft, rule.annotations, "annotation", say);
    }
  }

  template <typename Say>
  static void check_recording(const Draft& draft, const Say& say) {
    const Rule& rule = draft.rule;
    if (!rule.annotations.empty())
      say(draft.record_place, "invalid field 'annotations' in recording rule");
    if (rule.pending.count() != 0) say(draft.record_place, "invalid field 'for' in recording rule");
    if (rule.keep_firing_for.count() != 0)
      say(draft.record_place, "invalid field 'keep_firing_for' in recording rule");
    if (!is_name(draft.record)) {
      say(draft.record_place, fmt::format("invalid recording rule name: {}", draft.record));
    } else if (draft.record.find_first_of("{}") != std::string::npos) {
      say(draft.record_place,
          fmt::format("braces present in the recording rule name; should it be in expr?: {}",
                      draft.record));
    }
  }

  template <typename Say>
  static void check_names(const Draft& draft, const Say& say) {
    for (const auto& [name, value] : draft.rule.labels) {
      const auto place = place_of_text("label", name, draft);
      if (!is_name(name) || name == knowledge::kMetricName)
        say(place, fmt::format("invalid label name: {}", name), Named::kByUs);
      if (!base::is_valid_utf8(value))
        say(place, fmt::format("invalid label value: {}", value), Named::kByUs);
    }
    for (const auto& [name, value] : draft.rule.annotations) {
      if (!is_name(name))
        say(place_of_text("annotation", name, draft),
            fmt::format("invalid annotation name: {}", name), Named::kByUs);
    }
  }

  template <typename Say>
  static std::shared_ptr<const Rule::Templates> parse_templates(const Draft& draft,
                                                                const config::StringMap& texts,
                                                                std::string_view kind,
                                                                const Say& say) {
    auto out = std::make_shared<Rule::Templates>();
    for (const auto& [name, text] : texts) {
      auto parsed = Template::parse(text, "__alert_" + draft.rule.name);
      if (parsed) {
        out->emplace_back(name, std::move(*parsed));
      } else {
        say(place_of_text(kind, name, draft),
            fmt::format("{} \"{}\": {}", kind, name, parsed.error().message()), Named::kByUs);
      }
    }
    return out;
  }

  const std::string& file_;
  Reader reader_;
  RuleFile out_;
  std::set<std::string> names_;
};

}  // namespace

RuleFile parse_rule_file(const std::string& text, const std::string& name, UnknownFields unknown) {
  return RuleReader(name, unknown).read(text);
}

RuleFile load_rule_file(const std::string& path, UnknownFields unknown) {
  const auto text = host::read_file(path);
  if (text) {
    RuleFile file = parse_rule_file(*text, path, unknown);
    file.digest = base::fnv1a(*text);
    return file;
  }
  RuleFile bad;
  bad.problems.push_back({0, 0, text.error().message(), {}});
  return bad;
}

std::vector<std::string> find_rule_files(const std::vector<std::string>& patterns) {
  std::vector<std::string> out;
  for (const auto& pattern : patterns) {
    if (pattern.find_first_of("*?[") == std::string::npos) {
      out.push_back(pattern);
      continue;
    }
    glob_t found{};
    if (::glob(pattern.c_str(), 0, nullptr, &found) == 0) {
      for (std::size_t i = 0; i < found.gl_pathc; ++i) out.emplace_back(found.gl_pathv[i]);
    }
    ::globfree(&found);
  }
  return out;
}

std::vector<DuplicateRule> find_duplicates(const std::vector<RuleGroup>& groups) {
  std::vector<DuplicateRule> all;
  for (const auto& group : groups) {
    for (const auto& rule : group.rules) all.push_back({rule.name, rule.labels});
  }
  const auto key = [](const DuplicateRule& rule) { return std::tie(rule.metric, rule.labels); };
  std::ranges::sort(all, [&](const auto& a, const auto& b) { return key(a) < key(b); });
  std::vector<DuplicateRule> out;
  for (std::size_t i = 1; i < all.size(); ++i) {
    const bool same = key(all[i]) == key(all[i - 1]);
    if (same && (out.empty() || key(out.back()) != key(all[i]))) out.push_back(all[i]);
  }
  return out;
}

}  // namespace nexus::analyze
