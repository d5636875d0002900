// Kinds: what the others do with findings of each kind. Decided here, so that a kind that is added
// is thought of once.
//
// Thread safety: pure functions.
#pragma once

#include "nexus/analyze/finding.hpp"
#include "nexus/knowledge/labels.hpp"

namespace nexus::analyze {

/// Something that happens to the host or to who uses it. What is made of other findings, what was
/// tuned and what is not as it was set are none: they explain no others and are explained by none,
/// nobody looks closer for them, and no remedy answers them that does not name them.
[[nodiscard]] bool is_trouble(FindingKind kind) noexcept;

/// Told only by routes that ask for it: what says nothing new (an incident, whose members are
/// told), and what is over when it is said (what an experiment came to: its end means nothing).
[[nodiscard]] bool is_told_where_asked(const Finding& finding) noexcept;

/// Whether a matcher asks for findings of a kind (`kind`) or a name (`alertname`, `__name__`): it
/// says which, and would not take any other as well, as =~".+" does.
[[nodiscard]] bool is_asking(const knowledge::Matcher& matcher);

}  // namespace nexus::analyze
