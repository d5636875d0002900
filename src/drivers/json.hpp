// Reading JSON that somebody else wrote: what is not there, or of another type, is empty.
// Thread safety: pure functions.
#pragma once

#include <boost/json.hpp>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "nexus/base/result.hpp"

namespace nexus::drivers {

/// kCorrupt when it is not JSON, or nested too deep.
[[nodiscard]] Result<boost::json::value> parse_json(std::string_view text);

/// Of an answer of an HTTP API whose status is no success.
[[nodiscard]] Errc errc_of_status(unsigned status) noexcept;
/// Its message: the first of `members` (of a JSON object) that has text; else, as when something in
/// between has answered, the beginning of the body.
[[nodiscard]] std::string message_of(const std::string& body,
                                     std::initializer_list<std::string_view> members);

/// The member; null when `value` is no object or has none of that name.
[[nodiscard]] const boost::json::value* member(const boost::json::value* value,
                                               std::string_view name);
[[nodiscard]] std::string text_of(const boost::json::value* value);
/// Any number; 0 otherwise.
[[nodiscard]] double number_of(const boost::json::value* value);
/// A whole number from 0 to what T can hold; 0 otherwise.
template <typename T>
[[nodiscard]] T whole_of(const boost::json::value* value) {
  if (value == nullptr) return 0;
  boost::system::error_code ec;
  const auto number = value->to_number<T>(ec);
  return ec ? T{} : number;
}
[[nodiscard]] bool is_true(const boost::json::value* value);
/// Null when it is no array.
[[nodiscard]] const boost::json::array* array_of(const boost::json::value* value);

}  // namespace nexus::drivers
