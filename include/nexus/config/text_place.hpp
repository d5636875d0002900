// Where a text of a table was written, for complaints about what only higher rooms can read
// (templates). The file is read again: places are not kept, for hardly anybody asks.
//
// Thread safety: a function of the file.
#pragma once

#include <string_view>

#include "nexus/config/values.hpp"

namespace nexus::config {

/// The value of `path` ("annotations.summary") of the [[alert]] that stands at `table`; `table`
/// itself when the file has nothing there (any more).
[[nodiscard]] Where place_of_alert_text(const Where& table, std::string_view path);

}  // namespace nexus::config
