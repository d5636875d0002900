// Reading JSON that somebody else wrote: what is not there, or of another type, is empty.
// Thread safety: pure functions.
#pragma once

#include <boost/json.hpp>
#include <cstdint>
#include <string>
#include <string_view>

#include "nexus/base/result.hpp"

namespace nexus::drivers {

/// kCorrupt when it is not JSON, or nested too deep.
[[nodiscard]] Result<boost::json::value> parse_json(std::string_view text);

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
