// Relations: which of the findings that fire explains which others.
//
// A finding's cause is the most upstream of those that fire for something its subject needs
// (transitively, by the graph). Without one it is what began within kTogether of it on a lower
// layer and has no such cause itself: the host's own vitals below alerts, those below services and
// the vitals that ask or count services. Forecasts and anomalies explain nothing. In a circle the
// one that fired first is upstream. Of more than kMost findings the newest are looked at. Thread
// safety: pure function.
#pragma once

#include <map>
#include <span>
#include <string>

#include "nexus/analyze/book.hpp"

namespace nexus::analyze {

struct CauseLink {
  std::string cause;  // fingerprint
  std::string link;
};

inline constexpr Millis kTogether{30'000};
inline constexpr std::size_t kMostRelated = 500;

/// By fingerprint: those that have a cause.
[[nodiscard]] std::map<std::string, CauseLink> relate(std::span<const Finding* const> firing,
                                                      const Graph& graph);

/// Changes of the host from half an hour before it began to a minute after it fired.
[[nodiscard]] Changes changes_before(const Finding& finding, const Changes& all);

}  // namespace nexus::analyze
