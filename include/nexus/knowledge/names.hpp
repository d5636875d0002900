// Names of metrics and labels: any UTF-8, as in Prometheus 3; and how those beyond letters, digits,
// `_` and `:` are written where only such are understood (Prometheus's escaping schemes).
//
// Thread safety: pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace nexus::knowledge {

/// [a-zA-Z_:][a-zA-Z0-9_:]*, for labels without the colon.
[[nodiscard]] bool is_legacy_metric_name(std::string_view name) noexcept;
[[nodiscard]] bool is_legacy_label_name(std::string_view name) noexcept;

enum class NameEscaping {
  kAllowUtf8,    // as they are, in quotes
  kUnderscores,  // what is not allowed becomes _
  kDots,         // . becomes _dot_, _ becomes __, and so does everything else
  kValues,       // U__ before it, _ becomes __, everything else _ and its code point in hex and _
};
/// The words of `escaping=` in a Content-Type or Accept.
[[nodiscard]] std::string_view to_string(NameEscaping escaping) noexcept;
[[nodiscard]] std::optional<NameEscaping> parse_name_escaping(std::string_view word) noexcept;

[[nodiscard]] std::string escape_name(std::string_view name, NameEscaping escaping);
/// The name behind one that kValues made; nothing when it is none such.
[[nodiscard]] std::optional<std::string> unescape_name(std::string_view name);

/// An exposition (text format, names in quotes where they need them) with its names escaped.
[[nodiscard]] std::string escape_names(std::string_view page, NameEscaping escaping);

}  // namespace nexus::knowledge
