#include "drivers/json.hpp"

namespace nexus::drivers {

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
