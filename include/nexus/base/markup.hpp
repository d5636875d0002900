// Text that stands between tags, or in double quotes, of HTML and XML; of Slack's markup, where
// only the first three are special. Thread safety: a function without state.
#pragma once

#include <string>
#include <string_view>

namespace nexus::base {

/// `special` of & < > " as entities; the rest as it is.
[[nodiscard]] inline std::string escape_markup(std::string_view text,
                                               std::string_view special = "&<>\"") {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    if (!special.contains(c)) {
      out += c;
      continue;
    }
    out += c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;" : "&quot;";
  }
  return out;
}

}  // namespace nexus::base
