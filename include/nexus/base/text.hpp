// Text and numbers: strict parsing without locale or allocation, and the formats that people see.
//
// Thread safety: pure functions. Parsers return nullopt unless the whole text is consumed.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/base/clock.hpp"
#include "nexus/base/result.hpp"

namespace nexus::base {

[[nodiscard]] std::string_view trim(std::string_view text) noexcept;
/// Takes the text up to `separator` off the front of `rest` (and the separator); the whole rest
/// when there is none.
[[nodiscard]] std::string_view take_until(std::string_view& rest, char separator) noexcept;
/// Takes the next run of non-blank characters off the front of `rest`; empty at the end.
[[nodiscard]] std::string_view take_word(std::string_view& rest) noexcept;
[[nodiscard]] std::vector<std::string_view> split(std::string_view text, char separator);

[[nodiscard]] std::optional<std::uint64_t> parse_uint(std::string_view text,
                                                      int radix = 10) noexcept;
[[nodiscard]] std::optional<std::int64_t> parse_int(std::string_view text) noexcept;
/// Also "NaN", "+Inf", "-Inf", "Inf" in any case.
[[nodiscard]] std::optional<double> parse_double(std::string_view text) noexcept;

/// Prometheus durations ("250ms", "1h30m", "1d", "2w", "1y") and bare numbers, which are seconds.
[[nodiscard]] Result<Millis> parse_duration(std::string_view text);
/// The shortest Prometheus duration, e.g. "1h30m", "0s".
[[nodiscard]] std::string format_duration(Millis duration);
/// Bytes with an optional suffix: "64MiB", "1G" (powers of 1024 with or without i, B optional),
/// "4096".
[[nodiscard]] Result<std::uint64_t> parse_bytes(std::string_view text);

/// Appends the shortest decimal that reads back as the same double; NaN, +Inf, -Inf as Prometheus
/// writes them.
void append_double(std::string& out, double value);
[[nodiscard]] std::string format_double(double value);

[[nodiscard]] bool is_valid_utf8(std::string_view text) noexcept;
/// `text` with every invalid byte replaced by U+FFFD.
[[nodiscard]] std::string sanitize_utf8(std::string_view text);

/// FNV-1a, 64 bit; `seed` chains calls. Used for fingerprints, never for hash tables that strangers
/// can fill.
[[nodiscard]] std::uint64_t fnv1a(std::string_view text,
                                  std::uint64_t seed = 0xcbf29ce484222325ULL) noexcept;

/// RFC 3339 ("2026-11-23T17:32:54Z", with offset or fraction) or Unix seconds ("1700000000.5").
[[nodiscard]] Result<WallTime> parse_time(std::string_view text);

}  // namespace nexus::base
