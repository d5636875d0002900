#include "serve/target.hpp"

#include "nexus/base/text.hpp"

namespace nexus::serve {
namespace {

enum class Plus { kLiteral, kSpace };

Result<std::string> decode(std::string_view text, Plus plus) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '+' && plus == Plus::kSpace) {
      c = ' ';
    } else if (c == '%') {
      const auto byte = base::parse_uint(text.substr(i + 1, 2), 16);
      if (!byte || i + 2 >= text.size())
        return fail(Errc::kInvalidArgument, "bad percent escape in the request target");
      c = static_cast<char>(*byte);
      i += 2;
    }
    out += c;
  }
  if (!base::is_valid_utf8(out))
    return fail(Errc::kInvalidArgument, "the request target is not valid UTF-8");
  return out;
}

bool has_control_characters(std::string_view text) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F) return true;
  }
  return false;
}

}  // namespace

Result<std::vector<std::pair<std::string, std::string>>> parse_form(std::string_view text) {
  std::vector<std::pair<std::string, std::string>> out;
  while (!text.empty()) {
    auto pair = base::take_until(text, '&');
    if (pair.empty()) continue;
    if (out.size() >= kMaxParameters)
      return fail(Errc::kInvalidArgument, "more than {} parameters", kMaxParameters);
    const auto name = base::take_until(pair, '=');
    auto decoded_name = decode(name, Plus::kSpace);
    auto decoded_value = decode(pair, Plus::kSpace);
    if (!decoded_name) return std::unexpected(decoded_name.error());
    if (!decoded_value) return std::unexpected(decoded_value.error());
    out.emplace_back(std::move(*decoded_name), std::move(*decoded_value));
  }
  return out;
}

Result<Target> parse_target(std::string_view target) {
  if (!target.starts_with('/'))
    return fail(Errc::kInvalidArgument, "the request target must start with \"/\"");
  if (target.contains('#'))
    return fail(Errc::kInvalidArgument, "the request target has a fragment");
  auto rest = target;
  auto path = decode(base::take_until(rest, '?'), Plus::kLiteral);
  if (!path) return std::unexpected(path.error());
  if (has_control_characters(*path))
    return fail(Errc::kInvalidArgument, "control character in the request target");
  auto query = parse_form(rest);
  if (!query) return std::unexpected(query.error());
  return Target{std::move(*path), std::move(*query)};
}

}  // namespace nexus::serve
