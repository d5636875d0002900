// What of an action is not a column of the journal, as one JSON object; and back.
//
// Thread safety: pure functions. Boost.JSON stays inside the .cpp.
#pragma once

#include <string>
#include <string_view>

#include "nexus/base/result.hpp"
#include "nexus/plan/action.hpp"

namespace nexus::execute {

[[nodiscard]] std::string details_of(const plan::Action& action);
/// Fills in everything but the columns. kCorrupt when the text is not what details_of() wrote.
[[nodiscard]] Status read_details(std::string_view text, plan::Action& action);

/// `object` (JSON, or empty) with one more string member; what is not an object is kept under
/// "state".
[[nodiscard]] std::string with_member(std::string_view object, std::string_view name,
                                      std::string_view value);
/// A string member of a JSON object, empty when there is none.
[[nodiscard]] std::string member_of(std::string_view object, std::string_view name);

}  // namespace nexus::execute
