#include "nexus/analyze/kinds.hpp"

#include <algorithm>

namespace nexus::analyze {

bool is_trouble(FindingKind kind) noexcept {
  switch (kind) {
    case FindingKind::kAlert:
    case FindingKind::kVital:
    case FindingKind::kForecast:
    case FindingKind::kAnomaly:
    case FindingKind::kService:
    case FindingKind::kAgent:
      return true;
    case FindingKind::kIncident:
    case FindingKind::kOptimization:
    case FindingKind::kDrift:
      return false;
  }
  return false;
}

bool is_told_where_asked(const Finding& finding) noexcept {
  if (finding.kind == FindingKind::kIncident) return true;
  return finding.kind == FindingKind::kOptimization &&
         (finding.name == "tuning_kept" || finding.name == "tuning_undone");
}

bool is_asking(const knowledge::Matcher& matcher) {
  using enum knowledge::MatchOp;
  const std::string& name = matcher.name();
  if (name != "kind" && name != "alertname" && name != knowledge::kMetricName) return false;
  if (matcher.op() == kEqual) return !matcher.value().empty();
  // Names that nobody has: who takes one of them takes what it does not know.
  static constexpr std::string_view kNobodys[] = {"\x01",  "zzyzx",      "zzyzx_9",
                                                  "Zzyzx", "ZzyzxZzyzx", "ZZYZX_9"};
  return matcher.op() == kRegex &&
         std::ranges::none_of(kNobodys, [&](auto nobodys) { return matcher.matches(nobodys); });
}

}  // namespace nexus::analyze
