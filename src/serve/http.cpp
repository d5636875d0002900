#include "nexus/serve/http.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include "nexus/base/text.hpp"

namespace nexus::serve {
namespace {

constexpr bool is_pattern(std::string_view path) {
  return path.contains('{');
}

/// Matches "/a/{x}/b" against "/a/1/b" part by part, and "/a/{x+}/b" against "/a/1/2/b": {x+} takes
/// all that is in front of the rest, which has no further {}.
bool matches(std::string_view pattern, std::string_view path, std::vector<std::string>& captures) {
  captures.clear();
  while (true) {
    const auto pattern_end = pattern.find('/');
    const auto path_end = path.find('/');
    const auto part = pattern.substr(0, pattern_end);
    const auto text = path.substr(0, path_end);
    if (part.ends_with("+}")) {
      const auto rest = pattern.substr(part.size());
      if (!path.ends_with(rest) || path.size() <= rest.size() || path.starts_with('/'))
        return false;
      captures.emplace_back(path.substr(0, path.size() - rest.size()));
      return true;
    }
    if (part.starts_with('{')) {
      if (text.empty()) return false;
      captures.emplace_back(text);
    } else if (part != text) {
      return false;
    }
    if (pattern_end == std::string_view::npos || path_end == std::string_view::npos) {
      return pattern_end == path_end;
    }
    pattern.remove_prefix(pattern_end + 1);
    path.remove_prefix(path_end + 1);
  }
}

}  // namespace

std::string_view to_string(Method method) noexcept {
  switch (method) {
    case Method::kGet:
      return "GET";
    case Method::kHead:
      return "HEAD";
    case Method::kPost:
      return "POST";
    case Method::kPut:
      return "PUT";
    case Method::kDelete:
      return "DELETE";
  }
  return "GET";
}

std::optional<std::string_view> Request::param(std::string_view name) const noexcept {
  for (const auto& [key, value] : query) {
    if (key == name) return value;
  }
  return std::nullopt;
}

bool is_media_type(std::string_view content_type, std::string_view wanted) noexcept {
  const auto lower = [](unsigned char c) { return c >= 'A' && c <= 'Z' ? c | 0x20 : c; };
  return std::ranges::equal(base::trim(base::take_until(content_type, ';')), wanted, {}, lower);
}

Response json(std::string body, unsigned status) {
  Response response;
  response.status = status;
  response.body = std::make_shared<const std::string>(std::move(body));
  return response;
}

Response error(unsigned status, std::string_view code, std::string_view message) {
  const boost::json::value body = {{"error", {{"code", code}, {"message", message}}}};
  return json(boost::json::serialize(body) + "\n", status);
}

Response error(const Error& failure) {
  const auto status = [&]() -> unsigned {
    switch (failure.code()) {
      case Errc::kInvalidArgument:
        return 400;
      case Errc::kNotFound:
        return 404;
      case Errc::kAlreadyExists:
      case Errc::kConflict:
        return 409;
      case Errc::kPermissionDenied:
        return 403;
      case Errc::kExhausted:
        return 429;
      case Errc::kUnavailable:
      case Errc::kCancelled:
        return 503;
      case Errc::kTimeout:
        return 504;
      case Errc::kUnsupported:
        return 501;
      case Errc::kCorrupt:
      case Errc::kIo:
      case Errc::kInternal:
        return 500;
    }
    return 500;
  }();
  return error(status, base::to_string(failure.code()), failure.message());
}

Router::Router(std::vector<Route> routes) : routes_(std::move(routes)) {
  for (std::size_t i = 0; i < routes_.size(); ++i) {
    if (is_pattern(routes_[i].pattern)) {
      patterned_.push_back(i);
    } else {
      exact_[routes_[i].pattern].push_back(i);
    }
  }
}

Router::Match Router::match(Method method, std::string_view path) const {
  Match found;
  // A HEAD is answered by the GET; the session leaves the body out.
  const Method wanted = method == Method::kHead ? Method::kGet : method;
  const auto consider = [&](const Route& route, std::vector<std::string> captures) {
    found.allowed.push_back(route.method);
    if (route.method == Method::kGet) found.allowed.push_back(Method::kHead);
    if (route.method != wanted || found.route != nullptr) return;
    found.route = &route;
    found.captures = std::move(captures);
  };
  if (const auto it = exact_.find(path); it != exact_.end()) {
    for (const auto index : it->second) consider(routes_[index], {});
    return found;
  }
  std::vector<std::string> captures;
  for (const auto index : patterned_) {
    if (matches(routes_[index].pattern, path, captures)) consider(routes_[index], captures);
  }
  return found;
}

}  // namespace nexus::serve
