// What the routes of Prometheus's HTTP API share: its answers and errors, and how it reads
// parameters.
//
// Answers are written straight into one string: a range query may have a million points. Errors are
// `{"status":"error","errorType":...,"error":...}` with the statuses of Prometheus's web/api/v1.
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nexus/knowledge/promql.hpp"
#include "nexus/serve/routes.hpp"

namespace nexus::serve::prometheus {

/// The error types of Prometheus's API.
enum class Failure {
  kBadData,
  kExecution,
  kCanceled,
  kTimeout,
  kInternal,
  kNotFound,
  kUnavailable
};

[[nodiscard]] Response failure(Failure type, std::string_view message);
/// `{"status":"success","data":DATA}`, with warnings when there are any. `data` is JSON.
/// `infos` are for people, as Prometheus 3 has them: clients that do not know them pass them over.
/// What stands around the data where that is written piece by piece: kSuccess, DATA, success_end().
[[nodiscard]] Response success(std::string_view data, const std::vector<std::string>& warnings = {},
                               const std::vector<std::string>& infos = {});

inline constexpr std::string_view kSuccess = "{\"status\":\"success\",\"data\":";
[[nodiscard]] std::string success_end(const std::vector<std::string>& warnings,
                                      const std::vector<std::string>& infos);

void append_string(std::string& out, std::string_view text);  // quoted and escaped
void append_time(std::string& out, std::int64_t millis);      // seconds: 1435781430.781
/// The same of scalars and texts, which Prometheus writes without trailing zeros.
void append_scalar_time(std::string& out, std::int64_t millis);
void append_sample(std::string& out, std::int64_t millis, double value);
enum class Name { kShown, kLeftOut };
void append_metric(std::string& out, const knowledge::Labels& labels, Name name = Name::kShown);
void append_names(std::string& out, const std::vector<std::string>& names);

/// A time parameter in milliseconds: RFC 3339 or Unix seconds with a fraction. Errors are worded as
/// Prometheus does and name the parameter; so for all of these.
[[nodiscard]] Result<std::int64_t> time_param(const Request& request, std::string_view name,
                                              std::optional<std::int64_t> fallback);
/// Seconds or "1m30s"; may be zero or negative when written as a number.
[[nodiscard]] Result<Millis> duration_param(const Request& request, std::string_view name);
/// `limit` and its like: 0 and absence are no limit.
[[nodiscard]] Result<std::size_t> limit_param(const Request& request, std::string_view name);
[[nodiscard]] std::vector<std::string_view> all_params(const Request& request,
                                                       std::string_view name);

/// The match[] parameters; each is the matchers of one selector.
using Selector = std::vector<knowledge::Matcher>;
[[nodiscard]] Result<std::vector<Selector>> selector_params(const Request& request);

/// start and end of the routes that look for series; all time when absent.
struct Span {
  std::int64_t start = 0;
  std::int64_t end = 0;
};
[[nodiscard]] Result<Span> span_params(const Request& request);

/// The samples that a query may read. What it holds at once the evaluator bounds besides.
inline constexpr std::uint64_t kMaxSamples = 50'000'000;

/// The warning of an answer that `limit` cut.
inline constexpr std::string_view kTruncated = "results truncated due to limit";

}  // namespace nexus::serve::prometheus
