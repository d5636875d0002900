// Matchers: conditions on labels, all of which must hold, written as Alertmanager writes them:
// severity="critical", team=~"web|db", severity!=info, {a="b",c!~"d.*"}.
//
// Regular expressions are RE2, anchored at both ends. An absent label has the empty value. Thread
// safety: plain values.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/config/values.hpp"
#include "nexus/knowledge/labels.hpp"

namespace nexus::publish {

using Matchers = std::vector<knowledge::Matcher>;

/// One text may hold several, with commas between or in braces. kInvalidArgument says what is
/// wrong, naming the matcher.
[[nodiscard]] Result<Matchers> parse_matchers(std::string_view text);
/// Those of all texts.
[[nodiscard]] Result<Matchers> parse_matchers(std::span<const std::string> texts);

[[nodiscard]] bool all_match(const Matchers& matchers, const config::StringMap& labels);

/// {a="b",c=~"d"}
[[nodiscard]] std::string to_string(const Matchers& matchers);
/// The value of a label, empty when absent.
[[nodiscard]] std::string_view value_of(const config::StringMap& labels, std::string_view name);

}  // namespace nexus::publish
