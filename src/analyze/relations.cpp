#include "analyze/relations.hpp"

#include <algorithm>
#include <array>
#include <set>

namespace nexus::analyze {
namespace {

constexpr int kDeepest = 16;
constexpr Millis kBefore{30 * 60'000};
constexpr Millis kAfter{60'000};

/// Vitals that ask services, or count what became of them: nearer to what fails than to why.
constexpr std::array<std::string_view, 9> kOfServices{"container", "docker_",  "kubernetes_",
                                                      "postgres_", "probe_",   "redis_",
                                                      "scrape_",   "systemd_", "textfile_"};

/// How far up a finding stands when nothing else is known; unset: it explains nothing.
std::optional<int> layer_of(const Finding& finding) {
  constexpr int kService = 2;
  switch (finding.kind) {
    case FindingKind::kVital: {
      const bool of_services = std::ranges::any_of(
          kOfServices, [&](std::string_view begin) { return finding.name.starts_with(begin); });
      return of_services ? kService : 0;
    }
    case FindingKind::kAlert:
      return 1;
    case FindingKind::kService:
      return kService;
    case FindingKind::kForecast:
    case FindingKind::kAnomaly:
    case FindingKind::kAgent:
      return std::nullopt;
  }
  return std::nullopt;
}

WallTime fired_of(const Finding& finding) {
  return finding.fired.value_or(finding.started);
}

struct Reached {
  int depth = 0;
  std::string link;
};

class Relations {
 public:
  Relations(std::span<const Finding* const> firing, const Graph& graph) {
    for (const Finding* finding : firing) {
      by_subject_[finding->subject].push_back(finding);
      firing_.push_back(finding);
    }
    for (const auto& edge : graph.edges) upstream_[edge.dependent].push_back(&edge);
  }

  std::map<std::string, CauseLink> run() {
    std::map<std::string, CauseLink> out;
    for (const Finding* finding : firing_) {
      if (auto found = linked(*finding)) out.emplace(finding->fingerprint, *std::move(found));
    }
    // What something else is known to explain is nobody's beginning.
    std::vector<const Finding*> upper;
    for (const Finding* finding : firing_) {
      if (!out.contains(finding->fingerprint) && layer_of(*finding)) upper.push_back(finding);
    }
    for (const Finding* finding : firing_) {
      if (out.contains(finding->fingerprint)) continue;
      if (auto found = together(*finding, upper))
        out.emplace(finding->fingerprint, *std::move(found));
    }
    for (auto& [print, link] : out) {  // up to the one that has no cause itself
      std::set<std::string> seen = {print};
      for (auto next = out.find(link.cause); next != out.end() && seen.insert(link.cause).second;
           next = out.find(link.cause)) {
        if (next->second.cause == print) break;
        link.cause = next->second.cause;
      }
    }
    return out;
  }

 private:
  /// All that `subject` needs, how deep it lies and by what kind of link.
  [[nodiscard]] std::map<std::string_view, Reached> needs(std::string_view subject) const {
    std::map<std::string_view, Reached> reached;
    std::vector<std::string_view> layer = {subject};
    for (int depth = 1; depth <= kDeepest && !layer.empty(); ++depth) {
      std::vector<std::string_view> next;
      for (const auto name : layer) {
        const auto edges = upstream_.find(name);
        if (edges == upstream_.end()) continue;
        for (const Graph::Edge* edge : edges->second) {
          if (edge->upstream == subject) continue;
          const auto before = reached.find(name);
          const bool plain = edge->link == "depends_on" &&
                             (before == reached.end() || before->second.link == "depends_on");
          if (reached.try_emplace(edge->upstream, depth, plain ? "depends_on" : "connection")
                  .second)
            next.push_back(edge->upstream);
        }
      }
      layer = std::move(next);
    }
    return reached;
  }

  [[nodiscard]] std::optional<CauseLink> linked(const Finding& finding) const {
    if (!upstream_.contains(finding.subject)) return std::nullopt;
    const Finding* best = nullptr;
    const Reached* how = nullptr;
    const auto reached = needs(finding.subject);
    for (const auto& [subject, at] : reached) {
      const auto found = by_subject_.find(subject);
      if (found == by_subject_.end()) continue;
      for (const Finding* other : found->second) {
        if (!layer_of(*other)) continue;
        const bool circle = needs(subject).contains(finding.subject);
        if (circle && fired_of(*other) >= fired_of(finding)) continue;
        if (best == nullptr || at.depth > how->depth ||
            (at.depth == how->depth && fired_of(*other) < fired_of(*best))) {
          best = other;
          how = &at;
        }
      }
    }
    if (best == nullptr) return std::nullopt;
    return CauseLink{best->fingerprint, how->link};
  }

  [[nodiscard]] static std::optional<CauseLink> together(
      const Finding& finding, const std::vector<const Finding*>& candidates) {
    const auto layer = layer_of(finding);
    const Finding* best = nullptr;
    for (const Finding* other : candidates) {
      const auto upper = layer_of(*other);
      if (other == &finding || (layer && *upper >= *layer)) continue;
      const auto apart = fired_of(finding) - fired_of(*other);
      if (apart > kTogether || apart < -kTogether) continue;
      if (best == nullptr || *upper < *layer_of(*best) ||
          (*upper == *layer_of(*best) && fired_of(*other) < fired_of(*best)))
        best = other;
    }
    if (best == nullptr) return std::nullopt;
    return CauseLink{best->fingerprint, "started_together"};
  }

  std::vector<const Finding*> firing_;
  std::map<std::string_view, std::vector<const Finding*>> by_subject_;
  std::map<std::string_view, std::vector<const Graph::Edge*>> upstream_;
};

}  // namespace

std::map<std::string, CauseLink> relate(std::span<const Finding* const> firing,
                                        const Graph& graph) {
  return Relations(firing, graph).run();
}

Changes changes_before(const Finding& finding, const Changes& all) {
  Changes out;
  for (const Change& change : all) {
    if (change.time + kBefore < finding.started || change.time > fired_of(finding) + kAfter)
      continue;
    out.push_back(change);
    if (out.size() == FindingRecord::kMostCauses) break;
  }
  return out;
}

}  // namespace nexus::analyze
