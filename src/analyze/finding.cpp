#include "nexus/analyze/finding.hpp"

#include <fmt/format.h>

#include "nexus/base/text.hpp"

namespace nexus::analyze {

std::string_view to_string(FindingKind kind) noexcept {
  switch (kind) {
    case FindingKind::kAlert:
      return "alert";
    case FindingKind::kVital:
      return "vital";
    case FindingKind::kForecast:
      return "forecast";
    case FindingKind::kAnomaly:
      return "anomaly";
    case FindingKind::kService:
      return "service";
    case FindingKind::kAgent:
      return "agent";
    case FindingKind::kIncident:
      return "incident";
    case FindingKind::kOptimization:
      return "optimization";
    case FindingKind::kDrift:
      return "drift";
  }
  return "unknown";
}

std::string_view to_string(FindingState state) noexcept {
  switch (state) {
    case FindingState::kPending:
      return "pending";
    case FindingState::kFiring:
      return "firing";
    case FindingState::kResolved:
      return "resolved";
  }
  return "unknown";
}

const FindingRecord& record_of(const Finding& finding) noexcept {
  static const FindingRecord kNothing;
  return finding.record ? *finding.record : kNothing;
}

std::string fingerprint(FindingKind kind, std::string_view name, const StringMap& labels) {
  // 0xff cannot be part of UTF-8: no two different findings give the same text.
  constexpr std::string_view kSeparator = "\xff";
  std::uint64_t hash = base::fnv1a(to_string(kind));
  const auto add = [&](std::string_view text) {
    hash = base::fnv1a(text, base::fnv1a(kSeparator, hash));
  };
  add(name);
  for (const auto& [label, value] : labels) {
    add(label);
    add(value);
  }
  return fmt::format("{:016x}", hash);
}

}  // namespace nexus::analyze
