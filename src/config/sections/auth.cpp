// [auth] and [[auth.token]]. No message ever shows what was written as a value here: it may be a
// secret in the wrong place.
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "config/files.hpp"
#include "config/sections/sections.hpp"
#include "config/shapes.hpp"
#include "nexus/base/text.hpp"

namespace nexus::config {
namespace {

constexpr std::size_t kShortestSecret = 16;
constexpr std::size_t kLongestSecret = 4096;
constexpr std::array<std::string_view, 3> kSources = {"token_file", "token_env",
                                                      "token_credential"};
constexpr std::string_view kSourcesText =
    "exactly one of token_file, token_env and token_credential";

/// As PostgreSQL judges key files: nobody but the owner, or root's file with read access for its
/// group.
bool is_private(const FileText& file) {
  const unsigned open_to = file.mode & 0077U;
  return open_to == 0 || (open_to == 0040U && file.owner == 0);
}

enum class Guarded { kByMode, kBySystemd };

Result<std::string> read_secret(const std::string& path, Guarded guarded) {
  auto file = read_file(path, kLongestSecret);
  if (!file) return propagate(std::move(file));
  if (!file->regular) return fail(Errc::kInvalidArgument, "not a regular file");
  if (guarded == Guarded::kByMode && !is_private(*file)) {
    return fail(Errc::kPermissionDenied,
                "others can read it (mode {:04o}); expected 0600, or 0640 when root owns it",
                file->mode);
  }
  std::string text = std::move(file->text);
  while (text.ends_with('\n') || text.ends_with('\r')) text.pop_back();
  return text;
}

std::optional<std::string> environment(const LoadOptions& options, const std::string& name) {
  return options.environment ? options.environment(name) : std::nullopt;
}

Result<std::string> secret_of(std::string_view source, const std::string& value,
                              const LoadOptions& options) {
  if (source == "token_file") {
    if (!value.starts_with('/')) return fail(Errc::kInvalidArgument, "expected an absolute path");
    return read_secret(value, Guarded::kByMode);
  }
  if (source == "token_env") {
    auto secret = environment(options, value);
    if (!secret) return fail(Errc::kNotFound, "there is no environment variable of this name");
    return *std::move(secret);
  }
  if (value.contains('/') || value.starts_with('.')) {
    return fail(Errc::kInvalidArgument, "expected the name of a systemd credential, not a path");
  }
  const auto directory = environment(options, "CREDENTIALS_DIRECTORY");
  if (!directory) {
    return fail(Errc::kNotFound,
                "there are no credentials: CREDENTIALS_DIRECTORY is not set (is LoadCredential= in "
                "the unit?)");
  }
  return read_secret(*directory + "/" + value, Guarded::kBySystemd);
}

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
  auto secret = secret_of(source, value, reading.options);
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
  root.table("auth", [&](Section& auth) {
    auth.choice("anonymous_role", reading.config.auth.anonymous_role,
                {Role::kNone, Role::kViewer, Role::kOperator, Role::kAdministrator});
    auth.tables(
        "token", [&](Section& token) { read_token(token, reading); }, Disclosure::kTypesOnly);
  });
}

}  // namespace nexus::config
