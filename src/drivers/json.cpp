#include "drivers/json.hpp"

#include "nexus/base/text.hpp"

namespace nexus::drivers {

Errc errc_of_status(unsigned status) noexcept {
  switch (status) {
    case 401:
    case 403:
      return Errc::kPermissionDenied;
    case 404:
      return Errc::kNotFound;
    case 409:
      return Errc::kConflict;
    case 429:
      return Errc::kExhausted;
    case 501:
      return Errc::kUnsupported;
    case 502:
    case 503:
    case 504:
      return Errc::kUnavailable;
    default:
      return status >= 500 ? Errc::kInternal : Errc::kInvalidArgument;
  }
}

std::string message_of(const std::string& body, std::initializer_list<std::string_view> members) {
  constexpr std::size_t kShown = 200;
  if (const auto value = parse_json(body)) {
    for (const auto name : members) {
      if (auto text = text_of(member(&*value, name)); !text.empty()) return text;
    }
  }
  return base::sanitize_utf8(std::string_view(body).substr(0, kShown));
}

Result<boost::json::value> parse_json(std::string_view text) {
  boost::system::error_code ec;
  auto value = boost::json::parse(boost::json::string_view(text.data(), text.size()), ec);
  if (ec) return fail(Errc::kCorrupt, "not JSON: {}", ec.message());
  return value;
}

const boost::json::value* member(const boost::json::value* value, std::string_view name) {
  if (value == nullptr || !value->is_object()) return nullptr;
  return value->get_object().if_contains(boost::json::string_view(name.data(), name.size()));
}

std::string text_of(const boost::json::value* value) {
  if (value == nullptr || !value->is_string()) return {};
  const auto& text = value->get_string();
  return {text.data(), text.size()};
}

double number_of(const boost::json::value* value) {
  return whole_of<double>(value);
}

bool is_true(const boost::json::value* value) {
  return value != nullptr && value->is_bool() && value->get_bool();
}

const boost::json::array* array_of(const boost::json::value* value) {
  return value == nullptr ? nullptr : value->if_array();
}

}  // namespace nexus::drivers
