// Tokens of the actions of a template. Thread safety: plain values; the functions are pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "analyze/templates/value.hpp"

namespace nexus::analyze::templates {

struct Token {
  enum class Kind {
    kText,      // outside of actions
    kOpen,      // {{
    kClose,     // }}
    kWord,      // a function or a keyword
    kVariable,  // $x
    kField,     // .x, directly after what it belongs to or not: `joined` says
    kDot,
    kLiteral,
    kPipe,
    kOpenParen,
    kCloseParen,
    kComma,
    kDeclare,  // :=
    kAssign,   // =
    kEnd,
  };
  Kind kind = Kind::kEnd;
  std::string text;
  Value literal{};
  int line = 1;
  bool joined = false;  // no blank before it
};

/// Errors without the "template: NAME:" in front, but with the line: "3: unclosed action".
[[nodiscard]] Result<std::vector<Token>> tokenize(std::string_view text);

}  // namespace nexus::analyze::templates
