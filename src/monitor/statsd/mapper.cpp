#include "monitor/statsd/mapper.hpp"

#include <cctype>

#include "nexus/base/text.hpp"

namespace nexus::monitor {
namespace {

std::string as_regex(const config::StatsdMapping& mapping) {
  if (mapping.match_type == "regex") return mapping.match;
  std::string out = "^";
  for (const char c : mapping.match) {
    if (c == '*') {
      out += "([^.]*)";
    } else {
      out += re2::RE2::QuoteMeta(re2::StringPiece(&c, 1));
    }
  }
  return out + "$";
}

bool concerns(const config::StatsdMapping& mapping, StatsdType type) {
  const auto& wanted = mapping.match_metric_type;
  if (wanted.empty()) return true;
  switch (type) {
    case StatsdType::kCounter:
      return wanted == "counter";
    case StatsdType::kGauge:
      return wanted == "gauge";
    case StatsdType::kTimer:
    case StatsdType::kHistogram:
    case StatsdType::kDistribution:
      return wanted == "timer";
    case StatsdType::kSet:
      return wanted == "set";
  }
  return false;
}

/// $1 and ${1} replaced.
std::string fill(const std::string& text, const std::vector<re2::StringPiece>& groups) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '$') {
      out += text[i];
      continue;
    }
    const bool braced = i + 1 < text.size() && text[i + 1] == '{';
    std::size_t at = i + (braced ? 2 : 1);
    const std::size_t first = at;
    while (at < text.size() && std::isdigit(static_cast<unsigned char>(text[at])) != 0) ++at;
    const auto number = base::parse_uint(std::string_view(text).substr(first, at - first));
    if (!number || (braced && (at == text.size() || text[at] != '}'))) {
      out += '$';
      continue;
    }
    if (*number < groups.size()) out.append(groups[*number].data(), groups[*number].size());
    i = braced ? at : at - 1;
  }
  return out;
}

}  // namespace

Result<StatsdMapper> StatsdMapper::compile(const config::StatsdSection& section) {
  StatsdMapper out;
  for (const auto& mapping : section.mappings) {
    auto regex = compile_regex(as_regex(mapping));
    if (!regex) return std::unexpected(regex.error());
    out.rules_.push_back(std::make_shared<const Rule>(Rule{mapping, std::move(*regex)}));
  }
  return out;
}

MappedName StatsdMapper::map(std::string_view name, StatsdType type) const {
  for (const auto& rule : rules_) {
    if (!concerns(rule->mapping, type)) continue;
    std::vector<re2::StringPiece> groups(
        static_cast<std::size_t>(rule->regex->NumberOfCapturingGroups()) + 1);
    if (!rule->regex->Match(re2::StringPiece(name.data(), name.size()), 0, name.size(),
                            re2::RE2::UNANCHORED, groups.data(), static_cast<int>(groups.size())))
      continue;
    MappedName out;
    out.mapping = &rule->mapping;
    out.dropped = rule->mapping.action == "drop";
    out.name = metric_name(fill(rule->mapping.name, groups));
    for (const auto& [label, value] : rule->mapping.labels)
      out.labels.insert_or_assign(label, fill(value, groups));
    return out;
  }
  return {.dropped = false, .name = metric_name(name), .labels = {}, .mapping = nullptr};
}

}  // namespace nexus::monitor
