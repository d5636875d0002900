// Relations: which of the findings that fire explains which others.
//
// A finding's cause is the most upstream of those that fire for something its subject needs
// (transitively, by the graph). Without one it is what began within kTogether of it on a lower
// layer and has no such cause itself: the shipped vitals of the host itself below alerts and vitals
// of one's own, those below services and the vitals that ask or count services. Those last explain
// nothing by when they began, forecasts and anomalies nothing at all. In a circle the one that
// fired first is upstream. Of more than kMostRelated findings the newest are looked at; those that
// are no trouble are counted apart, for they are only asked what changed before them.
//
// Thread safety: plain values and pure functions; Dependencies is immutable.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "nexus/analyze/book.hpp"
#include "nexus/analyze/kinds.hpp"

namespace nexus::analyze {

struct CauseLink {
  std::string cause;  // fingerprint
  std::string link;
};

inline constexpr Millis kTogether{30'000};
inline constexpr std::size_t kMostRelated = 500;

/// A graph whose names are numbers: made once for each graph, asked at each transition.
class Dependencies {
 public:
  struct Edge {
    std::uint32_t upstream;
    bool declared;  // depends_on, not a connection that was seen
  };
  explicit Dependencies(const Graph& graph);
  [[nodiscard]] std::optional<std::uint32_t> find(const std::string& name) const;
  [[nodiscard]] const std::vector<Edge>& of(std::uint32_t name) const { return upstream_[name]; }
  [[nodiscard]] std::size_t size() const noexcept { return upstream_.size(); }

 private:
  std::uint32_t number_of(const std::string& name);

  std::unordered_map<std::string, std::uint32_t> numbers_;
  std::vector<std::vector<Edge>> upstream_;  // by the dependent's number
};

/// What fires, as far as relations ask: fingerprint, kind, name, subject, times, record.
struct Question {
  std::vector<Finding> firing;
  std::shared_ptr<const Dependencies> needs;  // null: nothing is known
  std::shared_ptr<const Changes> happened;    // null: nothing
};

struct Answer {
  std::map<std::string, CauseLink> causes;          // by fingerprint: those that have one
  std::unordered_map<std::string, Changes> before;  // by fingerprint
};

[[nodiscard]] Answer relate(const Question& question);

/// Changes of the host from half an hour before it began to a minute after it fired, without the
/// rollouts that were made because of it (their texts name the action).
[[nodiscard]] Changes changes_before(const Finding& finding, const Changes& all);

}  // namespace nexus::analyze
