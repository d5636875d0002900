// Content negotiation for expositions: OpenMetrics or text 0.0.4 by Accept, zstd or gzip by
// Accept-Encoding.
//
// Thread safety: pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "nexus/knowledge/names.hpp"

namespace nexus::serve {

enum class Coding { kIdentity, kGzip, kZstd };

/// The best coding that the header allows (RFC 9110 section 12.5.3): zstd before gzip at equal
/// weight.
[[nodiscard]] Coding choose_coding(std::string_view accept_encoding);
[[nodiscard]] std::string_view to_string(Coding coding) noexcept;
[[nodiscard]] std::string compress(std::string_view text, Coding coding);

/// Whether OpenMetrics is wanted more than the text format.
[[nodiscard]] bool wants_open_metrics(std::string_view accept);
/// How names beyond letters, digits, _ and : are written: what `escaping=` beside the chosen format
/// says, and with underscores where it says nothing.
[[nodiscard]] knowledge::NameEscaping choose_escaping(std::string_view accept, bool open_metrics);
/// Text format 0.0.4 as OpenMetrics 1.0: counters' families lose _total, counters without it become
/// unknown, `# EOF`.
[[nodiscard]] std::string to_open_metrics(std::string_view text);

inline constexpr std::string_view kTextType = "text/plain; version=0.0.4; charset=utf-8";
inline constexpr std::string_view kOpenMetricsType =
    "application/openmetrics-text; version=1.0.0; charset=utf-8";

}  // namespace nexus::serve
