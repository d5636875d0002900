// JSON shapes shared by the routes (DESIGN.md section 8). Thread safety: pure functions.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <optional>
#include <string>

#include "nexus/analyze/finding.hpp"
#include "nexus/base/clock.hpp"
#include "nexus/config/operate.hpp"
#include "nexus/knowledge/labels.hpp"
#include "nexus/knowledge/promql.hpp"
#include "nexus/plan/action.hpp"
#include "nexus/plan/planner.hpp"
#include "nexus/serve/http.hpp"
#include "nexus/serve/routes.hpp"

namespace nexus::serve {

namespace json_ns = boost::json;

[[nodiscard]] Response to_response(const json_ns::value& value, unsigned status = 200);

/// A double as JSON: NaN and infinities are null.
[[nodiscard]] json_ns::value number(double value);
[[nodiscard]] json_ns::value number(const std::optional<double>& value);
[[nodiscard]] json_ns::value time(const std::optional<WallTime>& time);

/// Labels as an object, without __name__.
[[nodiscard]] json_ns::object labels(const knowledge::Labels& labels);
[[nodiscard]] json_ns::object labels(const config::StringMap& labels);
[[nodiscard]] json_ns::value parameter(const config::ParameterValue& value);
[[nodiscard]] json_ns::object finding(const analyze::Finding& finding);
[[nodiscard]] json_ns::array strings(const std::vector<std::string>& given);
/// What a command was given and printed may be secret: below the role operator `output` is null,
/// and of run_command `parameters` is empty and `would_do`, `before` and `after` are null.
[[nodiscard]] json_ns::object action(const plan::Action& action, const Caller& reader);
[[nodiscard]] json_ns::object decision(const plan::Decision& decision);
[[nodiscard]] json_ns::object breaker(const plan::Breaker& breaker);

/// Query parameter as a whole number within [low, high]; `fallback` when absent; an error that
/// names it otherwise.
[[nodiscard]] Result<std::int64_t> integer_param(const Request& request, std::string_view name,
                                                 std::int64_t fallback, std::int64_t low,
                                                 std::int64_t high);

/// The bounds of a query that a request asks for: its `timeout`, but never more than 30 s; the
/// samples that prometheus_answer.hpp allows; the server's stop.
[[nodiscard]] Result<knowledge::promql::Limits> limits_of(const Rooms& rooms,
                                                          const Request& request);

}  // namespace nexus::serve
