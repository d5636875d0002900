// Bodies of requests: strict JSON into typed values, every mistake named by its key. Thread safety:
// pure functions.
#pragma once

#include <boost/json/object.hpp>

#include "nexus/plan/action.hpp"
#include "nexus/publish/matchers.hpp"
#include "nexus/serve/routes.hpp"

namespace nexus::serve {

/// The body as a JSON object with no other keys than `allowed`; an empty body is an empty object.
[[nodiscard]] Result<boost::json::object> parse_object(
    const Request& request, std::initializer_list<std::string_view> allowed);

/// A member of a type, or `fallback` when absent; an error "KEY: expected a string" otherwise.
[[nodiscard]] Result<std::string> string_member(const boost::json::object& object,
                                                std::string_view key, std::string fallback = {});
[[nodiscard]] Result<bool> bool_member(const boost::json::object& object, std::string_view key,
                                       bool fallback);
[[nodiscard]] Result<std::int64_t> integer_member(const boost::json::object& object,
                                                  std::string_view key, std::int64_t fallback,
                                                  std::int64_t low, std::int64_t high);

/// All `filter` parameters: conditions on labels, of which at most eight are regular expressions.
/// They cost some milliseconds at most, which the io thread may spend.
[[nodiscard]] Result<publish::Matchers> filters_of(const Request& request);

/// The body of POST /operations/actions.
[[nodiscard]] Result<plan::ActionRequest> parse_action_request(const Request& request);

/// Audits and submits a person's action; 202 with the action, or the error.
[[nodiscard]] Response submit(const Rooms& rooms, const Request& request, std::string_view what,
                              const plan::ActionRequest& wanted);

}  // namespace nexus::serve
