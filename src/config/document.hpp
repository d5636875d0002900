// TOML text into a Node tree. The only user of toml++.
//
// A syntax error does not hide the ones after it: the statement is taken out and the rest is read
// (the library stops at the first), as long as that makes progress. Such a document is `damaged`:
// what seems to be missing in it may be what could not be read. Thread safety: pure functions of
// their arguments.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config/node.hpp"

namespace nexus::config {

struct Document {
  std::string name;  // as messages call it
  Node root;         // always a table
  bool damaged = false;
  std::vector<Problem> problems;
};

[[nodiscard]] Document parse_document(std::string_view text, std::string_view name);

/// One value as TOML writes it, or the text itself as a string when it is not TOML (flags: `debug`,
/// `10s`, `/tmp/x`).
[[nodiscard]] Node parse_flag_value(std::string_view text, const Where& where);

}  // namespace nexus::config
