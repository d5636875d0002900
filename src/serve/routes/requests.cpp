#include "serve/routes/requests.hpp"

#include <algorithm>
#include <boost/json/parse.hpp>
#include <iterator>

#include "nexus/base/text.hpp"

namespace nexus::serve {
namespace {

namespace json_ns = boost::json;

constexpr std::size_t kMaxText = 1024;  // of a target, a reason, a key
constexpr std::size_t kMaxParameters = 64;
constexpr std::size_t kMaxDepth = 16;

Result<config::ParameterValue> to_parameter(std::string_view key, const json_ns::value& value) {
  switch (value.kind()) {
    case json_ns::kind::bool_:
      return config::ParameterValue(value.get_bool());
    case json_ns::kind::int64:
      return config::ParameterValue(value.get_int64());
    case json_ns::kind::double_:
      return config::ParameterValue(value.get_double());
    case json_ns::kind::string:
      return config::ParameterValue(std::string(value.get_string()));
    case json_ns::kind::array: {
      std::vector<std::string> items;
      for (const auto& item : value.get_array()) {
        if (!item.is_string())
          return fail(Errc::kInvalidArgument, "parameters.{}: expected an array of strings", key);
        items.emplace_back(item.get_string());
      }
      return config::ParameterValue(std::move(items));
    }
    case json_ns::kind::uint64:
    case json_ns::kind::null:
    case json_ns::kind::object:
      break;
  }
  return fail(Errc::kInvalidArgument,
              "parameters.{}: expected a boolean, number, string or array of strings", key);
}

Result<config::Parameters> parameters_member(const json_ns::object& object) {
  config::Parameters out;
  const auto* member = object.if_contains("parameters");
  if (member == nullptr || member->is_null()) return out;
  if (!member->is_object()) return fail(Errc::kInvalidArgument, "parameters: expected an object");
  if (member->get_object().size() > kMaxParameters)
    return fail(Errc::kInvalidArgument, "parameters: more than {}", kMaxParameters);
  for (const auto& [key, value] : member->get_object()) {
    auto converted = to_parameter(key, value);
    if (!converted) return std::unexpected(converted.error());
    out[std::string(key)] = std::move(*converted);
  }
  return out;
}

std::string list_of(std::initializer_list<std::string_view> names) {
  std::string out;
  for (const auto name : names) out += fmt::format("{}{}", out.empty() ? "" : ", ", name);
  return out;
}

}  // namespace

Result<json_ns::object> parse_object(const Request& request,
                                     std::initializer_list<std::string_view> allowed) {
  if (base::trim(request.body).empty()) return json_ns::object();
  if (!is_media_type(request.content_type, "application/json")) {
    return fail(Errc::kInvalidArgument, "Content-Type: expected application/json, got \"{}\"",
                request.content_type);
  }
  json_ns::parse_options options;
  options.max_depth = kMaxDepth;
  boost::system::error_code ec;
  const auto value = json_ns::parse(request.body, ec, {}, options);
  if (ec) return fail(Errc::kInvalidArgument, "the body is not valid JSON: {}", ec.message());
  if (!value.is_object()) return fail(Errc::kInvalidArgument, "the body: expected a JSON object");
  for (const auto& [key, member] : value.get_object()) {
    if (std::ranges::find(allowed, std::string_view(key)) == allowed.end()) {
      return fail(Errc::kInvalidArgument, "{}: unknown key; expected one of {}",
                  std::string_view(key), list_of(allowed));
    }
  }
  return value.get_object();
}

Result<std::string> string_member(const json_ns::object& object, std::string_view key,
                                  std::string fallback) {
  const auto* member = object.if_contains(key);
  if (member == nullptr || member->is_null()) return fallback;
  if (!member->is_string()) return fail(Errc::kInvalidArgument, "{}: expected a string", key);
  if (member->get_string().size() > kMaxText)
    return fail(Errc::kInvalidArgument, "{}: longer than {} bytes", key, kMaxText);
  return std::string(member->get_string());
}

Result<bool> bool_member(const json_ns::object& object, std::string_view key, bool fallback) {
  const auto* member = object.if_contains(key);
  if (member == nullptr || member->is_null()) return fallback;
  if (!member->is_bool()) return fail(Errc::kInvalidArgument, "{}: expected true or false", key);
  return member->get_bool();
}

Result<std::int64_t> integer_member(const json_ns::object& object, std::string_view key,
                                    std::int64_t fallback, std::int64_t low, std::int64_t high) {
  const auto* member = object.if_contains(key);
  if (member == nullptr || member->is_null()) return fallback;
  if (!member->is_int64() || member->get_int64() < low || member->get_int64() > high) {
    return fail(Errc::kInvalidArgument, "{}: expected a whole number from {} to {}", key, low,
                high);
  }
  return member->get_int64();
}

Result<publish::Matchers> filters_of(const Request& request) {
  constexpr std::ptrdiff_t kMostRegexes = 8;
  publish::Matchers out;
  std::ptrdiff_t regexes = 0;
  for (const auto& [key, value] : request.query) {
    if (key != "filter") continue;
    // Before any is compiled; one that stands in quotes counts too.
    regexes += std::ranges::count(value, '~');
    if (regexes > kMostRegexes)
      return fail(Errc::kInvalidArgument, "filter: at most {} regular expressions are allowed",
                  kMostRegexes);
    auto some = publish::parse_matchers(value);
    if (!some) return std::unexpected(some.error().with_context("filter"));
    std::ranges::move(*some, std::back_inserter(out));
  }
  return out;
}

Result<plan::ActionRequest> parse_action_request(const Request& request) {
  const auto object = parse_object(request, {"action_type", "target_component", "parameters",
                                             "priority", "dry_run", "idempotency_key", "reason"});
  if (!object) return std::unexpected(object.error());
  plan::ActionRequest out;
  auto type = string_member(*object, "action_type");
  auto target = string_member(*object, "target_component");
  auto parameters = parameters_member(*object);
  auto priority = integer_member(*object, "priority", 50, 0, 100);
  auto dry_run = bool_member(*object, "dry_run", false);
  auto key = string_member(*object, "idempotency_key");
  auto reason = string_member(*object, "reason");
  if (!type) return std::unexpected(type.error());
  if (!target) return std::unexpected(target.error());
  if (!parameters) return std::unexpected(parameters.error());
  if (!priority) return std::unexpected(priority.error());
  if (!dry_run) return std::unexpected(dry_run.error());
  if (!key) return std::unexpected(key.error());
  if (!reason) return std::unexpected(reason.error());
  if (type->empty())
    return fail(Errc::kInvalidArgument, "action_type: expected the type of an action");
  if (target->empty())
    return fail(Errc::kInvalidArgument, "target_component: expected what to act on");
  return plan::ActionRequest{
      std::move(*type), std::move(*target), std::move(*parameters), static_cast<int>(*priority),
      *dry_run,         std::move(*key),    request.caller.who,     std::move(*reason)};
}

}  // namespace nexus::serve
