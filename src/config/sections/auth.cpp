// [auth] and [[auth.token]]. No message ever shows what was written as a value here: it may be a
// secret in the wrong place.
#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "config/secret.hpp"
#include "config/sections/sections.hpp"
#include "config/shapes.hpp"
#include "nexus/base/text.hpp"

namespace nexus::config {
namespace {

constexpr std::size_t kShortestSecret = 16;
constexpr std::array<std::string_view, 3> kSources = {"token_file", "token_env",
                                                      "token_credential"};
constexpr std::string_view kSourcesText =
    "exactly one of token_file, token_env and token_credential";

Status check_secret(const std::string& secret) {
  if (secret.empty()) return fail(Errc::kInvalidArgument, "the secret is empty");
  if (secret.size() < kShortestSecret) {
    return fail(Errc::kInvalidArgument, "the secret has fewer than {} characters", kShortestSecret);
  }
  const bool printable_only =
      std::ranges::all_of(secret, [](char c) { return c > 0x20 && c < 0x7f; });
  if (!printable_only) {
    return fail(Errc::kInvalidArgument,
                "the secret has a character that no bearer token can carry (blanks, control "
                "characters, not ASCII)");
  }
  return {};
}

void read_token_secret(Section& token, Reading& reading, Secret& out) {
  std::string_view source;
  std::string value;
  int given = 0;
  for (const auto name : kSources) {
    if (token.has(name)) ++given;
    if (token.text(name, value) != nullptr) source = name;
  }
  if (token.take("token") != nullptr) {
    token.complain(
        "token", fmt::format("a secret does not belong into this file; expected {}", kSourcesText));
    return;
  }
  if (given != 1) {
    token.complain(given == 0 ? kSources[0] : source, fmt::format("expected {}", kSourcesText));
    return;
  }
  if (source.empty()) return;  // of a wrong type, and reported
  auto secret = secret_of(source.substr(source.rfind('_') + 1), value, reading.options);
  const auto checked = secret ? check_secret(*secret) : Status(std::unexpected(secret.error()));
  if (!checked) {
    token.complain(source, checked.error().message());
    return;
  }
  out = Secret(*std::move(secret));
}

void read_token(Section& section, Reading& reading) {
  TokenConfig token;
  section.require("name", kPlainName.expected);
  if (section.text("name", token.name, kPlainName) != nullptr) {
    reading.report.claim("auth.token", token.name, section.place_of({"name"}));
  }
  section.choice("role", token.role, {Role::kViewer, Role::kOperator, Role::kAdministrator});
  read_token_secret(section, reading, token.token);
  if (token.token.empty()) return;
  for (const auto& other : reading.config.auth.tokens) {
    if (other.token == token.token) {
      section.complain("name", fmt::format("has the same secret as \"{}\"", other.name));
    }
  }
  reading.config.auth.tokens.push_back(std::move(token));
}

}  // namespace

void read_auth(Section& root, Reading& reading) {
  root.table(
      "auth",
      [&](Section& auth) {
        auth.choice("anonymous_role", reading.config.auth.anonymous_role,
                    {Role::kNone, Role::kViewer, Role::kOperator, Role::kAdministrator});
        auth.tables(
            "token", [&](Section& token) { read_token(token, reading); }, Disclosure::kTypesOnly);
      },
      Disclosure::kTypesOnly);
}

}  // namespace nexus::config
