#include "analyze/relations.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <utility>

#include "nexus/config/load.hpp"

namespace nexus::analyze {
namespace {

constexpr int kDeepest = 16;
constexpr Millis kBefore{30 * 60'000};
constexpr Millis kAfter{60'000};

/// Vitals that ask services, or count what became of them: nearer to what fails than to why.
constexpr std::array<std::string_view, 10> kOfServices{
    "container", "docker_", "kubernetes_", "postgres_", "probe_",
    "redis_",    "scrape_", "systemd_",    "textfile_", "tls_"};

enum Layer { kHost, kOfOnesOwn, kServices };

/// A vital of one's own may be about anything, as an alert may.
bool is_shipped(std::string_view name) {
  static const auto names = [] {
    std::set<std::string_view> all;
    for (const auto& vital : config::default_vitals()) all.insert(vital.name);
    return all;
  }();
  return names.contains(name);
}

/// How far up a finding stands when nothing else is known; unset: it explains nothing.
std::optional<Layer> layer_of(const Finding& finding) {
  switch (finding.kind) {
    case FindingKind::kVital: {
      const bool of_services = std::ranges::any_of(
          kOfServices, [&](std::string_view begin) { return finding.name.starts_with(begin); });
      if (of_services) return kServices;
      return is_shipped(finding.name) ? kHost : kOfOnesOwn;
    }
    case FindingKind::kAlert:
      return kOfOnesOwn;
    case FindingKind::kService:
      return kServices;
    case FindingKind::kForecast:
    case FindingKind::kAnomaly:
    case FindingKind::kAgent:
    case FindingKind::kIncident:
    case FindingKind::kOptimization:
    case FindingKind::kDrift:
      return std::nullopt;
  }
  return std::nullopt;
}

WallTime fired_of(const Finding& finding) {
  return finding.fired.value_or(finding.started);
}

/// One that fires.
struct One {
  const Finding* finding;
  std::optional<Layer> layer;
  WallTime fired;
  std::optional<std::size_t> place;  // of its subject, where somebody needs it or it needs others
};

class Relations {
 public:
  explicit Relations(const Question& question) : needs_(question.needs.get()) {
    std::unordered_map<std::uint32_t, std::size_t> places;
    for (const Finding& finding : question.firing) {
      if (!is_trouble(finding.kind)) continue;
      One one{&finding, layer_of(finding), fired_of(finding), std::nullopt};
      if (const auto number = needs_ ? needs_->find(finding.subject) : std::nullopt) {
        const auto [known, fresh] = places.try_emplace(*number, of_place_.size());
        if (fresh) of_place_.push_back({*number, {}, {}});
        one.place = known->second;
        of_place_[known->second].firing.push_back(firing_.size());
      }
      firing_.push_back(one);
    }
    look_up(places);
  }

  std::map<std::string, CauseLink> run() {
    std::map<std::string, CauseLink> out;
    for (const One& one : firing_) {
      if (auto found = linked(one)) out.emplace(one.finding->fingerprint, *std::move(found));
    }
    // What something else is known to explain is nobody's beginning, nor is a count of failures.
    std::vector<const One*> upper;
    for (const One& one : firing_) {
      const bool asks = one.finding->kind == FindingKind::kVital && one.layer == kServices;
      if (one.layer && !asks && !out.contains(one.finding->fingerprint)) upper.push_back(&one);
    }
    for (const One& one : firing_) {
      if (out.contains(one.finding->fingerprint)) continue;
      if (auto found = together(one, upper))
        out.emplace(one.finding->fingerprint, *std::move(found));
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
  struct Reached {
    std::size_t place;
    int depth;
    bool declared;  // all the way
  };
  /// A subject that something fires for and that the graph knows.
  struct Subject {
    std::uint32_t number;
    std::vector<std::size_t> firing;  // in firing_
    std::vector<Reached> needs;       // others of these
  };

  /// What each subject needs, how deep it lies and by what kind of link; once for all of them.
  void look_up(const std::unordered_map<std::uint32_t, std::size_t>& places) {
    reaches_.assign(of_place_.size() * of_place_.size(), false);
    if (needs_ == nullptr) return;
    std::vector<std::size_t> visited(needs_->size(), 0);  // by whose walk, from 1 on
    for (std::size_t place = 0; place < of_place_.size(); ++place) {
      Subject& subject = of_place_[place];
      std::vector<std::pair<std::uint32_t, bool>> layer = {{subject.number, true}};
      visited[subject.number] = place + 1;
      for (int depth = 1; depth <= kDeepest && !layer.empty(); ++depth) {
        std::vector<std::pair<std::uint32_t, bool>> next;
        for (const auto& [name, declared] : layer) {
          for (const auto& edge : needs_->of(name)) {
            if (std::exchange(visited[edge.upstream], place + 1) == place + 1) continue;
            const bool all_declared = declared && edge.declared;
            next.emplace_back(edge.upstream, all_declared);
            const auto known = places.find(edge.upstream);
            if (known == places.end()) continue;
            subject.needs.push_back({known->second, depth, all_declared});
            reaches_[place * of_place_.size() + known->second] = true;
          }
        }
        layer = std::move(next);
      }
    }
  }

  [[nodiscard]] std::optional<CauseLink> linked(const One& one) const {
    if (!one.place) return std::nullopt;
    const One* best = nullptr;
    const Reached* how = nullptr;
    for (const Reached& at : of_place_[*one.place].needs) {
      const bool circle = reaches_[at.place * of_place_.size() + *one.place];
      for (const std::size_t index : of_place_[at.place].firing) {
        const One& other = firing_[index];
        if (!other.layer || (circle && other.fired >= one.fired)) continue;
        if (best == nullptr || at.depth > how->depth ||
            (at.depth == how->depth && is_first(other, *best))) {
          best = &other;
          how = &at;
        }
      }
    }
    if (best == nullptr) return std::nullopt;
    return CauseLink{best->finding->fingerprint, how->declared ? "depends_on" : "connection"};
  }

  /// Which of two is named must not depend on the order of a graph that is made anew each minute.
  static bool is_first(const One& a, const One& b) {
    if (a.fired != b.fired) return a.fired < b.fired;
    return a.finding->fingerprint < b.finding->fingerprint;
  }

  [[nodiscard]] static std::optional<CauseLink> together(
      const One& one, const std::vector<const One*>& candidates) {
    const One* best = nullptr;
    for (const One* other : candidates) {
      if (other == &one || (one.layer && *other->layer >= *one.layer)) continue;
      const auto apart = one.fired - other->fired;
      if (apart > kTogether || apart < -kTogether) continue;
      if (best == nullptr || *other->layer < *best->layer ||
          (*other->layer == *best->layer && is_first(*other, *best)))
        best = other;
    }
    if (best == nullptr) return std::nullopt;
    return CauseLink{best->finding->fingerprint, "started_together"};
  }

  const Dependencies* needs_;
  std::vector<One> firing_;
  std::vector<Subject> of_place_;
  std::vector<bool> reaches_;  // whether one place needs another, row by row
};

}  // namespace

Dependencies::Dependencies(const Graph& graph) {
  for (const auto& edge : graph.edges) {
    const auto dependent = number_of(edge.dependent);
    const auto upstream = number_of(edge.upstream);
    upstream_[dependent].push_back({upstream, edge.link == "depends_on"});
  }
}

std::uint32_t Dependencies::number_of(const std::string& name) {
  const auto [place, fresh] =
      numbers_.try_emplace(name, static_cast<std::uint32_t>(upstream_.size()));
  if (fresh) upstream_.emplace_back();
  return place->second;
}

std::optional<std::uint32_t> Dependencies::find(const std::string& name) const {
  const auto found = numbers_.find(name);
  if (found == numbers_.end()) return std::nullopt;
  return found->second;
}

Answer relate(const Question& question) {
  Answer answer;
  answer.causes = Relations(question).run();
  if (!question.happened) return answer;
  for (const Finding& finding : question.firing)
    answer.before.emplace(finding.fingerprint, changes_before(finding, *question.happened));
  return answer;
}

Changes changes_before(const Finding& finding, const Changes& all) {
  // A rollout that was made because of it came after it, however soon.
  const auto answers = [&](const Change& change) {
    return change.kind == "deploy" &&
           std::ranges::any_of(record_of(finding).actions, [&](const FindingAction& action) {
             return !action.id.empty() && change.text.contains(action.id);
           });
  };
  Changes out;
  for (const Change& change : all) {
    if (change.time + kBefore < finding.started || change.time > fired_of(finding) + kAfter)
      continue;
    if (answers(change)) continue;
    out.push_back(change);
    if (out.size() == FindingRecord::kMostCauses) break;
  }
  return out;
}

}  // namespace nexus::analyze
