// The request target (RFC 9112 section 3.2, origin-form only) taken apart and decoded.
//
// Refused: anything that does not start with "/", bad percent escapes, control characters, NUL,
// invalid UTF-8. Thread safety: pure functions.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "nexus/base/result.hpp"

namespace nexus::serve {

struct Target {
  std::string path;
  std::vector<std::pair<std::string, std::string>> query;
};

[[nodiscard]] Result<Target> parse_target(std::string_view target);

/// `a=1&b=two+words`, as queries and application/x-www-form-urlencoded bodies have it. At most
/// kMaxParameters.
inline constexpr std::size_t kMaxParameters = 256;
[[nodiscard]] Result<std::vector<std::pair<std::string, std::string>>> parse_form(
    std::string_view text);

}  // namespace nexus::serve
