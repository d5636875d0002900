// NameFilter: an include and an exclude regular expression over names (devices, mount points,
// units).
//
// As node_exporter's filters: not anchored (the patterns anchor themselves), an empty pattern does
// not filter. Thread safety: accepts() from any thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "nexus/base/result.hpp"

namespace re2 {
class RE2;
}

namespace nexus::monitor {

/// What is wrong with a regular expression, or nothing.
[[nodiscard]] Status check_regex(std::string_view pattern);

class NameFilter {
 public:
  /// kInvalidArgument when a pattern does not compile.
  [[nodiscard]] static Result<NameFilter> make(std::string_view include, std::string_view exclude);
  [[nodiscard]] bool accepts(std::string_view name) const;

 private:
  NameFilter() = default;
  std::shared_ptr<const re2::RE2> include_;
  std::shared_ptr<const re2::RE2> exclude_;
};

}  // namespace nexus::monitor
